"""Do a run's maps beat maps that know nothing, on the lesion and at naming what the model needs, and are they sane?"""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

from melascope.classes import CLASSES
from melascope.evaluation.record import plural, with_interval
from melascope.report.canvas import BLUE, GREY, ORANGE, canvas, save
from melascope.tables.map_scores import MapTests
from melascope.tables.results import Estimate, Figure

MEASURES = {
    "share_inside": (
        "How much of the evidence lies on the lesion?",
        "share of the map's positive evidence inside the lesion",
    ),
    "peak_inside": ("Does the map's peak lie on the lesion?", "share of images whose highest pixels all lie inside"),
    "matched_iou": ("Do the map's highest pixels cover the lesion?", "IoU of lesion and as many highest pixels"),
}
FAITHFULNESS = {
    # figure -> label, sign that makes "better" positive
    "insertion_blur": ("insertion, blur", 1),
    "insertion_skin": ("insertion, mean skin", 1),
    "deletion_blur": ("deletion, blur (turned)", -1),
    "deletion_skin": ("deletion, mean skin (turned)", -1),
    "road": ("ROAD, least - most", 1),
}
_ROW = 0.5  # inches


def save_map_tests(tests: MapTests, folder: Path) -> list[Path]:
    """Draw every test, each by itself, as PNG and SVG."""
    paths = [path for measure in MEASURES for path in _save_measure(tests, measure, folder)]
    return [*paths, *_save_faithfulness(tests, folder), *_save_sanity(tests, folder)]


def _save_measure(tests: MapTests, measure: str, folder: Path) -> list[Path]:
    title, axis = MEASURES[measure]
    target = _target(tests)
    rows = [("predicted", "all"), *(("predicted", f"dx={name}") for name in CLASSES)]
    rows += [(target, f"{target} {which}") for which in ("caught", "missed")] if target else []
    figure, axes = canvas(
        title,
        f"{_origin(tests)}\nlesion masks: {_masks(tests)}. Diamond: the map; circle: a random map; square: a Gaussian "
        "in the middle. [ ] 95 % interval by lesion",
        tests.facts["source"],
        size=(10.2, 2.6 + _ROW * len(rows)),
        left=2.6,
        right=2.9,
    )
    labels = []
    for place, (map_of, group) in enumerate(rows):
        found = tests.of("lesion mask", measure, map_of=map_of, group=group)
        for against, colour, marker, shift in (
            ("", BLUE, "D", -0.2),
            ("area share", GREY, "o", 0.0),
            ("centred Gaussian", ORANGE, "s", 0.2),
        ):
            beside = tests.of("lesion mask", measure, map_of=map_of, group=group, against=against)
            _mark(axes, beside, place + shift, colour, marker)
        _note(axes, place, found)
        n = f" (n={found.n:,})" if isinstance(found, Estimate) else ""
        labels.append(f"{group.removeprefix('dx=')}, map of {map_of}{n}")
    _finish_rows(axes, labels)
    axes.set_xlim(0, 1)
    axes.set_xlabel(axis)
    return save(figure, folder, f"map_{measure}")


def _save_faithfulness(tests: MapTests, folder: Path) -> list[Path]:
    figure, axes = canvas(
        "Does the model need what the map calls important?",
        f"{_origin(tests)}\nmap of the predicted class, {plural(tests.facts['n_asked_again'], 'image')} asked again. "
        "Right of 0: the map does better than its control. [ ] 95 % interval by lesion",
        tests.facts["source"],
        size=(11.4, 2.6 + _ROW * 2 * len(FAITHFULNESS)),
        left=4.0,
        right=2.4,
    )
    labels = []
    for name, (label, sign) in FAITHFULNESS.items():
        for control, colour, marker in (("random map", BLUE, "D"), ("centred Gaussian", ORANGE, "s")):
            found = _signed(tests.of("faithfulness", name, against=f"map - {control}"), sign)
            _mark(axes, found, len(labels), colour, marker)
            _note(axes, len(labels), found)
            labels.append(f"{label}: than a {control}")
    _finish_rows(axes, labels)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_xlabel("difference in the area under P(class), or of P(class) for ROAD")
    return save(figure, folder, "map_faithfulness")


def _save_sanity(tests: MapTests, folder: Path) -> list[Path]:
    figures = [one for one in tests.figures if one.test == "sanity" and one.name == "rank_correlation"]
    verdict = "passed" if tests.passed else "FAILED"
    figure, axes = canvas(
        f"Do the maps hang on what the network has learnt? Gate {verdict}",
        f"{_origin(tests)}\n{plural(tests.facts['sanity_images'], 'image')}, maps of all classes, "
        f"{tests.facts['randomisations']} random draws. Diamond: mean rank correlation with the trained maps, "
        "[ ] 95 % over the draws;\ncircle: its size without sign; the band is what the gate allows at the end",
        tests.facts["source"],
        size=(10.2, 2.9 + 0.36 * len(figures)),
        left=2.6,
        right=1.9,
    )
    labels = []
    for one in figures:
        size = tests.of("sanity", "rank_correlation_size", map_of="all classes", group=one.group)
        _mark(axes, one.figure, len(labels), BLUE, "D")
        _mark(axes, size, len(labels), GREY, "o", bars=False)
        _note(axes, len(labels), one.figure)
        labels.append(one.group)
    limit = tests.facts["limit"]
    axes.axvspan(-limit, limit, color=GREY, alpha=0.12)
    axes.axvline(0, color=GREY, linewidth=1)
    _finish_rows(axes, labels)
    axes.set_xlim(-1, 1)
    axes.set_xlabel("Spearman's rank correlation; random from the head (top) down to this stage, then controls")
    return save(figure, folder, "map_sanity")


def _signed(figure: Figure, sign: int) -> Figure:
    if not isinstance(figure, Estimate) or sign == 1:
        return figure
    low, high = (None, None) if figure.low is None else (-figure.high, -figure.low)
    return Estimate(-figure.value, low, high, figure.n, figure.n_lesions, figure.unit)


def _mark(axes: Axes, figure: Figure, place: float, colour: str, marker: str, *, bars: bool = True) -> None:
    if not isinstance(figure, Estimate):
        return
    ends = None
    if bars and figure.low is not None:
        ends = [[max(0, figure.value - figure.low)], [max(0, figure.high - figure.value)]]
    axes.errorbar([figure.value], [place], xerr=ends, fmt=marker, color=colour, markersize=5, elinewidth=1.4, capsize=2)


def _note(axes: Axes, place: int, figure: Figure) -> None:
    text = with_interval(figure) if isinstance(figure, Estimate) else "n/a"
    axes.text(1.02, place, text, va="center", fontsize=8.5, clip_on=False, transform=axes.get_yaxis_transform())


def _finish_rows(axes: Axes, labels: list[str]) -> None:
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _target(tests: MapTests) -> str:
    """The one target class whose missed images are compared; `""` where the target is several classes."""
    groups = {one.group for one in tests.figures}
    return next((name for name in CLASSES if f"{name} missed" in groups), "")


def _origin(tests: MapTests) -> str:
    facts = tests.facts
    return (
        f"{facts['method']} at {facts['layer']} ({facts['map_cells']} cells), {facts['run']}, {facts['split']}: "
        f"{plural(facts['n_images'], 'image')} of {plural(facts['n_lesions'], 'lesion')}"
    )


def _masks(tests: MapTests) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in tests.facts["masks"].items())

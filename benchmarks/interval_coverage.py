"""Do the intervals of an evaluation and of a comparison cover the truth as often as they claim?

Run on one core: `OMP_NUM_THREADS=1 python benchmarks/interval_coverage.py`; `--help` has sizes and repetitions.

Collections are drawn anew and again from one population: lesions with HAM10000's class shares and one to three images
(as many as HAM10000 has of the class, on average), whose scores share `alike` of their variance (the intraclass
correlation). Two models score each image; the first is too sure of itself, the other better and right about its
chances. `evaluate` and `compare` judge every collection as they would a user's table. The truth of a figure is its mean
over `POPULATIONS` collections of `POPULATION` lesions. A cell tells in what share of the collections the interval held
it, in %. Collections that give no interval do not count, but their share is told.

Melanoma is the target. Shares of melanomas count where at least `MIN_LESIONS` lesions of it are shown; what fewer gave
stands in a line of its own. Collections without melanoma are left out.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from functools import cache

import numpy as np

from melascope.classes import CLASSES, MEL
from melascope.evaluation.compare import Entry, compare
from melascope.evaluation.evaluate import Evaluation, evaluate
from melascope.evaluation.intervals import MIN_LESIONS
from melascope.evaluation.operating_point import OperatingPoint, choose_operating_point
from melascope.evaluation.record import Group, Level
from melascope.tables.predictions import Predictions, PredictionsOrigin, unknown_text
from melascope.tables.results import Estimate, Figure

LESIONS = {"akiec": 228, "bcc": 327, "bkl": 727, "df": 73, "mel": 614, "nv": 5403, "vasc": 98}
IMAGES = {"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142}
"""Of HAM10000: Tschandl, Rosendahl & Kittler 2018, Sci. Data 5, 180161."""

POPULATION = 45_000
POPULATIONS = 8
SKILL = {"first": 1.9, "other": 2.2}
"""How far the classes lie apart, in standard deviations of an image's features."""

TOO_SURE = {"first": 1.3, "other": 1.0}
"""Factor on the log-odds that Bayes' rule gives; 1 is calibrated."""

SHARED = 0.7
"""Share of an image's variance that both models see alike."""

THRESHOLDS = (0.05, 0.1, 0.2, 0.3)
COVERAGE = 0.8
BAND = (0.93, 0.97)
MIN_GIVEN = 50

OF_MELANOMAS = ("recall of mel", "sensitivity", "mel called nv", "missed_of_all", "lesion_sens", "top_class_sens")
"""How the names of shares of melanomas begin."""


def collection(n_lesions: int, alike: float, rng: np.random.Generator) -> dict[str, Predictions]:
    """What each of the two models says of the images of `n_lesions` new lesions."""
    counts = np.array([LESIONS[name] for name in CLASSES])
    label = rng.choice(len(CLASSES), n_lesions, p=counts / counts.sum())
    more = np.array([(IMAGES[name] / LESIONS[name] - 1) / 3 for name in CLASSES])[label]  # P(two) = P(three)
    chance = rng.random(n_lesions)
    lesion = np.repeat(np.arange(n_lesions), 1 + (chance < 2 * more).astype(int) + (chance < more))

    def features() -> np.ndarray:
        of_lesion, of_image = rng.normal(size=(n_lesions, len(CLASSES))), rng.normal(size=(len(lesion), len(CLASSES)))
        return np.sqrt(alike) * of_lesion[lesion] + np.sqrt(1 - alike) * of_image

    both, truth = features(), np.eye(len(CLASSES))[label[lesion]]
    images = np.array([IMAGES[name] for name in CLASSES])
    tables = {}
    for model, skill in SKILL.items():
        seen = skill * truth + np.sqrt(SHARED) * both + np.sqrt(1 - SHARED) * features()
        tables[model] = _table(label, lesion, TOO_SURE[model] * (skill * seen + np.log(images / images.sum())))
    return tables


def _table(label: np.ndarray, lesion: np.ndarray, logits: np.ndarray) -> Predictions:
    blank = unknown_text(len(lesion))
    return Predictions(
        image_id=np.array([f"image_{row}" for row in range(len(lesion))], dtype=object),
        lesion_id=np.array([f"lesion_{one}" for one in lesion], dtype=object),
        split=blank,
        dx=np.array(CLASSES, dtype=object)[label[lesion]],
        age=np.full(len(lesion), np.nan),
        sex=blank,
        localization=blank,
        dx_type=blank,
        logits=logits,
        origin=PredictionsOrigin(source="simulated"),
    )


@cache
def operating_points() -> dict[str, OperatingPoint]:
    """Frozen on 3,000 validation lesions of the same population, by the default rule."""
    tables = collection(3_000, 0.5, np.random.default_rng([0, 3_000]))
    validation = np.full(len(tables["first"]), "val", dtype=object)
    return {model: choose_operating_point(replace(one, split=validation)) for model, one in tables.items()}


def figures_of(tables: dict[str, Predictions], *, draws: int, seed: int) -> dict[str, Figure]:
    """The figures of the first model and the differences between both, by name."""
    points = operating_points()
    evaluation = evaluate(tables["first"], points["first"], draws=draws, seed=seed)
    compared = compare([Entry(name, table, points[name]) for name, table in tables.items()], draws=draws, seed=seed)
    return dict(_told(evaluation)) | {f"difference: {name}": one for name, one in compared.pairs[0].differences.items()}


def _told(evaluation: Evaluation) -> Iterator[tuple[str, Figure]]:
    group = evaluation.groups["all"]
    for unit, level in (("image", group.image), ("lesion", group.lesion)):
        yield from ((f"{name}, {unit}", figure) for name, figure in level.overall.items())
        yield from ((f"{name} of mel, {unit}", figures["mel"]) for name, figures in level.per_class.items())
        yield f"partial_auroc, {unit}", level.target["partial_auroc"]
        yield f"recall of bkl, {unit}", level.per_class["recall"]["bkl"]
        decision = group.decision("operating_point", unit)
        yield from ((f"{name}, {unit}", figure) for name, figure in decision.figures.items())
        yield from ((f"{name} at 5 %, {unit}", figure) for name, figure in decision.at_prevalence[0.05].items())
    yield "mel called nv, image", group.image.row_shares[CLASSES.index("mel")][CLASSES.index("nv")]
    yield from ((name, one) for name, one in evaluation.calibration.figures.items() if "expected_cal" not in name)
    for point in evaluation.decision_curve.points:
        if point.threshold in THRESHOLDS:
            yield f"net_benefit at {point.threshold}", point.net_benefit
            yield f"over_treat_all at {point.threshold}", point.over_treat_all
    accepted = evaluation.risk_coverage.at(COVERAGE)
    yield from (("aurc", evaluation.risk_coverage.aurc), ("augrc", evaluation.risk_coverage.augrc))
    yield from ((f"{name} at coverage {COVERAGE}", getattr(accepted, name)) for name in ("risk", "missed_of_all"))


@dataclass(frozen=True)
class Truth:
    """What an endless collection would show.

    Parameters
    ----------
    values : name -> figure
    by_class : (2 units, 2 models, 2, 7) recall and F1 of each class; their means are over the classes of a collection
    """

    values: dict[str, float]
    by_class: np.ndarray

    @classmethod
    def of(cls, alike: float) -> Truth:
        """Mean over `POPULATIONS` large collections."""
        values, by_class = defaultdict(list), []
        for number in range(POPULATIONS):
            tables = collection(POPULATION, alike, np.random.default_rng([1, number]))
            for name, figure in figures_of(tables, draws=0, seed=0).items():
                values[name].append(figure.value)
            groups = [evaluate(table, None, draws=0).groups["all"] for table in tables.values()]
            by_class.append([[_recall_and_f1(level.confusion) for level in pair] for pair in _levels(groups)])
        return cls({name: float(np.mean(one)) for name, one in values.items()}, np.mean(by_class, axis=0))

    def value(self, name: str, present: np.ndarray) -> float:
        """The figure; of means over classes, over those that a collection holds, `present` (7,) bool."""
        figure, _, unit = name.removeprefix("difference: ").partition(", ")
        if figure not in ("balanced_accuracy", "macro_f1"):
            return self.values[name]
        first, other = self.by_class[int(unit == "lesion"), :, int(figure == "macro_f1")][:, present].mean(axis=1)
        return float(other - first if name.startswith("difference") else first)


def _levels(groups: list[Group]) -> list[list[Level]]:
    return [[group.image for group in groups], [group.lesion for group in groups]]


def _recall_and_f1(confusion: tuple[tuple[int, ...], ...]) -> np.ndarray:
    counts = np.array(confusion)
    right, true, called = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
    return np.stack([right / true, 2 * right / (true + called)])


@dataclass
class Tally:
    """How often an interval was given, and how often it held the truth, or lay below or above it."""

    collections: int = 0
    given: int = 0
    below: int = 0
    above: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))

    def add(self, figure: Figure, truth: float) -> None:
        self.collections += 1
        if isinstance(figure, Estimate) and figure.low is not None:
            self.given += 1
            self.below += figure.high < truth
            self.above += figure.low > truth

    @property
    def coverage(self) -> float:
        return 1 - (self.below + self.above) / self.given if self.given else float("nan")


def coverage(n_lesions: int, alike: float, truth: Truth, *, repeats: int, draws: int) -> dict[str, Tally]:
    """Judge `repeats` collections: figure -> how often its interval held the truth."""
    found: dict[str, Tally] = defaultdict(Tally)
    for number in range(repeats):
        tables = collection(n_lesions, alike, np.random.default_rng([2, n_lesions, round(100 * alike), number]))
        labels, first = tables["first"].labels, np.unique(tables["first"].lesion_id.astype(str), return_index=True)[1]
        counts = np.bincount(labels[first], minlength=len(CLASSES))
        if counts[MEL] == 0:
            continue
        for name, figure in figures_of(tables, draws=draws, seed=number).items():
            few = name.removeprefix("difference: ").startswith(OF_MELANOMAS) and counts[MEL] < MIN_LESIONS
            found[f"{name}, few" if few else name].add(figure, truth.value(name, counts > 0))
    return found


def rows(settings: dict[int, dict[str, Tally]]) -> Iterator[str]:
    """Markdown: a line a figure, a column a size of the collection; a cell outside the band is marked *."""
    yield "| figure | " + " | ".join(f"{n}" for n in settings) + " |"
    yield "|---" * (1 + len(settings)) + "|"
    names = dict.fromkeys(name for found in settings.values() for name in found)
    for name in sorted(names, key=lambda name: name.endswith(", few")):
        yield f"| {name} | " + " | ".join(_cell(found.get(name, Tally())) for found in settings.values()) + " |"


def _cell(tally: Tally) -> str:
    if tally.given < MIN_GIVEN:
        return "–"
    chance = 2 * np.sqrt(0.95 * 0.05 / tally.given)
    outside = "" if BAND[0] - chance <= tally.coverage <= BAND[1] + chance else "*"
    share = "" if tally.given == tally.collections else f" ({tally.given / tally.collections:.0%} given)"
    return f"{100 * tally.coverage:.1f}{outside}{share}"


def main() -> None:
    """Simulate, and print a table a setting as it is finished, and one of all together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lesions", type=int, nargs="+", default=[40, 130, 250, 1000])
    parser.add_argument("--alike", type=float, nargs="+", default=[0.0, 0.5, 0.95])
    parser.add_argument("--repeats", type=int, default=250, help="collections of each size and likeness")
    parser.add_argument("--draws", type=int, default=300, help="2,000 change little but the time")
    options = parser.parse_args()
    together: dict[int, dict[str, Tally]] = {n_lesions: defaultdict(Tally) for n_lesions in options.lesions}
    for alike in options.alike:
        truth, start, settings = Truth.of(alike), time.time(), {}
        for n_lesions in options.lesions:
            settings[n_lesions] = coverage(n_lesions, alike, truth, repeats=options.repeats, draws=options.draws)
            for name, tally in settings[n_lesions].items():
                together[n_lesions][name] = together[n_lesions][name] + tally
        show(f"Images of a lesion alike {alike:g}", settings, options.repeats)
        print(f"{options.draws} draws, {time.time() - start:.0f} s", flush=True)
    show("All together", together, options.repeats * len(options.alike))


def show(what: str, settings: dict[int, dict[str, Tally]], repeats: int) -> None:
    """Print a table and its sampling error."""
    print(f"\n{what}. Coverage in %, by lesions in the collection.\n")
    print("\n".join(rows(settings)))
    error = 100 * np.sqrt(0.95 * 0.05 / repeats)
    print(
        f"\n{repeats} collections a column; sampling error ±{error:.1f}, more where fewer count (one standard error)."
    )


if __name__ == "__main__":
    main()

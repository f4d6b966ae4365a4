"""Which model is better at what, by how much and how surely; and how much of that could be the seed?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from melascope.evaluation.compared import COMPARED
from melascope.evaluation.comparison import Comparison, Contender, SeedSpread, signed
from melascope.evaluation.evaluate import NO_HISTOLOGY
from melascope.report.canvas import BLUE, GREY, ORANGE, canvas, save
from melascope.tables.results import Estimate, Figure

_ROW = 0.3  # inches
_TOLD, _HISTOLOGY = 1.02, 1.38  # where words stand, in widths of the plot
_ALL = {"fmt": "D", "color": BLUE}
_ALONE = {"fmt": "o", "color": GREY, "markerfacecolor": "white", "elinewidth": 1}
_NAME = 60  # letters that a model's name has room for
_BOUNDED = {name: compared for name, compared in COMPARED.items() if compared.top is not None}


@dataclass(frozen=True)
class _Row:
    """A line of a plot: its label, whether it heads others, and what is drawn at its height."""

    label: str
    heads: bool = False
    draw: Callable[[Axes, int], None] = lambda axes, place: None


def save_comparison_plots(comparison: Comparison, folder: Path) -> list[Path]:
    """Draw the differences, where there are two models to compare, and the seed spread, each as PNG and SVG."""
    differences = save_differences(comparison, folder) if comparison.pairs else []
    return [*differences, *save_seed_spread(comparison, folder)]


def save_differences(comparison: Comparison, folder: Path) -> list[Path]:
    """Draw a forest plot: each figure's difference to the first model with its interval, pair by pair.

    A figure without an upper bound lies on another scale: it stands there in words.
    """
    first = comparison.contenders[0].letter
    rows = _models(comparison.contenders)
    for pair in comparison.pairs:
        rows.append(_Row(pair.name, heads=True))
        rows += [_difference_row(name, pair.differences[name], pair.histology[name]) for name in COMPARED]
    picture, axes = _rows_drawn(
        f"What does another model do better than {first}, and what worse?",
        f"{comparison.sizes}\n{comparison.histology_sizes}\n"
        f"each against {first}, on the same images and draws. [ ] 95 % interval by lesion\n"
        + _threshold_note(comparison),
        comparison.source,
        rows,
        right=4.3,
    )
    for at, told in ((_TOLD, "all images (diamond)"), (_HISTOLOGY, "histology only (circle)")):
        axes.text(at, 1.003, told, transform=axes.transAxes, fontsize=8, fontweight="bold", va="bottom")
    drawn = [figures for pair in comparison.pairs for figures in (pair.differences, pair.histology)]
    shown = [figures[name] for figures in drawn for name in _BOUNDED]
    reach = max((abs(end) for figure in shown if isinstance(figure, Estimate) for end in _ends(figure)), default=0)
    axes.set_xlim(-1.1 * max(reach, 0.05), 1.1 * max(reach, 0.05))
    axes.axvline(0, color="black", linewidth=1)
    axes.set_xlabel(f"difference: right of 0 is better than {first}")
    return save(picture, Path(folder), "differences")


def save_seed_spread(comparison: Comparison, folder: Path) -> list[Path]:
    """Draw one circle a seed and a line at their mean, for every model and every figure with an upper bound.

    A model of one seed has its circle, and says that there is no spread.
    """
    rows = _models(comparison.contenders)
    for name, compared in _BOUNDED.items():
        rows.append(_Row(compared.label, heads=True))
        rows += [_seed_row(contender, name) for contender in comparison.contenders]
    picture, axes = _rows_drawn(
        "How much does a figure move with the seed alone?",
        f"{comparison.sizes}\none circle a seed, a line at their mean; the images are the same for all\n"
        "Grey bar: 95 % interval by lesion of the mean, how far other images would move it. "
        "SD: between seeds alone; few seeds tell it poorly",
        comparison.source,
        rows,
        right=3.9,
    )
    axes.set_xlim(0, 1)
    axes.set_xlabel("figure of each seed")
    return save(picture, Path(folder), "seed_spread")


def _rows_drawn(title: str, subtitle: str, source: str, rows: Sequence[_Row], *, right: float) -> tuple[Picture, Axes]:
    """A picture with a labelled line for each row, the first at the top; `right` inches are left for their words."""
    size = (7.4 + right, 2.2 + _ROW * len(rows))
    picture, axes = canvas(title, subtitle, source, size=size, left=2.3, right=right)
    axes.grid(axis="y", visible=False)
    for place, row in enumerate(rows):
        row.draw(axes, place)
    axes.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=9)
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if row.heads else "normal")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    return picture, axes


def _models(contenders: Sequence[Contender]) -> list[_Row]:
    """What each letter stands for."""

    def row(contender: Contender) -> _Row:
        name = contender.name
        name = name if len(name) <= _NAME else f"{name[: _NAME // 2]}…{name[-_NAME // 2 :]}"
        told = f"{name}: {contender.rule}"
        return _Row(contender.letter, True, lambda axes, place: _write(axes, place, told, at=0.01, colour=GREY))

    return [row(contender) for contender in contenders]


def _threshold_note(comparison: Comparison) -> str:
    """Who has no threshold, and what is therefore missing."""
    without = [one.letter for one in comparison.contenders if one.members[0].operating_point is None]
    if not without:
        return "sensitivity, specificity and false alarms: each at its own frozen threshold"
    return f"no threshold exists for {', '.join(without)}: sensitivity, specificity and false alarms at one are missing"


def _difference_row(name: str, everything: Figure, histology: Figure) -> _Row:
    """A figure's difference on all images (diamond), and below it that on histology alone (hollow circle)."""

    def draw(axes: Axes, place: int) -> None:
        _write(axes, place, signed(everything))
        _write(axes, place, "none" if histology == NO_HISTOLOGY else signed(histology), at=_HISTOLOGY, colour=GREY)
        if name not in _BOUNDED:
            told = "less is better; on a scale of its own"
            _write(axes, place, told if isinstance(everything, Estimate) else "", at=0.01, colour=GREY)
            return
        for figure, shift, style in ((everything, -0.17, _ALL), (histology, 0.17, _ALONE)):
            if isinstance(figure, Estimate):
                low, high = _ends(figure)
                bars = [[figure.value - low], [high - figure.value]]
                axes.errorbar([figure.value], [place + shift], xerr=bars, capsize=2.5, markersize=5, **style)

    return _Row(COMPARED[name].label, draw=draw)


def _seed_row(contender: Contender, name: str) -> _Row:
    def draw(axes: Axes, place: int) -> None:
        values = [member.values[name] for member in contender.members if member.values[name] is not None]
        mean = contender.figures[name]
        if isinstance(mean, Estimate):
            axes.plot(_ends(mean), [place, place], color="#c4c4c4", linewidth=6, solid_capstyle="butt")
        axes.plot(values, [place] * len(values), "o", markersize=7, markerfacecolor="none", color=BLUE)
        spread: object = contender.seed_spread[name] if values else contender.figures[name]
        alone = f"{values[0]:.3f}; spread " if len(values) == len(contender.members) == 1 else ""
        _write(axes, place, f"{alone}{spread}")
        if isinstance(spread, SeedSpread):
            axes.plot([spread.mean] * 2, [place - 0.35, place + 0.35], color=ORANGE, linewidth=2)

    return _Row(contender.letter, draw=draw)


def _ends(figure: Estimate) -> tuple[float, float]:
    """Ends of the interval, the value itself where there is none."""
    return (figure.value, figure.value) if figure.low is None else (figure.low, figure.high)


def _write(axes: Axes, place: int, text: str, *, at: float = _TOLD, colour: str = "black") -> None:
    """Text at a row's height; `at` counts in widths of the plot."""
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    style = {"va": "center", "fontsize": 8, "color": colour, "clip_on": False, "bbox": behind}
    axes.text(at, place, text, transform=axes.get_yaxis_transform(), **style)

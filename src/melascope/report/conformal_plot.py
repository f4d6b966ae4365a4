"""How often does a lesion's set of classes hold its truth, how large are the sets, and what voids the promise?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from melascope.classes import CLASSES
from melascope.evaluation.conformal import Conformal, ConformalFigures
from melascope.evaluation.record import plural, with_interval
from melascope.report.canvas import BLUE, GREY, ORANGE, canvas, save
from melascope.report.captions import error_bars
from melascope.tables.results import NotApplicable

_STYLES = (("D", BLUE, "-", ""), ("o", ORANGE, (0, (5, 2)), "////"))  # marker, colour, dash, hatch: one each alpha
_STRIP, _GAP = 1.5, 0.85  # inches: height of the sizes, and the space above them


def save_conformal(
    conformal: Conformal | NotApplicable, folder: Path, *, target: tuple[str, ...], split: str = "", source: str = ""
) -> list[Path]:
    """Draw each class's coverage with its interval against the promise, and the sizes of the sets, as PNG and SVG.

    Parameters
    ----------
    conformal : of `conformal_sets`; where it is not applicable the picture says why.
    folder : is created.
    target : classes whose names are bold.
    split, source : of the judged lesions; a phantom is named in the picture.
    """
    title = "Which classes cannot be ruled out, and is the truth among them as often as promised?"
    if isinstance(conformal, NotApplicable):
        figure, axes = canvas(title, "", source, size=(9.8, 4.8))
        axes.text(0.5, 0.5, str(conformal), ha="center", va="center", transform=axes.transAxes, color=GREY, fontsize=11)
        axes.set_xlabel("coverage: share of a class's lesions whose set holds it")
        axes.set_yticks(range(len(CLASSES)), CLASSES)
        axes.set_ylim(len(CLASSES) - 0.5, -0.5)
        return save(figure, Path(folder), "conformal")
    figure, axes = canvas(title, _subtitle(conformal, split), source, size=(9.8, 8.6), left=2.3, right=3.3)
    strip = _strip_below(figure, axes)
    _draw_coverage(axes, conformal, target)
    _draw_sizes(strip, conformal)
    return save(figure, Path(folder), "conformal")


def _subtitle(conformal: Conformal, split: str) -> str:
    sizes = "; ".join(f"{_promise(one)}: {with_interval(one.mean_size)}" for one in conformal.figures)
    void = "; ".join(conformal.void_in_short)
    lines = [
        f"{split or 'all rows'}: {plural(conformal.n_judged, 'lesion')}, one result a lesion; calibrated on "
        f"{plural(conformal.n_calibration, 'validation lesion')}. [ ] exact 95 % interval",
        f"mean number of classes in a set at {sizes}",
        *conformal.notes,
        f"Void, or weaker, with: {void}.",
    ]
    return "\n".join(lines)


def _promise(figures: ConformalFigures) -> str:
    return f"{1 - figures.rule.alpha:.0%} promised"


def _strip_below(figure: Picture, axes: Axes) -> Axes:
    """Shorten the axes of coverage and stand those of the sizes below, of the same width."""
    left, bottom, width, height = axes.get_position().bounds
    whole = figure.get_figheight()
    raised = (_STRIP + _GAP) / whole
    axes.set_position((left, bottom + raised, width, height - raised))
    strip = figure.add_axes((left, bottom, width, _STRIP / whole))
    for side in ("top", "right"):
        strip.spines[side].set_visible(False)
    return strip


def _draw_coverage(axes: Axes, conformal: Conformal, target: tuple[str, ...]) -> None:
    lowest = 1.0
    shifts = np.linspace(-0.16, 0.16, len(conformal.figures))
    for column, (figures, shift, style) in enumerate(zip(conformal.figures, shifts, _STYLES, strict=False)):
        marker, colour, dash, _ = style
        axes.axvline(1 - figures.rule.alpha, color=colour, linestyle=dash, linewidth=1.2, label=_promise(figures))
        head = {"fontsize": 8.5, "fontweight": "bold", "va": "bottom", "color": colour}
        axes.text(1.03 + 0.36 * column, 1.01, _promise(figures), transform=axes.transAxes, **head)
        for row, name in enumerate(CLASSES):
            coverage = figures.coverage[name]
            told = _told(figures, name)
            at = (1.03 + 0.36 * column, row)
            axes.text(*at, told, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
            if isinstance(coverage, NotApplicable):
                continue
            lowest = min(lowest, coverage.low)
            bars = {"xerr": error_bars(coverage), "capsize": 3, "elinewidth": 1.5, "clip_on": False}
            axes.errorbar([coverage.value], [row + shift], fmt=marker, color=colour, markersize=6, **bars)
    rule = conformal.figures[0].rule
    labels = [
        f"{name}: {conformal.n_judged_of(name):,} judged,\n{rule.classes[name].n_lesions:,} calibrate"
        for name in CLASSES
    ]
    axes.set_yticks(range(len(CLASSES)), labels, fontsize=8.5)
    for tick, name in zip(axes.get_yticklabels(), CLASSES, strict=True):
        tick.set_fontweight("bold" if name in target else "normal")
    axes.set_ylim(len(CLASSES) - 0.5, -0.5)
    axes.set_xlim(max(0.0, np.floor(10 * lowest) / 10), 1.0)
    axes.set_xlabel("coverage: share of a class's lesions whose set holds it (lines: what is promised)")


def _told(figures: ConformalFigures, name: str) -> str:
    coverage = figures.coverage[name]
    if isinstance(coverage, NotApplicable):
        return str(coverage).replace(" (", "\n(")
    return with_interval(coverage) + ("\nin every set" if figures.rule.classes[name].always_included else "")


def _draw_sizes(axes: Axes, conformal: Conformal) -> None:
    many = len(conformal.figures)
    width = 0.8 / many
    for place, (figures, style) in enumerate(zip(conformal.figures, _STYLES, strict=False)):
        _, colour, _, hatch = style
        at = np.arange(len(figures.sizes)) - 0.4 + width * (place + 0.5)
        face = "none" if hatch else colour
        axes.bar(at, figures.sizes, width, facecolor=face, edgecolor=colour, hatch=hatch, label=_promise(figures))
        for x, count in zip(at, figures.sizes, strict=True):
            axes.text(x, count, f"{count:,}", ha="center", va="bottom", fontsize=7.5)
    axes.set_xticks(range(len(CLASSES) + 1))
    axes.set_ylim(0, 1.15 * max(max(one.sizes) for one in conformal.figures))
    axes.set_xlabel("classes in a lesion's set")
    axes.set_ylabel("lesions")
    axes.grid(axis="x", visible=False)
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=8.5)

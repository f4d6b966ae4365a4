"""For whom is more missed: sensitivity and specificity of every subgroup, one below the other, with its size?"""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

from melascope.evaluation.record import Evaluation, with_interval
from melascope.evaluation.subgroups import MIN_SIDE, Subgroup
from melascope.report.canvas import BLUE, GREY, ORANGE, canvas, save
from melascope.report.captions import error_bars, figure_text, sizes_line
from melascope.tables.results import NotApplicable

_ROW = 0.31  # inches
_AT_SENSITIVITY, _AT_SPECIFICITY = 1.03, 1.42  # where their words stand, in widths of the plot


def save_subgroups(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Draw a forest plot of sensitivity and specificity, as PNG and SVG; the line of all images stands through it.

    A part that is too small has no mark, but its size and `not applicable (n=…)`.
    """
    group, name = evaluation.whole, evaluation.target_name
    decision = group.decision(evaluation.at, "image")
    rows: list[Subgroup | str] = []
    for part in evaluation.subgroups:
        rows += [part] if rows and part.factor in (rows[-1], getattr(rows[-1], "factor", None)) else [part.factor, part]
    figure, axes = canvas(
        f"For whom is more {name} missed, or more of the rest called?",
        f"{evaluation.rule}; all images (the lines): sensitivity {figure_text(decision.figures['sensitivity'])}, "
        f"specificity {figure_text(decision.figures['specificity'])}\n"
        f"{evaluation.histology()}\n{sizes_line(evaluation)}\n"
        f"Beside each part: images; {name} images/lesions. A part of fewer than {MIN_SIDE} lesions of {name} has no "
        f"sensitivity, one of fewer than {MIN_SIDE} others no specificity.",
        evaluation.origin.source,
        size=(11.4, 2.2 + _ROW * max(8, len(rows))),
        left=3.1,
        right=4.0,
    )
    for figure_name, colour, style in (("sensitivity", BLUE, "-"), ("specificity", ORANGE, (0, (5, 2)))):
        whole = decision.figures[figure_name]
        if not isinstance(whole, NotApplicable):
            axes.axvline(whole.value, color=colour, linestyle=style, linewidth=1, alpha=0.7)
    for place, row in enumerate(rows):
        if isinstance(row, Subgroup):
            _draw(axes, place, row)
    axes.set_yticks(range(len(rows)), [_label(row, name) for row in rows], fontsize=9)
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if isinstance(row, str) else "normal")
    axes.set_ylim(max(7.5, len(rows) - 0.5), -0.5)
    axes.set_xlim(0, 1)
    for at, header in ((_AT_SENSITIVITY, "sensitivity"), (_AT_SPECIFICITY, "specificity")):
        axes.text(at, 1.005, header, transform=axes.transAxes, fontsize=8.5, fontweight="bold", va="bottom")
    axes.set_xlabel(f"sensitivity for {name} (diamond) and specificity (circle), per image")
    axes.tick_params(axis="y", length=0)
    if not rows:
        axes.text(
            *(0.5, 0.5, "not applicable\n(the table tells no sex, age, site …)"),
            transform=axes.transAxes,
            ha="center",
            va="center",
            color=GREY,
        )
    return save(figure, Path(folder), "subgroups")


def _draw(axes: Axes, place: int, part: Subgroup) -> None:
    drawn = (("sensitivity", BLUE, "D", -0.15, _AT_SENSITIVITY), ("specificity", ORANGE, "o", 0.15, _AT_SPECIFICITY))
    for name, colour, marker, shift, at in drawn:
        figure = part.figures[name]
        if isinstance(figure, NotApplicable):
            told = f"not applicable ({figure.reason.split()[0]})"  # the rest of the reason stands below the title
            axes.text(at, place, told, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=GREY)
            continue
        axes.errorbar(
            *([figure.value], [place + shift]),
            xerr=error_bars(figure),
            fmt=marker,
            color=colour,
            markersize=5,
            elinewidth=1.4,
            capsize=2,
            clip_on=False,
        )
        axes.text(at, place, with_interval(figure), transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)


def _label(row: Subgroup | str, target: str) -> str:
    if isinstance(row, str):
        return row
    return f"{row.value} ({row.n_images:,}; {target} {row.n_target_images:,}/{row.n_target_lesions:,})"

"""For whom is more missed: sensitivity and specificity of every subgroup, one below the other, with its size?"""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

from melascope.evaluation.record import Evaluation, plural, with_interval
from melascope.evaluation.subgroups import Subgroup
from melascope.report.canvas import BLUE, GREY, ORANGE, canvas, save
from melascope.tables.results import NotApplicable

_ROW = 0.42  # inches


def save_subgroups(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Draw a forest plot of sensitivity and specificity, as PNG and SVG; the line of all images stands through it.

    A part that is too small has no mark, but its size and the reason.
    """
    group, name = evaluation.whole, evaluation.target_name
    decision = group.decision(evaluation.at, "image")
    n_images, n_lesions = group.size_of(evaluation.target)
    rows: list[Subgroup | str] = []
    for part in evaluation.subgroups:
        rows += [part] if rows and part.factor in (rows[-1], getattr(rows[-1], "factor", None)) else [part.factor, part]
    figure, axes = canvas(
        f"For whom is more {name} missed, or more of the rest called?",
        f"{evaluation.rule}; all images: sensitivity {_text(decision.figures['sensitivity'])}, "
        f"specificity {_text(decision.figures['specificity'])}\n"
        f"{evaluation.split or 'all rows'}: {plural(group.n_images, 'image')} of {plural(group.n_lesions, 'lesion')}; "
        f"{name}: {plural(n_images, 'image')} of {plural(n_lesions, 'lesion')}. "
        f"In brackets: images; {name} images/lesions. [ ] 95 % interval by lesion",
        evaluation.origin.source,
        size=(10.2, 2.6 + _ROW * max(5, len(rows))),
        left=3.1,
        right=2.9,
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
    axes.set_ylim(max(4.5, len(rows) - 0.5), -0.5)
    axes.set_xlim(0, 1)
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
    texts = []
    for name, colour, marker, shift in (("sensitivity", BLUE, "D", -0.13), ("specificity", ORANGE, "o", 0.13)):
        figure = part.figures[name]
        if isinstance(figure, NotApplicable):
            texts.append("n/a")
            continue
        bars = [[figure.value - figure.low], [figure.high - figure.value]] if figure.low is not None else None
        axes.errorbar(
            *([figure.value], [place + shift]),
            xerr=bars,
            fmt=marker,
            color=colour,
            markersize=5,
            elinewidth=1.4,
            capsize=2,
        )
        texts.append(with_interval(figure))
    axes.text(1.02, place, "  ·  ".join(texts), va="center", fontsize=8.5, clip_on=False)


def _label(row: Subgroup | str, target: str) -> str:
    if isinstance(row, str):
        return row
    return f"{row.value} ({row.n_images:,}; {target} {row.n_target_images:,}/{row.n_target_lesions:,})"


def _text(figure) -> str:
    return str(figure) if isinstance(figure, NotApplicable) else with_interval(figure)

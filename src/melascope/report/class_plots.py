"""Which class is taken for which, how often is each recognised, and how sure is that?"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes

from melascope.classes import CLASS_NAMES, CLASSES
from melascope.evaluation.record import Evaluation, plural, rounded, with_interval
from melascope.report.canvas import BLUE, GREY, ORANGE, canvas, save
from melascope.report.captions import error_bars, sizes_line, with_histology
from melascope.tables.results import Estimate, Figure, NotApplicable

_DARK = 0.45  # luminance below which white letters are easier to read


def save_confusion(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Draw the confusion matrix of all images, as PNG and SVG: count, row share, and its interval in every cell."""
    group = evaluation.whole
    figure, axes = canvas(
        "Which class is taken for which? (top class)",
        with_histology(evaluation, "overall", "accuracy", "balanced_accuracy") + f"\n{sizes_line(evaluation)}\n"
        "In a cell: images, their share of the row, and that share's interval. The diagonal is each class's recall.",
        evaluation.origin.source,
        size=(9.4, 8.4),
        left=1.5,
        right=0.2,
    )
    colours = matplotlib.colormaps["Blues"]
    for place, (_, _, count, figure_of_cell) in enumerate(group.image.cells()):
        _draw_cell(axes, divmod(place, len(CLASSES)), count, figure_of_cell, colours)
    labels = [
        f"{name}\n{plural(images, 'image')}\n{plural(lesions, 'lesion')}"
        for name, (images, lesions) in group.class_counts.items()
    ]
    axes.set_xticks(range(len(CLASSES)), CLASSES)
    axes.set_yticks(range(len(CLASSES)), labels)
    axes.set_xlim(-0.5, len(CLASSES) - 0.5)
    axes.set_ylim(len(CLASSES) - 0.5, -0.5)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("truth (each row adds up to 100 %)")
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        for tick, name in zip(ticks, CLASSES, strict=True):
            tick.set_fontweight("bold" if name in evaluation.target else "normal")
    axes.tick_params(length=0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return save(figure, Path(folder), "confusion")


def _draw_cell(axes: Axes, cell: tuple[int, int], count: int, figure: Figure, colours: matplotlib.colors.Colormap):
    row, column = cell
    share = figure.value if isinstance(figure, Estimate) else 0.0
    face = colours(share)
    luminance = 0.2126 * face[0] + 0.7152 * face[1] + 0.0722 * face[2]
    ink = "white" if luminance < _DARK else "black"
    square = matplotlib.patches.Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=face, edgecolor="white")
    axes.add_patch(square)
    style = {"ha": "center", "va": "center", "color": ink}
    if isinstance(figure, NotApplicable):
        axes.text(column, row, "–", **style)
        return
    weight = "bold" if row == column else "normal"
    axes.text(column, row - 0.22, f"{count:,}", fontsize=11, fontweight=weight, **style)
    axes.text(column, row + 0.06, _percent(share), fontsize=9.5, fontweight=weight, **style)
    if figure.low is not None:
        told = f"[{100 * figure.low:.0f}, {100 * figure.high:.0f}]"
        axes.text(column, row + 0.31, told, fontsize=8.5, **style)


def _percent(share: float) -> str:
    """`54 %`, and more digits where it would read as 0 or 100 % though it is not."""
    digits = max(0, len(rounded(share, 2).partition(".")[2]) - 2)
    return f"{100 * share:.{digits}f} %"


def save_recall(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Draw each class's recall at the top class with its interval, as PNG and SVG."""
    group = evaluation.whole
    figure, axes = canvas(
        "How many images of each class are recognised? (top class)",
        with_histology(evaluation, "overall", "balanced_accuracy") + f"\n{sizes_line(evaluation)}",
        evaluation.origin.source,
        size=(8.9, 5.8),
        left=3.3,
        right=1.4,
    )
    for row, name in enumerate(CLASSES):
        recall = group.image.per_class["recall"][name]
        if isinstance(recall, NotApplicable):
            axes.text(0.01, row, str(recall), va="center", color=GREY, backgroundcolor="white")
            continue
        axes.errorbar(
            *([recall.value], [row]),
            xerr=error_bars(recall),
            fmt="D" if name in evaluation.target else "o",
            color=ORANGE if name in evaluation.target else BLUE,
            markersize=8,
            elinewidth=2,
            capsize=4,
            clip_on=False,
        )
        axes.text(1.03, row, with_interval(recall), va="center", fontsize=9)
    labels = [
        f"{name} · {CLASS_NAMES[name]}\n{plural(images, 'image')} of {plural(lesions, 'lesion')}"
        for name, (images, lesions) in group.class_counts.items()
    ]
    axes.set_yticks(range(len(CLASSES)), labels)
    axes.set_ylim(len(CLASSES) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("recall (sensitivity at the top class), 95 % interval")
    return save(figure, Path(folder), "recall")

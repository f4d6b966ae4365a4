"""How far does each intervention move the model, beside its control: for one picture, and over a whole split?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from melascope.evaluation.record import plural
from melascope.report.canvas import BLUE, GREY, ORANGE, canvas, save
from melascope.tables.interventions import CaseRow, EffectRow

_ROW = 0.34  # inches


def save_case(rows: Sequence[CaseRow], folder: Path, *, class_name: str, name: str, source: str = "") -> list[Path]:
    """Draw the change of one class's probability by each intervention on one picture, as PNG and SVG.

    Parameters
    ----------
    rows : of one picture; those of `class_name` are drawn
    class_name : one of the seven, or "target"
    name : file name without ending
    source : of the data set; a phantom is named in the picture
    """
    shown = [row for row in rows if row.class_name == class_name]
    first = shown[0]
    figure, axes = canvas(
        f"What does P({class_name}) of {first.image_id} hang on?",
        f"P({class_name}) = {first.before:.3f}, top class {first.predicted_before}. Diamond: change by the edit. "
        "Bar: middle 95 % of its controls (a region of the same form\nplaced at random; for an added artefact, "
        "the same pixels in skin colour), tick: their mean. p is not corrected for the number of edits. "
        f"Lesion mask: {first.mask_source}.",
        source,
        size=(11.0, 2.3 + _ROW * len(shown)),
        left=4.6,
        right=2.2,
    )
    axes.axvline(0, color="black", linewidth=0.8)
    for place, row in enumerate(shown):
        _draw_case(axes, place, row)
    axes.set_yticks(range(len(shown)), [_case_label(row) for row in shown], fontsize=8.5)
    _finish(axes, len(shown), f"change of P({class_name})")
    return save(figure, Path(folder), name)


def _draw_case(axes: Axes, place: int, row: CaseRow) -> None:
    if row.n_controls:
        axes.plot([row.control_low, row.control_high], [place, place], color=GREY, linewidth=5, alpha=0.45)
        axes.plot([row.control_mean], [place], marker="|", color=GREY, markersize=9)
        told = f"p={row.p_value:.3f}, n={row.n_controls}"
    else:
        told = "no room for a control"
    axes.plot([row.after - row.before], [place], marker="D", color=BLUE, markersize=5, linestyle="none")
    axes.text(
        *(1.02, place, f"{row.after:.3f}  top {row.predicted_after}  {told}"),
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=8,
    )


def _case_label(row: CaseRow) -> str:
    return row.intervention + (f", {row.fill}" if row.fill else "")


def save_effects(
    rows: Sequence[EffectRow], folder: Path, *, floor: float, name: str, masks: str = "", source: str = ""
) -> list[Path]:
    """Draw the mean change of log-odds by each edit and by its control, over a split, as PNG and SVG.

    Parameters
    ----------
    rows : of one audit
    floor : changes within ± it are called too small to matter; 0 draws no band (no verdict is asked)
    masks : where the lesions' outlines come from, e.g. "data set 1,002"
    """
    by_edit: dict[str, dict[str, EffectRow]] = {}
    for row in rows:
        by_edit.setdefault(row.edit, {})[row.figure] = row
    first = rows[0]
    band = f" Band: ± {floor:.2f}, below which an effect is called too small to matter." if floor else ""
    figure, axes = canvas(
        "Does the model listen to what is not the lesion?",
        f"{plural(first.n_images, 'image')} of {plural(first.n_lesions, 'lesion')}, each its own control. Diamond: "
        f"with the edit, circle: with its inert control.\nBars: {100 * _level(rows):.1f} % intervals by lesion, "
        f"corrected for {len(by_edit)} edits.{band}" + (f" Lesion masks: {masks}." if masks else ""),
        source,
        size=(10.4, 2.4 + 1.35 * _ROW * len(by_edit)),
        left=2.1,
        right=3.4,
    )
    if floor:
        axes.axvspan(-floor, floor, color="#e9e9e9", zorder=0)
    axes.axvline(0, color="black", linewidth=0.8)
    for place, figures in enumerate(by_edit.values()):
        for figure_name, colour, marker, shift in (("change", BLUE, "D", -0.14), ("control", ORANGE, "o", 0.14)):
            _draw_effect(axes, place + shift, figures.get(figure_name), colour, marker)
        axes.text(
            *(1.02, place, _told(figures)),
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=8,
            linespacing=1.3,
        )
    axes.set_yticks(range(len(by_edit)), [edit.replace("_", " ") for edit in by_edit], fontsize=9.5)
    _finish(axes, len(by_edit), "mean change of the log-odds of P(target)")
    return save(figure, Path(folder), name)


def _draw_effect(axes: Axes, place: float, row: EffectRow | None, colour: str, marker: str) -> None:
    if row is None or math.isnan(row.value):
        return
    bars = None if math.isnan(row.low) else [[row.value - row.low], [row.high - row.value]]
    axes.errorbar([row.value], [place], xerr=bars, fmt=marker, color=colour, markersize=5, elinewidth=1.4, capsize=2)


def _told(figures: dict[str, EffectRow]) -> str:
    """The verdict, and how many decisions flip."""
    flipped, inert = figures["flipped"], figures.get("control_flipped")
    text = f"{figures['change'].verdict}\n" if figures["change"].verdict else ""
    if math.isnan(flipped.value):
        return text + flipped.note
    text += f"decisions flipped {flipped.value:.1%} [{flipped.low:.1%}, {flipped.high:.1%}]"
    return text + (f"\ncontrol {inert.value:.1%}" if inert is not None and not math.isnan(inert.value) else "")


def _level(rows: Sequence[EffectRow]) -> float:
    return next(row.level for row in rows if row.figure == "change")


def _finish(axes: Axes, n_rows: int, label: str) -> None:
    axes.set_ylim(n_rows - 0.4, -0.6)
    axes.set_xlabel(label)
    axes.tick_params(axis="y", length=0)

"""At which threshold probabilities is acting on the model better than biopsying all, or nobody?"""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

from melascope.evaluation.record import plural
from melascope.evaluation.utility import DecisionCurve
from melascope.report.canvas import BLUE, GREY, ORANGE, canvas, save
from melascope.tables.results import NotApplicable

_TICKS = (0.01, 0.05, 0.10, 0.20, 0.30, 0.40, 0.50)


def save_decision_curve(
    curve: DecisionCurve | NotApplicable,
    folder: Path,
    *,
    target_name: str,
    split: str = "",
    source: str = "",
    below: str = "",
    file_name: str = "decision_curve",
) -> list[Path]:
    """Draw net benefit of the model with its interval, of treating all and of treating nobody, as PNG and SVG.

    Parameters
    ----------
    curve : of `decision_curve`; where it is not applicable the picture says why.
    folder : is created.
    target_name : the target in words, e.g. "melanoma".
    split, source : of the judged images; a phantom is named in the picture.
    below : further lines below the title, e.g. the same where truth comes from histology.
    file_name : without ending; one of its own for each stated prevalence.
    """
    title = f"Is acting on P({target_name}) better than treating all, or nobody?"
    subtitle = "" if isinstance(curve, NotApplicable) else _subtitle(curve, target_name, split)
    subtitle = "\n".join(line for line in (subtitle, below) if line)
    figure, axes = canvas(title, subtitle, source, size=(8.6, 6.4), left=1.15, right=0.35)
    left, bottom, width, height = axes.get_position().bounds
    lower = 0.2 / figure.get_figheight()  # inches: the tick labels have two lines
    axes.set_position((left, bottom + lower, width, height - lower))
    axes.set_xlabel("threshold probability, and below it the false alarms that one found is worth")
    axes.set_ylabel(f"net benefit: {target_name} images found per image,\nless false alarms at their weight")
    if isinstance(curve, NotApplicable):
        axes.text(0.5, 0.5, str(curve), ha="center", va="center", transform=axes.transAxes, color=GREY, fontsize=12)
        return save(figure, Path(folder), file_name)
    _draw_lines(axes, curve)
    _draw_useful(axes, curve)
    axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)
    return save(figure, Path(folder), file_name)


def _subtitle(curve: DecisionCurve, target_name: str, split: str) -> str:
    prevalence = "stated, P not recalibrated to it" if curve.is_stated else "of this collection, not of a clinic"
    return (
        f"{split or 'all rows'}: {plural(curve.n_images, 'image')} of {plural(curve.n_lesions, 'lesion')}; "
        f"{target_name}: {plural(curve.n_target_images, 'image')} of {plural(curve.n_target_lesions, 'lesion')}. "
        f"Band: 95 % interval by lesion\nprevalence {curve.prevalence:.1%} ({prevalence})"
    )


def _draw_lines(axes: Axes, curve: DecisionCurve) -> None:
    thresholds = [point.threshold for point in curve.points]
    model = [point.net_benefit for point in curve.points]
    ends = [(each.value, each.value) if each.low is None else (each.low, each.high) for each in model]
    low, high = zip(*ends, strict=True)
    axes.fill_between(thresholds, low, high, color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(thresholds, [each.value for each in model], color=BLUE, linewidth=2, label="model")
    everybody = [point.treat_all for point in curve.points]
    top = max(*high, curve.prevalence)
    lowest = min(0.0, *(each.value for each in model))
    words = lowest - 0.19 * (top - lowest)  # below stand the words of `_draw_useful`
    everybody = [value if value > words else float("nan") for value in everybody]
    axes.plot(thresholds, everybody, color=ORANGE, linewidth=2, linestyle=(0, (5, 2)), label="treat all")
    axes.plot([0, 1], [0, 0], color="black", linewidth=1.5, linestyle=(0, (1, 1.5)), label="treat nobody")
    axes.set_ylim(lowest - 0.4 * (top - lowest), top + 0.1 * (top - lowest))
    axes.set_xlim(0, thresholds[-1] + 0.005)
    ticks = [tick for tick in _TICKS if tick <= thresholds[-1]]
    axes.set_xticks(ticks, [f"{tick:.2f}\n{(1 - tick) / tick:.3g}" for tick in ticks])


def _draw_useful(axes: Axes, curve: DecisionCurve) -> None:
    """Underline the thresholds at which both differences lie above 0 with their interval."""
    bottom, top = axes.get_ylim()
    height = bottom + 0.05 * (top - bottom)
    step = curve.points[-1].threshold - curve.points[-2].threshold if len(curve.points) > 1 else 0.01
    ranges = curve.useful_ranges()
    for low, high in ranges:
        axes.plot(
            [low - step / 3, high + step / 3], [height, height], color="black", linewidth=5, solid_capstyle="butt"
        )
    told = ", ".join(f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}" for low, high in ranges)
    axes.annotate(
        f"better than both, intervals above 0: {told or 'at no threshold'}",
        (ranges[0][0] if ranges else curve.points[0].threshold, height),
        xytext=(0, 6),
        textcoords="offset points",
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )

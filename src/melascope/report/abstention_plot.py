"""If the unsure images are passed on, how often is the model wrong on the rest, and which melanomas go by?"""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

from melascope.evaluation.abstention import HEADLINE_COVERAGES, RiskCoverage
from melascope.evaluation.intervals import MIN_LESIONS
from melascope.evaluation.operating_point import target_name
from melascope.evaluation.record import plural, with_interval
from melascope.report.canvas import BLUE, ORANGE, canvas, save
from melascope.tables.results import Estimate

_PERCENT = (0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def save_risk_coverage(
    curve: RiskCoverage, folder: Path, *, rule: str, split: str = "", source: str = "", below: str = ""
) -> list[Path]:
    """Draw the share of wrong top classes and of missed target images among the accepted, as PNG and SVG.

    Parameters
    ----------
    curve : of `risk_coverage`.
    folder : is created.
    rule : the decision that misses, in words, e.g. "threshold 0.137, frozen on validation" or "top class".
    split, source : of the judged images; a phantom is named in the picture.
    below : further lines below the title, e.g. the same where truth comes from histology.
    """
    name = target_name(curve.target)
    figure, axes = canvas(
        f"If the unsure images are passed on, which {name} images are still missed?",
        f"AUGRC {with_interval(curve.augrc, 3)}, AURC {with_interval(curve.aurc, 3)} (lower is better)\n"
        f"{split or 'all rows'}: {plural(curve.n_images, 'image')} of {plural(curve.n_lesions, 'lesion')}; {name}: "
        f"{plural(curve.n_target_images, 'image')} of {plural(curve.n_target_lesions, 'lesion')}. "
        "[ ] 95 % interval by lesion" + (f"\n{below}" if below else ""),
        source,
        size=(8.8, 6.2),
    )
    axes.set_xlabel("coverage: share of images accepted, the most confident first; the others go to a person")
    axes.set_ylabel("share of the accepted images")
    _draw_risk(axes, curve)
    _draw_missed(axes, curve, name, rule)
    axes.set_xlim(0, 1.04)
    axes.set_xticks(_PERCENT)
    axes.set_ylim(0, max(0.1, 1.25 * axes.dataLim.y1))
    axes.legend(loc="upper left", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)
    return save(figure, Path(folder), "risk_coverage")


def _draw_risk(axes: Axes, curve: RiskCoverage) -> None:
    reached = [level.n_images / curve.n_images for level in curve.levels]
    low, high = zip(*(_ends(level.risk) for level in curve.levels), strict=True)
    axes.fill_between(reached, low, high, color=BLUE, alpha=0.2, linewidth=0)
    values = [level.risk.value for level in curve.levels]
    axes.plot(reached, values, color=BLUE, linewidth=2, label="top class wrong, of all accepted images")


def _draw_missed(axes: Axes, curve: RiskCoverage, name: str, rule: str) -> None:
    """Draw shares of `MIN_LESIONS` lesions and more: one miss among two would stretch the axis and mean nothing."""
    everything = curve.levels[-1].missed
    if not isinstance(everything, Estimate) or everything.n_lesions < MIN_LESIONS:
        reason = everything if not isinstance(everything, Estimate) else f"too few ({plural(everything.n, 'image')})"
        axes.plot([], [], color=ORANGE, label=f"{name} missed: {reason}")
        return
    defined = [
        level for level in curve.levels if isinstance(level.missed, Estimate) and level.missed.n_lesions >= MIN_LESIONS
    ]
    axes.plot(
        [level.n_images / curve.n_images for level in defined],
        [level.missed.value for level in defined],
        color=ORANGE,
        linewidth=2,
        linestyle=(0, (5, 2)),
        label=f"{name} missed, of accepted {name} images\n({rule}; from {MIN_LESIONS} lesions on)",
    )
    for level in defined:
        if level.coverage not in HEADLINE_COVERAGES:
            continue
        (low, high), value, at = _ends(level.missed), level.missed.value, level.n_images / curve.n_images
        bars = [[max(value - low, 0)], [max(high - value, 0)]]
        axes.errorbar([at], [value], yerr=bars, fmt="D", color=ORANGE, markersize=6, capsize=4, zorder=5)
        told = f"{level.n_missed:,} of\n{level.n_target:,}"
        axes.annotate(
            *(told, (at, high)), xytext=(0, 4), textcoords="offset points", ha="center", color="black", fontsize=8.5
        )


def _ends(figure: Estimate) -> tuple[float, float]:
    return (figure.value, figure.value) if figure.low is None else (figure.low, figure.high)

"""When the model says 20 %, is it so in 20 % of the images, and of how many images does it say so?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit, logit

from melascope.evaluation.calibration import Calibration
from melascope.evaluation.record import plural, with_interval
from melascope.evaluation.reliability import ReliabilityBin
from melascope.evaluation.target import target_name
from melascope.report.canvas import BLUE, GREY, ORANGE, canvas, save
from melascope.tables.results import Estimate, NotApplicable

_TICKS = [0, 0.2, 0.4, 0.6, 0.8, 1.0]
_SIZE = (7.6, 9.75)
_STRIP, _GAP = 1.15, 0.3  # inches: height of the histogram, and the space above it


def save_calibration_plot(
    calibration: Calibration,
    folder: Path,
    *,
    split: str = "",
    source: str = "",
    below: str = "",
    file_name: str = "reliability",
) -> list[Path]:
    """Draw the reliability curve of P(target) over a histogram of the images, as PNG and SVG.

    Parameters
    ----------
    calibration : made by `measure_calibration`.
    folder : is created.
    split, source : of the judged images; a phantom is named in the picture.
    below : further lines below the title, e.g. the same where truth comes from histology.
    file_name : without ending.
    """
    name = _name(calibration)
    figure, axes = canvas(
        f"Can P({name}) be taken at its word?",
        "\n".join(line for line in (_subtitle(calibration, name, split), below) if line),
        source,
        size=_SIZE,
    )
    strip = _strip_below(figure, axes)
    _draw_curve(axes, calibration, name)
    _draw_histogram(strip, calibration, name)
    return save(figure, Path(folder), file_name)


def _strip_below(figure: Figure, axes: Axes) -> Axes:
    """Shorten the curve's axes and stand those of the histogram below, of the same width."""
    left, bottom, width, height = axes.get_position().bounds
    whole = figure.get_figheight()
    strip_height, raised = _STRIP / whole, (_STRIP + _GAP) / whole
    axes.set_position((left, bottom + raised, width, height - raised))
    strip = figure.add_axes((left, bottom, width, strip_height), sharex=axes)
    for side in ("top", "right"):
        strip.spines[side].set_visible(False)
    return strip


def _draw_curve(axes: Axes, calibration: Calibration, name: str) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (1, 3)), label="perfect: as many as predicted")
    bins = calibration.reliability
    intercept, slope = (calibration.figures[f"target_calibration_{part}"] for part in ("intercept", "slope"))
    if isinstance(intercept, Estimate) and isinstance(slope, Estimate):
        tiny = 1e-12  # log-odds of 0 and of 1 are infinite
        shown = np.linspace(*(logit(np.clip(bins[end].predicted, tiny, 1 - tiny)) for end in (0, -1)), 400)
        label = f"logistic recalibration, slope {with_interval(slope)}"
        fitted = expit(intercept.value + slope.value * shown)
        axes.plot(expit(shown), fitted, color=ORANGE, linewidth=2, linestyle=(0, (5, 2)), label=label)
    _draw_bins(axes, bins)
    axes.set_ylabel(f"observed: share of a bin's images that are {name}")
    axes.set_xlim(-0.015, 1.015)
    axes.set_ylim(-0.015, 1.015)
    axes.set_xticks(_TICKS)
    axes.set_yticks(_TICKS)
    axes.tick_params(labelbottom=False)
    axes.legend(loc="upper left", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)


def _draw_bins(axes: Axes, bins: tuple[ReliabilityBin, ...]) -> None:
    """A dot for each bin, with its interval where it has one."""
    observed = np.array([one.observed for one in bins])
    ends = np.array([(v, v) if one.low is None else (one.low, one.high) for one, v in zip(bins, observed, strict=True)])
    images = sorted({one.n_images for one in bins})
    many = f"{images[0]:,}" if len(images) == 1 else f"{images[0]:,} to {images[-1]:,}"
    axes.errorbar(
        [one.predicted for one in bins],
        observed,
        yerr=np.maximum(np.abs(ends.T - observed), 0),
        fmt="o",
        color=BLUE,
        markersize=6,
        elinewidth=1.4,
        capsize=2.5,
        zorder=5,
        label=f"{plural(len(bins), 'bin')} of {many} images, 95 % interval",
    )


def _draw_histogram(strip: Axes, calibration: Calibration, name: str) -> None:
    """All images in grey, those of the target hatched inside; a logarithmic height, for most images stand near 0."""
    images, targets = np.array(calibration.histogram).T
    edges = np.linspace(0, 1, len(images) + 1)
    places = {"x": edges[:-1], "width": 1 / len(images), "align": "edge", "linewidth": 0.6}
    strip.bar(height=images, color="#d0d0d0", edgecolor="white", label="all", **places)
    strip.bar(height=targets, color="none", edgecolor=ORANGE, hatch="/////", **places, label=f"{name} (hatched)")
    strip.set_yscale("symlog", linthresh=1)
    strip.set_ylim(0, max(10, images.max() * 2))
    ticks = [0, *(10**power for power in range(int(np.log10(max(10, images.max()))) + 1))]
    strip.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    strip.minorticks_off()
    strip.set_ylabel("images (log)")
    strip.set_xlabel(f"predicted: P({name})")
    strip.legend(loc="upper right", ncols=2, frameon=False, fontsize=8.5)


def _subtitle(calibration: Calibration, name: str, split: str) -> str:
    figures = calibration.figures
    perfect = calibration.if_perfect["target_expected_calibration_error"]
    targets = f"{plural(calibration.n_target_images, 'image')} of {plural(calibration.n_target_lesions, 'lesion')}"
    return (
        f"calibration in the large {_text(figures['target_calibration_in_the_large'])}, "
        f"observed/expected {_text(figures['target_observed_to_expected'])}\n"
        f"calibration error {_text(figures['target_expected_calibration_error'], 3)}; a perfect model's would be "
        f"{perfect.value:.3f} [{perfect.low:.3f}, {perfect.high:.3f}]\n"
        f"{split or 'all rows'}: {plural(calibration.n_images, 'image')} of "
        f"{plural(calibration.n_lesions, 'lesion')}; {name}: {targets}. [ ] 95 % interval by lesion"
    )


def _text(figure: Estimate | NotApplicable, digits: int = 2) -> str:
    return with_interval(figure, digits) if isinstance(figure, Estimate) else str(figure)


def _name(calibration: Calibration) -> str:
    """The target in words, or its classes' short names where there are several."""
    return target_name(calibration.target) if len(calibration.target) == 1 else "+".join(calibration.target)

"""Can the probabilities be taken at their word: over all classes, and for the target?

Every figure is computed under many bootstrap draws of lesions at once, as in `metrics`. How each is defined stands at
its function in `forecasts`, in `recalibration` (slope, in-the-large) and in `reliability` (bins, calibration error and
its interval).

Scores between 0 and `top` get the interval of `intervals`. A figure without bounds gets Student's t times the standard
error of the draws (linear, or of its logarithm where it is positive), t with the lesions of the rarer side: with 15 to
360 clustered melanoma lesions it covered slope, in-the-large and observed/expected in 94 to 99 % of simulations, plain
percentiles in 90 to 97 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from melascope.errors import DataError
from melascope.evaluation.counting import each_once, n_distinct
from melascope.evaluation.forecasts import CALIBRATION_FIGURES, OBSERVED, Forecasts
from melascope.evaluation.intervals import LEVEL, MIN_DEFINED, MIN_LESIONS, interval, lesion_draws
from melascope.evaluation.reliability import BINS, ReliabilityBin, calibration_error_interval
from melascope.evaluation.target import target_name
from melascope.tables.predictions import Predictions
from melascope.tables.results import Estimate, Figure, NotApplicable, figure_from_json

__all__ = ["CALIBRATION_FIGURES", "Calibration", "Forecasts", "calibration_of", "measure_calibration"]

HISTOGRAM_BINS = 25
BINNING = f"{BINS} bins of equal mass, equal scores in one bin, the same bins in every draw"


@dataclass(frozen=True)
class Calibration:
    """Whether the probabilities of a group of images, or of lesions, can be taken at their word.

    Parameters
    ----------
    target : classes whose probabilities are summed to P(target).
    temperature : at which the logits were turned into probabilities.
    n_images, n_lesions : with known truth; where `unit` is "lesion" both count lesions, one result each.
    n_target_images, n_target_lesions : those of a target class.
    draws, seed : of the lesion bootstrap.
    figures : row of `CALIBRATION_FIGURES` -> figure.
    if_perfect : row that is a calibration error -> what it would be if the probabilities were right: mean of simulated
        labels, and the middle 95 % of them as `low` and `high`.
    reliability : the bins of P(target), rising.
    histogram : ((images, target images), ...) of P(target) in `HISTOGRAM_BINS` equal steps from 0 to 1.
    unit : "image" or "lesion".
    """

    target: tuple[str, ...]
    temperature: float
    n_images: int
    n_lesions: int
    n_target_images: int
    n_target_lesions: int
    draws: int
    seed: int
    figures: dict[str, Figure]
    if_perfect: dict[str, Estimate]
    reliability: tuple[ReliabilityBin, ...]
    histogram: tuple[tuple[int, int], ...]
    unit: str = "image"

    def as_json(self) -> dict[str, Any]:
        counts = ("temperature", "n_images", "n_lesions", "n_target_images", "n_target_lesions", "draws", "seed")
        return {
            "target": list(self.target),
            **{name: getattr(self, name) for name in counts},
            "unit": self.unit,
            "binning": BINNING,
            "figures": {name: figure.as_json() for name, figure in self.figures.items()},
            "if_perfect": {name: figure.as_json() for name, figure in self.if_perfect.items()},
            "reliability": [one.as_json() for one in self.reliability],
            "histogram": [list(counts) for counts in self.histogram],
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Calibration:
        """Read back what `as_json` wrote."""
        fields = {name: value for name, value in content.items() if name != "binning"}
        return cls(
            **fields
            | {
                "target": tuple(content["target"]),
                "figures": {name: figure_from_json(figure) for name, figure in content["figures"].items()},
                "if_perfect": {name: figure_from_json(figure) for name, figure in content["if_perfect"].items()},
                "reliability": tuple(ReliabilityBin.from_json(one) for one in content["reliability"]),
                "histogram": tuple(tuple(counts) for counts in content["histogram"]),
            }
        )


def measure_calibration(
    rows: Predictions, target: tuple[str, ...] = ("mel",), *, draws: int = 2000, seed: int = 0
) -> Calibration:
    """Hold the probabilities of the rows against the truth.

    Parameters
    ----------
    rows : of one split, e.g. `evaluated_rows(predictions, "test")`; rows without known truth do not count.
    target : the class or classes whose probability is judged by itself.
    draws : of the lesion bootstrap; 0 gives no intervals.
    seed : of the draws; the same seed gives the same intervals.

    Raises
    ------
    DataError : no row has a known truth.
    """
    known = rows.subset(rows.labels >= 0)
    if len(known) == 0:
        raise DataError(
            f"Calibration cannot be judged: none of {len(rows)} rows has a known truth (dx).",
            expected="rows with a class in column dx",
            fix="add the truth to the table",
        )
    forecasts = Forecasts.of(known, target)
    drawn = [forecasts.values(weights) for weights in lesion_draws(forecasts.n_lesions, draws, seed)]
    spread = {name: np.concatenate([one[name] for one in drawn]) for name in (drawn[0] if drawn else {})}
    return calibration_of(forecasts, spread, temperature=float(rows.origin.temperature), draws=draws, seed=seed)


def calibration_of(
    forecasts: Forecasts, spread: Mapping[str, np.ndarray], *, temperature: float, draws: int, seed: int
) -> Calibration:
    """Write the figures of `forecasts` down; `spread` is what its `values` gave for all draws, {} without any."""
    whole = forecasts.values(each_once(forecasts.n_lesions))
    spread = {name: spread.get(name, values[:0]) for name, values in whole.items()}
    perfect = {
        name: forecasts.reliability[figure.bins_of].calibration_error_if_perfect(seed)
        for name, figure in CALIBRATION_FIGURES.items()
        if figure.bins_of
    }
    truth = forecasts.truth
    return Calibration(
        target=forecasts.target,
        temperature=temperature,
        n_images=len(forecasts),
        n_lesions=n_distinct(forecasts.lesion),
        n_target_images=int(truth.sum()),
        n_target_lesions=n_distinct(forecasts.lesion[truth]),
        draws=draws,
        seed=seed,
        figures=_figures(forecasts, spread, perfect),
        if_perfect={name: _simulated(forecasts, errors) for name, errors in perfect.items()},
        reliability=forecasts.reliability["target"].curve(spread[OBSERVED]),
        histogram=_histogram(forecasts.score, truth),
        unit=forecasts.unit,
    )


def _figures(forecasts: Forecasts, spread: dict[str, np.ndarray], perfect: dict[str, np.ndarray]) -> dict[str, Figure]:
    rarer = min(n_distinct(forecasts.lesion[side]) for side in (forecasts.truth, ~forecasts.truth))
    whole = n_distinct(forecasts.lesion)
    figures: dict[str, Figure] = {}
    point = forecasts.values(each_once(forecasts.n_lesions))
    for name, figure in CALIBRATION_FIGURES.items():
        value = float(point[name][0])
        if np.isnan(value):
            figures[name] = NotApplicable(_why_undefined(forecasts))
            continue
        n_lesions = rarer if figure.compares else whole
        if figure.bins_of:
            ends = calibration_error_interval(value, spread[name], perfect[name], n_lesions)
        elif figure.scale == "log_odds":
            ends = interval(value, spread[name], n_lesions, is_share=False, top=figure.top)
        else:
            ends = student_interval(value, spread[name], n_lesions, log=figure.scale == "log")
        figures[name] = Estimate(value, *(ends or (None, None)), len(forecasts), whole, forecasts.unit)
    return figures


def student_interval(value: float, values: np.ndarray, n_lesions: int, *, log: bool) -> tuple[float, float] | None:
    """The 95 % interval of a figure without bounds, by the rule at the top of this file; None with few lesions.

    Parameters
    ----------
    values : (draws,) the figure in each bootstrap draw, NaN where undefined.
    log : lay it out on the logarithm; None then where the figure is 0.
    """
    if log:
        if value <= 0:
            return None
        logs = np.log(values, out=np.full(len(values), np.nan), where=values > 0)
        ends = student_interval(float(np.log(value)), logs, n_lesions, log=False)
        return (float(np.exp(ends[0])), float(np.exp(ends[1]))) if ends else None
    defined = values[~np.isnan(values)]
    if n_lesions < MIN_LESIONS or len(defined) < max(2, MIN_DEFINED * len(values)):
        return None
    half = float(stdtrit(n_lesions - 1, (1 + LEVEL) / 2) * np.sqrt(n_lesions / (n_lesions - 1)) * defined.std())
    return value - half, value + half


def _why_undefined(forecasts: Forecasts) -> str:
    truth, odds, units = forecasts.truth, forecasts.log_odds, f"{forecasts.unit}s"
    n_target, name = int(truth.sum()), target_name(forecasts.target)
    if n_target in (0, len(truth)):
        return f"n=0 {units} {'of' if n_target == 0 else 'other than'} {name}"
    if np.ptp(odds) < 1e-9:
        return f"no fit: P({name}) is the same for all n={len(truth):,} {units}"
    if odds[truth].min() >= odds[~truth].max() or odds[truth].max() <= odds[~truth].min():
        return f"no finite fit: one P({name}) splits n={n_target} {units} of it from the {len(truth) - n_target} others"
    return f"no fit was found: the log-odds of P({name}) reach {np.abs(odds).max():.3g}"


def _simulated(forecasts: Forecasts, errors: np.ndarray) -> Estimate:
    low, high = np.quantile(errors, [0.025, 0.975])
    n_lesions = n_distinct(forecasts.lesion)
    return Estimate(float(errors.mean()), float(low), float(high), len(forecasts), n_lesions, forecasts.unit)


def _histogram(score: np.ndarray, truth: np.ndarray) -> tuple[tuple[int, int], ...]:
    counts = [np.histogram(score[rows], HISTOGRAM_BINS, (0.0, 1.0))[0] for rows in (np.full(len(score), True), truth)]
    return tuple(zip(*(one.tolist() for one in counts), strict=True))

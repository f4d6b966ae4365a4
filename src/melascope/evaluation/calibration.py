"""Can the probabilities be taken at their word: over all classes, and for the target?

Every figure is computed under many bootstrap draws of lesions at once, as in `metrics`, and from log-probabilities,
so a chance too small for a float costs no clipping. How each is defined stands at its function, in `recalibration`
(slope, in-the-large) and in `reliability` (bins, calibration error and its interval).

Scores between 0 and `top` get the interval of `intervals`. A figure without bounds gets Student's t times the standard
error of the draws (linear, or of its logarithm where it is positive), t with the lesions of the rarer side: with 15 to
360 clustered melanoma lesions it covered slope, in-the-large and observed/expected in 94 to 99 % of simulations, plain
percentiles in 90 to 97 %.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import logsumexp, stdtrit

from melascope.classes import CLASSES
from melascope.errors import DataError
from melascope.evaluation.counting import each_once, lesion_numbers, n_distinct, ratio, totals_by_lesion
from melascope.evaluation.intervals import LEVEL, MIN_DEFINED, MIN_LESIONS, interval, lesion_draws
from melascope.evaluation.recalibration import Fit, Recalibration
from melascope.evaluation.reliability import BINS, Reliability, ReliabilityBin, calibration_error_interval
from melascope.evaluation.target import is_target, target_name, target_score
from melascope.evaluation.temperature import log_probabilities
from melascope.tables.predictions import Predictions
from melascope.tables.results import Estimate, Figure, NotApplicable, figure_from_json

HISTOGRAM_BINS = 25
OBSERVED = "observed"
BINNING = f"{BINS} bins of equal mass, equal scores in one bin, the same bins in every draw"


@dataclass(frozen=True)
class Forecasts:
    """Images with known truth and what was forecast of them; what does not depend on a draw is worked out once.

    Parameters
    ----------
    log_probability : (n_images, 7) float64, finite
    labels : (n_images,) int64, column of the truth in `CLASSES`
    target : classes whose probabilities are summed to P(target)
    lesion : (n_images,) int64, which of the `n_lesions` lesions an image shows
    """

    log_probability: np.ndarray
    labels: np.ndarray
    target: tuple[str, ...]
    lesion: np.ndarray
    n_lesions: int

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, rows: Predictions, target: tuple[str, ...]) -> Forecasts:
        """From rows of a table, all of known truth, at the temperature that it carries."""
        lesion = lesion_numbers(rows.lesion_key)
        log_probability = log_probabilities(rows.logits, rows.origin.temperature)
        return cls(log_probability, rows.labels, target, lesion, int(lesion.max()) + 1)

    @cached_property
    def truth(self) -> np.ndarray:
        """(n_images,) bool: is of a target class."""
        return is_target(self.labels, self.target)

    @cached_property
    def log_odds(self) -> np.ndarray:
        """(n_images,) float64: log P(target) / (1 - P(target)), finite however sure the model is."""
        inside = np.isin(CLASSES, self.target)
        return logsumexp(self.log_probability[:, inside], axis=1) - logsumexp(self.log_probability[:, ~inside], axis=1)

    @cached_property
    def score(self) -> np.ndarray:
        """(n_images,) float64: P(target)."""
        return target_score(np.exp(self.log_probability), self.target).clip(max=1.0)

    @cached_property
    def recalibration(self) -> Recalibration:
        """Truth against the log-odds of the target."""
        return Recalibration(self.log_odds, self.truth, self.lesion, self.n_lesions)

    @cached_property
    def reliability(self) -> dict[str, Reliability]:
        """Score against what came true: of the top class, and of the target."""
        confidence = np.exp(self.log_probability.max(axis=1))
        right = self.log_probability.argmax(axis=1) == self.labels
        return {
            "top_class": Reliability(confidence, right, self.lesion, self.n_lesions),
            "target": Reliability(self.score, self.truth, self.lesion, self.n_lesions),
        }

    @cached_property
    def losses(self) -> dict[str, np.ndarray]:
        """What each lesion's images add to a mean: name -> (n_units,) float64."""
        true = np.eye(len(CLASSES))[self.labels]
        by_image = {
            "images": np.ones(len(self)),
            "nll": -self.log_probability[np.arange(len(self)), self.labels],
            "brier": ((np.exp(self.log_probability) - true) ** 2).sum(axis=1),
            "target_brier": (self.score - self.truth) ** 2,
            "expected": self.score,
            "observed": self.truth,
        }
        return {name: totals_by_lesion(values, self.lesion, self.n_lesions) for name, values in by_image.items()}

    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Each of `CALIBRATION_FIGURES` (draws,) under lesion weights (draws, n_units); NaN where undefined.

        Beside them, as `OBSERVED`, the share of target images in every bin of P(target) (draws, bins).
        """
        tally = ForecastTally(self, weights)
        figures = {name: figure.function(tally) for name, figure in CALIBRATION_FIGURES.items()}
        return figures | {OBSERVED: self.reliability["target"].observed(weights)}


@dataclass(frozen=True)
class ForecastTally:
    """Forecasts counted under the weights (draws, n_units) of some draws, as in `metrics.Tally`."""

    forecasts: Forecasts
    weights: np.ndarray

    @cached_property
    def sums(self) -> dict[str, np.ndarray]:
        """Each of `Forecasts.losses` summed over the images of each draw, (draws,)."""
        losses = self.forecasts.losses
        return dict(zip(losses, (self.weights @ np.stack([*losses.values()], axis=1)).T, strict=True))

    @cached_property
    def fit(self) -> Fit:
        """Logistic recalibration in each draw."""
        return self.forecasts.recalibration.fit(self.weights)


def nll(tally: ForecastTally) -> np.ndarray:
    """(draws,): mean negative log-likelihood of the truth in nats; 0 is perfect, log 7 = 1.95 knows nothing."""
    return ratio(tally.sums["nll"], tally.sums["images"])


def brier_score(tally: ForecastTally) -> np.ndarray:
    """(draws,): mean over images of the squared error summed over the classes, 0 to 2 (Brier 1950, eq. 2)."""
    return ratio(tally.sums["brier"], tally.sums["images"])


def top_class_error(tally: ForecastTally) -> np.ndarray:
    """(draws,): expected calibration error of the top class's probability against whether it is right."""
    return tally.forecasts.reliability["top_class"].calibration_error(tally.weights)


def target_brier_score(tally: ForecastTally) -> np.ndarray:
    """(draws,): mean squared error of P(target), 0 to 1."""
    return ratio(tally.sums["target_brier"], tally.sums["images"])


def target_error(tally: ForecastTally) -> np.ndarray:
    """(draws,): expected calibration error of P(target) against the truth."""
    return tally.forecasts.reliability["target"].calibration_error(tally.weights)


def observed_to_expected(tally: ForecastTally) -> np.ndarray:
    """(draws,): target images over the sum of P(target); below 1 the probabilities are too high on average."""
    return ratio(tally.sums["observed"], tally.sums["expected"])


def calibration_slope(tally: ForecastTally) -> np.ndarray:
    """(draws,): 1 is perfect; below 1 P(target) is too extreme."""
    return tally.fit.slope


def calibration_intercept(tally: ForecastTally) -> np.ndarray:
    """(draws,): of the fit that the slope belongs to; with it, draws the recalibration curve."""
    return tally.fit.intercept


def calibration_in_the_large(tally: ForecastTally) -> np.ndarray:
    """(draws,): 0 is perfect; below 0 P(target) is too high on average, in log-odds."""
    return tally.fit.in_the_large


@dataclass(frozen=True)
class CalibrationFigure:
    """A row of `CALIBRATION_FIGURES`.

    Parameters
    ----------
    function : `ForecastTally` -> (draws,), NaN where undefined.
    scale : on which the interval is symmetric: "log_odds" (from 0 to `top`), "log" (above 0) or "linear".
    top : the highest possible value on the scale "log_odds".
    compares : it sets target images against the others, so that the rarer side says how sure it is.
    bins_of : for a calibration error, whose bins: a key of `Forecasts.reliability`.
    """

    function: Callable[[ForecastTally], np.ndarray]
    scale: str = "linear"
    top: float = 1.0
    compares: bool = False
    bins_of: str = ""


CALIBRATION_FIGURES: dict[str, CalibrationFigure] = {
    "nll": CalibrationFigure(nll, "log"),
    "brier_score": CalibrationFigure(brier_score, "log_odds", top=2.0),
    "expected_calibration_error": CalibrationFigure(top_class_error, bins_of="top_class"),
    "target_brier_score": CalibrationFigure(target_brier_score, "log_odds", compares=True),
    "target_expected_calibration_error": CalibrationFigure(target_error, bins_of="target"),
    "target_observed_to_expected": CalibrationFigure(observed_to_expected, "log", compares=True),
    "target_calibration_slope": CalibrationFigure(calibration_slope, compares=True),
    "target_calibration_intercept": CalibrationFigure(calibration_intercept, compares=True),
    "target_calibration_in_the_large": CalibrationFigure(calibration_in_the_large, compares=True),
}
"""Every figure of calibration; `target_` ones are of P(target). A new one is a function above and a row here."""


@dataclass(frozen=True)
class Calibration:
    """Whether the probabilities of a group of images can be taken at their word.

    Parameters
    ----------
    target : classes whose probabilities are summed to P(target).
    temperature : at which the logits were turned into probabilities.
    n_images, n_lesions : with known truth.
    n_target_images, n_target_lesions : those of a target class.
    draws, seed : of the lesion bootstrap.
    figures : row of `CALIBRATION_FIGURES` -> figure.
    if_perfect : row that is a calibration error -> what it would be if the probabilities were right: mean of simulated
        labels, and the middle 95 % of them as `low` and `high`.
    reliability : the bins of P(target), rising.
    histogram : ((images, target images), ...) of P(target) in `HISTOGRAM_BINS` equal steps from 0 to 1.
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

    def as_json(self) -> dict[str, Any]:
        counts = ("temperature", "n_images", "n_lesions", "n_target_images", "n_target_lesions", "draws", "seed")
        return {
            "target": list(self.target),
            **{name: getattr(self, name) for name in counts},
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
    )


def _figures(forecasts: Forecasts, spread: dict[str, np.ndarray], perfect: dict[str, np.ndarray]) -> dict[str, Figure]:
    rarer = min(n_distinct(forecasts.lesion[side]) for side in (forecasts.truth, ~forecasts.truth))
    figures: dict[str, Figure] = {}
    point = forecasts.values(each_once(forecasts.n_lesions))
    for name, figure in CALIBRATION_FIGURES.items():
        value = float(point[name][0])
        if np.isnan(value):
            figures[name] = NotApplicable(_why_undefined(forecasts))
            continue
        n_lesions = rarer if figure.compares else forecasts.n_lesions
        if figure.bins_of:
            ends = calibration_error_interval(value, spread[name], perfect[name], n_lesions)
        elif figure.scale == "log_odds":
            ends = interval(value, spread[name], n_lesions, is_share=False, top=figure.top)
        else:
            ends = student_interval(value, spread[name], n_lesions, log=figure.scale == "log")
        figures[name] = Estimate(value, *(ends or (None, None)), n=len(forecasts), n_lesions=forecasts.n_lesions)
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
    n_target, name = int(forecasts.truth.sum()), target_name(forecasts.target)
    if n_target in (0, len(forecasts)):
        return f"n=0 images {'of' if n_target == 0 else 'other than'} {name}"
    return f"no finite fit: one P({name}) splits n={n_target} images of it from the {len(forecasts) - n_target} others"


def _simulated(forecasts: Forecasts, errors: np.ndarray) -> Estimate:
    low, high = np.quantile(errors, [0.025, 0.975])
    return Estimate(float(errors.mean()), float(low), float(high), n=len(forecasts), n_lesions=forecasts.n_lesions)


def _histogram(score: np.ndarray, truth: np.ndarray) -> tuple[tuple[int, int], ...]:
    counts = [np.histogram(score[rows], HISTOGRAM_BINS, (0.0, 1.0))[0] for rows in (np.full(len(score), True), truth)]
    return tuple(zip(*(one.tolist() for one in counts), strict=True))

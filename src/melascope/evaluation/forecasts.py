"""What was forecast of each image, or lesion, and how far is it from the truth: every figure under many draws at once?

All is computed from log-probabilities, so a chance too small for a float costs no clipping. One result a lesion is the
mean of its images' probabilities (`lesion_level`): it is what the frozen threshold judges a lesion by, so it must be
held against the truth too. Means of right probabilities need not be right themselves (they are rather too timid).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import logsumexp

from melascope.classes import CLASSES
from melascope.evaluation.counting import lesion_numbers, ratio, totals_by_lesion
from melascope.evaluation.lesion_level import lesion_labels
from melascope.evaluation.recalibration import Fit, Recalibration
from melascope.evaluation.reliability import Reliability
from melascope.evaluation.target import is_target, target_score
from melascope.evaluation.temperature import log_probabilities
from melascope.tables.predictions import Predictions
from melascope.tables.probabilities import steady

OBSERVED = "observed"


@dataclass(frozen=True)
class Forecasts:
    """Images (or lesions) of known truth and what was forecast of them; what no draw changes is worked out once.

    Parameters
    ----------
    log_probability : (n_images, 7) float64, finite
    labels : (n_images,) int64, column of the truth in `CLASSES`
    target : classes whose probabilities are summed to P(target)
    lesion : (n_images,) int64, which of the `n_lesions` lesions an image shows
    unit : "image" or "lesion"
    any_target : (n_images,) bool, of a target class where `labels` do not tell it: a lesion is, if any image of it is
    """

    log_probability: np.ndarray
    labels: np.ndarray
    target: tuple[str, ...]
    lesion: np.ndarray
    n_lesions: int
    unit: str = "image"
    any_target: np.ndarray | None = None

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
        return is_target(self.labels, self.target) if self.any_target is None else self.any_target

    def among(self, images: np.ndarray) -> Forecasts:
        """Those of a mask (n_images,); draws keep the weights that they have for all lesions."""
        return replace(
            self,
            log_probability=self.log_probability[images],
            labels=self.labels[images],
            lesion=self.lesion[images],
            any_target=None if self.any_target is None else self.any_target[images],
        )

    def by_lesion(self) -> Forecasts:
        """One result a lesion by the rule of `lesion_level`: the mean of its images' probabilities, as a logarithm."""
        order = np.argsort(self.lesion, kind="stable")
        starts = np.flatnonzero(np.diff(self.lesion[order], prepend=-1))
        images = np.diff(starts, append=len(order))
        highest = np.maximum.reduceat(self.log_probability[order], starts, axis=0)
        sums = np.add.reduceat(np.exp(self.log_probability[order] - np.repeat(highest, images, axis=0)), starts, axis=0)
        return replace(
            self,
            log_probability=highest + np.log(sums / images[:, None]),
            labels=lesion_labels(self.labels, self.lesion),
            lesion=self.lesion[order][starts],
            unit="lesion",
            any_target=np.logical_or.reduceat(self.truth[order], starts),
        )

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
        confidence = steady(np.exp(self.log_probability.max(axis=1)))
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

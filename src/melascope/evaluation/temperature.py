"""By which one number must the logits be divided so that the model is as sure as it may be?

Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks", ICML, eq. 9) changes how sure the
model is, never which class comes first. The temperature is chosen on validation images alone, like the operating
point, and before it: it changes every P(melanoma), hence every threshold.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

from melascope.classes import CLASSES
from melascope.errors import DataError
from melascope.tables.predictions import Predictions

COLDEST, HOTTEST = 0.05, 20.0
"""A fitted temperature stays between these; one that hits an end says so."""


@dataclass(frozen=True)
class Temperature:
    """A temperature fitted on validation images.

    Parameters
    ----------
    temperature : > 0; above 1 the raw logits were too sure, below 1 not sure enough.
    n_images, n_lesions : validation images with known truth, and their lesions.
    nll_before, nll_after : mean negative log-likelihood (nats) on these images, at temperature 1 and at this one.
    note : a sentence where the best temperature lies beyond `COLDEST` or `HOTTEST`, else "".
    """

    temperature: float
    n_images: int
    n_lesions: int
    nll_before: float
    nll_after: float
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Temperature:
        return cls(**content)


def log_probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Logarithm (n, 7) of `probabilities_from_logits`, finite even where a probability is too small for a float."""
    return log_softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1)


def nll(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood in nats of `labels` (n,) under softmax(`logits` (n, 7) / temperature)."""
    return float(-log_probabilities(logits, temperature)[np.arange(len(labels)), labels].mean())


def fit_temperature(predictions: Predictions) -> Temperature:
    """Choose the temperature of least NLL on validation images; the one that the table carries plays no part.

    Parameters
    ----------
    predictions : validation rows only: `predictions.of_split("val")`. Rows without known truth do not count.

    Raises
    ------
    DataError : rows of another split, no known truth, truth of one class only, logits that do not depend on the class.
    """
    foreign = sorted({split or "(none)" for split in predictions.split} - {"val"})
    if foreign:
        raise DataError(
            f"The rows to fit a temperature on are of other splits: {', '.join(foreign)}.",
            expected="rows of `val` only; a temperature fitted on test images would flatter their calibration",
            fix='pass predictions.of_split("val")',
        )
    known = predictions.subset(predictions.labels >= 0)
    temperature, note = best_temperature(known.logits, known.labels)
    return Temperature(
        temperature=temperature,
        n_images=len(known),
        n_lesions=len(np.unique(known.lesion_key.astype(str))),
        nll_before=nll(known.logits, known.labels),
        nll_after=nll(known.logits, known.labels, temperature),
        note=note,
    )


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> tuple[float, str]:
    """The temperature of least NLL, and a note where it had to be bounded.

    The NLL is convex in 1/T, so its slope in 1/T rises and has one root, which Brent's bracketed method cannot miss.

    Parameters
    ----------
    logits : (n, 7) float64
    labels : (n,) int64, columns of the truth
    """
    _check_fittable(logits, labels)
    logits = logits - logits.max(axis=1, keepdims=True)  # each row's own zero changes nothing
    if nll_slope(logits, labels, 1 / COLDEST) <= 0:
        right = (logits.argmax(axis=1) == labels).mean()
        return COLDEST, (
            f"The temperature was held at {COLDEST}: with {right:.1%} of {len(labels)} validation images right, NLL "
            "still falls below it. Do not believe these probabilities; validate on more images."
        )
    if nll_slope(logits, labels, 1 / HOTTEST) >= 0:
        return HOTTEST, (
            f"The temperature was held at {HOTTEST}: NLL still falls above it, as if the logits knew next to nothing "
            f"of these {len(labels)} validation images."
        )
    inverse = brentq(lambda inverse: nll_slope(logits, labels, inverse), 1 / HOTTEST, 1 / COLDEST, xtol=1e-13)
    return float(1 / inverse), ""


def nll_slope(logits: np.ndarray, labels: np.ndarray, inverse: float) -> float:
    """Derivative of the mean NLL in 1/T at 1/T = `inverse`: mean logit that the model expects less the true one."""
    expected = (softmax(logits * inverse, axis=1) * logits).sum(axis=1)
    return float((expected - logits[np.arange(len(labels)), labels]).mean())


def _check_fittable(logits: np.ndarray, labels: np.ndarray) -> None:
    more = "put more lesions into the validation split, or keep temperature 1"
    if len(labels) == 0:
        raise DataError(
            "No temperature can be fitted: there are n=0 validation images with known truth.",
            expected="validation images with a class in column dx",
            fix=more,
        )
    if (labels == labels[0]).all():
        raise DataError(
            f"No temperature can be fitted: all {len(labels)} validation images are of {CLASSES[labels[0]]}.",
            expected="validation images of at least two classes",
            fix=more,
        )
    if not np.ptp(logits, axis=1).any():
        raise DataError(
            f"No temperature can be fitted: each of {len(labels)} validation images has seven equal logits.",
            expected="logits that differ between classes",
            fix="look at the model; a temperature changes nothing here",
        )

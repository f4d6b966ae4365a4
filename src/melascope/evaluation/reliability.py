"""When the model says 20 %, is it right in 20 % of the images: reliability by bins, and the calibration error?

Bins hold equally many images (equal mass, `BINS` of them, cut at the ranks of the scores); equal scores always share
a bin, so no order of the rows changes anything. They are cut once and then stay where they are in every bootstrap draw.

The expected calibration error (ECE; Naeini et al. 2015, AAAI, eq. 3) is the mean gap between mean score and observed
share, weighted by images. It is above 0 even for a perfect model, because counts scatter, and the more so the fewer
images there are; so it is never shown without its value under perfect calibration (Bröcker & Smith 2007, Weather and
Forecasting 22, 651: resample the labels from the very scores). All images of a lesion share one random number there:
each label follows its own score, and the images of a lesion agree as far as their scores let them, as they do in truth.

For the same reason its percentile interval is wrong: a draw scatters more than the sample, and near perfection every
draw lies too high (it covered the truth in 0 % of simulated perfect models). `calibration_error_interval` starts at 0
where the error is no larger than a perfect model's, else where the draws reflected about the figure start; it ends
where the draws end, which errs upwards. In simulations with 300 to 7,500 clustered lesions it covered in 94 to 99 %.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csc_array

from melascope.evaluation.counting import n_distinct, ratio, sums_by_lesion, weighted
from melascope.evaluation.intervals import MIN_LESIONS, interval, lesion_draws, percentile_interval

BINS = 15
"""Bins of the calibration error and the reliability curve, as in Guo et al. 2017, but of equal mass."""

PERFECT_DRAWS = 500
"""How often labels are drawn from the scores to learn the error of a perfect model."""

_PERFECT_STREAM = 1  # keeps these random numbers apart from those of `lesion_draws`


@dataclass(frozen=True)
class ReliabilityBin:
    """A point of the reliability curve.

    Parameters
    ----------
    predicted : mean score of the bin's images.
    observed : share of them that are true.
    low, high : 95 % interval of `observed` by the rule of `intervals`; None where none was computed.
    n_images, n_lesions : in the bin.
    n_true : images that are true.
    """

    predicted: float
    observed: float
    low: float | None
    high: float | None
    n_images: int
    n_lesions: int
    n_true: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ReliabilityBin:
        return cls(**content)


def equal_mass_bins(scores: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Number of each score's bin (n,) int64, rising with the score; equal scores share a bin, a bin may be empty."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    twice_middle_rank = 2 * np.cumsum(count) - count
    return (twice_middle_rank * bins // (2 * len(scores)))[place]


def _by_first_image(lesion: np.ndarray) -> np.ndarray:
    """Number lesions (n,) anew, from 0, in the order in which they first appear."""
    _, first, place = np.unique(lesion, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place]


@dataclass(frozen=True)
class Reliability:
    """Scores held against what came true, in bins.

    Parameters
    ----------
    scores : (n,) float64 in [0, 1], n > 0
    truth : (n,) bool
    lesion : (n,) int64, which of the `n_lesions` lesions an image shows
    bins : how many
    """

    scores: np.ndarray
    truth: np.ndarray
    lesion: np.ndarray
    n_lesions: int
    bins: int = BINS

    @cached_property
    def bin(self) -> np.ndarray:
        """(n,) int64: the bin of each image."""
        return equal_mass_bins(self.scores, self.bins)

    def _by_bin(self, values: np.ndarray) -> csc_array:
        return sums_by_lesion(values, self.bin, self.lesion, self.bins, self.n_lesions)

    @cached_property
    def _gaps(self) -> csc_array:
        """(bins, n_units): sum of score less truth."""
        return self._by_bin(self.scores - self.truth)

    @cached_property
    def _sizes(self) -> csc_array:
        """(bins, n_units): number of images."""
        return self._by_bin(np.ones(len(self.scores)))

    @cached_property
    def _hits(self) -> csc_array:
        """(bins, n_units): number of images that are true."""
        return self._by_bin(self.truth)

    def calibration_error(self, weights: np.ndarray) -> np.ndarray:
        """ECE (draws,) under lesion weights (draws, n_units)."""
        return ratio(np.abs(weighted(self._gaps, weights)).sum(axis=0), weighted(self._sizes, weights).sum(axis=0))

    def calibration_error_if_perfect(self, seed: int) -> np.ndarray:
        """ECE (`PERFECT_DRAWS`,) of labels that are drawn from the scores, one random number a lesion."""
        order = np.argsort(self.bin, kind="stable")
        scores, starts = self.scores[order], np.flatnonzero(np.diff(self.bin[order], prepend=-1))
        lesion = _by_first_image(self.lesion[order])  # luck is then read nearly in a row, five times as fast
        expected = np.add.reduceat(scores, starts)
        errors = np.empty(PERFECT_DRAWS)
        for draw in range(PERFECT_DRAWS):
            luck = np.random.default_rng([seed, draw, _PERFECT_STREAM]).random(lesion.max() + 1)
            hits = np.add.reduceat(luck[lesion] < scores, starts, dtype=np.int64)
            errors[draw] = np.abs(expected - hits).sum() / len(scores)
        return errors

    def observed(self, weights: np.ndarray) -> np.ndarray:
        """Share (draws, bins) of a bin's images that are true; NaN where a draw leaves the bin empty."""
        return ratio(weighted(self._hits, weights), weighted(self._sizes, weights)).T

    def curve(self, spread: np.ndarray) -> tuple[ReliabilityBin, ...]:
        """The bins that hold images, with intervals from `spread` (draws, bins), what `observed` gave in each draw."""
        rows = []
        for number in np.unique(self.bin):
            inside = self.bin == number
            n, n_lesions = int(inside.sum()), n_distinct(self.lesion[inside])
            share = float(self.truth[inside].mean())
            low, high = interval(share, spread[:, number], n_lesions, is_share=True, n=n) or (None, None)
            rows.append(
                ReliabilityBin(
                    predicted=float(self.scores[inside].mean()),
                    observed=share,
                    low=low,
                    high=high,
                    n_images=n,
                    n_lesions=n_lesions,
                    n_true=int(self.truth[inside].sum()),
                )
            )
        return tuple(rows)


def calibration_error_interval(
    error: float, drawn: np.ndarray, if_perfect: np.ndarray, n_lesions: int
) -> tuple[float, float] | None:
    """The 95 % interval of an ECE, by the rule at the top of this file; None where `percentile_interval` has none.

    Parameters
    ----------
    error : the figure itself.
    drawn : (draws,) the figure in each bootstrap draw, NaN where undefined.
    if_perfect : (`PERFECT_DRAWS`,) of `Reliability.calibration_error_if_perfect`.
    n_lesions : lesions that the figure rests on.
    """
    ends = percentile_interval(drawn) if n_lesions >= MIN_LESIONS else None
    if ends is None:
        return None
    may_be_perfect = error <= np.quantile(if_perfect, 0.975)
    return 0.0 if may_be_perfect else max(0.0, 2 * error - ends[1]), max(error, ends[1])


def reliability_curve(
    scores: np.ndarray, truth: np.ndarray, lesion: np.ndarray, bins: int = BINS, *, draws: int = 2000, seed: int = 0
) -> tuple[ReliabilityBin, ...]:
    """Observed share against mean score, bin by bin, with intervals by lesion.

    Parameters
    ----------
    scores : (n,) float64 in [0, 1]
    truth : (n,) bool
    lesion : (n,) int64, number of the lesion from 0
    bins : of equal mass
    draws, seed : of the lesion bootstrap; 0 draws give no intervals
    """
    reliability = Reliability(scores, truth, lesion, int(lesion.max()) + 1, bins)
    drawn = [reliability.observed(weights) for weights in lesion_draws(reliability.n_lesions, draws, seed)]
    return reliability.curve(np.concatenate([np.empty((0, bins)), *drawn]))

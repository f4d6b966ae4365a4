"""Are predicted chances too extreme or too timid, too high or too low: calibration slope and in-the-large?

The truth is regressed on the predicted log-odds, logit P(truth) = a + b · log-odds (Cox 1958, Biometrika 45, 562).
b is the calibration slope: below 1 the predictions are too extreme. a with b held at 1 is calibration-in-the-large:
below 0 they are too high on average (Van Calster et al. 2019, BMC Medicine 17, 230).

Newton's method runs over many bootstrap draws at once. No step moves a row's log-odds by more than 1, and then every
step lowers the NLL (Bach 2010, Electron. J. Statist. 4, 384, on self-concordance), so it cannot run away.

A draw should not cost an exponential a row. Beyond `EXACT_UP_TO` different log-odds, those that lie within `CELL_WIDTH`
share a cell, and a cell's likelihood is expanded to second order about its mean in that draw. The third order that
is left out changes slope and intercept by less than 1e-6; how many rows there are no longer matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csc_array
from scipy.special import expit

from melascope.evaluation.counting import each_once, sums_by_lesion, totals_by_lesion, weighted

EXACT_UP_TO = 1_000
"""Up to so many different log-odds each is a cell of its own, and nothing is expanded."""

CELL_WIDTH = 1 / 64
_MOST_STEPS = 1000
_CLOSE = 1e-6  # the error after a Newton step is of the order of its square
_BLOCK_CELLS = 200_000  # cells × draws at once: 1.6 MB an array, which stays in the cache


@dataclass(frozen=True)
class Fit:
    """Recalibration in each draw; NaN where undefined.

    Parameters
    ----------
    in_the_large : (draws,) intercept with the slope held at 1; undefined without rows of both kinds
    intercept, slope : (draws,) of the free fit; undefined where one threshold splits both kinds (no finite maximum:
        Albert & Anderson 1984, Biometrika 71, 1)
    """

    in_the_large: np.ndarray
    intercept: np.ndarray
    slope: np.ndarray


@dataclass(frozen=True)
class Recalibration:
    """Rows whose truth is regressed on their predicted log-odds.

    Parameters
    ----------
    log_odds : (n,) float64, finite
    truth : (n,) bool
    lesion : (n,) int64, which of the `n_lesions` lesions a row shows
    """

    log_odds: np.ndarray
    truth: np.ndarray
    lesion: np.ndarray
    n_lesions: int

    @cached_property
    def _cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Middle of each cell (cells,), rising, and the cell of each row (n,)."""
        middles, cell = np.unique(self.log_odds, return_inverse=True)
        if len(middles) <= EXACT_UP_TO:
            return middles, cell
        middles, cell = np.unique(np.round(self.log_odds / CELL_WIDTH), return_inverse=True)
        return middles * CELL_WIDTH, cell

    @cached_property
    def _sums(self) -> tuple[csc_array, csc_array, csc_array, csc_array]:
        """By cell and unit (cells, n_units): positives, negatives, distance from the middle and its square."""
        middles, cell = self._cells
        offset = self.log_odds - middles[cell]

        def by_cell(values: np.ndarray) -> csc_array:
            return sums_by_lesion(values, cell, self.lesion, len(middles), self.n_lesions)

        return by_cell(self.truth), by_cell(~self.truth), by_cell(offset), by_cell(offset**2)

    @cached_property
    def _truth_by_lesion(self) -> np.ndarray:
        """(n_units, 2): number of positives, and sum of their log-odds."""
        columns = (self.truth.astype(np.float64), np.where(self.truth, self.log_odds, 0.0))
        return np.stack([totals_by_lesion(values, self.lesion, self.n_lesions) for values in columns], axis=1)

    @cached_property
    def whole(self) -> Fit:
        """The fit to the rows as they are, each of weight one; (1,) each."""
        return self._fit(each_once(self.n_lesions), Fit(*np.array([[0.0], [0.0], [0.0]])))

    def fit(self, weights: np.ndarray) -> Fit:
        """The fit (draws,) under lesion weights (draws, n_units)."""
        size = max(1, _BLOCK_CELLS // len(self._cells[0]))
        blocks = [weights[first : first + size] for first in range(0, len(weights), size)]
        found = [self._fit(block, self.whole) for block in blocks]
        return Fit(*(np.concatenate([getattr(one, name) for one in found]) for name in Fit.__dataclass_fields__))

    def _fit(self, weights: np.ndarray, start: Fit) -> Fit:
        drawn = Cells.of(
            *(weighted(sums, weights) for sums in self._sums), self._cells[0], weights @ self._truth_by_lesion
        )
        start = Fit(*(np.nan_to_num(getattr(start, name)) for name in Fit.__dataclass_fields__))
        alone, _ = drawn.solve(start.in_the_large, 1.0, drawn.both, free_slope=False)
        return Fit(alone, *drawn.solve(start.intercept, start.slope, drawn.interleaved, free_slope=True))


@dataclass(frozen=True)
class Cells:
    """Rows brought together by log-odds, in each draw.

    Parameters
    ----------
    count, mean, scatter : (cells, draws) number of rows, their mean log-odds, sum of squared distances from it
    truth : (draws, 2) number of positives, and sum of their log-odds
    both : (draws,) bool, there are positives and negatives
    interleaved : (draws,) bool, and no threshold splits them
    """

    count: np.ndarray
    mean: np.ndarray
    scatter: np.ndarray
    truth: np.ndarray
    both: np.ndarray
    interleaved: np.ndarray

    @classmethod
    def of(
        cls,
        positives: np.ndarray,
        negatives: np.ndarray,
        offsets: np.ndarray,
        squares: np.ndarray,
        middles: np.ndarray,
        truth: np.ndarray,
    ) -> Cells:
        """From sums (cells, draws) about the `middles` (cells,)."""
        count = positives + negatives
        offset = np.divide(offsets, count, out=np.zeros_like(count), where=count > 0)
        first, last = zip(*map(_ends, (positives > 0, negatives > 0)), strict=True)
        both = positives.any(axis=0) & negatives.any(axis=0)
        return cls(
            count=count,
            mean=middles[:, None] + offset,
            scatter=squares - offsets * offset,
            truth=truth,
            both=both,
            interleaved=both & (first[0] < last[1]) & (first[1] < last[0]),
        )

    def solve(
        self, intercept: np.ndarray, slope: np.ndarray | float, solvable: np.ndarray, *, free_slope: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Maximise the likelihood of logit P(truth) = a + b · log-odds in each draw, from `intercept` and `slope` on.

        Returns
        -------
        a, b : (draws,); NaN where not `solvable` (draws,) bool. Without `free_slope` the slope stays as it is.
        """
        a, b = (np.broadcast_to(value, solvable.shape).astype(np.float64) for value in (intercept, slope))
        low, high = self.mean.min(axis=0), self.mean.max(axis=0)
        moving = solvable.copy()
        for _ in range(_MOST_STEPS):
            if not moving.any():
                break
            step_a, step_b = self._step(a, b, free_slope)
            longest = np.maximum(np.abs(step_a + step_b * low), np.abs(step_a + step_b * high))
            damping = moving / np.maximum(1, longest)
            a, b = a + damping * step_a, b + damping * step_b
            moving &= longest > _CLOSE
        unsolved = ~solvable | moving
        return np.where(unsolved, np.nan, a), np.where(unsolved, np.nan, b)

    def _step(self, a: np.ndarray, b: np.ndarray, free_slope: bool) -> tuple[np.ndarray, np.ndarray]:
        """Newton's step (draws,) in a and b: the inverse of the information times the score."""
        share = expit(a + b * self.mean)
        slant = share * (1 - share)
        variance = self.count * slant
        expected = self.count * share + 0.5 * b**2 * self.scatter * slant * (1 - 2 * share)
        tiny = 1e-12  # where every share has rounded to 0 or 1, the step is long but finite, and then damped
        h0 = variance.sum(axis=0) + tiny
        score_a = self.truth[:, 0] - expected.sum(axis=0)
        if not free_slope:
            return score_a / h0, np.zeros_like(b)
        score_b = self.truth[:, 1] - (expected * self.mean).sum(axis=0) - b * (self.scatter * slant).sum(axis=0)
        centre = (variance * self.mean).sum(axis=0) / h0
        h1 = (variance * (self.mean - centre) ** 2).sum(axis=0) + tiny
        step_b = (score_b - centre * score_a) / h1
        return score_a / h0 - centre * step_b, step_b


def _ends(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last cell (draws,) of those `found` (cells, draws) bool."""
    return found.argmax(axis=0), len(found) - 1 - found[::-1].argmax(axis=0)

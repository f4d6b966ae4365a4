"""How well does a score put the sought images above the others: areas that take many bootstrap draws at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from melascope.evaluation.counting import counts_by_lesion, ratio, weighted
from melascope.evaluation.intervals import MIN_LESIONS

MAX_STEPS = 2_048
"""Score steps that a draw looks at; beyond, neighbours count as ties, which changes an interval's width far less than
chance does. The figure itself is never coarsened."""

MIN_SENSITIVITY = 0.8
"""Only the part of the ROC curve above it can matter where melanomas must be found."""


@dataclass(frozen=True)
class Ranking:
    """Images by rising score, in steps: all that the areas need, so that a draw costs one pass over the steps.

    Neighbouring negatives with no positive among them stand in one step: on a ROC or precision–recall curve they lie on
    one straight line, so nothing changes but the work, which falls with the rarity of the class.

    Parameters
    ----------
    counts : (2 n_steps, n_units), positives of each step, then negatives, by lesion
    n_steps : int
    """

    counts: csr_array
    n_steps: int

    @classmethod
    def of(
        cls, truth: np.ndarray, scores: np.ndarray, lesion: np.ndarray, n_lesions: int, *, max_steps: int | None = None
    ) -> Ranking:
        """Rank `scores` (n_images,) against `truth` (n_images,) bool by one sort.

        Parameters
        ----------
        lesion : (n_images,) int64, of `n_lesions`
        max_steps : merge neighbouring steps down to about this many
        """
        step = _steps(scores, truth)
        n_steps = int(step.max(initial=-1)) + 1
        if max_steps is not None and n_steps > max_steps:
            step, n_steps = step * max_steps // n_steps, max_steps
        return cls(counts_by_lesion(np.where(truth, step, n_steps + step), lesion, 2 * n_steps, n_lesions), n_steps)

    def weighted(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positives and negatives (n_steps, draws) of each step, by rising score."""
        counted = weighted(self.counts, weights)
        return counted[: self.n_steps], counted[self.n_steps :]


AreaFigure = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(positives, negatives), each (n_steps, draws) by rising score -> (draws,)."""


def _steps(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(n,) int64: step of each row, by rising score; equal scores share one, and so do negatives in a row."""
    distinct, place = np.unique(scores, return_inverse=True)
    mixed = np.bincount(place[truth], minlength=len(distinct)) > 0
    starts = mixed | np.append(True, mixed[:-1])
    return (np.cumsum(starts) - 1)[place]


def auroc(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """(draws,): P(a positive scores above a negative), ties count one half (Hanley & McNeil 1982, eq. 1)."""
    below = np.cumsum(negatives, axis=0) - negatives / 2
    return ratio(np.einsum("sd,sd->d", positives, below), positives.sum(axis=0) * negatives.sum(axis=0))


def average_precision(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """(draws,): sum over steps of (rise in recall) × precision, not interpolated; as scikit-learn's.

    Its floor is the prevalence, so it compares models on one collection, never two collections.
    """
    some = positives.any(axis=1)
    found = np.cumsum(positives[::-1], axis=0)[::-1][some]  # positives at or above each step
    alarms = np.cumsum(negatives[::-1], axis=0)[::-1][some]
    called = found + alarms
    precision = np.divide(found, called, out=called, where=called > 0)  # nobody called: nobody found, and it adds 0
    area = np.einsum("sd,sd->d", positives[some], precision)
    return ratio(area, np.where(negatives.sum(axis=0) > 0, positives.sum(axis=0), 0.0))


def partial_auroc(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """(draws,): area under the ROC curve and above 80 % sensitivity, in [0, 0.2]; chance gives 0.02.

    The part of the curve that matters where melanomas must be found, as the ISIC 2024 challenge scored it; related to
    Jiang, Metz & Nishikawa 1996 (Radiology 201, 745), who divide by the height.
    """
    some = positives.any(axis=1)
    allowed = 1 - MIN_SENSITIVITY
    missed = ratio(np.cumsum(positives, axis=0), positives.sum(axis=0))[some]
    spared = ratio(np.cumsum(negatives, axis=0), negatives.sum(axis=0))[some]
    rise, gain = ratio(positives[some], positives.sum(axis=0)), ratio(negatives[some], negatives.sum(axis=0))
    width = np.clip(allowed - (missed - rise), 0, rise)  # of the step, up to the highest share that may be missed
    part = np.divide(width, rise, out=np.zeros_like(rise), where=rise > 0)
    area = (width * (spared - gain + part * gain / 2)).sum(axis=0)
    return np.where((positives.sum(axis=0) > 0) & (negatives.sum(axis=0) > 0), area, np.nan)


@dataclass(frozen=True)
class Area:
    """A row of `AREAS`.

    Parameters
    ----------
    function : of positives and negatives.
    top : its highest possible value.
    share_looked_at : of the sought; the area above 80 % sensitivity hangs on the fifth of them that scores lowest.
    least : lesions of the rarer side, among those looked at, from which it has an interval.
    """

    function: AreaFigure
    top: float = 1.0
    share_looked_at: float = 1.0
    least: int = MIN_LESIONS

    def rests_on(self, n_sought: int, n_others: int) -> int:
        """Lesions of the rarer side that say how sure the area is, of so many lesions of each."""
        return min(round(n_sought * self.share_looked_at), n_others)


AREAS: dict[str, Area] = {
    "auroc": Area(auroc),
    "average_precision": Area(average_precision),
    "partial_auroc": Area(partial_auroc, top=1 - MIN_SENSITIVITY, share_looked_at=1 - MIN_SENSITIVITY, least=4),
}
"""Every figure of P(target) that needs no threshold. A new one is a function above and a row here."""

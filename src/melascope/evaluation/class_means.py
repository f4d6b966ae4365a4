"""How far might balanced accuracy and macro-F1 be off, if some classes have only a few lesions?

Of a class with four lesions, all called right, no draw holds a miss; its part of the variance would be 0. In HAM10000
every hundredth lesion is a dermatofibroma, so this is the rule and not the exception: laid out from the draws alone,
intervals covered 86 to 92 % with 130 to 250 lesions, those of a difference 86 to 90 % (docs/decisions/0011-intervals.md
has both). So each class is given a few made-up images first, half of them right, and the classes' variances are put
together:

- *Balanced accuracy*, the mean of m recalls (Price & Bonett 2004, Comput. Stat. Data Anal. 45, 449): with 2/m images
  right and 2/m wrong for each class, p = (right + 2/m) / (n + 4/m), it is mean(p) ± z/m sqrt(Σ p (1 - p) / (n + 4/m)).
  The n are the effective numbers that the draws give (`intervals.effective_number`).
- *Its difference between two models* in the same way, with 1/m image that only the one gets right and 1/m that only the
  other does (for a single class: Bonett & Price 2012, J. Educ. Behav. Stat. 37, 479).
- *Macro-F1*: F1 = 2 J / (1 + J), where J is the share of right ones among the images that are of the class or called
  so. One half is added to each side of J (Jeffreys), the delta method leads to F1, and the classes' errors are put
  together with their correlations over the draws, since one class's miss is another's false alarm.

The interval stands around the mean that includes the made-up images; it always holds the figure itself too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from melascope.evaluation.counting import ratio
from melascope.evaluation.differences import Pairs
from melascope.evaluation.intervals import LEVEL, MIN_LESIONS, effective_number

_Z = float(ndtri((1 + LEVEL) / 2))


@dataclass(frozen=True)
class ClassShare:
    """A share that one class contributes.

    Parameters
    ----------
    value : of its `n` images, of `n_lesions` lesions.
    spread : (draws,) its bootstrap values, NaN where a draw holds no image of the class.
    """

    value: float
    spread: np.ndarray
    n: int
    n_lesions: int

    @property
    def effective_number(self) -> float:
        """Independent images that its images are worth."""
        return effective_number(self.value, self.spread, self.n, self.n_lesions)


@dataclass(frozen=True)
class ClassHits:
    """Which images of one class a model calls so.

    Parameters
    ----------
    hits : (n_images,) in [0, 1]; a share where several seeds were asked.
    spread : (draws,) their mean in each bootstrap draw, NaN where a draw holds no image of the class.
    n_lesions : that the images show.
    """

    hits: np.ndarray
    spread: np.ndarray
    n_lesions: int

    @property
    def share(self) -> ClassShare:
        return ClassShare(float(self.hits.mean()), self.spread, len(self.hits), self.n_lesions)


def mean_share_interval(shares: Sequence[ClassShare], n_lesions: int) -> tuple[float, float] | None:
    """Interval of the mean of one share a class, of the classes that occur; None with few lesions in all."""
    if n_lesions < MIN_LESIONS or any(len(one.spread) == 0 for one in shares):
        return None
    value, added = np.array([one.value for one in shares]), 2 / len(shares)
    n = np.array([one.effective_number for one in shares])
    with_added = (value * n + added) / (n + 2 * added)
    variance = with_added * (1 - with_added) / (n + 2 * added)
    return _around(value, with_added, float(variance.sum()), bottom=0.0)


def mean_difference_interval(
    first: Sequence[ClassHits], other: Sequence[ClassHits], n_lesions: int
) -> tuple[float, float] | None:
    """Interval of the mean over classes of what another model hits less what the first does; None with few lesions.

    Parameters
    ----------
    first, other : of the same images, class by class, of the classes that occur.
    n_lesions : in all.
    """
    if n_lesions < MIN_LESIONS or any(len(one.spread) == 0 for one in first):
        return None
    both, added = list(zip(first, other, strict=True)), 1 / len(first)
    pairs = [Pairs.of(there.hits - here.hits, there.spread - here.spread, here.n_lesions) for here, there in both]
    value = np.array([(there.hits - here.hits).mean() for here, there in both])
    gained, lost, n = np.array([[one.gained + added, one.lost + added, one.n + 2 * added] for one in pairs]).T
    with_added = (gained - lost) / n
    variance = ((gained + lost) / n - with_added**2) / n
    return _around(value, with_added, float(variance.sum()), bottom=-1.0)


def mean_f1_interval(shares: Sequence[ClassShare], n_lesions: int) -> tuple[float, float] | None:
    """Interval of macro-F1; `shares` are F1 of the classes that occur, each with its images true or called so."""
    if n_lesions < MIN_LESIONS or any(len(one.spread) == 0 for one in shares):
        return None
    value = np.array([one.value for one in shares])
    overlap = value / (2 - value)
    n = [
        effective_number(float(share), one.spread / (2 - one.spread), one.n, one.n_lesions)
        for share, one in zip(overlap, shares, strict=True)
    ]
    n = np.array(n) + 1
    with_added = (overlap * (n - 1) + 0.5) / n
    error = 2 / (1 + with_added) ** 2 * np.sqrt(with_added * (1 - with_added) / n)
    variance = error @ _correlations(np.stack([one.spread for one in shares])) @ error
    return _around(value, 2 * with_added / (1 + with_added), float(variance), bottom=0.0)


def f1(recall: np.ndarray, ppv: np.ndarray) -> np.ndarray:
    """Harmonic mean of recall and PPV (draws,); 0 where nothing is called so, NaN where nothing is of the class."""
    called = np.nan_to_num(ppv)
    return ratio(2 * recall * called, np.where(recall + called > 0, recall + called, 1.0)) + 0 * recall


def _around(value: np.ndarray, with_added: np.ndarray, variance: float, *, bottom: float) -> tuple[float, float]:
    """Ends for the mean of `value` (classes,), from the mean of `with_added` and the `variance` of the sum."""
    figure, centre = float(value.mean()), float(with_added.mean())
    half = _Z * np.sqrt(variance) / len(value)
    return max(bottom, min(figure, float(centre - half))), min(1.0, max(figure, float(centre + half)))


def _correlations(spread: np.ndarray) -> np.ndarray:
    """(classes, classes) of figures (classes, draws); 0 where one does not vary. NaN tells nothing."""
    away = np.nan_to_num(spread - np.nanmean(spread, axis=1, keepdims=True))
    scale = np.sqrt((away**2).sum(axis=1))
    away = np.divide(away, scale[:, None], out=np.zeros_like(away), where=scale[:, None] > 0)
    together = away @ away.T
    np.fill_diagonal(together, 1.0)
    return together

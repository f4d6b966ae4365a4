"""Is a picture like those that a model learned from, or so strange that its answer would mean nothing?

The distance to the `NEIGHBOURS`-th nearest training image (Sun et al., "Out-of-distribution detection with deep nearest
neighbors", ICML 2022, eq. 2), here in the space of `data.appearance`, each number in standard deviations of the
training images. The limit comes from validation images alone, as a conformal quantile (Vovk et al. 2005): of new
pictures like those, at most 1 - kept are refused, in the mean over validation sets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from melascope.errors import DataError
from melascope.tables.likeness import LikenessStore

NEIGHBOURS = 10
KEPT = 0.95
MOST_POINTS = 20_000
"""Training images that are kept as neighbours; of more, an even sample is."""

_AT_ONCE = 256


@dataclass(frozen=True)
class Likeness:
    """A fitted test of likeness.

    Parameters
    ----------
    mean, scale : (d,) of the training images' appearance
    points : (n_train, d) float32, their appearance in standard deviations
    limit : strangeness above which a picture is refused
    kept : share of validation-like pictures that the limit promises to keep
    ascending : (n_val,) strangeness of the validation images
    """

    mean: np.ndarray
    scale: np.ndarray
    points: np.ndarray
    limit: float
    kept: float
    ascending: np.ndarray

    @classmethod
    def fit(cls, train: np.ndarray, validation: np.ndarray, *, kept: float = KEPT) -> Likeness:
        """From the appearance of training images (n_train, d) and of validation images (n_val, d).

        Raises
        ------
        DataError : one of them is empty.
        """
        if len(train) == 0 or len(validation) == 0:
            raise DataError(
                f"Likeness cannot be learned from {len(train)} training and {len(validation)} validation images.",
                expected="at least one of each",
            )
        mean, spread = train.mean(axis=0), train.std(axis=0)
        scale = np.where(spread > 1e-9, spread, 1.0)
        chosen = train[np.linspace(0, len(train) - 1, min(len(train), MOST_POINTS)).astype(int)]
        unbounded = cls(mean, scale, ((chosen - mean) / scale).astype(np.float32), np.inf, kept, np.zeros(0))
        ascending = np.sort(unbounded.strangeness(validation))
        limit, promised = conformal_limit(ascending, kept)
        return cls(mean, scale, unbounded.points, limit, promised, ascending)

    @classmethod
    def of(cls, store: LikenessStore) -> Likeness:
        """The test that a run keeps."""
        return cls(
            store.appearance_mean,
            store.appearance_scale,
            store.points,
            store.limit,
            store.kept,
            store.strangeness,
        )

    def strangeness(self, appearance: np.ndarray) -> np.ndarray:
        """(n,) float64: distance of each appearance (n, d) to its `NEIGHBOURS`-th nearest training image."""
        asked = ((appearance - self.mean) / self.scale).astype(np.float32)
        rank = min(NEIGHBOURS, len(self.points)) - 1
        lengths = (self.points**2).sum(axis=1)
        found = []
        for start in range(0, len(asked), _AT_ONCE):
            part = asked[start : start + _AT_ONCE]
            squared = lengths - 2 * part @ self.points.T + (part**2).sum(axis=1)[:, None]
            found.append(np.sqrt(np.maximum(np.partition(squared, rank, axis=1)[:, rank], 0)))
        return np.concatenate(found).astype(np.float64) if found else np.zeros(0)

    def stranger_share(self, strangeness: float) -> float:
        """Share of the validation images that are as strange or stranger."""
        return float((self.ascending >= strangeness).mean())


def conformal_limit(ascending: np.ndarray, kept: float) -> tuple[float, float]:
    """The smallest observed strangeness that keeps this share of new pictures, and the share that it does promise.

    With n observations the r-th smallest keeps r / (n + 1) in the mean; where even the largest keeps less than was
    asked for, it is taken, and the smaller promise is told.
    """
    n = len(ascending)
    rank = min(int(np.ceil(kept * (n + 1))), n)
    return float(ascending[rank - 1]), min(kept, rank / (n + 1))

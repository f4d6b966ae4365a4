"""Is a picture like those that a model learned from, or so strange that its answer would mean nothing?

The distance to the `NEIGHBOURS`-th nearest training image (Sun et al., "Out-of-distribution detection with deep nearest
neighbors", ICML 2022, eq. 2), here in the space of `data.appearance`, each number in standard deviations of the
training images. Melanomas are few, so each lies further from its neighbours than a nevus does, and one limit for all
would refuse them most; therefore a picture is compared with the target's images and with the others apart, each
distance in units of what is usual in its group, and the smaller one counts. The limit comes from validation images
alone, as a conformal quantile (Vovk et al. 2005): of new pictures like those, at most 1 - kept are refused, in the mean
over validation sets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from melascope.errors import DataError
from melascope.tables.likeness import LikenessStore

NEIGHBOURS = 10
KEPT = 0.96
"""Share of new pictures that are to pass: at most one in twenty may be lost, and of a thousand test pictures a percent
more or less is chance."""
USUAL = 0.95
"""Share of a group's own images whose distance to their neighbours in it is at most 1 in its unit."""

MOST_POINTS = 20_000
"""Training images that are kept as neighbours; of more, an even sample is."""

_AT_ONCE = 256
_FOR_UNIT = 2000


@dataclass(frozen=True)
class Likeness:
    """A fitted test of likeness.

    Parameters
    ----------
    mean, scale : (d,) of the training images' appearance
    points : (n_points, d) float32, their appearance in standard deviations
    group : (n_points,) int8, 0 or 1: which of them are compared with together
    unit : (n_groups,) distance that is usual in each group
    limit : strangeness above which a picture is refused
    kept : share of validation-like pictures that the limit promises to keep
    ascending : (n_val,) strangeness of the validation images
    """

    mean: np.ndarray
    scale: np.ndarray
    points: np.ndarray
    group: np.ndarray
    unit: np.ndarray
    limit: float
    kept: float
    ascending: np.ndarray

    @classmethod
    def fit(
        cls, train: np.ndarray, validation: np.ndarray, *, is_target: np.ndarray | None = None, kept: float = KEPT
    ) -> Likeness:
        """From the appearance of training images (n_train, d) and of validation images (n_val, d).

        Parameters
        ----------
        is_target : (n_train,) bool: these make a group of their own, if there are more of them, and of the others,
            than `NEIGHBOURS`
        kept : share of new pictures that are to pass

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
        chosen = np.linspace(0, len(train) - 1, min(len(train), MOST_POINTS)).astype(int)
        points = ((train[chosen] - mean) / scale).astype(np.float32)
        group = np.zeros(len(points), np.int8) if is_target is None else is_target[chosen].astype(np.int8)
        if min(np.bincount(group, minlength=2)) <= NEIGHBOURS:
            group = np.zeros(len(points), np.int8)
        unit = np.array([_usual(points[group == one]) for one in np.unique(group)])
        unlimited = cls(mean, scale, points, group, unit, np.inf, kept, np.zeros(0))
        ascending = np.sort(unlimited.strangeness(validation))
        limit, promised = conformal_limit(ascending, kept)
        return cls(mean, scale, points, group, unit, limit, promised, ascending)

    @classmethod
    def of(cls, store: LikenessStore) -> Likeness:
        """The test that a run keeps."""
        return cls(
            store.appearance_mean,
            store.appearance_scale,
            store.points,
            store.group,
            store.unit,
            store.limit,
            store.kept,
            store.strangeness,
        )

    def strangeness(self, appearance: np.ndarray) -> np.ndarray:
        """(n,) float64 of appearances (n, d): 1 is as far as all but 5 % of a group's own images lie."""
        asked = ((appearance - self.mean) / self.scale).astype(np.float32)
        found = [
            neighbour_distance(self.points[self.group == one], asked, NEIGHBOURS) / unit
            for one, unit in enumerate(self.unit)
        ]
        return np.min(found, axis=0)

    def stranger_share(self, strangeness: float) -> float:
        """Share of the validation images that are as strange or stranger."""
        return float((self.ascending >= strangeness).mean())


def neighbour_distance(points: np.ndarray, asked: np.ndarray, rank: int) -> np.ndarray:
    """(n,) float64: distance of each row of `asked` (n, d) to its `rank`-th nearest of `points`, or to the furthest."""
    rank = min(rank, len(points)) - 1
    lengths = (points**2).sum(axis=1)
    found = np.zeros(len(asked))
    for start in range(0, len(asked), _AT_ONCE):
        part = asked[start : start + _AT_ONCE]
        squared = lengths - 2 * part @ points.T + (part**2).sum(axis=1)[:, None]
        found[start : start + _AT_ONCE] = np.sqrt(np.maximum(np.partition(squared, rank, axis=1)[:, rank], 0))
    return found


def _usual(points: np.ndarray) -> float:
    """Distance within which all but 5 % of a group's images have their neighbours in it; itself is none of them."""
    asked = points[np.linspace(0, len(points) - 1, min(len(points), _FOR_UNIT)).astype(int)]
    usual = float(np.quantile(neighbour_distance(points, asked, NEIGHBOURS + 1), USUAL))
    return usual if usual > 0 else 1.0


def conformal_limit(ascending: np.ndarray, kept: float) -> tuple[float, float]:
    """The smallest observed strangeness that keeps this share of new pictures, and the share that it does promise.

    With n observations the r-th smallest keeps r / (n + 1) in the mean; where even the largest keeps less than was
    asked for, it is taken, and the smaller promise is told.
    """
    n = len(ascending)
    rank = min(int(np.ceil(kept * (n + 1))), n)
    return float(ascending[rank - 1]), min(kept, rank / (n + 1))

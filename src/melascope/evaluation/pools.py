"""What is compared as one: a run or table, or several seeds of one recipe, and how much each figure rests on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from melascope.classes import CLASSES
from melascope.evaluation.class_means import ClassHits
from melascope.evaluation.common_images import Entry
from melascope.evaluation.compared import COMPARED
from melascope.evaluation.counting import each_once, n_distinct
from melascope.evaluation.decisions import CELLS, DECISION_FIGURES
from melascope.evaluation.intervals import MIN_LESIONS
from melascope.evaluation.metrics import METRICS, Sample, Tally
from melascope.evaluation.ranking import AREAS
from melascope.evaluation.subject import Subject
from melascope.tables.results import Estimate

OF_ALL_CLASSES = tuple(one.key for one in COMPARED.values() if len(one.key) == 2)
"""Keys (unit, row of `METRICS`) of the figures that judge all seven classes at once."""


@dataclass(frozen=True)
class Judged:
    """One entry's figures, all draws at once.

    Parameters
    ----------
    subject : the common images under its probabilities
    """

    subject: Subject

    @classmethod
    def of(cls, entry: Entry, images: Sample, target: tuple[str, ...]) -> Judged:
        return cls(Subject(images, target, entry.operating_point, classes=False))

    def for_draws(self) -> Judged:
        return replace(self, subject=self.subject.for_draws())

    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Figure of `COMPARED`, and recall of each of `CLASSES`, -> (draws,) under lesion weights (draws, n_units)."""
        tally = Tally(self.subject.images, weights)
        found = self.subject.values(weights) | {key: METRICS[key[1]].function(tally) for key in OF_ALL_CLASSES}
        missing = np.full(len(weights), np.nan)  # a figure at a threshold that there is not
        recalls = dict(zip(CLASSES, METRICS["recall"].function(tally).T, strict=True))
        return {name: found.get(one.key, missing) for name, one in COMPARED.items()} | recalls

    @cached_property
    def point(self) -> dict[str, float]:
        """Every figure of the images as they are, NaN where undefined."""
        values = self.values(each_once(self.subject.images.n_lesions))
        return {name: float(values[name][0]) for name in COMPARED}

    def under(self, name: str) -> np.ndarray:
        """(n,) bool: images (or lesions) that the figure is a share or mean of."""
        one = COMPARED[name]
        if one.at:
            return self.subject.calls[one.unit, one.at].under(DECISION_FIGURES[one.key[-1]])
        return np.ones(len(self.subject.samples[one.unit]), dtype=bool)

    def hits(self, name: str) -> np.ndarray:
        """(n,) bool: images (or lesions) that count for it, of a share."""
        one = COMPARED[name]
        if one.at:
            over = [CELLS.index(cell) for cell in DECISION_FIGURES[one.key[-1]].over]
            return np.isin(self.subject.calls[one.unit, one.at].cell, over)
        sample = self.subject.samples[one.unit]
        return sample.predicted == sample.labels


@dataclass(frozen=True)
class Pool:
    """What is compared as one: a single run or table, or several seeds of one recipe.

    Parameters
    ----------
    entries, judged : one a seed
    drawn : one a seed: figure -> (draws,), all from the same draws
    """

    entries: tuple[Entry, ...]
    judged: tuple[Judged, ...]
    drawn: tuple[dict[str, np.ndarray], ...]

    def value(self, name: str) -> float:
        """Mean over the seeds, NaN where it is undefined for one of them."""
        return float(np.mean([one.point[name] for one in self.judged]))

    def spread(self, name: str) -> np.ndarray:
        """(draws,): mean over the seeds in each draw; empty without draws."""
        return np.mean([one.get(name, np.empty(0)) for one in self.drawn], axis=0)

    def hits(self, name: str) -> np.ndarray:
        """(n,) in [0, 1]: share of the seeds that get an image (or lesion) right, among those of a share."""
        return np.mean([one.hits(name)[one.under(name)] for one in self.judged], axis=0)

    def recalls(self) -> list[ClassHits]:
        """Which images of each class that occurs are called so, as a share of the seeds."""
        sample = self.judged[0].subject.images
        right = np.mean([one.subject.images.predicted == sample.labels for one in self.judged], axis=0)
        of_class = {name: sample.labels == column for column, name in enumerate(CLASSES)}
        return [
            ClassHits(right[images], self.spread(name), n_distinct(sample.lesion[images]))
            for name, images in of_class.items()
            if images.any()
        ]

    @property
    def has_threshold(self) -> bool:
        """Whether it has a frozen point; `by_recipe` pools no run that has one with one that has none."""
        return self.entries[0].operating_point is not None

    def finds(self, unit: str, at: str) -> np.ndarray:
        """(n,) bool: images (or lesions) that more than half of the seeds call."""
        return np.mean([one.subject.calls[unit, at].called for one in self.judged], axis=0) > 0.5


@dataclass(frozen=True)
class Basis:
    """How much a figure rests on: `n` images (or lesions) of `n_lesions`, `weakest` of the rarer side."""

    n: int
    n_lesions: int
    weakest: int
    least: int = MIN_LESIONS

    @classmethod
    def of(cls, name: str, *pools: Pool) -> Basis:
        """Of a figure of one pool, or of a difference of two: what any of them looks at."""
        subject = pools[0].judged[0].subject
        sample, truth = (by_unit[COMPARED[name].unit] for by_unit in (subject.samples, subject.truths))
        rows = np.any([one.under(name) for pool in pools for one in pool.judged], axis=0)
        n_lesions = n_distinct(sample.lesion[rows])
        if "target" not in COMPARED[name].key:
            return cls(int(rows.sum()), n_lesions, n_lesions)
        sides = (n_distinct(sample.lesion[truth == side]) for side in (True, False))
        area = AREAS[COMPARED[name].key[-1]]
        return cls(int(rows.sum()), n_lesions, area.rests_on(*sides), area.least)

    def estimate(self, name: str, value: float, ends: tuple[float, float] | None) -> Estimate:
        low, high = ends or (None, None)
        return Estimate(value, low, high, self.n, self.n_lesions, COMPARED[name].unit)

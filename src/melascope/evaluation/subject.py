"""A group of images under many bootstrap draws: every figure of it, worked out for all draws at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from melascope.classes import CLASSES
from melascope.evaluation.counting import each_once
from melascope.evaluation.decisions import Calls
from melascope.evaluation.intervals import lesion_draws
from melascope.evaluation.lesion_level import lesion_labels, lesion_scores
from melascope.evaluation.metrics import METRICS, Sample, Tally
from melascope.evaluation.operating_point import OperatingPoint
from melascope.evaluation.ranking import AREAS, MAX_STEPS, Ranking
from melascope.evaluation.target import is_target, target_score

Key = tuple[str, ...]
"""Name of a figure: ("image", "accuracy"), ("image", "recall", "mel"), ("lesion", "target", "auroc"),
("lesion", "argmax", "sensitivity"), ("image", "row_share", "mel", "nv"): of the confusion matrix, truth before call."""


@dataclass(frozen=True)
class Subject:
    """A group of images together with the yes/no decisions that are asked of it.

    Parameters
    ----------
    images : of the group, with the lesions that they show
    target : classes to be found
    operating_point : frozen on validation, or None
    classes : whether every class is judged, or the target alone
    max_steps : of a ranking; None ranks every distinct score
    """

    images: Sample
    target: tuple[str, ...]
    operating_point: OperatingPoint | None
    classes: bool = True
    max_steps: int | None = None

    def for_draws(self) -> Subject:
        """The same, with rankings short enough to be drawn thousands of times."""
        return replace(self, images=replace(self.images, max_steps=MAX_STEPS), max_steps=MAX_STEPS)

    @cached_property
    def samples(self) -> dict[str, Sample]:
        """The same images one by one, and brought together by lesion (`lesion_level` has the rule)."""
        images = self.images
        lesions = lesion_scores(images.probabilities, self.truths["image"], images.lesion)
        labels = lesion_labels(images.labels, images.lesion)
        return {
            "image": images,
            "lesion": Sample(labels, lesions.probabilities, lesions.lesion, images.n_lesions, self.max_steps),
        }

    @cached_property
    def truths(self) -> dict[str, np.ndarray]:
        """(n,) bool: of a target class, per image and per lesion."""
        truth = is_target(self.images.labels, self.target)
        return {"image": truth, "lesion": lesion_scores(self.images.probabilities, truth, self.images.lesion).truth}

    @cached_property
    def calls(self) -> dict[tuple[str, str], Calls]:
        """(unit, at) -> truth and decision of each image or lesion."""
        called = {"argmax": lambda probabilities: is_target(probabilities.argmax(axis=1), self.target)}
        if self.operating_point:
            called["operating_point"] = self.operating_point.is_positive
        return {
            (unit, at): Calls(self.truths[unit], rule(sample.probabilities), sample.lesion, sample.n_lesions)
            for at, rule in called.items()
            for unit, sample in self.samples.items()
        }

    @cached_property
    def rankings(self) -> dict[str, Ranking]:
        """Images, and lesions, by P(target)."""
        return {
            unit: Ranking.of(
                *(self.truths[unit], target_score(sample.probabilities, self.target), sample.lesion, sample.n_lesions),
                max_steps=self.max_steps,
            )
            for unit, sample in self.samples.items()
        }

    def values(self, weights: np.ndarray) -> dict[Key, np.ndarray]:
        """Every figure (draws,) under lesion weights (draws, n_units); NaN where undefined."""
        found: dict[Key, np.ndarray] = {}
        for unit, sample in self.samples.items():
            found |= _of_classes(unit, Tally(sample, weights)) if self.classes else {}
            counted = self.rankings[unit].weighted(weights)
            found |= {(unit, "target", name): area.function(*counted) for name, area in AREAS.items()}
        for key, calls in self.calls.items():
            found |= {(*key, name): values for name, values in calls.figures(weights).items()}
        return found

    def point(self) -> dict[Key, float]:
        """Every figure of the images as they are, NaN where undefined."""
        return {key: float(values[0]) for key, values in self.values(each_once(self.images.n_lesions)).items()}


def _of_classes(unit: str, tally: Tally) -> dict[Key, np.ndarray]:
    found: dict[Key, np.ndarray] = {}
    for name, metric in METRICS.items():
        values = metric.function(tally)
        columns = zip(CLASSES, values.T, strict=True) if metric.per_class else [(None, values)]
        found |= {(unit, name, one) if one else (unit, name): column for one, column in columns}
    shares = tally.row_shares
    for row, truth in enumerate(CLASSES):
        found |= {(unit, "row_share", truth, called): shares[:, row, column] for column, called in enumerate(CLASSES)}
    return found


class Measured(Protocol):
    """Anything whose figures can be worked out under the weights of many draws."""

    def values(self, weights: np.ndarray) -> dict[Any, np.ndarray]: ...


def spread_of(
    measured: Mapping[Any, Measured], n_lesions: int, draws: int, seed: int
) -> dict[Any, dict[Any, np.ndarray]]:
    """Every figure (draws, …) of several groups of the same lesions, all from the same bootstrap draws."""
    drawn: dict[Any, list[dict[Any, np.ndarray]]] = {name: [] for name in measured}
    for weights in lesion_draws(n_lesions, draws, seed):
        for name, one in measured.items():
            drawn[name].append(one.values(weights))
    return {
        name: {key: np.concatenate([block[key] for block in blocks]) for key in (blocks[0] if blocks else {})}
        for name, blocks in drawn.items()
    }

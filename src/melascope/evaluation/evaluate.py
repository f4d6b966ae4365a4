"""What does a predictions table say of its model: every figure with its n and interval, or why there is none?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from melascope.classes import CLASSES
from melascope.errors import DataError
from melascope.evaluation.caveats import caveats_of
from melascope.evaluation.counting import lesion_numbers, n_distinct
from melascope.evaluation.decisions import DECISION_FIGURES, PREVALENCES, Calls, Decision, at_prevalence
from melascope.evaluation.intervals import interval, lesion_draws
from melascope.evaluation.lesion_level import lesion_labels, lesion_scores
from melascope.evaluation.metrics import METRICS, Metric, Sample, Tally
from melascope.evaluation.operating_point import OperatingPoint
from melascope.evaluation.ranking import AREAS, MAX_STEPS, Ranking
from melascope.evaluation.record import Evaluation, Group, Level
from melascope.evaluation.target import is_target, target_name, target_score
from melascope.tables.predictions import Predictions
from melascope.tables.results import Estimate, Figure, NotApplicable

__all__ = ["Evaluation", "Group", "evaluate", "evaluated_rows"]

UNITS = ("image", "lesion")

Key = tuple[str, ...]
"""Name of a figure in a group: ("image", "accuracy"), ("image", "recall", "mel"), ("lesion", "target", "auroc"),
("lesion", "argmax", "sensitivity")."""


def evaluate(
    predictions: Predictions,
    operating_point: OperatingPoint | None,
    *,
    split: str = "test",
    draws: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Judge the rows of one split.

    Parameters
    ----------
    predictions : a table of ours or of another project; one without any split is judged as a whole.
    operating_point : frozen on validation; None judges argmax only, with melanoma as the target.
    split : which rows.
    draws : of the lesion bootstrap; 0 gives no intervals.
    seed : of the draws; the same seed gives the same intervals.

    Raises
    ------
    DataError : no row of that split with known truth.
    OperatingPointError : the point belongs to another model or temperature.
    """
    fit = operating_point.check_fits(predictions) if operating_point else ()
    rows = evaluated_rows(predictions, split)
    target = operating_point.target if operating_point else ("mel",)
    lesion = lesion_numbers(rows.lesion_key)
    n_lesions = int(lesion.max()) + 1
    masks = {"all": np.ones(len(rows), dtype=bool), "histology": rows.dx_type == "histo"}
    subjects = {}
    for name, mask in masks.items():
        if mask.any():
            images = Sample(rows.labels[mask], rows.probabilities[mask], lesion[mask], n_lesions)
            subjects[name] = Subject(images, target, operating_point)
    spreads = spread_of({name: subject.for_draws() for name, subject in subjects.items()}, n_lesions, draws, seed)
    groups = {name: _group(subject, spreads[name]) for name, subject in subjects.items()}
    nothing = NotApplicable("n=0 images with truth from histology")
    return Evaluation(
        split=split if (predictions.split != "").any() else "",
        target=target,
        origin=predictions.origin,
        operating_point=operating_point,
        draws=draws,
        seed=seed,
        groups={name: groups.get(name, nothing) for name in masks},
        caveats=caveats_of(predictions, rows, target, operating_point, split) + fit,
    )


def evaluated_rows(predictions: Predictions, split: str) -> Predictions:
    """The rows that `evaluate` judges: those of `split` (all, if the table names no splits) with known truth."""
    has_splits = (predictions.split != "").any()
    rows = predictions.of_split(split) if has_splits else predictions
    judged = rows.subset(rows.labels >= 0)
    if len(judged) == 0:
        found = sorted({name or "(none)" for name in predictions.split})
        raise DataError(
            f"There is nothing to evaluate: {len(rows)} rows are of split {split!r}"
            + (", none of them has a known truth (dx)." if len(rows) else f"; the table has {', '.join(found)}."),
            expected="rows of that split with a class in column dx",
            fix="name another split, or add the truth to the table",
        )
    return judged


@dataclass(frozen=True)
class Subject:
    """A group of images together with the yes/no decisions that are asked of it.

    Parameters
    ----------
    images : of the group, with the lesions that they show
    target : classes to be found
    operating_point : frozen on validation, or None
    max_steps : of a ranking; None ranks every distinct score
    """

    images: Sample
    target: tuple[str, ...]
    operating_point: OperatingPoint | None
    max_steps: int | None = None

    def for_draws(self) -> Subject:
        """The same, with rankings short enough to be drawn thousands of times."""
        images = Sample(
            *(self.images.labels, self.images.probabilities, self.images.lesion, self.images.n_lesions), MAX_STEPS
        )
        return Subject(images, self.target, self.operating_point, MAX_STEPS)

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
        """Every figure (draws,) under lesion weights (draws, n_lesions); NaN where undefined."""
        found: dict[Key, np.ndarray] = {}
        for unit, sample in self.samples.items():
            tally = Tally(sample, weights)
            for name, metric in METRICS.items():
                values = metric.function(tally)
                columns = zip(CLASSES, values.T, strict=True) if metric.per_class else [(None, values)]
                found |= {(unit, name, one) if one else (unit, name): column for one, column in columns}
            counted = self.rankings[unit].weighted(weights)
            found |= {(unit, "target", name): area.function(*counted) for name, area in AREAS.items()}
        for key, calls in self.calls.items():
            found |= {(*key, name): values for name, values in calls.figures(weights).items()}
        return found


class Measured(Protocol):
    """Anything whose figures can be worked out under lesion weights."""

    def values(self, weights: np.ndarray) -> dict[Key, np.ndarray]: ...


def spread_of(
    subjects: Mapping[str, Measured], n_lesions: int, draws: int, seed: int
) -> dict[str, dict[Key, np.ndarray]]:
    """Every figure (draws,) of several groups of the same lesions, all from the same bootstrap draws."""
    drawn: dict[str, list[dict[Key, np.ndarray]]] = {name: [] for name in subjects}
    for weights in lesion_draws(n_lesions, draws, seed):
        for name, subject in subjects.items():
            drawn[name].append(subject.values(weights))
    return {
        name: {key: np.concatenate([block[key] for block in blocks]) for key in (blocks[0] if blocks else {})}
        for name, blocks in drawn.items()
    }


def _group(subject: Subject, spread: dict[Key, np.ndarray]) -> Group:
    images = subject.images
    point = {key: float(values[0]) for key, values in subject.values(np.ones((1, images.n_lesions))).items()}
    by_class = {name: images.labels == column for column, name in enumerate(CLASSES)}
    judge = _Judge(subject, point, spread)
    return Group(
        n_images=len(images),
        n_lesions=images.lesions_among(np.ones(len(images), dtype=bool)),
        class_counts={name: (int(mask.sum()), images.lesions_among(mask)) for name, mask in by_class.items()},
        image=judge.level("image"),
        lesion=judge.level("lesion"),
        decisions=tuple(judge.decisions()),
    )


@dataclass(frozen=True)
class _Judge:
    """Writes figures down: each with its n and interval, or with the reason why there is none.

    Parameters
    ----------
    point : key -> the figure itself, NaN where undefined
    spread : key -> (draws,); empty without draws
    """

    subject: Subject
    point: dict[Key, float]
    spread: dict[Key, np.ndarray]

    def level(self, unit: str) -> Level:
        """Figures of images, or of lesions."""
        sample = self.subject.samples[unit]
        confusion = Tally(sample, np.ones((1, sample.n_lesions))).confusion[0].astype(int)
        return Level(
            confusion=tuple(tuple(row) for row in confusion.tolist()),
            overall={name: self._metric(unit, name) for name, metric in METRICS.items() if not metric.per_class},
            per_class={
                name: {one: self._metric(unit, name, one) for one in CLASSES}
                for name, metric in METRICS.items()
                if metric.per_class
            },
            target={name: self._area(unit, name) for name in AREAS},
        )

    def decisions(self) -> Iterator[Decision]:
        """Figures of each yes/no rule, per image and per lesion."""
        for unit, at in self.subject.calls:
            yield Decision(
                at=at,
                unit=unit,
                **self.subject.calls[unit, at].counts(),
                figures={name: self._decision((unit, at), name) for name in DECISION_FIGURES},
                at_prevalence={
                    prevalence: {name: self._elsewhere((unit, at), name, prevalence) for name in ("ppv", "npv")}
                    for prevalence in PREVALENCES
                },
            )

    def _metric(self, unit: str, name: str, one: str | None = None) -> Figure:
        metric, sample = METRICS[name], self.subject.samples[unit]
        key = (unit, name, one) if one else (unit, name)
        everything = np.ones(len(sample), dtype=bool)
        of_class = sample.labels == CLASSES.index(one) if one else everything
        if np.isnan(self.point[key]):
            return NotApplicable(_undefined(metric, unit, one, of_class))
        called = sample.predicted == CLASSES.index(one) if one else everything
        images = {"all": everything, "class": of_class, "others": ~of_class, "called": called}[metric.rests_on]
        n_lesions = sample.lesions_among(images)
        weakest = _weakest(sample.lesion, of_class) if metric.compares else n_lesions
        return self._estimate(key, int(images.sum()), n_lesions, weakest, is_share=metric.is_share)

    def _area(self, unit: str, name: str) -> Figure:
        key, sample, truth = (unit, "target", name), self.subject.samples[unit], self.subject.truths[unit]
        if np.isnan(self.point[key]):
            what = target_name(self.subject.target)
            return NotApplicable(f"n=0 {unit}s other than {what}" if truth.any() else f"n=0 {unit}s of {what}")
        n_lesions = n_distinct(sample.lesion)
        weakest = _weakest(sample.lesion, truth)
        return self._estimate(key, len(sample), n_lesions, weakest, is_share=False, top=AREAS[name].top)

    def _decision(self, decision: tuple[str, str], name: str) -> Figure:
        figure, calls, key = DECISION_FIGURES[name], self.subject.calls[decision], (*decision, name)
        if np.isnan(self.point[key]):
            return NotApplicable(figure.undefined.format(unit=decision[0], target=target_name(self.subject.target)))
        rows = calls.under(figure)
        n_lesions = n_distinct(calls.lesion[rows])
        top = 1.0 if figure.is_share else None
        return self._estimate(key, int(rows.sum()), n_lesions, n_lesions, is_share=figure.is_share, top=top)

    def _elsewhere(self, decision: tuple[str, str], name: str, prevalence: float) -> Figure:
        calls, key = self.subject.calls[decision], (*decision, at_prevalence(name, prevalence))
        if np.isnan(self.point[key]):
            return NotApplicable(f"no sensitivity and specificity, or no {decision[0]} would be called so")
        weakest = _weakest(calls.lesion, calls.truth)
        return self._estimate(key, len(calls.truth), n_distinct(calls.lesion), weakest, is_share=False)

    def _estimate(
        self, key: Key, n: int, n_lesions: int, weakest: int, *, is_share: bool, top: float | None = 1.0
    ) -> Estimate:
        value, spread = self.point[key], self.spread.get(key, np.empty(0))
        low, high = interval(value, spread, weakest, is_share=is_share, n=n, top=top) or (None, None)
        return Estimate(value=value, low=low, high=high, n=n, n_lesions=n_lesions, unit=key[0])


def _undefined(metric: Metric, unit: str, one: str | None, of_class: np.ndarray) -> str:
    if metric.rests_on == "called" and of_class.any():
        return f"n=0 {unit}s called {one}"
    return f"n=0 {unit}s of {one}" if not of_class.any() else f"n=0 {unit}s of classes other than {one}"


def _weakest(lesion: np.ndarray, truth: np.ndarray) -> int:
    """Lesions on the rarer side of a comparison."""
    return min(n_distinct(lesion[truth]), n_distinct(lesion[~truth]))

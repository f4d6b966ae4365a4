"""What does a predictions table say of its model: every figure with its n and interval, or why there is none?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from melascope.classes import CLASSES
from melascope.errors import DataError
from melascope.evaluation.caveats import caveats_of
from melascope.evaluation.decisions import DECISION_FIGURES, Calls, Decision
from melascope.evaluation.intervals import interval, lesion_draws
from melascope.evaluation.lesion_level import lesion_scores
from melascope.evaluation.metrics import METRICS, Metric, Sample, Tally, n_distinct
from melascope.evaluation.operating_point import OperatingPoint, is_target, target_name
from melascope.evaluation.record import Evaluation, Group
from melascope.tables.predictions import Predictions
from melascope.tables.results import Estimate, Figure, NotApplicable

__all__ = ["Evaluation", "Group", "evaluate", "evaluated_rows"]

Key = tuple[str, ...]
"""Name of a figure in a group: ("accuracy",), ("recall", "mel"), ("argmax", "lesion", "sensitivity")."""


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
    lesion = np.unique(rows.lesion_key.astype(str), return_inverse=True)[1]
    n_lesions = int(lesion.max()) + 1
    masks = {"all": np.ones(len(rows), dtype=bool), "histology": rows.dx_type == "histo"}
    subjects = {}
    for name, mask in masks.items():
        sample = Sample(rows.labels[mask], rows.probabilities[mask], lesion[mask], n_lesions)
        subjects[name] = Subject(sample, target, operating_point)
    groups = measure({name: subject for name, subject in subjects.items() if len(subject.sample)}, draws, seed)
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
    """A group of images together with the yes/no decisions that are asked of it."""

    sample: Sample
    target: tuple[str, ...]
    operating_point: OperatingPoint | None

    @cached_property
    def calls(self) -> dict[tuple[str, str], Calls]:
        """(at, unit) -> truth and decision of each image or lesion."""
        sample = self.sample
        truth = is_target(sample.labels, self.target)
        lesions = lesion_scores(sample.probabilities, truth, sample.lesion)
        by_unit = {
            "image": (truth, sample.probabilities, sample.lesion),
            "lesion": (lesions.truth, lesions.probabilities, lesions.lesion),
        }
        called = {"argmax": lambda probabilities: is_target(probabilities.argmax(axis=1), self.target)}
        if self.operating_point:
            called["operating_point"] = self.operating_point.is_positive
        return {
            (at, unit): Calls(truth, rule(probabilities), lesion, sample.n_lesions)
            for at, rule in called.items()
            for unit, (truth, probabilities, lesion) in by_unit.items()
        }

    def values(self, weights: np.ndarray) -> dict[Key, np.ndarray]:
        """Every figure (draws,) under lesion weights (draws, n_lesions); NaN where undefined."""
        tally = Tally(self.sample, weights)
        found: dict[Key, np.ndarray] = {}
        for name, metric in METRICS.items():
            values = metric.function(tally)
            columns = zip(CLASSES, values.T, strict=True) if metric.per_class else [(None, values)]
            found |= {(name, one) if one else (name,): column for one, column in columns}
        for key, calls in self.calls.items():
            found |= {(*key, name): values for name, values in calls.figures(weights).items()}
        return found


def measure(subjects: dict[str, Subject], draws: int, seed: int) -> dict[str, Group]:
    """Figures and intervals of several groups of the same lesions, all from the same bootstrap draws."""
    n_lesions = next(iter(subjects.values())).sample.n_lesions
    drawn: dict[str, list[dict[Key, np.ndarray]]] = {name: [] for name in subjects}
    for weights in lesion_draws(n_lesions, draws, seed):
        for name, subject in subjects.items():
            drawn[name].append(subject.values(weights))
    groups = {}
    for name, subject in subjects.items():
        point = {key: float(values[0]) for key, values in subject.values(np.ones((1, n_lesions))).items()}
        spread = {key: np.concatenate([np.empty(0), *(block[key] for block in drawn[name])]) for key in point}
        groups[name] = _group(subject, point, spread)
    return groups


def _group(subject: Subject, point: dict[Key, float], spread: dict[Key, np.ndarray]) -> Group:
    sample = subject.sample

    def of_metric(name: str, one: str | None = None) -> Figure:
        key = (name, one) if one else (name,)
        return _metric_figure(sample, METRICS[name], one, point[key], spread[key])

    decisions = []
    for (at, unit), calls in subject.calls.items():
        figures = {
            name: _decision_figure(subject, calls, name, unit, point[at, unit, name], spread[at, unit, name])
            for name in DECISION_FIGURES
        }
        decisions.append(Decision(at=at, unit=unit, **calls.counts(), figures=figures))
    by_class = {name: sample.labels == column for column, name in enumerate(CLASSES)}
    confusion = Tally(sample, np.ones((1, sample.n_lesions))).confusion[0].astype(int)
    return Group(
        n_images=len(sample),
        n_lesions=sample.lesions_among(np.ones(len(sample), dtype=bool)),
        class_counts={name: (int(mask.sum()), sample.lesions_among(mask)) for name, mask in by_class.items()},
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        overall={name: of_metric(name) for name, metric in METRICS.items() if not metric.per_class},
        per_class={
            name: {one: of_metric(name, one) for one in CLASSES} for name, metric in METRICS.items() if metric.per_class
        },
        decisions=tuple(decisions),
    )


def _metric_figure(sample: Sample, metric: Metric, one: str | None, value: float, spread: np.ndarray) -> Figure:
    everything = np.ones(len(sample), dtype=bool)
    of_class = sample.labels == CLASSES.index(one) if one else everything
    if np.isnan(value):
        return NotApplicable(
            f"n=0 images of {one}" if not of_class.any() else f"n=0 images of classes other than {one}"
        )
    images = {"all": everything, "class": of_class, "others": ~of_class}[metric.rests_on]
    n_lesions = sample.lesions_among(images)
    weakest = min(sample.lesions_among(of_class), sample.lesions_among(~of_class)) if metric.compares else n_lesions
    return _estimate(value, spread, int(images.sum()), n_lesions, weakest, "image", metric.is_share)


def _decision_figure(subject: Subject, calls: Calls, name: str, unit: str, value: float, spread: np.ndarray) -> Figure:
    figure = DECISION_FIGURES[name]
    if np.isnan(value):
        return NotApplicable(figure.undefined.format(unit=unit, target=target_name(subject.target)))
    rows = calls.under(figure)
    n_lesions = n_distinct(calls.lesion[rows])
    return _estimate(value, spread, int(rows.sum()), n_lesions, n_lesions, unit, figure.is_share)


def _estimate(
    value: float, spread: np.ndarray, n: int, n_lesions: int, weakest: int, unit: str, is_share: bool
) -> Estimate:
    found = interval(value, spread, weakest, is_share=is_share)
    low, high = found or (None, None)
    return Estimate(value=value, low=low, high=high, n=n, n_lesions=n_lesions, unit=unit)

"""How are a group's figures written down: each with its n and interval, or with the reason why there is none?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from melascope.classes import CLASSES
from melascope.evaluation.class_means import ClassShare, f1, mean_f1_interval, mean_share_interval
from melascope.evaluation.counting import each_once, n_distinct
from melascope.evaluation.decisions import DECISION_FIGURES, PREVALENCES, Decision, at_prevalence, predictive_interval
from melascope.evaluation.intervals import MIN_LESIONS, interval
from melascope.evaluation.metrics import METRICS, Metric, Tally
from melascope.evaluation.ranking import AREAS
from melascope.evaluation.record import Group, Level
from melascope.evaluation.subgroups import MIN_SIDE, Subgroup
from melascope.evaluation.subject import Key, Subject
from melascope.evaluation.target import target_name
from melascope.tables.results import Estimate, Figure, NotApplicable


@dataclass(frozen=True)
class Judge:
    """Writes the figures of one group down.

    Parameters
    ----------
    point : key -> the figure itself, NaN where undefined
    spread : key -> (draws,); empty without draws
    """

    subject: Subject
    point: dict[Key, float]
    spread: dict[Key, np.ndarray]

    def group(self) -> Group:
        """Everything about the group."""
        images = self.subject.images
        by_class = {name: images.labels == column for column, name in enumerate(CLASSES)}
        return Group(
            n_images=len(images),
            n_lesions=n_distinct(images.lesion),
            class_counts={name: (int(mask.sum()), images.lesions_among(mask)) for name, mask in by_class.items()},
            image=self.level("image"),
            lesion=self.level("lesion"),
            decisions=tuple(self.decisions()),
        )

    def subgroup(self, factor: str, value: str, at: str) -> Subgroup:
        """The few figures that a subgroup is compared by, where it is large enough for them."""
        subject = self.subject
        images, truth = subject.images, subject.truths["image"]
        sides = {side: n_distinct(images.lesion[truth == side]) for side in (True, False)}
        what = target_name(subject.target)
        few = {
            True: NotApplicable(f"n={sides[True]} lesions of {what}, fewer than {MIN_SIDE}"),
            False: NotApplicable(f"n={sides[False]} other lesions, fewer than {MIN_SIDE}"),
        }
        small = next((few[side] for side in few if sides[side] < MIN_SIDE), None)
        return Subgroup(
            *(factor, value, len(images), n_distinct(images.lesion), int(truth.sum()), sides[True]),
            figures={
                "sensitivity": few[True] if sides[True] < MIN_SIDE else self._decision(("image", at), "sensitivity"),
                "lesion_sensitivity": (
                    few[True] if sides[True] < MIN_SIDE else self._decision(("lesion", at), "sensitivity")
                ),
                "specificity": few[False] if sides[False] < MIN_SIDE else self._decision(("image", at), "specificity"),
                "auroc": small or self._area("image", "auroc"),
            },
        )

    def level(self, unit: str) -> Level:
        """Figures of images, or of lesions."""
        sample = self.subject.samples[unit]
        confusion = Tally(sample, each_once(sample.n_lesions)).confusion[0].astype(int)
        return Level(
            confusion=tuple(tuple(row) for row in confusion.tolist()),
            row_shares=tuple(tuple(self._row_share(unit, one, called) for called in CLASSES) for one in CLASSES),
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
        if metric.mean_of:
            return self._mean_over_classes(key, metric)
        called = sample.predicted == CLASSES.index(one) if one else everything
        images = {"all": everything, "class": of_class, "others": ~of_class, "called": called}[metric.rests_on]
        n_lesions = sample.lesions_among(images)
        weakest = _weakest(sample.lesion, of_class) if metric.compares else n_lesions
        return self._estimate(key, int(images.sum()), n_lesions, weakest, is_share=metric.is_share)

    def _mean_over_classes(self, key: Key, metric: Metric) -> Figure:
        unit, sample, shares = key[0], self.subject.samples[key[0]], []
        for column, one in enumerate(CLASSES):
            images = of_class = sample.labels == column
            if not of_class.any():
                continue
            names = [(unit, name, one) for name in ("recall", "ppv")]
            value, spread = ([values.get(name, np.empty(0)) for name in names] for values in (self.point, self.spread))
            if metric.mean_of == "f1":
                images = of_class | (sample.predicted == column)
                value, spread = [f1(*value)], [f1(*spread)]
            shares.append(ClassShare(float(value[0]), spread[0], int(images.sum()), sample.lesions_among(images)))
        n_lesions = n_distinct(sample.lesion)
        ends = (mean_f1_interval if metric.mean_of == "f1" else mean_share_interval)(shares, n_lesions)
        return Estimate(self.point[key], *(ends or (None, None)), n=len(sample), n_lesions=n_lesions, unit=unit)

    def _row_share(self, unit: str, one: str, called: str) -> Figure:
        key, sample = (unit, "row_share", one, called), self.subject.samples[unit]
        if np.isnan(self.point[key]):
            return NotApplicable(f"n=0 {unit}s of {one}")
        of_class = sample.labels == CLASSES.index(one)
        n_lesions = sample.lesions_among(of_class)
        return self._estimate(key, int(of_class.sum()), n_lesions, n_lesions, is_share=True)

    def _area(self, unit: str, name: str) -> Figure:
        key, sample, truth = (unit, "target", name), self.subject.samples[unit], self.subject.truths[unit]
        if np.isnan(self.point[key]):
            what = target_name(self.subject.target)
            return NotApplicable(f"n=0 {unit}s other than {what}" if truth.any() else f"n=0 {unit}s of {what}")
        area, n_lesions = AREAS[name], n_distinct(sample.lesion)
        weakest = area.rests_on(n_distinct(sample.lesion[truth]), n_distinct(sample.lesion[~truth]))
        shape = {"is_share": False, "top": area.top, "least": area.least}
        return self._estimate(key, len(sample), n_lesions, weakest, **shape)

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
        ends = None
        if key in self.spread and _weakest(calls.lesion, calls.truth) >= MIN_LESIONS:
            right = [self._decision(decision, one) for one in ("sensitivity", "specificity")]
            ends = predictive_interval(name, *((one.value, one.low, one.high) for one in right), prevalence)
        low, high = ends or (None, None)
        n_lesions = n_distinct(calls.lesion)
        return Estimate(self.point[key], low, high, len(calls.truth), n_lesions, unit=decision[0])

    def _estimate(self, key: Key, n: int, n_lesions: int, weakest: int, **shape: Any) -> Estimate:
        """`shape` is that of `interval`."""
        value, spread = self.point[key], self.spread.get(key, np.empty(0))
        low, high = interval(value, spread, weakest, n=n, **shape) or (None, None)
        return Estimate(value=value, low=low, high=high, n=n, n_lesions=n_lesions, unit=key[0])


def _undefined(metric: Metric, unit: str, one: str | None, of_class: np.ndarray) -> str:
    if metric.rests_on == "called" and of_class.any():
        return f"n=0 {unit}s called {one}"
    return f"n=0 {unit}s of {one}" if not of_class.any() else f"n=0 {unit}s of classes other than {one}"


def _weakest(lesion: np.ndarray, truth: np.ndarray) -> int:
    """Lesions on the rarer side of a comparison."""
    return min(n_distinct(lesion[truth]), n_distinct(lesion[~truth]))

"""Is acting on P(target) better than treating everybody, or nobody: how much, and how sure is that?

Whoever would accept up to w false alarms for one melanoma found acts from the threshold probability
p_t = 1 / (1 + w) on. Net benefit counts what that brings, in melanomas found per image
(Vickers & Elkin 2006, Med. Decis. Making 26, 565):

    net benefit = TP / n - FP / n · p_t / (1 - p_t)

Treating nobody brings 0, treating everybody π - (1 - π) · p_t / (1 - p_t) at prevalence π. The claim of a model is
the difference to the better of the two. The difference to treating everybody is counted from what is left alone:
TN / n · p_t / (1 - p_t) - FN / n. At a stated prevalence π the shares are put together anew:

    net benefit = sensitivity · π - (1 - specificity) · (1 - π) · p_t / (1 - p_t)

Each figure is thus a gain less a loss, both weighted shares. Its interval is put together from those of the two shares
(`intervals.py`) and from the correlation r of gain and loss over the draws, in which they are paired (Zou & Donner
2008, Stat. Med. 27, 1693; with r: Zou 2007, Psychol. Methods 12, 399). With a gain g in [g1, g2] and a loss l
in [l1, l2] it is g - l - sqrt(a² + b² - 2 r a b) with a = g - g1, b = l2 - l, and above likewise. So it has width where
no melanoma is missed, though no draw then misses one either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.sparse import csc_array

from melascope.errors import DataError
from melascope.evaluation.counting import counts_by_lesion, each_once, n_distinct, ratio, weighted
from melascope.evaluation.intervals import interval, lesion_draws
from melascope.tables.results import Estimate, NotApplicable

THRESHOLDS: tuple[float, ...] = tuple(step / 100 for step in range(1, 51))
"""Threshold probabilities of the curve. Stated beforehand: they are the reader's wishes, not steps of the scores."""

UTILITY_NOTES: tuple[str, ...] = (
    "Net benefit takes P(target) at its word: read it beside the calibration, and not at all where that is poor.",
    "Intervals hold threshold by threshold, not for the whole curve at once.",
    "Who treats, refers or biopsies weighs harm otherwise: look at your own threshold probability, not at the area.",
)
"""Sentences that belong beside every decision curve."""


@dataclass(frozen=True)
class Benefit:
    """The decision at one threshold probability.

    Parameters
    ----------
    threshold : p_t; an image is positive if P(target) >= p_t.
    found, alarms : positive images of the target, and of the others, as counted (at any prevalence).
    net_benefit : of the model, in target images found per image; of treating nobody it is 0.
    treat_all : net benefit of treating everybody at the curve's prevalence.
    over_treat_all : net benefit of the model less that of treating everybody, from the same draws.
    """

    threshold: float
    found: int
    alarms: int
    net_benefit: Estimate
    treat_all: float
    over_treat_all: Estimate

    @property
    def is_useful(self) -> bool:
        """Better than treating nobody and than treating everybody: both intervals lie above 0."""
        return all(figure.low is not None and figure.low > 0 for figure in (self.net_benefit, self.over_treat_all))

    def as_json(self) -> dict[str, Any]:
        figures = {name: getattr(self, name).as_json() for name in ("net_benefit", "over_treat_all")}
        return {**asdict(self), **figures}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Benefit:
        figures = {name: Estimate(**content[name]) for name in ("net_benefit", "over_treat_all")}
        return cls(**{**content, **figures})


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit at each of the stated threshold probabilities.

    Parameters
    ----------
    n_images, n_lesions : that were judged.
    n_target_images, n_target_lesions : of the target.
    prevalence : share of target images at which the figures hold.
    is_stated : that prevalence was stated; otherwise it is the collection's own.
    points : by rising threshold.
    """

    n_images: int
    n_lesions: int
    n_target_images: int
    n_target_lesions: int
    prevalence: float
    is_stated: bool
    points: tuple[Benefit, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know before believing the curve."""
        if self.is_stated:
            own = (
                f"At the stated prevalence of {self.prevalence:.1%} the same images are called as here: "
                "P(target) was not recalibrated to that prevalence, which net benefit would ask for."
            )
        else:
            own = f"The prevalence here, {self.prevalence:.1%} of the images, is this collection's and not a clinic's."
        return (own, *UTILITY_NOTES)

    def useful_ranges(self) -> tuple[tuple[float, float], ...]:
        """Unbroken ranges (first, last) of thresholds at which the model is better than nobody and everybody."""
        runs: list[list[float]] = []
        previous = False
        for point in self.points:
            if point.is_useful:
                runs = [*runs[:-1], [*runs[-1], point.threshold]] if previous else [*runs, [point.threshold]]
            previous = point.is_useful
        return tuple((run[0], run[-1]) for run in runs)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "points": [point.as_json() for point in self.points], "notes": list(self.notes)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> DecisionCurve:
        fields = {name: value for name, value in content.items() if name != "notes"}
        return cls(**{**fields, "points": tuple(Benefit.from_json(point) for point in content["points"])})


def decision_curve(
    scores: np.ndarray,
    truth: np.ndarray,
    lesion: np.ndarray,
    *,
    draws: int,
    seed: int,
    prevalence: float | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> DecisionCurve | NotApplicable:
    """Net benefit of acting on P(target), image by image, with lesion-bootstrap intervals.

    Parameters
    ----------
    scores : (n_images,) float64, calibrated P(target)
    truth : (n_images,) bool, of a target class
    lesion : (n_images,) int64, number of the lesion from 0
    draws, seed : of the lesion bootstrap; 0 draws give no intervals.
    prevalence : share of target images, in (0, 1), at which the figures shall hold; None takes the collection's own.
    thresholds : threshold probabilities, rising, in (0, 1).

    Raises
    ------
    DataError : a prevalence or threshold that is none.
    """
    tally = BenefitTally.of(scores, truth, lesion, int(lesion.max(initial=-1)) + 1, thresholds)
    blocks = [tally.values(weights)["positive"] for weights in lesion_draws(tally.n_units, draws, seed)]
    return tally.curve({"positive": np.concatenate(blocks)} if blocks else {}, prevalence)


@dataclass(frozen=True)
class BenefitTally:
    """Images that reach each threshold, counted by lesion: a draw costs one product, and serves every prevalence.

    Parameters
    ----------
    thresholds : (n_thresholds,) float64
    cells : (2 · (n_thresholds + 1), n_units) images by truth (others, target) and by how many thresholds they reach
    shown : (2,) lesions of the other and of the target images
    n_shown : lesions of any image
    """

    thresholds: np.ndarray
    cells: csc_array
    shown: tuple[int, int]
    n_shown: int

    @classmethod
    def of(
        cls,
        scores: np.ndarray,
        truth: np.ndarray,
        lesion: np.ndarray,
        n_lesions: int,
        thresholds: Sequence[float] = THRESHOLDS,
    ) -> BenefitTally:
        """Sort images under thresholds; `n_lesions` is how many lesions a draw has weights for."""
        edges = np.asarray(thresholds, dtype=np.float64)
        if len(edges) == 0 or not (edges[0] > 0 and edges[-1] < 1 and (np.diff(edges) > 0).all()):
            raise DataError(
                f"The threshold probabilities are {tuple(thresholds)!r}.", expected="rising numbers above 0 and below 1"
            )
        reached = np.searchsorted(edges, scores, side="right")
        rows = len(edges) + 1
        return cls(
            thresholds=edges,
            cells=counts_by_lesion(truth * rows + reached, lesion, 2 * rows, n_lesions).tocsc(),
            shown=(n_distinct(lesion[~truth]), n_distinct(lesion[truth])),
            n_shown=n_distinct(lesion),
        )

    @property
    def n_units(self) -> int:
        """Units that a draw has weights for."""
        return self.cells.shape[1]

    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Weight of the images that are positive, under lesion weights (draws, n_units).

        Returns
        -------
        positive : (draws, 2, 1 + n_thresholds) others and target; the first column, threshold 0, holds all images
        """
        reached = weighted(self.cells, weights).reshape(2, len(self.thresholds) + 1, len(weights))
        return {"positive": np.moveaxis(np.cumsum(reached[:, ::-1], axis=1)[:, ::-1], 2, 0)}

    def curve(self, spread: Mapping[str, np.ndarray], prevalence: float | None = None) -> DecisionCurve | NotApplicable:
        """The curve at a prevalence (None: its own); `spread` is what `values` gave for all draws, {} without any."""
        if prevalence is not None and not 0 < prevalence < 1:
            raise DataError(f"The prevalence is {prevalence}.", expected="a share above 0 and below 1")
        counts = self.values(each_once(self.n_units))["positive"]
        others, target = counts[0, :, 0].astype(int).tolist()
        if target == 0 or others == 0:
            return NotApplicable(f"n=0 images {'other than' if target else 'of'} the target")
        return DecisionCurve(
            n_images=others + target,
            n_lesions=self.n_shown,
            n_target_images=target,
            n_target_lesions=self.shown[1],
            prevalence=target / (others + target) if prevalence is None else float(prevalence),
            is_stated=prevalence is not None,
            points=self._points(counts, spread.get("positive", counts[:0]), prevalence),
        )

    def _points(self, counts: np.ndarray, drawn: np.ndarray, prevalence: float | None) -> tuple[Benefit, ...]:
        others, target = counts[0, :, 0]
        share = target / (others + target) if prevalence is None else prevalence
        points = []
        for column, threshold in enumerate(self.thresholds.tolist(), start=1):
            false_alarms, found = self._terms(counts, drawn, column, prevalence, positive=True)
            spared, missed = self._terms(counts, drawn, column, prevalence, positive=False)
            points.append(
                Benefit(
                    threshold=threshold,
                    found=int(counts[0, 1, column]),
                    alarms=int(counts[0, 0, column]),
                    net_benefit=self._estimate(found, false_alarms, int(others + target)),
                    treat_all=float(share - (1 - share) * threshold / (1 - threshold)),
                    over_treat_all=self._estimate(spared, missed, int(others + target)),
                )
            )
        return tuple(points)

    def _terms(
        self, counts: np.ndarray, drawn: np.ndarray, column: int, prevalence: float | None, *, positive: bool
    ) -> list[_Term]:
        """The others, then the target images, that are positive at a threshold (or are not), as weighted shares."""
        pooled = prevalence is None
        odds = float(self.thresholds[column - 1] / (1 - self.thresholds[column - 1]))
        factors = (odds, 1.0) if pooled else ((1 - prevalence) * odds, prevalence)
        value, spread = (_shares(each, column, pooled=pooled, positive=positive) for each in (counts, drawn))
        images, lesions = counts[0, :, 0].astype(int).tolist(), self.shown
        if pooled:
            images, lesions = [sum(images)] * 2, (self.n_shown, self.n_shown)
        return [
            _Term(factors[kind], float(value[0, kind]), spread[:, kind], images[kind], lesions[kind]) for kind in (0, 1)
        ]

    def _estimate(self, gain: _Term, loss: _Term, n_images: int) -> Estimate:
        low, high = _difference_interval(gain, loss) or (None, None)
        value = gain.factor * gain.value - loss.factor * loss.value
        return Estimate(value=value, low=low, high=high, n=n_images, n_lesions=self.n_shown)


@dataclass(frozen=True)
class _Term:
    """A share `value` of `n` images of `n_lesions`, its bootstrap values (draws,), and its factor in net benefit."""

    factor: float
    value: float
    spread: np.ndarray
    n: int
    n_lesions: int


def _shares(images: np.ndarray, column: int, *, pooled: bool, positive: bool) -> np.ndarray:
    """(draws, 2) share of others and of target images, among all images (pooled) or each among its kind."""
    everyone = images[:, :, 0]
    chosen = images[:, :, column] if positive else everyone - images[:, :, column]
    return ratio(chosen, everyone.sum(axis=1, keepdims=True) if pooled else everyone)


def _difference_interval(gain: _Term, loss: _Term) -> tuple[float, float] | None:
    """95 % interval of gain less loss, by the rule at the top of this file."""
    ends = [interval(term.value, term.spread, term.n_lesions, is_share=True, n=term.n) for term in (gain, loss)]
    if None in ends:
        return None
    (gain_low, gain_high), (loss_low, loss_high) = ends
    together = _correlation(gain.spread, loss.spread)
    down = _hypotenuse(gain.factor * (gain.value - gain_low), loss.factor * (loss_high - loss.value), together)
    up = _hypotenuse(gain.factor * (gain_high - gain.value), loss.factor * (loss.value - loss_low), together)
    value = gain.factor * gain.value - loss.factor * loss.value
    return value - down, value + up


def _hypotenuse(one: float, other: float, together: float) -> float:
    return math.sqrt(max(0.0, one**2 + other**2 - 2 * together * one * other))


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of two figures over the draws (draws,) in which both are defined; 0 where one does not vary."""
    defined = np.isfinite(one) & np.isfinite(other)
    one, other = one[defined] - one[defined].mean(), other[defined] - other[defined].mean()
    scale = math.sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / scale if scale > 0 else 0.0

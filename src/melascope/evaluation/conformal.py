"""Which classes cannot be ruled out for a lesion, so that of each class at least 1 - alpha are kept in?

Split-conformal sets, class by class (label-conditional: Vovk 2013, Mach. Learn. 92, 349; least ambiguous sets:
Sadinle, Lei & Wasserman 2019, J. Am. Stat. Assoc. 114, 223). Of each class y the validation lesions are ranked by
their probability of y. The threshold t_y is the k-th highest with k = ceil((n_y + 1)(1 - alpha)) (Angelopoulos & Bates
2021, arXiv:2107.07511, "Class-conditional conformal prediction"), and the set of a new lesion holds every y with
P(y) >= t_y. Whatever the model is worth, a new lesion of class y then has y in its set with probability >= 1 - alpha,
for melanoma as for nevi: a poor model pays with large sets. Where k > n_y (n_y < 1/alpha - 1) nothing can be ruled
out: the class is in every set.

The promise needs calibration and new cases to be exchangeable, which images of one lesion are not. So the unit is the
lesion: one score each, the mean probability over its images (`lesion_level.py`), in calibration and afterwards.
It is kept on average over calibrations. With the n_y at hand, the true coverage is itself drawn, from
Beta(k, n_y + 1 - k) (Vovk 2013; Angelopoulos & Bates 2021, "The effect of the size of the calibration set"); its
middle 95 % is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
from scipy.special import betaincinv

from melascope.classes import CLASSES
from melascope.errors import OperatingPointError
from melascope.evaluation.intervals import LEVEL, clopper_pearson, percentile_interval
from melascope.evaluation.lesion_level import lesion_labels, lesion_scores
from melascope.tables.predictions import Predictions, PredictionsOrigin
from melascope.tables.results import Estimate, Figure, NotApplicable, figure_from_json

ALPHAS: tuple[float, ...] = (0.10, 0.05)
"""Shares of each class's lesions that may be left out of their own set."""

VOID_IF: tuple[str, ...] = (
    "another collection: lesions of another clinic, camera, population or way of choosing whom to photograph are not "
    "exchangeable with those that calibrated.",
    "calibration rows used before: validation images that also chose checkpoint, temperature or threshold have "
    "probabilities that flatter a little, and new lesions may be covered a little less.",
    "single images: the promise holds for the mean over a lesion's images, photographed as often as those that "
    "calibrated, not for one image of several.",
    "several lesions of one person: they are no independent witnesses, among those that calibrate or are judged.",
    "another truth: where it is wrong, or of another standard than in calibration (histology there, follow-up here), "
    "what is covered is the label.",
    "none of the seven classes: no set can be right.",
    "subgroups and picked sets: the promise is a class's, not that of an age, a site or a skin tone, of sets of one "
    "class, or of lesions that somebody picked after seeing their sets.",
    "looking first: sets that are calibrated anew, or an alpha that is chosen, after the judged images were seen.",
)
"""What voids the promise, beside every figure: in short, a colon, and why."""


@dataclass(frozen=True)
class ClassRule:
    """When a class is in a set.

    Parameters
    ----------
    threshold : P(class) that suffices; 0 where nothing can be ruled out.
    n_lesions : that calibrated it.
    expected : (low, high) middle 95 % of the true coverage, given so many lesions; None where always included.
    """

    threshold: float
    n_lesions: int
    expected: tuple[float, float] | None

    @property
    def always_included(self) -> bool:
        """Too few lesions calibrated the class: it is in every set."""
        return self.expected is None


@dataclass(frozen=True)
class ConformalRule:
    """Which classes belong into a lesion's set, calibrated on validation lesions.

    Parameters
    ----------
    alpha : share of each class's lesions that may be left out of their own set.
    classes : class -> `ClassRule`.
    """

    alpha: float
    classes: dict[str, ClassRule]

    def sets(self, probabilities: np.ndarray) -> np.ndarray:
        """(n_lesions, 7) bool: the classes in each lesion's set; `probabilities` (n_lesions, 7), means over images."""
        return probabilities >= np.array([self.classes[name].threshold for name in CLASSES])

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ConformalRule:
        """Read back what `dataclasses.asdict` wrote."""
        classes = {}
        for name, each in content["classes"].items():
            classes[name] = ClassRule(**{**each, "expected": tuple(each["expected"]) if each["expected"] else None})
        return cls(alpha=content["alpha"], classes=classes)


@dataclass(frozen=True)
class ConformalFigures:
    """What the sets of a rule look like on the judged lesions.

    Parameters
    ----------
    rule : `ConformalRule`.
    coverage : class -> share of its lesions whose set holds it; exact binomial interval, the lesion is the unit.
    sizes : (8,) lesions by the number of classes in their set, 0 to 7.
    mean_size : classes in a set.
    shares : "empty", "single" and "full" (all seven classes) -> share of the sets.
    """

    rule: ConformalRule
    coverage: dict[str, Figure]
    sizes: tuple[int, ...]
    mean_size: Estimate
    shares: dict[str, Estimate]

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "coverage": {name: figure.as_json() for name, figure in self.coverage.items()},
            "sizes": list(self.sizes),
            "mean_size": self.mean_size.as_json(),
            "shares": {name: figure.as_json() for name, figure in self.shares.items()},
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ConformalFigures:
        return cls(
            rule=ConformalRule.from_json(content["rule"]),
            coverage={name: figure_from_json(figure) for name, figure in content["coverage"].items()},
            sizes=tuple(content["sizes"]),
            mean_size=Estimate(**content["mean_size"]),
            shares={name: Estimate(**figure) for name, figure in content["shares"].items()},
        )


@dataclass(frozen=True)
class Conformal:
    """Sets at each alpha, with what they rest on and what voids their promise.

    Parameters
    ----------
    n_calibration, n_judged : lesions, one score each.
    figures : one for each alpha.
    notes : what of that is known to hold here, and the classes that cannot be ruled out, for each alpha.
    void_if : what voids the promise.
    """

    n_calibration: int
    n_judged: int
    figures: tuple[ConformalFigures, ...]
    notes: tuple[str, ...]
    void_if: tuple[str, ...] = VOID_IF

    @property
    def void_in_short(self) -> tuple[str, ...]:
        """What voids the promise, without the reasons."""
        return tuple(sentence.partition(":")[0] for sentence in self.void_if)

    def n_judged_of(self, name: str) -> int:
        """Judged lesions of one class."""
        coverage = self.figures[0].coverage[name]
        return coverage.n if isinstance(coverage, Estimate) else 0

    def as_json(self) -> dict[str, Any]:
        figures = [each.as_json() for each in self.figures]
        return {**asdict(self), "figures": figures, "notes": list(self.notes), "void_if": list(self.void_if)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Conformal:
        figures = tuple(ConformalFigures.from_json(each) for each in content["figures"])
        texts = {name: tuple(content[name]) for name in ("notes", "void_if")}
        return cls(**{**content, "figures": figures, **texts})


@dataclass(frozen=True)
class LabelledLesions:
    """One row a lesion with known truth.

    Parameters
    ----------
    key : (n_lesions,) str
    labels : (n_lesions,) int64, column of the truth in `CLASSES`
    probabilities : (n_lesions, 7) float64, means over the lesion's images
    """

    key: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.key)

    @classmethod
    def of(cls, predictions: Predictions) -> LabelledLesions:
        """Bring the images with known truth together by lesion."""
        known = predictions.subset(predictions.labels >= 0)
        key, lesion = np.unique(known.lesion_key.astype(str), return_inverse=True)
        if len(key) == 0:
            return cls(key, known.labels, known.probabilities)
        means = lesion_scores(known.probabilities, np.zeros(len(known), dtype=bool), lesion).probabilities
        return cls(key, lesion_labels(known.labels, lesion), means)


def conformal_sets(
    calibration: Predictions,
    judged: Predictions,
    *,
    alphas: Sequence[float] = ALPHAS,
    draws: int,
    seed: int,
) -> Conformal | NotApplicable:
    """Calibrate class-conditional sets on validation lesions and look how they do on other lesions.

    Parameters
    ----------
    calibration : validation rows only, `predictions.of_split("val")`.
    judged : rows of other lesions, scored by the same model at the same temperature.
    alphas : shares of each class's lesions that may be left out of their own set, in (0, 1).
    draws, seed : of the interval of the mean size; 0 draws give none.

    Raises
    ------
    OperatingPointError : rows of another split shall calibrate, or an alpha is none.
    """
    _check_arguments(calibration, alphas)
    known, new = LabelledLesions.of(calibration), LabelledLesions.of(judged)
    for lesions, what in ((known, "validation lesions to calibrate on"), (new, "lesions to judge")):
        if len(lesions) == 0:
            return NotApplicable(f"n=0 {what}")
    shared = len(np.intersect1d(known.key, new.key, assume_unique=True))
    if shared:
        return NotApplicable(f"{shared:,} of the {len(new):,} judged lesions are among those that calibrate")
    rules = [calibrate(known, alpha) for alpha in alphas]
    return Conformal(
        n_calibration=len(known),
        n_judged=len(new),
        figures=tuple(_judge(rule, new, draws, seed) for rule in rules),
        notes=(_used_before(calibration.origin), *_notes(rules)),
    )


def calibrate(lesions: LabelledLesions, alpha: float) -> ConformalRule:
    """The threshold of each class: its k-th highest probability, k = ceil((n + 1)(1 - alpha)); 0 if k > n."""
    classes = {}
    for column, name in enumerate(CLASSES):
        falling = np.sort(lesions.probabilities[lesions.labels == column, column])[::-1]
        n = len(falling)
        k = ceil((n + 1) * (1 - Fraction(str(alpha))))  # exact: a float's error would move the rank
        if k > n:
            classes[name] = ClassRule(threshold=0.0, n_lesions=n, expected=None)
            continue
        tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
        low, high = (float(betaincinv(k, n + 1 - k, tail)) for tail in tails)
        classes[name] = ClassRule(threshold=float(falling[k - 1]), n_lesions=n, expected=(low, high))
    return ConformalRule(alpha=alpha, classes=classes)


def _judge(rule: ConformalRule, lesions: LabelledLesions, draws: int, seed: int) -> ConformalFigures:
    sets = rule.sets(lesions.probabilities)
    sizes = np.bincount(sets.sum(axis=1), minlength=len(CLASSES) + 1)
    n = len(lesions)
    resampled = np.random.default_rng([seed, n]).multinomial(n, sizes / n, draws)  # lesions drawn anew, by set size
    low, high = percentile_interval(resampled @ np.arange(len(sizes)) / n) or (None, None)
    coverage: dict[str, Figure] = {}
    for column, name in enumerate(CLASSES):
        held = sets[lesions.labels == column, column]
        coverage[name] = _share(int(held.sum()), len(held)) if len(held) else NotApplicable(f"n=0 lesions of {name}")
    return ConformalFigures(
        rule=rule,
        coverage=coverage,
        sizes=tuple(sizes.tolist()),
        mean_size=Estimate(float(sets.sum() / n), low, high, n, n, "lesion"),
        shares={name: _share(int(sizes[size]), n) for name, size in (("empty", 0), ("single", 1), ("full", -1))},
    )


def _share(count: int, n: int) -> Estimate:
    low, high = clopper_pearson(count, n)
    return Estimate(count / n, low, high, n, n, "lesion")


def _used_before(origin: PredictionsOrigin) -> str:
    """Whether the rows that calibrate are fresh, as far as the table tells."""
    if not origin.checkpoint_sha256:
        return "Whether the validation rows also trained or tuned the model is not told; if so, the promise is weaker."
    return (
        "The validation rows that calibrate also chose the run's checkpoint, temperature and threshold: "
        "the promise is a little weaker."
    )


def _notes(rules: Sequence[ConformalRule]) -> tuple[str, ...]:
    notes = []
    for rule in rules:
        few = [f"{name} ({each.n_lesions})" for name, each in rule.classes.items() if each.always_included]
        if few:
            notes.append(
                f"At alpha {rule.alpha:g} these classes are in every set, because fewer than "
                f"{ceil(1 / Fraction(str(rule.alpha)) - 1)} validation lesions calibrate them: {', '.join(few)}."
            )
    return tuple(notes)


def _check_arguments(calibration: Predictions, alphas: Sequence[float]) -> None:
    foreign = sorted({split or "(none)" for split in calibration.split} - {"val"})
    if foreign:
        raise OperatingPointError(
            f"The rows to calibrate on are of other splits: {', '.join(foreign)}.",
            expected="rows of `val` only; sets calibrated on test lesions would keep their promise by construction",
            fix='pass predictions.of_split("val")',
        )
    if not all(0 < alpha < 1 for alpha in alphas):
        raise OperatingPointError(f"The alphas are {tuple(alphas)!r}.", expected="shares above 0 and below 1")

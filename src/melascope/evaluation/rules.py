"""By which rule is a threshold chosen from validation, and what does the rule promise about lesions to come?

`empirical` promises nothing: it finds the target share of the *images* at hand, and about every second time less than
that of new ones. `guaranteed` promises, with 95 % confidence, at least the target share of *lesions* (not of images).

Why the lower bound of Clopper & Pearson (1934, Biometrika 26, 404) holds although the same lesions chose the threshold
-----------------------------------------------------------------------------------------------------------------------
Let n target lesions have scores that are independent draws from one distribution, and let the threshold be the k-th
highest of them, with k fixed by n and the target alone. The share of all such lesions that score at least as high is
then distributed as Beta(k, n - k + 1), whatever that distribution is (Wilks 1941, Ann. Math. Statist. 12, 91: tolerance
limits); if scores may be equal, the share is only larger. The 5 % quantile of Beta(k, n - k + 1) is, to the letter,
the one-sided 95 % Clopper-Pearson lower bound for k found of n. So the highest threshold whose bound reaches the
target misses the target in at most 5 % of validation sets, exactly and for any n. (The usual reading, a threshold
fixed beforehand and a count that varies, gives the same number; it would not by itself allow choosing.)

It voids the promise if the lesions to come differ from those of validation (another clinic, camera or choice of
patients), if lesions of one person count as several, or if validation was used for more than the threshold: here it
has also chosen the best epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from melascope.classes import CLASSES
from melascope.errors import OperatingPointError
from melascope.evaluation.lesion_level import lesion_scores
from melascope.evaluation.target import is_target, target_name, target_score
from melascope.tables.predictions import Predictions
from melascope.tables.probabilities import steady

CONFIDENCE = 0.95
"""One-sided: in how many of a hundred validation sets the promise of `guaranteed` comes true."""


@dataclass(frozen=True)
class Candidates:
    """What a rule may choose a threshold from: validation images with known truth, and the lesions they show.

    Parameters
    ----------
    target : classes that are looked for
    scores : (n_images,) float64, P(target)
    truth : (n_images,) bool, of a target class; some are, some are not
    lesion_scores : (n_lesions,) float64, P(target) of a lesion by the rule of `lesion_level`: mean over its images
    lesion_truth : (n_lesions,) bool, any of its images is of a target class
    """

    target: tuple[str, ...]
    scores: np.ndarray
    truth: np.ndarray
    lesion_scores: np.ndarray
    lesion_truth: np.ndarray

    @property
    def n_target_lesions(self) -> int:
        return int(self.lesion_truth.sum())


@dataclass(frozen=True)
class Rule:
    """A row of `RULES`.

    Parameters
    ----------
    threshold : (candidates, target_sensitivity) -> threshold, given enough target lesions.
    lesions_needed : target_sensitivity -> how many target lesions are enough; infinity if no number is.
    """

    threshold: Callable[[Candidates, float], float]
    lesions_needed: Callable[[float], float]


def lower_bound(found: int, n: int) -> float:
    """One-sided 95 % lower bound of a share of which `found` of `n` > 0 were seen (Clopper & Pearson 1934)."""
    return float(betaincinv(found, n - found + 1, 1 - CONFIDENCE)) if found else 0.0


def empirical_threshold(candidates: Candidates, target_sensitivity: float) -> float:
    """Highest score step, thus highest specificity, that finds at least the target share of the target images.

    It promises nothing about new images: with few melanomas the true sensitivity may well lie below the target.
    """
    falling = np.sort(candidates.scores[candidates.truth])[::-1]
    sensitivity = np.arange(1, len(falling) + 1) / len(falling)  # if the threshold is the score of this rank
    return float(falling[np.argmax(sensitivity >= target_sensitivity)])


def guaranteed_threshold(candidates: Candidates, target_sensitivity: float) -> float:
    """Highest score step of target lesions at which the lower bound of their sensitivity reaches the target.

    What is promised is the sensitivity per lesion (one result a lesion). Nothing is promised per image.
    """
    falling = np.sort(candidates.lesion_scores[candidates.lesion_truth])[::-1]
    return float(falling[guaranteed_rank(len(falling), target_sensitivity) - 1])


def guaranteed_rank(n: int, target_sensitivity: float) -> int:
    """Of `n` target lesions, so many must be found for a lower bound that reaches the target: the least such number.

    `n` is at least `guaranteed_lesions_needed(target_sensitivity)`.
    """
    found = np.arange(1, n + 1)
    enough = betaincinv(found, n - found + 1, 1 - CONFIDENCE) >= target_sensitivity
    return int(found[enough][0])


def guaranteed_lesions_needed(target_sensitivity: float) -> float:
    """Fewest target lesions that can show the target at all, by finding every one: target ** n <= 0.05."""
    if target_sensitivity >= 1:
        return math.inf
    n = max(1, math.ceil(math.log(1 - CONFIDENCE) / math.log(target_sensitivity)))
    return n if lower_bound(n, n) >= target_sensitivity else n + 1  # where rounding decides, the bound does


RULES: dict[str, Rule] = {
    "guaranteed": Rule(guaranteed_threshold, guaranteed_lesions_needed),
    "empirical": Rule(empirical_threshold, lambda target_sensitivity: 1),
}
"""How a threshold is chosen. A new rule is a function and a row."""


def choose_threshold(candidates: Candidates, rule: str, target_sensitivity: float) -> float:
    """The threshold that a row of `RULES` chooses: half-way from its score step to the next lower score.

    Raises
    ------
    OperatingPointError : unknown rule, impossible target, or too few target lesions to promise it.
    """
    check_enough_lesions(rule, target_sensitivity, candidates.n_target_lesions, candidates.target)
    return half_way_below(RULES[rule].threshold(candidates, target_sensitivity), candidates)


def half_way_below(step: float, candidates: Candidates) -> float:
    """Half-way from a score step to the next lower score of any validation image or lesion, or to 0.

    On validation it decides as the step itself does. But the image that gave the step stays found where the same
    network adds in another order (another library, processor or number of threads): its score then differs in the
    seventh digit, and at the step itself chance would decide.
    """
    scores = np.concatenate([candidates.scores, candidates.lesion_scores])
    return float(steady(np.array((step + scores[scores < step].max(initial=0.0)) / 2)))


def lesions_needed(rule: str, target_sensitivity: float) -> float:
    """How many target lesions validation must have for a row of `RULES`; infinity if no number is enough.

    Raises
    ------
    OperatingPointError : unknown rule or impossible target.
    """
    if rule not in RULES:
        raise OperatingPointError(f"There is no rule {rule!r}.", expected=f"one of {', '.join(RULES)}")
    if not 0 < target_sensitivity <= 1:
        raise OperatingPointError(
            f"The target sensitivity is {target_sensitivity}.", expected="a share above 0, at most 1"
        )
    return RULES[rule].lesions_needed(target_sensitivity)


def check_enough_lesions(rule: str, target_sensitivity: float, n_lesions: int, target: tuple[str, ...]) -> None:
    """Refuse a promise that `n_lesions` > 0 target lesions of validation cannot bear, and tell the ways on."""
    needed = lesions_needed(rule, target_sensitivity)
    if n_lesions >= needed:
        return
    within_reach = math.floor(100 * lower_bound(n_lesions, n_lesions)) / 100
    raise OperatingPointError(
        f"Validation has {n_lesions} lesion{'s' if n_lesions != 1 else ''} of {target_name(target)}: too few for rule "
        f"{rule} to promise a lesion-level sensitivity of {target_sensitivity:g}, even if all are found.",
        expected="no number of lesions can promise that" if needed == math.inf else f"at least {needed} such lesions",
        fix="put more of them into validation, or lower target_sensitivity "
        f"(these can show {within_reach:.2f} at most), "
        'or set operating_point_rule = "empirical" in the recipe, which promises nothing',
    )


def validation_candidates(predictions: Predictions, target: tuple[str, ...]) -> Candidates:
    """What may choose a threshold: images of validation with known truth, and their lesions.

    Raises
    ------
    OperatingPointError : rows of another split, an impossible target, no image with it or none without.
    """
    foreign = sorted({split or "(none)" for split in predictions.split} - {"val"})
    if foreign:
        raise OperatingPointError(
            f"The rows to choose from are of other splits: {', '.join(foreign)}.",
            expected="rows of `val` only; a threshold chosen on test images would flatter every figure",
            fix='pass predictions.of_split("val")',
        )
    if not target or len(set(target)) != len(target) or not set(target) < set(CLASSES):
        raise OperatingPointError(
            f"The target is {target!r}.", expected=f"some, not all, of {', '.join(CLASSES)}, each once"
        )
    known = predictions.subset(predictions.labels >= 0)
    truth = is_target(known.labels, target)
    for what, images in ((f"of {target_name(target)}", truth), (f"without {target_name(target)}", ~truth)):
        if not images.any():
            raise OperatingPointError(
                f"No threshold can be chosen: among {len(known)} validation images with known truth, none is {what}.",
                expected="validation images with and without the target",
                fix="put more lesions into the validation split, or choose another target",
            )
    lesion = np.unique(known.lesion_key.astype(str), return_inverse=True)[1]
    lesions = lesion_scores(known.probabilities, truth, lesion)
    return Candidates(
        target=target,
        scores=target_score(known.probabilities, target),
        truth=truth,
        lesion_scores=target_score(lesions.probabilities, target),
        lesion_truth=lesions.truth,
    )

"""What does each target sensitivity cost: specificity, false alarms and biopsies for each target lesion found?

All per lesion, because a lesion is what is biopsied, and from validation only, so that looking at the menu and
choosing from it leaves the test images unseen. The figures come from the lesions that chose the threshold, so they
are optimistic by a little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from melascope.errors import OperatingPointError
from melascope.evaluation.rules import Candidates, choose_threshold, lesions_needed, validation_candidates
from melascope.evaluation.target import target_name
from melascope.tables.predictions import Predictions
from melascope.tables.results import NotApplicable

TARGETS = (0.80, 0.85, 0.90, 0.95)
"""Target sensitivities on the menu."""

PREVALENCE = 0.05
"""Share of target lesions among those looked at: an assumption to show the price by, not a measurement."""


@dataclass(frozen=True)
class PriceRow:
    """One line of the menu; validation, one result a lesion.

    Parameters
    ----------
    target_sensitivity : what the rule was asked for.
    threshold : that it chose, or the reason why it cannot.
    sensitivity, specificity : share of target lesions found; share of other lesions not called.
    false_alarms_per_found : other lesions called for each target lesion found, at validation's own prevalence.
    biopsies_per_found : lesions called, false alarms and found, for each found, at `prevalence`: 1 / PPV.
    prevalence : share of target lesions, as stated by the caller.
    """

    target_sensitivity: float
    threshold: float | NotApplicable
    sensitivity: float | NotApplicable
    specificity: float | NotApplicable
    false_alarms_per_found: float | NotApplicable
    biopsies_per_found: float | NotApplicable
    prevalence: float


def price_menu(
    predictions: Predictions,
    *,
    target: tuple[str, ...] = ("mel",),
    rule: str = "guaranteed",
    targets: Sequence[float] = TARGETS,
    prevalence: float = PREVALENCE,
) -> tuple[PriceRow, ...]:
    """What a rule would choose at each of several target sensitivities, and what that costs.

    Parameters
    ----------
    predictions : validation rows only: `predictions.of_split("val")`.
    target, rule : as for `choose_operating_point`.
    targets : target sensitivities.
    prevalence : in (0, 1], share of target lesions for which biopsies are counted.

    Raises
    ------
    OperatingPointError : as from `choose_operating_point`, but for too few lesions: such a row says so.
    """
    if not 0 < prevalence <= 1:
        raise OperatingPointError(f"The prevalence is {prevalence}.", expected="a share above 0, at most 1")
    candidates = validation_candidates(predictions, target)
    return tuple(_row(candidates, rule, target_sensitivity, prevalence) for target_sensitivity in targets)


def _row(candidates: Candidates, rule: str, target_sensitivity: float, prevalence: float) -> PriceRow:
    n, needed = candidates.n_target_lesions, lesions_needed(rule, target_sensitivity)
    if n < needed:
        reason = NotApplicable(f"n={n} lesions of {target_name(candidates.target)}, {needed} needed")
        return PriceRow(target_sensitivity, reason, reason, reason, reason, reason, prevalence)
    threshold = choose_threshold(candidates, rule, target_sensitivity)
    truth, called = candidates.lesion_truth, candidates.lesion_scores >= threshold
    found, alarms, others = int((called & truth).sum()), int((called & ~truth).sum()), int((~truth).sum())
    name = target_name(candidates.target)
    none_found = NotApplicable(f"n=0 lesions of {name} found")
    no_others = NotApplicable(f"n=0 lesions other than {name}")
    biopsies = none_found if not found else no_others
    if found and others:  # 1 / PPV, where PPV = p sensitivity / (p sensitivity + (1 - p) (1 - specificity))
        biopsies = 1 + (1 - prevalence) / prevalence * (alarms / others) / (found / n)
    return PriceRow(
        target_sensitivity=target_sensitivity,
        threshold=threshold,
        sensitivity=found / n,
        specificity=1 - alarms / others if others else no_others,
        false_alarms_per_found=alarms / found if found else none_found,
        biopsies_per_found=biopsies,
        prevalence=prevalence,
    )

"""Do rougher numbers cost a melanoma: what changes when one model computes in another precision?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from melascope.evaluation.lesion_level import lesion_scores
from melascope.evaluation.operating_point import OperatingPoint
from melascope.evaluation.target import is_target
from melascope.tables.predictions import Predictions
from melascope.tables.probabilities import probabilities_from_logits
from melascope.tables.results import NotApplicable


@dataclass(frozen=True)
class SideBySide:
    """One count of the exact and of the rougher model, of `n`.

    Parameters
    ----------
    exact, rough : images or lesions
    n : of how many
    """

    exact: int
    rough: int
    n: int


@dataclass(frozen=True)
class PrecisionCost:
    """What changes on validation images, at the frozen threshold.

    Parameters
    ----------
    found : of the target, by unit ("image", "lesion"); sensitivity is `found / n`
    alarms : of all others, by unit; 1 - specificity
    called : images that only the rougher model calls, and that only the exact one calls
    top_class : images whose top class differs
    largest_logit, largest_probability : largest absolute difference, of P(target) for the latter
    """

    found: dict[str, SideBySide]
    alarms: dict[str, SideBySide]
    called: tuple[int, int]
    top_class: int
    largest_logit: float
    largest_probability: float

    @property
    def loses(self) -> list[str]:
        """Units in which sensitivity drops; empty lets the rougher model pass."""
        return [unit for unit, count in self.found.items() if count.rough < count.exact]

    def as_json(self) -> dict[str, Any]:
        """As the export's manifest holds it."""
        return {**asdict(self), "passed": not self.loses}


def precision_cost(
    validation: Predictions, rough_logits: np.ndarray, point: OperatingPoint
) -> PrecisionCost | NotApplicable:
    """Set a rougher model's logits beside those that the threshold was chosen from.

    Parameters
    ----------
    validation : rows of the split "val" alone
    rough_logits : (n_images, 7), of the same rows
    point : frozen; its temperature serves both

    Raises
    ------
    ValueError : rows of another split.
    """
    if set(validation.split) - {"val"}:
        raise ValueError("the gate of a precision looks at validation images only")
    truth = is_target(validation.labels, point.target)
    if not truth.any():
        return NotApplicable("n=0 of the target in validation")
    known = validation.labels >= 0
    exact = probabilities_from_logits(validation.logits, point.temperature)
    rough = probabilities_from_logits(rough_logits.astype(np.float64), point.temperature)
    calls = [point.is_positive(one) for one in (exact, rough)]
    by_lesion = [lesion_scores(one[known], truth[known], validation.lesion_key[known]) for one in (exact, rough)]
    lesion_calls = [point.is_positive(one.probabilities) for one in by_lesion]
    units = {"image": ([one[known] for one in calls], truth[known]), "lesion": (lesion_calls, by_lesion[0].truth)}
    return PrecisionCost(
        found={unit: _counted(both, sought) for unit, (both, sought) in units.items()},
        alarms={unit: _counted(both, ~sought) for unit, (both, sought) in units.items()},
        called=(int((calls[1] & ~calls[0]).sum()), int((calls[0] & ~calls[1]).sum())),
        top_class=int((exact.argmax(axis=1) != rough.argmax(axis=1)).sum()),
        largest_logit=float(np.abs(validation.logits - rough_logits).max()),
        largest_probability=float(np.abs(point.score(exact) - point.score(rough)).max()),
    )


def _counted(calls: list[np.ndarray], among: np.ndarray) -> SideBySide:
    exact, rough = (int((one & among).sum()) for one in calls)
    return SideBySide(exact, rough, int(among.sum()))

"""May the probabilities be believed, is acting on them worth it, and what slips by: for one group of images?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from melascope.evaluation.abstention import AcceptanceTally, RiskCoverage
from melascope.evaluation.calibration import Calibration, calibration_of
from melascope.evaluation.counting import n_distinct
from melascope.evaluation.forecasts import Forecasts
from melascope.evaluation.subgroups import MIN_SIDE
from melascope.evaluation.subject import Measured
from melascope.evaluation.target import target_name, target_score
from melascope.evaluation.utility import BenefitTally, DecisionCurve
from melascope.tables.results import NotApplicable

UNMEASURED = NotApplicable("not measured when this evaluation was written")


@dataclass(frozen=True)
class HistologyLine:
    """Calibration, net benefit and abstention where truth comes from histology alone, beside those of all images.

    Among what was excised the target is commoner than in the whole collection, and the others are the harder ones;
    probabilities that fit the one cannot fit the other too, which is no fault of the model alone.

    Parameters
    ----------
    n_images, n_lesions : with truth from histology
    n_target_images, n_target_lesions : of the target
    calibration, decision_curve, risk_coverage : NotApplicable where either side has fewer than `MIN_SIDE` lesions.
        The coverage is that of these images: the surest of them are accepted first.
    """

    n_images: int
    n_lesions: int
    n_target_images: int
    n_target_lesions: int
    calibration: Calibration | NotApplicable
    decision_curve: DecisionCurve | NotApplicable
    risk_coverage: RiskCoverage | NotApplicable

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), **{name: getattr(self, name).as_json() for name in _PARTS}}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> HistologyLine:
        return cls(**{**content, **{name: part_from_json(kind, content[name]) for name, kind in _PARTS.items()}})


_PARTS: dict[str, type] = {"calibration": Calibration, "decision_curve": DecisionCurve, "risk_coverage": RiskCoverage}


def part_from_json(kind: type, content: dict[str, Any] | None) -> Any:
    """A part of an evaluation that a table may not allow; None where an older evaluation did not measure it."""
    if content is None:
        return UNMEASURED
    return NotApplicable(content["not_applicable"]) if "not_applicable" in content else kind.from_json(content)


def tallies_of(forecasts: Forecasts, probabilities: np.ndarray, called: np.ndarray) -> dict[str, Measured]:
    """What calibration, net benefit and abstention of some images are worked out from, for `spread_of`.

    Parameters
    ----------
    forecasts, probabilities : of the images; (n_images, 7)
    called : (n_images,) bool, called positive for the target
    """
    one, places = forecasts, (forecasts.lesion, forecasts.n_lesions)
    return {
        "calibration": one,
        "utility": BenefitTally.of(target_score(probabilities, one.target), one.truth, *places),
        "abstention": AcceptanceTally.of(probabilities, one.labels, called, *places, one.target),
    }


def too_few(forecasts: Forecasts) -> NotApplicable | None:
    """Why a part of the images has no figures, where one side has fewer than `MIN_SIDE` lesions."""
    what = target_name(forecasts.target)
    for side, name in ((forecasts.truth, f"lesions of {what}"), (~forecasts.truth, "other lesions")):
        if (n := n_distinct(forecasts.lesion[side])) < MIN_SIDE:
            return NotApplicable(f"n={n} {name}, fewer than {MIN_SIDE}")
    return None


def histology_line(
    forecasts: Forecasts, tallies: Mapping[str, Any], spread: Mapping[str, Any], **written: Any
) -> HistologyLine:
    """Write the line down.

    Parameters
    ----------
    forecasts : of the images with truth from histology
    tallies, spread : of `tallies_of`, and what they gave for all draws, by the same names; unused where too few
    written : temperature, draws and seed, as for `calibration_of`
    """
    few, truth = too_few(forecasts), forecasts.truth
    return HistologyLine(
        *(len(forecasts), n_distinct(forecasts.lesion), int(truth.sum()), n_distinct(forecasts.lesion[truth])),
        calibration=few or calibration_of(forecasts, spread["calibration"], **written),
        decision_curve=few or tallies["utility"].curve(spread["utility"]),
        risk_coverage=few or tallies["abstention"].curve(spread["abstention"]),
    )

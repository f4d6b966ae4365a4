"""What does a predictions table say of its model: every figure with its n and interval, or why there is none?"""

from __future__ import annotations

import numpy as np

from melascope.errors import DataError
from melascope.evaluation.abstention import AcceptanceTally
from melascope.evaluation.calibration import Forecasts, calibration_of
from melascope.evaluation.caveats import caveats_of
from melascope.evaluation.conformal import Conformal, conformal_sets
from melascope.evaluation.counting import lesion_numbers
from melascope.evaluation.judge import Judge
from melascope.evaluation.metrics import Sample
from melascope.evaluation.operating_point import OperatingPoint
from melascope.evaluation.record import Evaluation, Group
from melascope.evaluation.subgroups import parts
from melascope.evaluation.subject import Subject, spread_of
from melascope.evaluation.target import target_score
from melascope.evaluation.utility import BenefitTally
from melascope.tables.predictions import Predictions
from melascope.tables.results import NotApplicable

NO_HISTOLOGY = NotApplicable("n=0 images with truth from histology")

__all__ = ["Evaluation", "Group", "evaluate", "evaluated_rows"]


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
    at = "operating_point" if operating_point else "argmax"
    lesion = lesion_numbers(rows.lesion_key)
    n_lesions = int(lesion.max()) + 1

    def subject(mask: np.ndarray, *, classes: bool) -> Subject:
        images = Sample(rows.labels[mask], rows.probabilities[mask], lesion[mask], n_lesions)
        return Subject(images, target, operating_point, classes)

    masks = {"all": np.ones(len(rows), dtype=bool), "histology": rows.dx_type == "histo"}
    groups = {name: subject(mask, classes=True) for name, mask in masks.items() if mask.any()}
    subgroups = {(factor, value): subject(mask, classes=False) for factor, value, mask in parts(rows)}
    whole = groups["all"]
    called, truth = whole.calls["image", at].called, whole.truths["image"]
    benefit = BenefitTally.of(target_score(rows.probabilities, target), truth, lesion, n_lesions)
    forecasts = Forecasts.of(rows, target)
    acceptance = AcceptanceTally.of(rows.probabilities, rows.labels, called, lesion, n_lesions, target)
    subjects = groups | subgroups
    measured = {name: one.for_draws() for name, one in subjects.items()}
    measured |= {"calibration": forecasts, "utility": benefit, "abstention": acceptance}
    spread = spread_of(measured, n_lesions, draws, seed)
    judged = {name: Judge(one, one.point(), spread[name]) for name, one in subjects.items()}
    return Evaluation(
        split=split if (predictions.split != "").any() else "",
        target=target,
        origin=predictions.origin,
        operating_point=operating_point,
        draws=draws,
        seed=seed,
        groups={name: judged[name].group() if name in groups else NO_HISTOLOGY for name in masks},
        subgroups=tuple(judged[key].subgroup(*key, at) for key in subgroups),
        calibration=calibration_of(
            forecasts, spread["calibration"], temperature=predictions.origin.temperature, draws=draws, seed=seed
        ),
        decision_curve=benefit.curve(spread["utility"]),
        risk_coverage=acceptance.curve(spread["abstention"]),
        conformal=_conformal(predictions, rows, split, draws, seed),
        caveats=caveats_of(predictions, rows, target, operating_point, split) + fit,
    )


def _conformal(
    predictions: Predictions, rows: Predictions, split: str, draws: int, seed: int
) -> Conformal | NotApplicable:
    if split == "val":
        return NotApplicable("validation lesions calibrate the sets, so they cannot judge them")
    return conformal_sets(predictions.of_split("val"), rows, draws=draws, seed=seed)


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

"""What does a predictions table say of its model: every figure with its n and interval, or why there is none?"""

from __future__ import annotations

import numpy as np

from melascope.errors import DataError
from melascope.evaluation.calibration import Forecasts, calibration_of
from melascope.evaluation.caveats import caveats_of
from melascope.evaluation.conformal import Conformal, conformal_sets
from melascope.evaluation.counting import lesion_numbers
from melascope.evaluation.headlines import histology_line, tallies_of, too_few
from melascope.evaluation.judge import Judge
from melascope.evaluation.metrics import Sample
from melascope.evaluation.operating_point import OperatingPoint
from melascope.evaluation.record import Evaluation, Group
from melascope.evaluation.subgroups import parts
from melascope.evaluation.subject import Subject, spread_of
from melascope.tables.predictions import Predictions
from melascope.tables.results import NotApplicable

NO_HISTOLOGY = NotApplicable("n=0 images with truth from histology")

__all__ = ["Evaluation", "Group", "evaluate", "evaluated_rows"]


def evaluate(
    predictions: Predictions,
    operating_point: OperatingPoint | None,
    *,
    split: str = "test",
    target: tuple[str, ...] = ("mel",),
    draws: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Judge the rows of one split.

    Parameters
    ----------
    predictions : a table of ours or of another project; one without any split is judged as a whole.
    operating_point : frozen on validation; None judges argmax only.
    split : which rows.
    target : classes to be found where there is no point, which has its own.
    draws : of the lesion bootstrap; 0 gives no intervals.
    seed : of the draws; the same seed gives the same intervals.

    Raises
    ------
    DataError : no row of that split with known truth.
    OperatingPointError : the point belongs to another model or temperature.
    """
    fit = operating_point.check_fits(predictions) if operating_point else ()
    rows = evaluated_rows(predictions, split)
    target = operating_point.target if operating_point else target
    at = "operating_point" if operating_point else "argmax"
    lesion = lesion_numbers(rows.lesion_key)
    n_lesions = int(lesion.max()) + 1

    labels, probabilities = rows.labels, rows.probabilities

    def subject(mask: np.ndarray, *, classes: bool) -> Subject:
        images = Sample(labels[mask], probabilities[mask], lesion[mask], n_lesions)
        return Subject(images, target, operating_point, classes)

    masks = {"all": np.ones(len(rows), dtype=bool), "histology": rows.dx_type == "histo"}
    groups = {name: subject(mask, classes=True) for name, mask in masks.items() if mask.any()}
    subgroups = {(factor, value): subject(mask, classes=False) for factor, value, mask in parts(rows)}
    called = groups["all"].calls["image", at].called
    forecasts, histology = Forecasts.of(rows, target), masks["histology"]
    alone = forecasts.among(histology)
    tallies = {"all": tallies_of(forecasts, probabilities, called)}
    if not too_few(alone):
        tallies["histology"] = tallies_of(alone, probabilities[histology], called[histology])
    by_lesion = forecasts.by_lesion()
    subjects = groups | subgroups
    measured = {name: one.for_draws() for name, one in subjects.items()}
    measured |= {(group, "headlines", what): one for group, each in tallies.items() for what, one in each.items()}
    spread = spread_of(measured | {"by lesion": by_lesion}, n_lesions, draws, seed)
    drawn = {group: {what: spread[group, "headlines", what] for what in each} for group, each in tallies.items()}
    written = {"temperature": predictions.origin.temperature, "draws": draws, "seed": seed}
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
        calibration=calibration_of(forecasts, drawn["all"]["calibration"], **written),
        lesion_calibration=calibration_of(by_lesion, spread["by lesion"], **written),
        decision_curve=tallies["all"]["utility"].curve(drawn["all"]["utility"]),
        risk_coverage=tallies["all"]["abstention"].curve(drawn["all"]["abstention"]),
        histology_line=histology_line(alone, tallies.get("histology", {}), drawn.get("histology", {}), **written),
        conformal=_conformal(predictions, rows, split, draws, seed),
        left_out=dict(predictions.left_out),
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

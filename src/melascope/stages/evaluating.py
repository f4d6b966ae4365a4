"""Predictions table (+ frozen operating point) → figures, plots and the headline; needs no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from melascope.classes import CLASSES
from melascope.errors import DataError, OperatingPointError
from melascope.evaluation.evaluate import Evaluation, evaluate
from melascope.evaluation.operating_point import OperatingPoint, choose_operating_point
from melascope.evaluation.rules import lesions_needed
from melascope.report.plots import save_evaluation_plots
from melascope.stages.reporting import Reporter
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory

EXTERNAL = "external"


def evaluate_run(run: RunDirectory, reporter: Reporter, *, split: str = "test", draws: int = 2000) -> Evaluation:
    """Judge a run's own predictions at its frozen point; figures and plots go to `<run>/evaluation/`."""
    predictions, point = Predictions.read(run.predictions), OperatingPoint.read(run.operating_point)
    out = run.evaluation if split == "test" else run.root / f"evaluation-{split}"
    return evaluate_table(predictions, point, out, reporter, split=split, draws=draws)


def evaluate_table(
    predictions: Predictions,
    point: OperatingPoint | None,
    out: Path,
    reporter: Reporter,
    *,
    split: str = "test",
    target: tuple[str, ...] = ("mel",),
    draws: int = 2000,
    caveats: tuple[str, ...] = (),
) -> Evaluation:
    """Judge any predictions table; without a frozen point only the argmax is judged.

    Parameters
    ----------
    out : folder of figures and plots
    target : classes to be found where there is no point
    caveats : what else a reader must know, told first
    """
    reporter.say(f"evaluating {split}: {draws} draws of lesions")
    evaluation = evaluate(predictions, point, split=split, target=target, draws=draws)
    evaluation = replace(evaluation, caveats=caveats + evaluation.caveats)
    evaluation.write(out)
    save_evaluation_plots(evaluation, predictions, out)
    return evaluation


def own_point(
    predictions: Predictions,
    *,
    target: tuple[str, ...] = ("mel",),
    rule: str = "guaranteed",
    target_sensitivity: float = 0.90,
) -> tuple[OperatingPoint | None, tuple[str, ...]]:
    """A threshold from the validation rows that a table of another project brings, or why there is none.

    Returns
    -------
    point : None where the table has no validation rows, or too few
    caveats : the reason then, for the reader of the figures

    Raises
    ------
    OperatingPointError : no such class or rule, or an impossible sensitivity.
    """
    if not target or len(set(target)) < len(target) or not set(target) < set(CLASSES):
        expected = f"some, not all, of {', '.join(CLASSES)}, each once, joined by +"
        raise OperatingPointError(f"The target is {'+'.join(target)!r}.", where="--target", expected=expected)
    lesions_needed(rule, target_sensitivity)  # refuses what is no rule or sensitivity
    validation = predictions.of_split("val")
    if len(validation) == 0:
        return None, ()
    try:
        asked = {"target": target, "rule": rule, "target_sensitivity": target_sensitivity}
        return choose_operating_point(validation, **asked), ()
    except OperatingPointError as error:
        why = f"No threshold was chosen from the {len(validation)} validation rows: {error.found}"
        return None, (why + (" --rule empirical asks for no promise." if rule == "guaranteed" else ""),)


def refuse_idle(asked: dict[str, object], why: str, fix: str) -> None:
    """Refuse arguments of `own_point` that would be accepted and then ignored."""
    if asked:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in asked)
        raise OperatingPointError(f"{why}, so no threshold is chosen.", where=flags, fix=fix)


def evaluate_external(
    run: RunDirectory, predictions: Predictions, out: Path, reporter: Reporter, *, draws: int = 2000
) -> tuple[Evaluation, Evaluation]:
    """Judge a run on another collection, at the threshold frozen at home, which stays as it is.

    Parameters
    ----------
    predictions : made by `melascope predict RUN COLLECTION`; images that the run knows are left out: by id, and by
        the split that `predict` gives them.
    out : folder of the collection's figures and plots

    Returns
    -------
    home, external : the run's own evaluation on its test images, and the collection's

    Raises
    ------
    DataError : no image is left that the run does not know.
    OperatingPointError : another model made the predictions.
    """
    home = Predictions.read(run.predictions)
    known = (predictions.split != "") | np.isin(predictions.image_id.astype(str), home.image_id.astype(str))
    new = predictions.subset(~known)
    if len(new) == 0:
        raise DataError(
            f"All {len(predictions)} images are the run's own: there is no other collection to judge.",
            where=run.root,
            expected="predictions of images that were in none of its splits",
            fix=f"melascope predict {run.root} COLLECTION --out predictions.parquet",
        )
    new = replace(new, split=np.full(len(new), EXTERNAL, dtype=object))
    caveats: tuple[str, ...] = (
        f"Another collection ({new.origin.source or 'of unknown source'}): the threshold was frozen at home and may "
        "not hold here, where cameras, people, prevalence and the way to the truth differ.",
    )
    if known.any():
        caveats += (f"{known.sum():,} images that the run knows from its own data set are left out.",)
    shared = np.isin(new.lesion_id.astype(str), home.lesion_id[home.lesion_id != ""].astype(str))
    if shared.any():
        caveats += (
            f"{shared.sum():,} images carry lesion ids of the run's own data set: if these are the same lesions, they "
            "are not another collection.",
        )
    point = OperatingPoint.read(run.operating_point)
    external = evaluate_table(new, point, out, reporter, split=EXTERNAL, draws=draws, caveats=caveats)
    return Evaluation.read(run.evaluation), external

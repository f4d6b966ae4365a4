"""Predictions table (+ frozen operating point) → figures, plots and the headline; needs no torch."""

from __future__ import annotations

from pathlib import Path

from melascope.evaluation.evaluate import Evaluation, evaluate
from melascope.evaluation.operating_point import OperatingPoint
from melascope.report.plots import save_evaluation_plots
from melascope.stages.reporting import Reporter
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory


def evaluate_run(run: RunDirectory, reporter: Reporter, *, split: str = "test", draws: int = 2000) -> Evaluation:
    """Judge a run's own predictions at its frozen point; figures and plots go to `<run>/evaluation/`."""
    return evaluate_table(run.predictions, run.operating_point, run.evaluation, reporter, split=split, draws=draws)


def evaluate_table(
    predictions_path: Path,
    operating_point_path: Path | None,
    out: Path,
    reporter: Reporter,
    *,
    split: str = "test",
    draws: int = 2000,
) -> Evaluation:
    """Judge any predictions table; without a frozen point only the argmax is judged."""
    predictions = Predictions.read(predictions_path)
    point = OperatingPoint.read(operating_point_path) if operating_point_path else None
    reporter.say(f"evaluating {split}: {draws} draws of lesions")
    evaluation = evaluate(predictions, point, split=split, draws=draws)
    evaluation.write(out)
    save_evaluation_plots(evaluation, predictions, out)
    return evaluation

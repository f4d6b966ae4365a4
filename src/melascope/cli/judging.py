"""Commands that judge predictions, and need no torch: evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from melascope.cli.flags import next_command
from melascope.stages.reporting import Reporter


def evaluate(
    table: Annotated[Path, typer.Argument(help="A run directory, or a predictions table (.parquet, .csv) of anybody.")],
    operating_point: Annotated[Path | None, typer.Option(help="Frozen point; a run's own by default.")] = None,
    split: Annotated[str, typer.Option(help="Which rows to judge.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Folder for figures and plots.")] = None,
) -> None:
    """Judge a predictions table: every figure with its n and interval, JSON, CSV and plots."""
    from melascope.report.terminal import print_evaluation
    from melascope.stages.evaluating import evaluate_table
    from melascope.tables.runs import RunDirectory

    run = RunDirectory.open(table) if table.is_dir() else None
    if run:
        table, operating_point = run.predictions, operating_point or run.operating_point
        out = out or (run.evaluation if split == "test" else run.root / f"evaluation-{split}")
    out = out or table.with_name(f"{table.stem}-evaluation")
    evaluation = evaluate_table(table, operating_point, out, Reporter(), split=split)
    print_evaluation(evaluation, Console())
    if run:
        show_price(table, operating_point)
    print(f"figures and plots: {out}")
    if run:
        next_command(f"melascope gallery {run.root}")


def show_run(root: Path) -> None:
    from melascope.evaluation.evaluate import Evaluation
    from melascope.report.terminal import print_evaluation
    from melascope.tables.runs import RunDirectory

    run = RunDirectory.open(root)
    print_evaluation(Evaluation.read(run.evaluation), Console())
    show_price(run.predictions, run.operating_point)
    print(f"run: {root}")


def show_price(predictions: Path, operating_point: Path) -> None:
    from melascope.evaluation.operating_point import OperatingPoint
    from melascope.evaluation.price import TARGETS, price_menu
    from melascope.report.terminal import print_price_menu
    from melascope.tables.predictions import Predictions

    point, validation = OperatingPoint.read(operating_point), Predictions.read(predictions).of_split("val")
    targets = sorted({*TARGETS, point.target_sensitivity})
    print_price_menu(price_menu(validation, target=point.target, rule=point.rule, targets=targets), point, Console())

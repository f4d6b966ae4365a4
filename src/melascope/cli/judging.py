"""Commands that judge predictions, and need no torch: evaluate, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from melascope.cli.flags import ColumnMap, WordMap, next_command, pairs
from melascope.errors import MelascopeError
from melascope.stages.reporting import Reporter


def evaluate(
    table: Annotated[Path, typer.Argument(help="A run directory, or a predictions table (.parquet, .csv) of anybody.")],
    operating_point: Annotated[Path | None, typer.Option(help="Frozen point; a run's own by default.")] = None,
    split: Annotated[str, typer.Option(help="Which rows to judge.")] = "test",
    external: Annotated[
        Path | None, typer.Option(help="Predictions of the run on another collection, beside its home figures.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for figures and plots.")] = None,
    target: Annotated[
        str | None, typer.Option(help="Class or classes to find in a table: mel+bcc+akiec; else mel.")
    ] = None,
    rule: Annotated[str | None, typer.Option(help="empirical or (else) guaranteed, for a table's own point.")] = None,
    target_sensitivity: Annotated[float | None, typer.Option(help="For a table's own point; else 0.90.")] = None,
    map_columns: ColumnMap = None,
    map_labels: WordMap = None,
) -> None:
    """Judge a predictions table: every figure with its n and interval, JSON, CSV and plots.

    A table of another project that brings validation rows gets its threshold from them; else the top class is judged.
    """
    from melascope.report.terminal import print_evaluation, print_external
    from melascope.stages.evaluating import evaluate_external, evaluate_table, own_point, refuse_idle
    from melascope.tables.predictions import Predictions
    from melascope.tables.runs import RunDirectory

    run = RunDirectory.open(table) if table.is_dir() else None
    classes = tuple(map(str.strip, target.split("+"))) if target is not None else None
    asked = {"target": classes, "rule": rule, "target_sensitivity": target_sensitivity}
    asked = {name: value for name, value in asked.items() if value is not None}
    if run or operating_point:
        refuse_idle(asked, "The operating point is frozen", fix="leave these flags out")
    naming = pairs(map_columns, "--map-columns"), pairs(map_labels, "--map-labels")
    if external:
        if run is None:
            raise MelascopeError("--external needs a run's home figures.", where=table, expected="a run directory")
        out = out or run.root / f"evaluation-{external.stem}"
        print_external(*evaluate_external(run, Predictions.read(external, *naming), out, Reporter()), Console())
        print(f"figures and plots: {out}")
        return
    point, caveats = _frozen(operating_point or (run.operating_point if run else None)), ()
    predictions = Predictions.read(run.predictions if run else table, *naming)
    if point is None:
        point, caveats = own_point(predictions, **asked)
        if not len(predictions.of_split("val")):
            chosen = {name: value for name, value in asked.items() if name != "target"}  # the top class has one too
            ways_on = "add validation rows to the table, or give --operating-point"
            refuse_idle(chosen, "The table has no rows of split val", fix=ways_on)
    if run and out is None:
        out = run.evaluation if split == "test" else run.root / f"evaluation-{split}"
    out = out or table.with_name(f"{table.stem}-evaluation")
    judged = {"split": split, "target": classes or ("mel",), "caveats": caveats}
    print_evaluation(evaluate_table(predictions, point, out, Reporter(), **judged), Console())
    if point and len(predictions.of_split("val")):
        show_price(predictions, point)
    print(f"figures and plots: {out}")
    if run:
        next_command(f"melascope gallery {run.root}")


def compare(
    tables: Annotated[
        list[Path], typer.Argument(help="Run directories or predictions tables; each against the first.")
    ],
    split: Annotated[str, typer.Option(help="Which rows to judge.")] = "test",
    out: Annotated[Path, typer.Option(help="Folder for figures and plots.")] = Path("comparison"),
    target: Annotated[
        str | None, typer.Option(help="Class or classes to find, for a table's own point; as the first run's.")
    ] = None,
    rule: Annotated[
        str | None, typer.Option(help="guaranteed or empirical, for a table's own point; as the first run's.")
    ] = None,
    target_sensitivity: Annotated[
        float | None, typer.Option(help="For a table's own point; as the first run's.")
    ] = None,
    map_columns: ColumnMap = None,
    map_labels: WordMap = None,
) -> None:
    """Paired differences on the same images with intervals by lesion; seeds of one recipe are pooled.

    A table gets a threshold from the validation rows that it brings; without any, what needs one is missing.
    """
    from melascope.report.comparison_text import print_comparison
    from melascope.stages.comparing import TableReading, compare_paths

    naming = pairs(map_columns, "--map-columns"), pairs(map_labels, "--map-labels")
    classes = tuple(map(str.strip, target.split("+"))) if target is not None else None
    reading = TableReading(*naming, classes, rule, target_sensitivity)
    print_comparison(compare_paths(tables, out, Reporter(), split=split, reading=reading), Console())
    print(f"figures and plots: {out}")


def _frozen(path: Path | None):
    from melascope.evaluation.operating_point import OperatingPoint

    return OperatingPoint.read(path) if path else None


def show_run(root: Path) -> None:
    """What a finished run says of itself."""
    from melascope.evaluation.evaluate import Evaluation
    from melascope.report.terminal import print_evaluation
    from melascope.tables.predictions import Predictions
    from melascope.tables.runs import RunDirectory

    run = RunDirectory.open(root)
    print_evaluation(Evaluation.read(run.evaluation), Console())
    show_price(Predictions.read(run.predictions), _frozen(run.operating_point))
    print(f"run: {root}")


def show_price(predictions, point) -> None:
    """What each target sensitivity would cost, on the validation images that chose the point."""
    from melascope.evaluation.price import TARGETS, price_menu
    from melascope.report.terminal import print_price_menu

    targets = sorted({*TARGETS, point.target_sensitivity})
    menu = price_menu(predictions.of_split("val"), target=point.target, rule=point.rule, targets=targets)
    print_price_menu(menu, point, Console())

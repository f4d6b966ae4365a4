"""The command that trains a list of recipes and compares them: experiment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from melascope.cli.flags import ColumnMap, LabelsFile, Source, WordMap, labels_from, torch_needed
from melascope.stages.reporting import Reporter


def experiment(
    recipes: Annotated[Path, typer.Argument(help="TOML list, e.g. recipes/experiments/course_rows.toml.")],
    data: Annotated[Path, typer.Option(help="The data set's folder.")],
    split: Annotated[Path, typer.Option(help="CSV with image_id,split.")],
    out: Annotated[Path | None, typer.Option(help="Folder of all runs; experiments/LIST by default.")] = None,
    hold_out_lesions: Annotated[Path | None, typer.Option(help="Lesion ids, one a line, kept out of training.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at once, each with its share of the CPU's threads.")] = 1,
    labels: LabelsFile = None,
    map_columns: ColumnMap = None,
    map_labels: WordMap = None,
    source: Source = None,
) -> None:
    """Train recipes × seeds (or folds), let runs answer together, and compare; the same command resumes."""
    from melascope.data.split import read_lesion_ids

    with torch_needed():
        from melascope.stages.experimenting import Place, run_experiment
    from melascope.report.comparison_text import print_comparison

    out = out or Path("experiments") / recipes.stem
    held_out = read_lesion_ids(hold_out_lesions) if hold_out_lesions else ()
    place = Place(data, split, out, source, labels_from(labels, map_columns, map_labels), held_out)
    try:
        comparison = run_experiment(recipes, place, Reporter(), accelerator=device, jobs=jobs)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        raise typer.Exit(130) from None
    if comparison:
        print_comparison(comparison, Console())
    print(f"runs, ensembles and comparison: {out}")

"""Runs and predictions tables → how they differ on the same images, as figures and plots; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from melascope.config import read_recipe
from melascope.errors import DataError, RunError
from melascope.evaluation.compare import Comparison, Entry, compare
from melascope.evaluation.operating_point import OperatingPoint
from melascope.report.compare_plot import save_comparison_plots
from melascope.stages.reporting import Reporter
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory


def compare_paths(
    paths: Sequence[Path], out: Path, reporter: Reporter, *, split: str = "test", draws: int = 2000
) -> Comparison:
    """Judge run directories and predictions tables on their common images, each against the first.

    A run is judged at its own frozen point; a table has none, so its top class is judged. `comparison.json`,
    `comparison.csv` and the plots go to `out`.

    Raises
    ------
    RunError, TableError, OperatingPointError : a run or a table that cannot be read.
    DataError : what is read cannot be compared; see `evaluation.compare`.
    """
    entries = [read_entry(path, name) for path, name in zip(paths, _names(paths), strict=True)]
    reporter.say(f"comparing {len(entries)} runs or tables on {split}: {draws} draws of lesions")
    comparison = compare(entries, split=split, draws=draws)
    comparison.write(out)
    save_comparison_plots(comparison, out)
    return comparison


def read_entry(path: Path, name: str) -> Entry:
    """A run with its frozen point and recipe, or a table by itself."""
    path = Path(path)
    if not path.is_dir():
        if not path.is_file():
            raise DataError("There is no such run or table.", where=path, expected="a run directory, .parquet or .csv")
        return Entry(name, Predictions.read(path))
    run = RunDirectory.open(path)
    missing = [file.name for file in (run.predictions, run.operating_point) if not file.is_file()]
    if missing:
        raise RunError(
            f"The run lacks {' and '.join(missing)}: its training has not finished.",
            where=path,
            fix=f"melascope train --resume {path}",
        )
    point, recipe = OperatingPoint.read(run.operating_point), read_recipe(run.recipe)
    return Entry(name, Predictions.read(run.predictions), point, recipe)


def _names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, or the whole path where two end alike."""
    last = [Path(path).resolve().name for path in paths]
    return [str(path) if last.count(name) > 1 else name for path, name in zip(paths, last, strict=True)]

"""Runs and predictions tables → how they differ on the same images, as figures and plots; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from melascope.config import read_recipe
from melascope.errors import DataError, RunError
from melascope.evaluation.compare import Comparison, Entry, compare
from melascope.evaluation.operating_point import OperatingPoint
from melascope.evaluation.target import target_name
from melascope.report.compare_plot import save_comparison_plots
from melascope.stages.evaluating import own_point
from melascope.stages.reporting import Reporter
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory


@dataclass(frozen=True)
class TableReading:
    """How a plain table is read, and by what it gets a threshold of its own; None: as the first run, else the default.

    Parameters
    ----------
    columns, labels : our name -> theirs, their class -> ours, as in `Predictions.read`.
    target, rule, target_sensitivity : as for `choose_operating_point`.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: tuple[str, ...] | None = None
    rule: str | None = None
    target_sensitivity: float | None = None

    def like(self, point: OperatingPoint | None) -> TableReading:
        """The same, with what was left open taken from a run's point, or from the defaults."""
        return TableReading(
            self.columns,
            self.labels,
            self.target or (point.target if point else ("mel",)),
            self.rule or (point.rule if point else "guaranteed"),
            self.target_sensitivity or (point.target_sensitivity if point else 0.90),
        )


def compare_paths(
    paths: Sequence[Path],
    out: Path,
    reporter: Reporter,
    *,
    split: str = "test",
    draws: int = 2000,
    reading: TableReading | None = None,
) -> Comparison:
    """Judge run directories and predictions tables on their common images, each against the first.

    A run is judged at its own frozen point. A table gets one from the validation rows that it brings; without such
    rows, or with too few, it has no threshold, and what needs one is missing. `comparison.json`, `comparison.csv` and
    the plots go to `out`.

    Raises
    ------
    RunError, TableError, OperatingPointError : a run or a table that cannot be read.
    DataError : what is read cannot be compared; see `evaluation.compare`.
    """
    named = list(zip(paths, _names(paths), strict=True))
    runs = {name: read_run(path, name) for path, name in named if Path(path).is_dir()}
    first = next((run.operating_point for run in runs.values()), None)
    asked = (reading or TableReading()).like(first)
    entries = [runs.get(name) or read_table(path, name, asked) for path, name in named]
    tables = [entry.predictions for entry in entries if entry.name not in runs]
    _refuse_idle(reading or TableReading(), tables, len(entries))
    reporter.say(f"comparing {len(entries)} runs or tables on {split}: {draws} draws of lesions")
    comparison = compare(entries, split=split, target=asked.target, draws=draws)
    comparison.write(out)
    save_comparison_plots(comparison, out)
    return comparison


def read_run(path: Path, name: str) -> Entry:
    """A run with its frozen point and recipe."""
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


def read_table(path: Path, name: str, reading: TableReading) -> Entry:
    """A table by itself, with a threshold from its own validation rows, or the reason why it has none."""
    if not Path(path).is_file():
        raise DataError("There is no such run or table.", where=path, expected="a run directory, .parquet or .csv")
    predictions = Predictions.read(path, reading.columns, reading.labels)
    rule = {"rule": reading.rule, "target_sensitivity": reading.target_sensitivity}
    point, reasons = own_point(predictions, target=reading.target, **rule)
    n_validation = len(predictions.of_split("val"))
    if point:
        note = (
            f"its threshold for {target_name(point.target)} was chosen from the {n_validation:,} validation rows that "
            "it brings."
        )
    else:
        note = " ".join(reasons) or "it brings no validation rows, which alone may choose a threshold."
    return Entry(name, predictions, point, threshold_note=note)


def _refuse_idle(reading: TableReading, tables: Sequence[Predictions], n_entries: int) -> None:
    """Refuse what was asked for tables and would be ignored, because there is none, or none that can be asked."""
    names = {"columns": "--map-columns", "labels": "--map-labels"} if not tables else {}
    if not any((table.split == "val").any() for table in tables):
        names |= {"rule": "--rule", "target_sensitivity": "--target-sensitivity"}
        names |= {"target": "--target"} if len(tables) < n_entries else {}  # tables alone are judged by their top class
    idle = [flag for name, flag in names.items() if getattr(reading, name)]
    if idle:
        raise DataError(
            f"Nothing here answers to {', '.join(idle)}: "
            + ("no table brings validation rows." if tables else "these are runs, judged at their own frozen points."),
            fix="leave these flags out, or compare a table to which they apply",
        )


def _names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, or the whole path where two end alike."""
    last = [Path(path).resolve().name for path in paths]
    return [str(path) if last.count(name) > 1 else name for path, name in zip(paths, last, strict=True)]

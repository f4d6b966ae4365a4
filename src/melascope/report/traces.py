"""Where does a number of the report stand on disk? Every one is read from its row, and keeps that row's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from melascope.evaluation.comparison import signed
from melascope.evaluation.record import rounded, with_interval
from melascope.files import read_json
from melascope.report.document import NOT_MEASURED, Traced
from melascope.tables.columns import read_csv_text
from melascope.tables.predictions import Predictions
from melascope.tables.results import Estimate

KEY_COLUMNS: dict[str, tuple[str, ...]] = {
    "evaluation/figures.csv": ("group", "figure", "class", "at", "unit"),
    "evaluation/confusion_cells.csv": ("group", "unit", "truth", "predicted"),
    "map_tests/figures.csv": ("test", "figure", "map_of", "group", "against"),
    "comparison/comparison.csv": ("kind", "name", "against", "figure"),
    "interventions/effects.csv": ("audit", "edit", "figure"),
    "interventions/interventions.csv": ("image_id", "intervention", "fill", "class_name"),
    "results.csv": ("epoch",),
}
"""The columns of each table that name its rows."""

VALUE_COLUMNS = {"evaluation/confusion_cells.csv": "row_share"}
"""What the value is called, where it is not `value`."""


@dataclass(frozen=True)
class Traces:
    """Numbers of a run's files, each with the row that it was read from.

    Parameters
    ----------
    root : the run directory.
    places : first folder of a file's name -> where it really lies, for what may lie outside the run.
    predictions : the run's own table, whose rows are counted.
    """

    root: Path
    predictions: Predictions
    places: Mapping[str, Path] = field(default_factory=dict)

    def path(self, file: str) -> Path:
        """Where a file of the report's traces lies."""
        first, _, rest = file.partition("/")
        return self.places[first] / rest if first in self.places and rest else self.root / file

    @cached_property
    def _read(self) -> dict[str, Any]:
        return {}

    def content(self, file: str) -> Any:
        """A JSON file, read once."""
        if file not in self._read:
            self._read[file] = read_json(self.path(file))
        return self._read[file]

    def rows(self, file: str) -> dict[tuple[str, ...], dict[str, str]]:
        """Key cells -> all cells of a row, of a CSV file that is read once; a file that is not there has no rows."""
        if file not in self._read:
            table = read_csv_text(self.path(file)) if self.path(file).is_file() else {}
            names, keys = list(table), key_columns(file)
            lines = [dict(zip(names, cells, strict=True)) for cells in zip(*table.values(), strict=True)]
            known = all(name in table for name in keys)
            self._read[file] = {tuple(line[name] for name in keys): line for line in lines} if known else {}
        return self._read[file]

    def figure(self, file: str, *row: str, digits: int = 2, form: str = "", brief: bool = False) -> Traced:
        """A row's value with its interval, or why there is none: `brief` says n/a, where sizes beside it tell why."""
        cells = self.rows(file).get(row)
        if cells is None:
            return Traced(NOT_MEASURED, file, row)
        value = _number(cells[VALUE_COLUMNS.get(file, "value")])
        if value is None:
            return Traced("n/a" if brief else f"not applicable ({_reason(cells)})", file, row)
        ends = _number(cells["low"]), _number(cells["high"])
        return Traced(written(value, *ends, digits=digits, form=form), file, row, form=form)

    def cell(self, file: str, *row: str, column: str, digits: int | None = None) -> Traced:
        """One cell of a row: a count, or with `digits` a number."""
        cells = self.rows(file).get(row)
        value = _number(cells.get(column, "")) if cells is not None else None
        if value is None:
            return Traced(NOT_MEASURED if cells is None else "–", file, row, column)
        return Traced(f"{value:,.0f}" if digits is None else rounded(value, digits), file, row, column)

    def count(self, file: str, *path: str | int) -> Traced:
        """A whole number of a JSON file."""
        return Traced(f"{self._at(file, path):,}", file, tuple(map(str, path)))

    def number(self, file: str, *path: str | int, digits: int = 2, form: str = "") -> Traced:
        """A number of a JSON file, or a figure in it with its interval."""
        value, row = self._at(file, path), tuple(map(str, path))
        if not isinstance(value, dict):
            return Traced(written(value, None, None, digits=digits, form=form), file, row, form=form)
        if "not_applicable" in value:
            return Traced(f"not applicable ({value['not_applicable']})", file, row)
        return Traced(
            written(value["value"], value["low"], value["high"], digits=digits, form=form), file, row, form=form
        )

    def _at(self, file: str, path: tuple[str | int, ...]) -> Any:
        value = self.content(file)
        for step in path:
            value = value[step]
        return value

    def counted(self, unit: str, **where: str) -> Traced:
        """Images or lesions of the predictions with these values, e.g. `counted("lesions", split="test", dx="mel")`."""
        keep = np.ones(len(self.predictions), dtype=bool)
        for column, value in where.items():
            keep &= getattr(self.predictions, column) == value
        rows = self.predictions.lesion_key[keep] if unit == "lesions" else self.predictions.image_id[keep]
        named = tuple(f"{column}={value}" for column, value in where.items()) or ("all rows",)
        return Traced(f"{len(set(rows)):,}", "predictions.parquet", named, unit)


def key_columns(file: str) -> tuple[str, ...]:
    """Columns that name the rows of a table; an evaluation of another collection is kept like the run's own."""
    first, _, name = file.partition("/")
    return KEY_COLUMNS.get(f"evaluation/{name}" if first.startswith("evaluation") else file, ())


def written(value: float, low: float | None, high: float | None, *, digits: int, form: str) -> str:
    """`0.83 [0.75, 0.90]`, or in `form`: "percent", "missed percent" (of 1 - value), "signed"."""
    if form == "signed":
        return signed(Estimate(value, low, high, 1, 1), digits)
    if not form:
        return with_interval(Estimate(value, low, high, 1, 1), digits)
    if form == "missed percent":
        value, low, high = 1 - value, *(None if end is None else 1 - end for end in (high, low))
    text = f"{rounded(100 * value, 1)} %"
    return text if low is None or high is None else f"{text} [{100 * low:.1f} %, {100 * high:.1f} %]"


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _reason(cells: Mapping[str, str]) -> str:
    return cells.get("not_applicable") or cells.get("note") or "no value"

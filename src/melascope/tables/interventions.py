"""What did hiding, keeping or adding something change: one row a figure, for one picture or for a whole split?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow.parquet as pq

from melascope.errors import RunError
from melascope.files import atomic_path
from melascope.tables.columns import write_table

SCHEMA_VERSION = 1
NAN = float("nan")


@dataclass(frozen=True)
class CaseRow:
    """An intervention on one picture, and the probability of one class (or of the target) before and after.

    Parameters
    ----------
    class_name : one of the seven, or "target"
    area_share : of the picture, hidden, kept or covered
    before, after : probability
    control_mean, control_low, control_high : mean and middle 95 % of the changes by `n_controls` controls; NaN if 0
    p_value : empirical, of a random placement; NaN without control
    predicted_before, predicted_after : top class
    positive_before, positive_after : "yes" or "no" at the frozen threshold; `""` where none is frozen
    mask_source : of the lesion: "data set", "segmenter", or "classical" and why
    """

    image_id: str
    intervention: str
    fill: str
    class_name: str
    area_share: float
    before: float
    after: float
    control: str
    control_mean: float
    control_low: float
    control_high: float
    n_controls: int
    p_value: float
    predicted_before: str
    predicted_after: str
    positive_before: str
    positive_after: str
    mask_source: str


@dataclass(frozen=True)
class EffectRow:
    """A figure of an edit over many pictures.

    Parameters
    ----------
    audit : "artefacts" or "backgrounds"
    figure : field of `explain.paired.PairedEffect`, e.g. "change"
    level : of the interval
    verdict : of the rule in `explain/paired.py`; `""` where it is not asked
    note : why there is no value or interval
    """

    audit: str
    edit: str
    figure: str
    value: float
    low: float
    high: float
    level: float
    n_images: int
    n_lesions: int
    verdict: str
    note: str


@dataclass(frozen=True)
class PairRow:
    """The answer to one version of one picture: what the effects are made of."""

    audit: str
    image_id: str
    lesion_id: str
    version: str
    log_odds: float
    p_target: float
    positive: str


Row = TypeVar("Row", CaseRow, EffectRow, PairRow)


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    """Write rows of one kind as CSV (`.csv`) or Parquet; there is at least one."""
    names = [field.name for field in fields(rows[0])]
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    text = {field.name for field in fields(rows[0]) if field.type == "str"}
    arrays = {name: np.array(values, dtype=object if name in text else None) for name, values in columns.items()}
    facts = {"melascope.table": type(rows[0]).__name__, "schema_version": str(SCHEMA_VERSION)}
    with atomic_path(path) as temporary:
        write_table(temporary, arrays, {} if Path(path).suffix == ".csv" else facts)
    return Path(path)


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Read the Parquet file that `write_rows` wrote; one of another kind or version is a `RunError`."""
    try:
        table = pq.read_table(path)
    except (OSError, ValueError) as error:
        raise RunError(f"The table cannot be read ({error}).", where=path) from error
    facts = table.schema.metadata or {}
    found = facts.get(b"melascope.table", b"").decode(), facts.get(b"schema_version", b"").decode()
    if found != (kind.__name__, str(SCHEMA_VERSION)):
        raise RunError(
            f"The table holds {found[0] or 'something else'}, version {found[1] or 'unknown'}.",
            where=path,
            expected=f"{kind.__name__}, version {SCHEMA_VERSION}",
        )
    empty = {"str": "", "float": NAN}
    kinds = {field.name: field.type for field in fields(kind)}
    return [
        kind(**{name: empty.get(kinds[name]) if value is None else value for name, value in row.items()})
        for row in table.to_pylist()
    ]

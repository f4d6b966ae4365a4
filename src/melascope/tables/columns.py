"""How does a column of text from somebody's file become an array that the rest can trust?"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from melascope.classes import CLASSES
from melascope.errors import DataError, Problem

UNKNOWN_WORDS = frozenset({"", "unknown", "nan", "na", "n/a", "none", "null"})
"""Magic words of other people's tables; in ours an unknown value is simply empty."""


def read_csv_text(path: Path, delimiter: str = ",") -> dict[str, np.ndarray]:
    """Read a CSV file with every column as text.

    Returns
    -------
    columns : name -> object array (n_rows,) of `str`; a missing value is `""`.

    Raises
    ------
    DataError : no file, no header, wrong encoding, or rows of unequal length.
    """
    try:
        names = _header(path, delimiter)
        table = pacsv.read_csv(
            path,
            read_options=pacsv.ReadOptions(encoding="utf8"),
            parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types={name: pa.string() for name in names}, strings_can_be_null=False
            ),
        )
    except FileNotFoundError as error:
        raise DataError("The table is missing.", where=path, expected="a CSV file") from error
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise DataError(
            f"The table cannot be read ({error}).", where=path, expected="a UTF-8 CSV file with one header row"
        ) from error
    return {name: text_array(column) for name, column in zip(table.column_names, table.columns, strict=True)}


def _header(path: Path, delimiter: str) -> list[str]:
    with open(path, encoding="utf-8-sig", newline="") as stream:
        line = stream.readline(1 << 20).rstrip("\r\n")
    names = [name.strip().strip('"') for name in line.split(delimiter)]
    if line == "" or len(set(names)) != len(names):
        raise DataError(
            "The table has no header row." if line == "" else "A column name stands twice in the header.",
            where=path,
            expected="one header row with distinct column names",
        )
    return names


def text_array(values) -> np.ndarray:
    """Any column as an object array of `str`, missing values as `""`."""
    array = np.empty(len(values), dtype=object)
    array[:] = ["" if v is None else str(v) for v in (values.to_pylist() if hasattr(values, "to_pylist") else values)]
    return array


def blank_unknown(values: np.ndarray) -> np.ndarray:
    """Text column with the magic words for "unknown" emptied and blanks trimmed."""
    trimmed = [str(value).strip() for value in values]
    array = np.empty(len(trimmed), dtype=object)
    array[:] = ["" if value.lower() in UNKNOWN_WORDS else value for value in trimmed]
    return array


def number_array(values: np.ndarray, column: str, file: str, problems: list[Problem], first_row: int = 2) -> np.ndarray:
    """Text column as float64 (n,), unknown as NaN; what is no finite number is added to `problems`."""
    numbers = np.full(len(values), np.nan)
    for index, value in enumerate(blank_unknown(values)):
        if value == "":
            continue
        try:
            numbers[index] = float(value)
        except ValueError:
            numbers[index] = math.inf
        if not math.isfinite(numbers[index]):
            problems.append(Problem(f"{value!r} is not a number", file, index + first_row, column))
            numbers[index] = np.nan
    return numbers


def class_columns(dx: np.ndarray) -> np.ndarray:
    """(n,) int64: place of each `dx` in `CLASSES`, -1 where the truth is unknown."""
    place = {name: index for index, name in enumerate(CLASSES)}
    return np.array([place.get(name, -1) for name in dx], dtype=np.int64)


def lesion_or_image(lesion_id: np.ndarray, image_id: np.ndarray) -> np.ndarray:
    """(n,) object: `lesion_id`, or the image's own id where no lesion is known."""
    return np.where(lesion_id == "", image_id, lesion_id)


def nullable(array: np.ndarray) -> pa.Array:
    """Array for the disk: unknown (`""` or NaN) becomes null."""
    if array.dtype == object:
        return pa.array([value if value != "" else None for value in array], type=pa.string())
    if np.issubdtype(array.dtype, np.floating):
        return pa.array(array, from_pandas=True)
    return pa.array(array)


def write_table(path: Path, columns: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write columns to `path` (already a temporary name): Parquet, or CSV when `metadata` is empty."""
    table = pa.table({name: nullable(values) for name, values in columns.items()})
    if metadata:
        pq.write_table(table.replace_schema_metadata(metadata), path, compression="zstd")
    else:
        pacsv.write_csv(table, path, pacsv.WriteOptions(quoting_style="needed"))

"""How does a column of text from somebody's file become an array that the rest can trust?

Whatever the file, memory stays bounded: a header of up to `HEADER_BYTES`, rows of up to `ROW_BYTES`, and up to
`MAX_BYTES` in the columns that are asked for; anything longer is refused while it is read. Columns are worked on
by their distinct words, so a million rows cost a few array operations.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from melascope.classes import CLASSES
from melascope.errors import DataError, Problem, TableError
from melascope.tables.formulas import guarded_words, unguarded_table

UNKNOWN_WORDS = frozenset({"", "unknown", "nan", "na", "n/a", "none", "null"})
"""Magic words of other people's tables; in ours an unknown value is simply empty."""

NO_TEXT = {b"PK\x03\x04": "a zip archive or an Excel file", b"\x1f\x8b": "packed with gzip", b"PAR1": "Parquet"}
"""How files begin that are mistaken for CSV."""

HEADER_BYTES = 1 << 20
ROW_BYTES = 1 << 20  # also the block in which a file is read; pyarrow reads up to 32 of them ahead
MAX_BYTES = 512 << 20  # a predictions table of 1,000,000 rows with every fact takes about 250 MiB
LISTED = 1_000  # problems of one kind in one column that are told row by row; beyond, one more counts all


def read_csv_text(path: Path, delimiter: str = ",", content: bytes | None = None) -> dict[str, np.ndarray]:
    """Read a CSV file with every column as text.

    Parameters
    ----------
    content : the file's bytes where it lies in an archive; `path` is then only its name in messages

    Returns
    -------
    columns : name -> object array (n_rows,) of `str`; a missing value is `""`.

    Raises
    ------
    DataError : no file, no header, wrong encoding, rows of unequal length, or more than `MAX_BYTES`.
    """
    table = read_csv_table(path, delimiter, content=content)
    return {name: text_array(table[name]) for name in table.column_names}


def read_csv_table(
    path: Path, delimiter: str = ",", names: Sequence[str] | None = None, content: bytes | None = None
) -> pa.Table:
    """Columns `names` (all, if left out) of a CSV file as text; raises what `read_csv_text` does.

    Row i stands in row i + 2 of the file: a blank line between others is a row of empty cells, one at the end is none.
    """
    header, has_rows = _header(path, delimiter, content)
    names = header if names is None else list(names)
    if not has_rows:
        return pa.table({name: pa.array([], pa.string()) for name in names})
    try:
        table = _streamed(path, content, header, names, delimiter)
    except (pa.ArrowInvalid, OSError) as error:
        if "columns, got" not in str(error):
            raise _unreadable(path, error) from error
        _refuse_other_text(path, content)  # pyarrow cannot hand over a row that is no text
        raise _ragged(path, content, header, names, delimiter) from error
    return unguarded_table(table.slice(0, int(np.flatnonzero(filled_rows(table)).max(initial=-1)) + 1))


def _streamed(path: Path, content: bytes | None, header: list[str], names: list[str], delimiter: str, tell=None):
    """Columns `names`, block by block; `tell` is asked of each row of another length, which is an error without it."""
    with pacsv.open_csv(
        path if content is None else pa.BufferReader(content),
        pacsv.ReadOptions(column_names=header, skip_rows=1, block_size=ROW_BYTES, use_threads=False),  # rows count
        pacsv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=tell
        ),
        pacsv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False, include_columns=names
        ),
    ) as stream:
        return _bounded(stream, path)


def _ragged(path: Path, content: bytes | None, header: list[str], names: list[str], delimiter: str) -> DataError:
    """What to say of a table with rows of unequal length: all of them, up to `LISTED`."""
    file, ragged = Path(path).name, []

    def tell(row: pacsv.InvalidRow) -> str:
        ragged.append(Problem(f"{row.actual_columns} cells, the header has {row.expected_columns}", file, row.number))
        return "skip" if len(ragged) < LISTED else "error"

    try:
        _streamed(path, content, header, names, delimiter, tell)
    except (pa.ArrowInvalid, OSError) as error:
        if not ragged:
            return _unreadable(path, error)
    if len(ragged) >= LISTED:
        ragged.append(Problem(f"reading stopped after {LISTED:,} such rows", file, unlisted=math.inf))
    return TableError("The table cannot be read", ragged, where=path)


def _refuse_other_text(path: Path, content: bytes | None) -> None:
    with open(path, "rb") if content is None else BytesIO(content) as stream:
        decoder, row, line = codecs.getincrementaldecoder("utf-8")(), 0, b"-"
        while line:
            row, line = row + 1, stream.readline(ROW_BYTES)
            try:
                decoder.decode(line, final=not line)
            except UnicodeDecodeError as error:
                row -= not line  # cut within a letter, which shows at the end
                raise _not_utf8(path, f"row {row} is not UTF-8, perhaps Latin-1", "LATIN1") from error


def filled_rows(table: pa.Table) -> np.ndarray:
    """(n_rows,) bool: some cell of the row is not empty; a blank line, or one of commas alone, is a row without any."""
    filled = np.zeros(len(table), dtype=bool)
    for name in table.column_names:
        if filled.all():
            break
        filled |= pc.fill_null(pc.not_equal(table[name], ""), False).to_numpy(zero_copy_only=False)
    return filled


def delimiter_of(path: Path) -> str:
    """What parts the cells of the header: a comma, or where it has none, a semicolon (Excel in Europe) or a tab."""
    try:
        with open(path, "rb") as stream:
            line = stream.readline(HEADER_BYTES)
    except OSError:
        return ","  # whoever reads the table tells what is wrong
    return next((mark for mark in ",;\t" if mark.encode() in line), ",")


def csv_header(path: Path, delimiter: str = ",") -> list[str]:
    """The column names of a CSV file, of which no more than `HEADER_BYTES` are looked at; raises `DataError`."""
    return _header(path, delimiter)[0]


def _header(path: Path, delimiter: str, content: bytes | None = None) -> tuple[list[str], bool]:
    """Column names, and whether anything follows them."""
    try:
        with open(path, "rb") if content is None else BytesIO(content) as stream:
            head = stream.read(HEADER_BYTES)
    except FileNotFoundError as error:
        raise DataError("The table is missing.", where=path, expected="a CSV file") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    for magic, kind in NO_TEXT.items():
        if head.startswith(magic):
            raise DataError(
                f"The table is {kind}, not text.", where=path, expected="a UTF-8 CSV file", fix="save it as “CSV UTF-8”"
            )
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise _not_utf8(path, "it is UTF-16", "UTF-16")
    if b"\0" in head:
        raise _not_utf8(path, "it holds NUL bytes, so it is UTF-16 or no text at all", "UTF-16")
    line, *rest = re.split(rb"\r\n|\r|\n", head, maxsplit=1)
    if not rest and len(head) == HEADER_BYTES:
        raise _unreadable(path, f"its first line is longer than {HEADER_BYTES >> 20} MiB")
    try:
        cells = next(csv.reader([line.decode("utf-8-sig")], delimiter=delimiter), [])
    except UnicodeDecodeError as error:
        raise _not_utf8(path, "row 1 is not UTF-8, perhaps Latin-1", "LATIN1") from error
    except csv.Error as error:
        raise _unreadable(path, error) from error
    names = [name.strip() or f"column {place}" for place, name in enumerate(cells, start=1)]
    if not any(cells) or len(set(names)) != len(names):
        twice = ", ".join(repr(name) for name, n in Counter(names).items() if n > 1)
        raise DataError(
            f"A column name stands twice in the header: {twice}." if twice else "The table has no header row.",
            where=path,
            expected="one header row with distinct column names",
        )
    return names, any(part.strip() for part in rest) or len(head) == HEADER_BYTES


def _bounded(stream: pacsv.CSVStreamingReader, path: Path) -> pa.Table:
    """All batches, unless they hold more than `MAX_BYTES`."""
    batches, held, rows = [], 0, 0
    for batch in stream:
        batches.append(batch)
        held, rows = held + batch.nbytes, rows + len(batch)
        if held > MAX_BYTES:
            raise too_large(path, f"its columns pass {MAX_BYTES >> 20} MiB at row {rows + 1:,}")
    return pa.Table.from_batches(batches, stream.schema)


def too_large(path: Path, why: str) -> DataError:
    """What to say of a table that is far longer than any that is meant."""
    return DataError(
        f"The table is too large: {why}.",
        where=path,
        expected=f"at most {MAX_BYTES >> 20} MiB in the columns that are read: about 2,000,000 rows of predictions",
        fix="check that this is the table you meant; if so, cut it into parts",
    )


def _unreadable(path: Path, why: Exception | str) -> DataError:
    text = str(why)
    if "UTF8" in text:
        row = re.search(r"Row #(\d+)", text)
        return _not_utf8(path, f"row {row[1] if row else '?'} is not UTF-8, perhaps Latin-1", "LATIN1")
    if "straddling" in text:
        text = f"a row is longer than {ROW_BYTES >> 20} MiB: a quote that is never closed, or no rows at all"
    return DataError(f"The table cannot be read ({text}).", where=path, expected="a UTF-8 CSV file with one header row")


def _not_utf8(path: Path, why: str, encoding: str) -> DataError:
    return DataError(
        f"The table cannot be read: {why}.",
        where=path,
        expected="a UTF-8 CSV file with one header row",
        fix=f"iconv -f {encoding} -t UTF-8 {Path(path).name} > utf8.csv, or save it as “CSV UTF-8”",
    )


def unknown_text(n_rows: int) -> np.ndarray:
    """(n_rows,) object: a column of which nothing is known."""
    return np.full(n_rows, "", dtype=object)


def word_codes(values) -> tuple[np.ndarray, np.ndarray]:
    """A column by its words, of which there are often few: so most work on a column is work on `words` alone.

    Returns
    -------
    words : (n_words,) object of `str`; a missing value is `""`
    codes : (n_rows,) int, so that `words[codes]` is the column
    """
    coded = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if not (isinstance(coded, pa.DictionaryArray) and is_text(coded.type)):
        coded = _text(coded).dictionary_encode()
    words = pa.concat_arrays([coded.dictionary.cast(pa.string()).fill_null(""), pa.array([""])])
    return words.to_numpy(zero_copy_only=False), coded.indices.fill_null(len(words) - 1).to_numpy()


def _text(values) -> pa.Array:
    """Any array as text."""
    if isinstance(values, pa.Array):
        plain = is_text(values.type) or pa.types.is_integer(values.type)
        return values.cast(pa.string()) if plain else _as_written(values.to_pylist())
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return _as_written(values)


def _as_written(values) -> pa.Array:
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def is_text(kind: pa.DataType) -> bool:
    """True for text of any layout, so also for a column of categories."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def text_array(values) -> np.ndarray:
    """Any column as an object array of `str`, missing values as `""`; equal words are one object."""
    words, codes = word_codes(values)
    return words[codes]


def blank_unknown(values) -> np.ndarray:
    """Text column with the magic words for "unknown" emptied and blanks trimmed."""
    words, codes = word_codes(values)
    return _blanked(words).to_numpy(zero_copy_only=False)[codes]


def _blanked(words: np.ndarray) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(pa.array(words, pa.string()))
    unknown = pc.is_in(pc.utf8_lower(trimmed), pa.array(sorted(UNKNOWN_WORDS)))
    return pc.if_else(unknown, "", trimmed)


def number_array(
    values, column: str, file: str, problems: list[Problem], first_row: int = 2, needed: bool = False
) -> np.ndarray:
    """Column of text or numbers as float64 (n,), unknown as NaN.

    What is no finite number is added to `problems`; so is what is unknown, where it is `needed`.
    """
    numbers, wrong = _parsed(values)
    rows = np.flatnonzero(wrong)
    words = dict(zip(rows[:LISTED].tolist(), blank_unknown(values.take(rows[:LISTED])), strict=True))
    problems += problems_at(rows, lambda row: f"{words[row]!r} is not a number", file, column, first_row)
    if needed:
        unknown = np.flatnonzero(np.isnan(numbers) & ~wrong)
        problems += problems_at(unknown, lambda row: "the number is missing, or NaN", file, column, first_row)
    return numbers


def _parsed(values) -> tuple[np.ndarray, np.ndarray]:
    """Finite numbers (NaN elsewhere), and where something stands that is none."""
    try:
        array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else _text(values)
        numbers = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return np.where(np.isinf(numbers), np.nan, numbers), np.isinf(numbers)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # something else than numbers stands there
        words, codes = word_codes(values)
    numbers = np.array([_number(word) for word in _blanked(words).to_pylist()])
    wrong = np.isinf(numbers)
    return np.where(wrong, np.nan, numbers)[codes], wrong[codes]


def _number(word: str) -> float:
    """NaN where nothing stands, infinite where something stands that is no number."""
    try:
        return float(word or "nan")
    except ValueError:
        return math.inf


def problems_at(
    rows: np.ndarray, say: Callable[[int], str], file: str, column: str, first_row: int = 2
) -> list[Problem]:
    """A `Problem` for each of `rows` (counted from 0); beyond `LISTED` a first one tells how many there are."""
    problems = [Problem(say(row), file, row + first_row, column) for row in rows[:LISTED].tolist()]
    if len(rows) > LISTED:
        count = f"{len(rows):,} rows are wrong in the same way, the first {LISTED:,} of them are listed"
        problems.insert(0, Problem(count, file, None, column, unlisted=len(rows) - LISTED))
    return problems


def first_rows(values: np.ndarray) -> np.ndarray:
    """(n_rows,) int64: the row in which each row's word stands for the first time; its own where it is new."""
    codes = word_codes(values)[1]
    _, first, place = np.unique(codes, return_index=True, return_inverse=True)
    return first[place]


def class_columns(dx: np.ndarray) -> np.ndarray:
    """(n,) int64: place of each `dx` in `CLASSES`, -1 where the truth is unknown."""
    words, codes = word_codes(dx)
    place = {name: index for index, name in enumerate(CLASSES)}
    return np.array([place.get(word, -1) for word in words], dtype=np.int64)[codes]


def lesion_or_image(lesion_id: np.ndarray, image_id: np.ndarray) -> np.ndarray:
    """(n,) object: `lesion_id`, or the image's own id where no lesion is known."""
    return np.where(lesion_id == "", image_id, lesion_id)


def known_if_optional(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns for the disk, without `dataset` where no row knows it: such a file is what it was before the column."""
    return {name: values for name, values in columns.items() if name != "dataset" or (values != "").any()}


def nullable(array: np.ndarray) -> pa.Array:
    """Array for the disk: unknown (`""` or NaN) becomes null."""
    if array.dtype == object:
        text = pa.array(array, pa.string())
        return pc.if_else(pc.equal(text, ""), None, text)
    if np.issubdtype(array.dtype, np.floating):
        return pa.array(array, from_pandas=True)
    return pa.array(array)


def write_table(path: Path, columns: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write columns to `path` (already a temporary name): Parquet, or CSV when `metadata` is empty.

    In a CSV no word starts a formula: a `'` stands before it, which `read_csv_table` takes away again.
    """
    if not metadata:
        columns = {name: guarded_words(one) if one.dtype == object else one for name, one in columns.items()}
    table = pa.table({name: nullable(values) for name, values in columns.items()})
    if metadata:
        pq.write_table(table.replace_schema_metadata(metadata), path, compression="zstd")
    else:
        pacsv.write_csv(table, path, pacsv.WriteOptions(quoting_style="needed"))

"""Which images does a source name: a file, a folder, a glob, a list or a manifest, and in which order, always?"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from melascope.data.decode import MAX_BYTES
from melascope.errors import DataError, ImageError

LISTS, MANIFESTS = (".txt", ".lst"), (".csv", ".parquet")
PATH_COLUMNS = ("path", "image", "file", "filename", "image_path")
"""Columns of a manifest that may hold paths, the first that is there."""

_GLOB = "*?["
_BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class Source:
    """Inputs in an order that stays the same as long as the source does.

    Parameters
    ----------
    text : as the user wrote it
    kind : "file", "folder", "glob", "list" or "manifest"
    """

    text: str
    kind: str
    column: str = ""

    @classmethod
    def of(cls, text: str, *, column: str = "") -> Source:
        """Recognise what a source is.

        Parameters
        ----------
        text : path of an image, of a folder (searched with its subfolders), of a list (.txt: a path a line) or of a
            manifest (.csv, .parquet: a path a row), or a pattern with `*`, `?`, `**`; paths in lists and manifests
            may be relative to the file that names them
        column : of a manifest; empty takes the first of `PATH_COLUMNS`

        Raises
        ------
        DataError : there is no such thing, or a manifest without a column of paths.
        """
        path = Path(text)
        if path.is_dir():
            kind = "folder"
        elif path.is_file():
            ending = path.suffix.lower()
            kind = "list" if ending in LISTS else "manifest" if ending in MANIFESTS else "file"
        elif any(sign in text for sign in _GLOB):
            kind = "glob"
        else:
            raise DataError(
                "There is no such source.",
                where=text,
                expected="an image, a folder, a pattern such as 'photos/**/*.jpg', a list (.txt) or a manifest (.csv, "
                ".parquet)",
            )
        if column and kind != "manifest":
            raise DataError(f"A {kind} has no columns.", where=text, fix="leave --path-column out")
        return cls(text, kind, _path_column(path, column) if kind == "manifest" else "")

    def __iter__(self) -> Iterator[str]:
        """Paths, one at a time, never all in memory but those of one folder, or of a pattern."""
        path = Path(self.text)
        if self.kind == "file":
            yield self.text
        elif self.kind == "folder":
            yield from _walked(path)
        elif self.kind == "glob":
            yield from sorted(one for one in glob.iglob(self.text, recursive=True) if not os.path.isdir(one))
        else:
            named = _lines(path) if self.kind == "list" else _rows(path, self.column)
            yield from (one if os.path.isabs(one) else str(path.parent / one) for one in named)


def read_input(path: str) -> bytes:
    """The bytes of one input; refused before they are read where it is no file, or a larger one than any image.

    Raises
    ------
    ImageError : says why.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for ever
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImageError(f"The image is refused: it cannot be read ({reason}).", where=_shown(path)) from error
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise ImageError("The image is refused: it is no file.", where=_shown(path))
    with os.fdopen(descriptor, "rb") as stream:
        if facts.st_size > MAX_BYTES:
            raise ImageError(f"The image is refused: it is larger than {MAX_BYTES // 2**20} MiB.", where=_shown(path))
        try:
            return stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise ImageError(
                f"The image is refused: it cannot be read ({error.strerror}).", where=_shown(path)
            ) from error


def _shown(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")


def _walked(folder: Path) -> Iterator[str]:
    """Files of a folder and its subfolders by name; hidden ones and links to folders are left out."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"The folder cannot be read ({error.strerror}).", where=folder) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walked(Path(entry.path))
        elif not entry.is_dir():
            yield entry.path


def _lines(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8-sig") as stream:
            yield from (line.strip() for line in stream if line.strip())
    except UnicodeDecodeError as error:
        raise DataError("The list is not UTF-8.", where=path, expected="a path a line, in UTF-8") from error


def _path_column(path: Path, column: str) -> str:
    try:
        names = pq.read_schema(path).names if path.suffix.lower() == ".parquet" else _header(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"The manifest cannot be read ({str(error)[:200]}).", where=path) from error
    found = column if column in names else next((name for name in PATH_COLUMNS if name in names and not column), "")
    if not found:
        raise DataError(
            f"The manifest has the columns {', '.join(names)}.",
            where=path,
            expected=f"a column {column or ' or '.join(PATH_COLUMNS)} that holds paths",
            fix="name it with --path-column",
        )
    return found


def _header(path: Path) -> list[str]:
    with pyarrow.csv.open_csv(path, read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES)) as reader:
        return reader.schema.names


def _rows(path: Path, column: str) -> Iterator[str]:
    try:
        if path.suffix.lower() == ".parquet":
            with pq.ParquetFile(path) as file:
                yield from _texts((batch.column(0) for batch in file.iter_batches(columns=[column])), path, column)
        else:
            options = pyarrow.csv.ConvertOptions(include_columns=[column], column_types={column: pa.string()})
            reading = pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES)
            with pyarrow.csv.open_csv(path, read_options=reading, convert_options=options) as reader:
                yield from _texts((batch.column(0) for batch in reader), path, column)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"The manifest cannot be read ({str(error)[:200]}).", where=path) from error


def _texts(batches: Iterable[pa.Array], path: Path, column: str) -> Iterator[str]:
    values = chain.from_iterable(batch.to_pylist() for batch in batches)
    for row, value in enumerate(values, start=2):
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"The manifest names no path in row {row}, column {column} ({value!r}).", where=path)
        yield value

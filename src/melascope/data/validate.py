"""Is the data set sound? Everything that is wrong at once, with file and row, before anything is trained on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from melascope.data.archive import read_member
from melascope.data.decode import decode_image, decode_mask
from melascope.data.sources import isic, source_notes
from melascope.data.sources.ham10000 import find_metadata, image_files
from melascope.errors import DataError, Problem, TableError
from melascope.files import sha256_bytes
from melascope.tables.lesions import LesionTable

MAX_AGE = 120
SHOWN = 5
IN_FLIGHT = 256
"""Images that wait for a worker at once; bounds memory."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Validation:
    """What looking into every file has shown.

    Parameters
    ----------
    problems : what keeps the data set from being used, in the order of rows
    notes : what a reader should know, but nothing is refused for
    table : the same table, with `width`, `height` and `sha256` filled in where the file could be read
    """

    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    table: LesionTable

    @property
    def fingerprint(self) -> str:
        """SHA-256 over ids, lesions, labels and file hashes: the data set's name in every run."""
        return self.table.fingerprint

    def usable(self) -> LesionTable:
        """The filled-in table, or a `TableError` with all problems."""
        if self.problems:
            raise TableError(
                "The data set is not usable",
                self.problems,
                where=self.table.root,
                fix=f"mend or remove these rows and files, then: melascope data validate {self.table.root}",
            )
        return self.table


@dataclass(frozen=True)
class _Looked:
    """What one row's files contain; `problems` are messages."""

    width: int = 0
    height: int = 0
    sha256: str = ""
    mask_size: tuple[int, int] | None = None
    mask_is_empty: bool = False
    problems: tuple[str, ...] = ()


def validate(table: LesionTable, *, workers: int = 2, progress: Progress | None = None) -> Validation:
    """Look inside every image and mask, and compare what the rows say of each other.

    Problems: an image that is missing or cannot be decoded; a mask that cannot, or that has another shape than its
    image; labels of one lesion that differ; an impossible age. Notes: masks of another scale or without a lesion,
    equal files under two ids, images without a row.

    Parameters
    ----------
    table : a dataset table as a source reads it
    workers : threads that decode
    progress : called with (rows done, rows in all)
    """
    place = _places(table)
    problems: list[Problem] = []
    looked: list[_Looked] = []
    for row, found in enumerate(_look_at_all(table, workers)):
        problems += [Problem(message, *place(row)) for message in found.problems]
        looked.append(found)
        if progress is not None:
            progress(row + 1, len(table))
    problems += _row_problems(table, place)
    filled = replace(
        table,
        width=np.array([found.width for found in looked], dtype=np.int64),
        height=np.array([found.height for found in looked], dtype=np.int64),
        sha256=np.array([found.sha256 for found in looked], dtype=object),
    )
    return Validation(
        problems=tuple(sorted(problems, key=lambda problem: problem.row or 0)),
        notes=tuple(Problem(message) for message in _notes(filled, looked)),
        table=filled,
    )


def _places(table: LesionTable) -> Callable[[int], tuple[str, int | None]]:
    """(file, row number) to name for a row of the table: of the metadata where there is any, else the image itself."""
    if table.source == "isic":
        places = isic.row_places(table.root)
        return lambda row: places[table.image_id[row]]
    metadata = None if table.source == "image_folder" else find_metadata(table.root)
    if metadata is None:
        return lambda row: (table.path[row], None)
    return lambda row: (metadata.name, row + 2)


def _look_at_all(table: LesionTable, workers: int) -> Iterator[_Looked]:
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for begin in range(0, len(table), IN_FLIGHT):
            yield from pool.map(lambda row: _look(table, row), range(begin, min(begin + IN_FLIGHT, len(table))))


def _look(table: LesionTable, row: int) -> _Looked:
    try:
        data = read_member(table.root, table.path[row])
        height, width = decode_image(data, name=table.path[row]).shape[:2]
    except DataError as error:
        return _Looked(problems=(_one_line(error, table.path[row]),))
    looked = _Looked(width, height, sha256_bytes(data))
    mask_path = table.mask_path[row]
    if mask_path == "":
        return looked
    try:
        mask = decode_mask(read_member(table.root, mask_path), name=mask_path)
    except DataError as error:
        return replace(looked, problems=(_one_line(error, mask_path),))
    looked = replace(looked, mask_size=mask.shape[::-1], mask_is_empty=not mask.any())
    if not same_shape((width, height), mask.shape[::-1]):
        message = f"{mask_path}: the mask is {mask.shape[1]}×{mask.shape[0]}, its image {width}×{height}"
        looked = replace(looked, problems=(f"{message}: another shape",))
    return looked


def _one_line(error: DataError, path: str) -> str:
    return f"{path}: {error.found}"


def same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """True where one (width, height) is the other scaled, give or take a pixel of rounding."""
    return abs(size[0] * other[1] - size[1] * other[0]) <= max(*size, *other)


def _row_problems(table: LesionTable, place: Callable[[int], tuple[str, int | None]]) -> list[Problem]:
    problems = [
        Problem(f"{table.image_id[row]}: an age of {table.age[row]:g} years", *place(row), "age")
        for row in np.flatnonzero((table.age < 0) | (table.age > MAX_AGE))
    ]
    first: dict[str, int] = {}
    for row, (lesion, dx) in enumerate(zip(table.lesion_id, table.dx, strict=True)):
        if lesion == "" or dx == "":
            continue
        other = first.setdefault(lesion, row)
        if table.dx[other] != dx:
            message = (
                f"lesion {lesion} is {dx} in {table.image_id[row]}, but {table.dx[other]} in {table.image_id[other]}"
            )
            problems.append(Problem(message, *place(row), "dx"))
    return problems


def _notes(table: LesionTable, looked: list[_Looked]) -> Iterator[str]:
    scales = Counter(
        (found.mask_size, (found.width, found.height))
        for found in looked
        if found.mask_size is not None and not found.problems and found.mask_size != (found.width, found.height)
    )
    for (mask, image), count in sorted(scales.items()):
        yield f"{count:,} masks are {mask[0]}×{mask[1]} where their images are {image[0]}×{image[1]}"
    empty = [image_id for image_id, found in zip(table.image_id, looked, strict=True) if found.mask_is_empty]
    if empty:
        yield f"{_count(empty, 'mask')} without any lesion: {_some(empty)}"
    without_mask = [image_id for image_id, path in zip(table.image_id, table.mask_path, strict=True) if path == ""]
    if without_mask and len(without_mask) < len(table):
        yield f"{_count(without_mask, 'image')} without a mask: {_some(without_mask)}"
    same_bytes: dict[str, list[Any]] = defaultdict(list)
    for image_id, sha256 in zip(table.image_id, table.sha256, strict=True):
        same_bytes[sha256].append(image_id)
    for sha256, image_ids in same_bytes.items():
        if sha256 and len(image_ids) > 1:
            yield f"the same file under {len(image_ids)} ids: {_some(image_ids)}"
    yield from source_notes(table)
    files_of = {"ham10000": image_files, "phantom": image_files, "isic": isic.image_files}.get(table.source)
    without_row = sorted(set(files_of(table.root)) - set(table.image_id)) if files_of else []
    if without_row:
        yield f"{_count(without_row, 'image file')} without a row: {_some(without_row)}"


def _count(items: list[Any], noun: str) -> str:
    return f"{len(items):,} {noun}{'s' if len(items) != 1 else ''}"


def _some(items: list[str]) -> str:
    return ", ".join(items[:SHOWN]) + (" …" if len(items) > SHOWN else "")

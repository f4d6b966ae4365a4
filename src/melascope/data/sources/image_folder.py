"""How do loose images, with or without a CSV of labels, become a dataset table?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from melascope.classes import CLASSES
from melascope.data.archive import list_files
from melascope.errors import DataError, Problem, TableError
from melascope.tables.columns import blank_unknown, number_array, read_csv_text
from melascope.tables.lesions import LesionTable

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def read_image_folder(
    root: Path,
    *,
    labels: Path | None = None,
    image_column: str = "image_id",
    label_column: str = "dx",
    lesion_column: str = "lesion_id",
    columns: Mapping[str, str] | None = None,
    label_names: Mapping[str, str] | None = None,
) -> LesionTable:
    """Read every image under a folder; an image's id is its file name without the ending.

    Parameters
    ----------
    root : folder, searched with all its subfolders
    labels : CSV with a row an image; None leaves everything but the images unknown. An image without a row is an
        image without a known truth; a row without an image is a problem.
    image_column : column of ids or file names in `labels`; it must be there
    label_column, lesion_column : columns of the truth and of the lesion; unknown where the CSV has none
    columns : our name -> theirs for `age`, `sex`, `localization`, `dx_type`; by default the same names
    label_names : their word -> our class, e.g. `{"melanoma": "mel"}`; without it their words are ours

    Raises
    ------
    TableError : two files of one id, unknown labels, rows without an image …, all at once.
    DataError : there is no folder or no image in it.
    """
    root = Path(root)
    images, problems = _images(root)
    image_ids = np.array(sorted(images), dtype=object)
    theirs = {"lesion_id": lesion_column, "dx": label_column}
    theirs |= {name: (columns or {}).get(name, name) for name in ("dx_type", "age", "sex", "localization")}
    facts = {name: np.full(len(image_ids), "", dtype=object) for name in theirs}
    age = np.full(len(image_ids), np.nan)
    if labels is not None:
        facts, age = _labelled(Path(labels), image_ids, image_column, theirs, label_names, problems)
    if problems:
        raise TableError("The images or their labels are not usable", problems, where=root)
    facts.pop("age")
    empty = np.full(len(image_ids), "", dtype=object)
    zero = np.zeros(len(image_ids), dtype=np.int64)
    path = np.array([images[image_id] for image_id in image_ids], dtype=object)
    return LesionTable(
        root=root, source="image_folder", image_id=image_ids, **facts, age=age, path=path,
        mask_path=empty, width=zero, height=zero, sha256=empty,
    )  # fmt: skip


def _images(root: Path) -> tuple[dict[str, str], list[Problem]]:
    if not root.is_dir():
        raise DataError("The folder of images does not exist.", where=root)
    images: dict[str, str] = {}
    problems = []
    for path in list_files(root, ""):
        name = PurePosixPath(path)
        if name.suffix.lower() not in IMAGE_ENDINGS:
            continue
        if name.stem in images:
            problems.append(Problem(f"the id {name.stem} is also that of {images[name.stem]}", path))
        images.setdefault(name.stem, path)
    if not images:
        raise DataError(
            "The folder holds no image.", where=root, expected=f"files ending in {', '.join(IMAGE_ENDINGS)}"
        )
    return images, problems


def _labelled(
    labels: Path,
    image_ids: np.ndarray,
    image_column: str,
    theirs: Mapping[str, str],
    label_names: Mapping[str, str] | None,
    problems: list[Problem],
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Text facts and ages in the order of `image_ids`; what is wrong in the CSV is added to `problems`."""
    table = read_csv_text(labels)
    if image_column not in table:
        raise DataError(
            f"The labels have no column {image_column!r}.",
            where=labels,
            expected=f"one of its columns: {', '.join(table)}",
            fix="name the column of image ids with image_column",
        )
    row_of = _rows(table[image_column], set(image_ids), labels.name, image_column, problems)
    found = {name: blank_unknown(table[column]) for name, column in theirs.items() if column in table}
    if "dx" in found:
        found["dx"] = _classes(found["dx"], label_names, labels.name, theirs["dx"], problems)
    age = number_array(found["age"], theirs["age"], labels.name, problems) if "age" in found else None
    has_row = np.array([image_id in row_of for image_id in image_ids], dtype=bool)
    rows = np.array([row_of.get(image_id, 0) for image_id in image_ids], dtype=np.int64)
    facts = {}
    for name in theirs:
        values = found.get(name, np.full(len(table[image_column]), "", dtype=object))
        facts[name] = np.full(len(image_ids), "", dtype=object)
        facts[name][has_row] = values[rows[has_row]]
    ages = np.full(len(image_ids), np.nan)
    if age is not None:
        ages[has_row] = age[rows[has_row]]
    return facts, ages


def _rows(names: np.ndarray, known: set[str], file: str, column: str, problems: list[Problem]) -> dict[str, int]:
    """Image id -> index of its row; a name may be an id or a file name."""
    row_of: dict[str, int] = {}
    for row, name in enumerate(names):
        last = PurePosixPath(name.strip()).name
        image_id = last if last in known else PurePosixPath(last).stem
        if image_id not in known:
            problems.append(Problem(f"there is no image file of {name!r}", file, row + 2, column))
        elif image_id in row_of:
            problems.append(Problem(f"{image_id} stands already in row {row_of[image_id] + 2}", file, row + 2, column))
        row_of.setdefault(image_id, row)
    return row_of


def _classes(
    values: np.ndarray, label_names: Mapping[str, str] | None, file: str, column: str, problems: list[Problem]
) -> np.ndarray:
    names = label_names or {}
    dx = np.array([names.get(value, value) for value in values], dtype=object)
    problems += [
        Problem(f"unknown label {value!r}; known are {', '.join((*names, *CLASSES))}", file, row + 2, column)
        for row, (value, name) in enumerate(zip(values, dx, strict=True))
        if name != "" and name not in CLASSES
    ]
    return dx

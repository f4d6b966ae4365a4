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
OTHER_COLUMNS = ("dx_type", "age", "sex", "localization")
TEXT_COLUMNS = ("lesion_id", "dx", "dx_type", "sex", "localization")


def read_image_folder(
    root: Path,
    *,
    labels: Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    lesion_column: str | None = None,
    columns: Mapping[str, str] | None = None,
    label_names: Mapping[str, str] | None = None,
) -> LesionTable:
    """Read every image under a folder; an image's id is its file name without the ending.

    Parameters
    ----------
    root : folder, searched with all its subfolders
    labels : CSV with a row an image; None leaves everything but the images unknown. An image without a row is an
        image without a known truth; a row without an image is a problem.
    image_column : column of ids or file names; None for `image_id`. It must be there.
    label_column, lesion_column : columns of the truth and the lesion; None for `dx` and `lesion_id`, if there
    columns : our name -> theirs, for any of `OTHER_COLUMNS`; those not named are read under our names, if there
    label_names : their word -> our class, e.g. `{"melanoma": "mel"}`; words not named are ours

    Raises
    ------
    TableError : two files of one id, unknown labels, rows without an image …, all at once.
    DataError : there is no folder, no image in it, or no column of a name that was given.
    """
    root = Path(root)
    asked = {"image_id": image_column, "dx": label_column, "lesion_id": lesion_column, **(columns or {})}
    asked = {name: column for name, column in asked.items() if column is not None}
    _check_names(asked, label_names, labels)
    images, problems = _images(root)
    image_ids = np.array(sorted(images), dtype=object)
    facts, age = _unknown(len(image_ids)), np.full(len(image_ids), np.nan)
    if labels is not None:
        facts, age = _labelled(Path(labels), image_ids, asked, label_names or {}, problems)
    if problems:
        raise TableError("The images or their labels are not usable", problems, where=root)
    zero = np.zeros(len(image_ids), dtype=np.int64)
    return LesionTable(
        root=root,
        source="image_folder",
        image_id=image_ids,
        **facts,
        age=age,
        path=np.array([images[image_id] for image_id in image_ids], dtype=object),
        mask_path=_blank(len(image_ids)),
        width=zero,
        height=zero,
        sha256=_blank(len(image_ids)),
    )


def _check_names(asked: Mapping[str, str], label_names: Mapping[str, str] | None, labels: Path | None) -> None:
    """Refuse a name that would be ignored."""
    if labels is None and (asked or label_names):
        raise DataError(
            f"Names were given for {', '.join([*asked, *(label_names or {})])}, but without a CSV of labels.",
            where="labels",
            fix="give the CSV, or leave the names out",
        )
    unknown = sorted(set(asked) - {"image_id", *TEXT_COLUMNS, "age"})
    if unknown:
        raise DataError(f"There is no column {unknown[0]!r} in our table.", expected=", ".join(OTHER_COLUMNS))


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
    asked: Mapping[str, str],
    label_names: Mapping[str, str],
    problems: list[Problem],
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Text facts and ages in the order of `image_ids`; what is wrong in the CSV is added to `problems`."""
    table = read_csv_text(labels)
    for column in (asked.get("image_id", "image_id"), *asked.values()):
        if column not in table:
            raise DataError(
                f"The labels have no column {column!r}.", where=labels, expected=f"one of: {', '.join(table)}"
            )
    theirs = {name: asked.get(name, name) for name in ("image_id", *TEXT_COLUMNS, "age")}
    rows_of_file = len(table[theirs["image_id"]])
    row_of = _rows(table[theirs["image_id"]], set(image_ids), labels.name, theirs["image_id"], problems)
    known = np.array([image_id in row_of for image_id in image_ids], dtype=bool)
    rows = np.array([row_of[image_id] for image_id in image_ids[known]], dtype=np.int64)
    facts = _unknown(len(image_ids))
    for name in facts:
        values = blank_unknown(table.get(theirs[name], _blank(rows_of_file)))
        if name == "dx":
            values = _classes(values, label_names, labels.name, theirs[name], problems)
        facts[name][known] = values[rows]
    ages = number_array(table.get(theirs["age"], _blank(rows_of_file)), theirs["age"], labels.name, problems)
    age = np.full(len(image_ids), np.nan)
    age[known] = ages[rows]
    return facts, age


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
    values: np.ndarray, label_names: Mapping[str, str], file: str, column: str, problems: list[Problem]
) -> np.ndarray:
    dx = np.array([label_names.get(value, value) for value in values], dtype=object)
    problems += [
        Problem(f"unknown label {value!r}; known are {', '.join((*label_names, *CLASSES))}", file, row + 2, column)
        for row, (value, name) in enumerate(zip(values, dx, strict=True))
        if name != "" and name not in CLASSES
    ]
    return dx


def _unknown(n_images: int) -> dict[str, np.ndarray]:
    return {name: _blank(n_images) for name in TEXT_COLUMNS}


def _blank(n_rows: int) -> np.ndarray:
    return np.full(n_rows, "", dtype=object)

"""How do loose images, with or without a CSV of labels, become a dataset table?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from melascope.data.archive import list_files
from melascope.errors import DataError, Problem, TableError
from melascope.tables.columns import blank_unknown, delimiter_of, number_array, read_csv_text
from melascope.tables.foreign import check_column_map, check_word_map, our_classes
from melascope.tables.lesions import LesionTable

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
TEXT_COLUMNS = ("lesion_id", "dx", "dx_type", "sex", "localization", "dataset")
COLUMNS = ("image_id", *TEXT_COLUMNS, "age")


@dataclass(frozen=True)
class Labels:
    """The truth of loose images: a CSV of anybody's, and what its columns and words mean.

    Parameters
    ----------
    file : CSV with a row an image. An image without a row has no known truth; a row without an image is a problem.
    columns : our name -> theirs, e.g. `{"image_id": "file", "dx": "diagnosis"}`; a column that is not named is read
        under our name, if it is there. `image_id` holds ids or file names.
    words : their word -> our class, or `unknown` for images that no figure shall count, e.g. `{"melanoma": "mel"}`;
        words that are not named are ours.
    """

    file: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_column_map(self.columns, COLUMNS)
        check_word_map(self.words)

    def as_json(self) -> dict[str, Any]:
        """What a run keeps, so that its training can go on."""
        return {"file": str(self.file.absolute()), "columns": dict(self.columns), "words": dict(self.words)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Labels:
        return cls(Path(content["file"]), content["columns"], content["words"])


def read_image_folder(root: Path, labels: Labels | None = None) -> LesionTable:
    """Read every image under a folder; an image's id is its file name without the ending.

    Parameters
    ----------
    root : folder, searched with all its subfolders
    labels : truth of the images; None leaves everything but the images unknown

    Raises
    ------
    TableError : two files of one id, unknown labels, rows without an image …, all at once.
    DataError : there is no folder, no image in it, or no column of a name that was given.
    """
    root = Path(root)
    images, problems = _images(root)
    image_ids = np.array(sorted(images), dtype=object)
    facts, age = _unknown(len(image_ids)), np.full(len(image_ids), np.nan)
    if labels is not None:
        facts, age = _labelled(labels, image_ids, problems)
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
    labels: Labels, image_ids: np.ndarray, problems: list[Problem]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Text facts and ages in the order of `image_ids`; what is wrong in the CSV is added to `problems`."""
    table, file = read_csv_text(labels.file, delimiter_of(labels.file)), labels.file.name
    theirs = {name: labels.columns.get(name, name) for name in COLUMNS}
    for column in (theirs["image_id"], *labels.columns.values()):
        if column not in table:
            raise DataError(
                f"The labels have no column {column!r}.", where=labels.file, expected=f"one of: {', '.join(table)}"
            )
    rows_of_file = len(table[theirs["image_id"]])
    row_of = _rows(table[theirs["image_id"]], set(image_ids), file, theirs["image_id"], problems)
    known = np.array([image_id in row_of for image_id in image_ids], dtype=bool)
    rows = np.array([row_of[image_id] for image_id in image_ids[known]], dtype=np.int64)
    facts = _unknown(len(image_ids))
    for name in facts:
        values = blank_unknown(table.get(theirs[name], _blank(rows_of_file)))
        if name == "dx":
            values = our_classes(values, labels.words, file, theirs[name], problems)
        facts[name][known] = values[rows]
    ages = number_array(table.get(theirs["age"], _blank(rows_of_file)), theirs["age"], file, problems)
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


def _unknown(n_images: int) -> dict[str, np.ndarray]:
    return {name: _blank(n_images) for name in TEXT_COLUMNS}


def _blank(n_rows: int) -> np.ndarray:
    return np.full(n_rows, "", dtype=object)

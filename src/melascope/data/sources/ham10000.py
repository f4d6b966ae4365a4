"""What lies in a HAM10000 release, zipped or unpacked, as Harvard Dataverse, Kaggle or the phantom lay it out?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from melascope.classes import CLASSES
from melascope.data.archive import list_files
from melascope.errors import DataError, Problem, TableError
from melascope.tables.columns import blank_unknown, delimiter_of, number_array, read_csv_text
from melascope.tables.lesions import LesionTable

METADATA_NAMES = ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata")
"""CSV; the Dataverse's tab-separated form; the name under which a browser saves either."""
IMAGE_PLACE = re.compile(r"(ham10000_)?images(_part_\d+)?(\.zip)?", re.IGNORECASE)
MASK_PLACE = re.compile(r"(ham10000_)?segmentations(_lesion_tschandl)?(\.zip)?", re.IGNORECASE)
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")
MASK_ENDING = "_segmentation.png"
REQUIRED = ("lesion_id", "image_id", "dx")
OPTIONAL = ("dx_type", "age", "sex", "localization", "dataset")
PHANTOM_MARKER = "PHANTOM.json"
"""Stands in a phantom's folder, so that nobody takes it for real images."""


def read_ham10000(root: Path) -> LesionTable:
    """Read the dataset table of a HAM10000 release (Tschandl et al. 2018); no pixel is decoded.

    Parameters
    ----------
    root : folder with `HAM10000_metadata.csv` (or `.tab`), the image zips or folders, and masks if there are any.

    Raises
    ------
    TableError : unknown dx, duplicate ids, rows without an image …, all at once.
    DataError : there is no release here, or it is a phantom.
    """
    if is_phantom(root):
        raise DataError(
            "This is a phantom, not HAM10000.",
            where=Path(root) / PHANTOM_MARKER,
            expected="a release of real images",
            fix="use --source phantom, or give another folder",
        )
    return _read_release(root, "ham10000")


def read_phantom(root: Path) -> LesionTable:
    """Read a phantom: the same layout as `read_ham10000`, but marked, so that its results are never taken for real."""
    if not is_phantom(root):
        raise DataError(
            f"This is not a phantom: it has no {PHANTOM_MARKER}.",
            where=root,
            expected="a folder written by `melascope data phantom`",
            fix=f"melascope data phantom --out {root}",
        )
    return _read_release(root, "phantom")


def is_phantom(root: Path) -> bool:
    """True where the generator's marker stands."""
    return (Path(root) / PHANTOM_MARKER).is_file()


def find_metadata(root: Path) -> Path | None:
    """The release's metadata file, or None."""
    return next((Path(root) / name for name in METADATA_NAMES if (Path(root) / name).is_file()), None)


def _read_release(root: Path, source: str) -> LesionTable:
    root = Path(root)
    metadata = find_metadata(root)
    if metadata is None:
        raise missing_metadata(root)
    columns = read_csv_text(metadata, delimiter_of(metadata))  # the Dataverse's form has tabs, whatever it is called
    lacking = [Problem("the column is missing", metadata.name, 1, name) for name in REQUIRED if name not in columns]
    if lacking:
        raise TableError("The metadata is not usable", lacking, where=metadata)
    images = image_files(root)
    if not images:
        raise DataError(
            "There are no images beside the metadata.",
            where=root,
            expected="HAM10000_images_part_1 and …_part_2, or images: folders or .zip files",
            fix=f"put them there, or: melascope data fetch ham10000 --out {root}",
        )
    masks = mask_files(root)
    table, problems = _table(root, source, metadata.name, columns, images, masks)
    if problems:
        raise TableError(
            "The release is not usable",
            problems,
            where=root,
            fix="mend the rows, or get the release anew: melascope data fetch ham10000 --out NEW_FOLDER",
        )
    return table


def _table(
    root: Path, source: str, file: str, columns: dict[str, np.ndarray], images: dict[str, str], masks: dict[str, str]
) -> tuple[LesionTable, list[Problem]]:
    n_rows = len(columns["image_id"])
    empty = np.full(n_rows, "", dtype=object)
    text = {name: blank_unknown(columns.get(name, empty)) for name in (*REQUIRED, *OPTIONAL) if name != "age"}
    problems = _row_problems(text, images, file)
    age = number_array(columns.get("age", empty), "age", file, problems)
    table = LesionTable(
        root=root,
        source=source,
        **text,
        age=age,
        path=_looked_up(text["image_id"], images),
        mask_path=_looked_up(text["image_id"], masks),
        width=np.zeros(n_rows, dtype=np.int64),
        height=np.zeros(n_rows, dtype=np.int64),
        sha256=empty,
    )
    return table, problems


def _row_problems(text: dict[str, np.ndarray], images: dict[str, str], file: str) -> list[Problem]:
    problems = [] if len(text["image_id"]) else [Problem("the table has no rows", file)]
    first_row: dict[str, int] = {}
    for row, (image_id, lesion_id, dx) in enumerate(
        zip(text["image_id"], text["lesion_id"], text["dx"], strict=True), start=2
    ):
        if image_id == "":
            problems.append(Problem("the image id is empty", file, row, "image_id"))
        elif image_id in first_row:
            problems.append(Problem(f"{image_id} stands already in row {first_row[image_id]}", file, row, "image_id"))
        elif image_id not in images:
            problems.append(Problem(f"there is no image file of {image_id}", file, row, "image_id"))
        first_row.setdefault(image_id, row)
        if lesion_id == "":
            problems.append(Problem("the lesion id is empty", file, row, "lesion_id"))
        if dx not in CLASSES:
            problems.append(Problem(f"unknown dx {dx!r}; known are {', '.join(CLASSES)}", file, row, "dx"))
    return problems


def image_files(root: Path) -> dict[str, str]:
    """Image id -> path below `root`, of every image file of the release; an unpacked folder goes before a zip."""
    found: dict[str, str] = {}
    for path in _files_in(root, IMAGE_PLACE):
        name = PurePosixPath(path)
        if name.suffix.lower() in IMAGE_ENDINGS:
            found.setdefault(name.stem, path)
    return found


def mask_files(root: Path) -> dict[str, str]:
    """Image id -> path below `root` of its lesion mask, for all masks of the release; a folder goes before a zip."""
    found: dict[str, str] = {}
    for path in _files_in(root, MASK_PLACE):
        if path.endswith(MASK_ENDING):
            found.setdefault(PurePosixPath(path).name.removesuffix(MASK_ENDING), path)
    return found


def _files_in(root: Path, place: re.Pattern[str]) -> Iterable[str]:
    names = sorted(path.name for path in Path(root).iterdir() if place.fullmatch(path.name))
    for name in sorted(names, key=lambda name: name.lower().endswith(".zip")):
        yield from list_files(root, name)


def _looked_up(image_ids: np.ndarray, paths: dict[str, str]) -> np.ndarray:
    array = np.empty(len(image_ids), dtype=object)
    array[:] = [paths.get(image_id, "") for image_id in image_ids]
    return array


def missing_metadata(root: Path) -> DataError:
    """The error for a folder in which nothing says what the images are."""
    return DataError(
        "There is no metadata file in the data folder." if Path(root).is_dir() else "The data folder does not exist.",
        where=root,
        expected=f"{' or '.join(METADATA_NAMES)}, beside HAM10000_images_part_1.zip and …_part_2.zip (or folders)",
        fix=f"melascope data fetch ham10000 --out {root}   (the real images, 2.8 GB)\n"
        f"        or: melascope data phantom --out {root}   (synthetic ones, a minute)\n"
        "        or: --source image_folder   (loose images of your own)",
    )

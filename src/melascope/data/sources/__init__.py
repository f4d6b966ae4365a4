"""Which kinds of data set can be read? A row each; a new one is a function and a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from melascope.data.sources.ham10000 import (
    find_metadata,
    is_phantom,
    missing_metadata,
    read_ham10000,
    read_phantom,
)
from melascope.data.sources.image_folder import Labels, read_image_folder
from melascope.data.sources.isic import find_ground_truth, isic_left_out, isic_notes, read_isic
from melascope.errors import DataError
from melascope.tables.lesions import LesionTable

SOURCES: dict[str, Callable[[Path], LesionTable]] = {
    "ham10000": read_ham10000,
    "image_folder": read_image_folder,
    "isic": read_isic,
    "phantom": read_phantom,
}

NOTES: dict[str, Callable[[LesionTable], Iterator[str]]] = {"isic": isic_notes}
"""What a reader of figures on a source must know; a source whose classes and words are ours needs no row."""


LEFT_OUT: dict[str, Callable[[LesionTable], dict[str, int]]] = {"isic": isic_left_out}
"""Which words for the truth of a source are none of our classes, and how many rows they have."""


def source_left_out(table: LesionTable) -> dict[str, int]:
    """Word of the source for the truth -> rows of the table that no figure counts because the model lacks the class."""
    return LEFT_OUT[table.source](table) if table.source in LEFT_OUT else {}


def source_notes(table: LesionTable) -> tuple[str, ...]:
    """What the source of a dataset table did with classes, lesions and columns that are not ours."""
    return tuple(NOTES[table.source](table)) if table.source in NOTES else ()


def read_dataset(root: Path, source: str | None = None, labels: Labels | None = None) -> LesionTable:
    """Read the dataset table of a folder.

    Parameters
    ----------
    root : the data set's folder
    source : a row of `SOURCES`; None recognises a phantom, a HAM10000 release or an ISIC collection by its files
        (see `recognised`), and loose images by their `labels`.
    labels : the truth of loose images; every other source has its own.

    Raises
    ------
    DataError : the source is unknown, or nothing in the folder tells what it is; names what was looked for.
    """
    if labels is not None:
        if source not in (None, "image_folder"):
            raise DataError(
                f"The source {source!r} brings its own truth.",
                where="--labels",
                expected="labels only for loose images",
                fix="leave --labels out, or use --source image_folder",
            )
        return read_image_folder(Path(root), labels)
    if source is None:
        source = recognised(root)
    if source is None:
        raise _unrecognised(root)
    if source not in SOURCES:
        raise DataError(f"There is no source {source!r}.", where="--source", expected=" or ".join(SOURCES))
    return SOURCES[source](Path(root))


def recognised(root: Path) -> str | None:
    """The row of `SOURCES` that a folder's files tell; None where they tell nothing.

    HAM10000 goes before ISIC, as its release on the Dataverse brings the truth of ISIC 2018's test images along.
    """
    if is_phantom(root):
        return "phantom"
    if find_metadata(root) is not None:
        return "ham10000"
    return "isic" if find_ground_truth(root) else None


def _unrecognised(root: Path) -> DataError:
    """The error for a folder in which nothing says what the images are."""
    error = missing_metadata(root)
    return DataError(
        error.found,
        where=root,
        expected=f"{error.expected}; or ISIC's …_GroundTruth.csv, beside …_Input.zip (or folders)",
        fix=error.fix,
    )

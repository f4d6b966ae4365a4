"""Which kinds of data set can be read? A row each; a new one is a function and a row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from melascope.data.sources.ham10000 import (
    find_metadata,
    is_phantom,
    missing_metadata,
    read_ham10000,
    read_phantom,
)
from melascope.data.sources.image_folder import Labels, read_image_folder
from melascope.errors import DataError
from melascope.tables.lesions import LesionTable

SOURCES: dict[str, Callable[[Path], LesionTable]] = {
    "ham10000": read_ham10000,
    "image_folder": read_image_folder,
    "phantom": read_phantom,
}


def read_dataset(root: Path, source: str | None = None, labels: Labels | None = None) -> LesionTable:
    """Read the dataset table of a folder.

    Parameters
    ----------
    root : the data set's folder
    source : a row of `SOURCES`; None recognises a phantom or a HAM10000 release by its files, and loose images by
        their `labels`.
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
        if not is_phantom(root) and find_metadata(root) is None:
            raise missing_metadata(root)
        source = "phantom" if is_phantom(root) else "ham10000"
    if source not in SOURCES:
        raise DataError(f"There is no source {source!r}.", where="--source", expected=" or ".join(SOURCES))
    return SOURCES[source](Path(root))

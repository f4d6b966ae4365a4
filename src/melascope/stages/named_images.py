"""Which images does a command mean that is given one image, a folder, a data set, or a table of images' ids?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pyarrow import ArrowException

from melascope.data.sources.image_folder import Labels
from melascope.errors import DataError
from melascope.stages.asking import own_images
from melascope.stages.scoring import read_images
from melascope.tables.columns import csv_header, delimiter_of, read_csv_table, text_array
from melascope.tables.lesions import LesionTable
from melascope.tables.runs import RunDirectory

_TABLES = (".csv", ".parquet")


def named_images(run: RunDirectory, place: Path, labels: Labels | None = None) -> LesionTable:
    """An image, a folder of images, a data set, or the images of the run's own data that a table names.

    Parameters
    ----------
    place : a `.csv` or `.parquet` is a table with a column `image_id`, e.g. a part of `predictions.parquet`, or the
        tags that a reader exported from a gallery
    """
    place = Path(place)
    if place.suffix.lower() not in _TABLES or not place.is_file():
        return read_images(place, labels)
    ids = dict.fromkeys(_ids_in_csv(place) if place.suffix.lower() == ".csv" else _ids_in_parquet(place))
    if not ids:
        raise DataError("The table has no rows.", where=place, expected="ids of images in the column image_id")
    table = own_images(run)
    return table.subset(table.index_of(np.array(list(ids), dtype=object)))


def _ids_in_csv(path: Path) -> np.ndarray:
    delimiter = delimiter_of(path)
    _refuse_without_ids(csv_header(path, delimiter), path)
    return text_array(read_csv_table(path, delimiter, ["image_id"])["image_id"])


def _ids_in_parquet(path: Path) -> np.ndarray:
    try:
        _refuse_without_ids(pq.read_schema(path).names, path)
        return text_array(pq.read_table(path, columns=["image_id"])["image_id"])
    except (OSError, ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"The table cannot be read ({error}).", where=path) from error


def _refuse_without_ids(names: list[str], path: Path) -> None:
    if "image_id" not in names:
        raise DataError(f"The table has the columns {', '.join(names[:20])}.", where=path, expected="image_id")

"""What is known of each image of a data set: the dataset table, one row an image."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from melascope.errors import DataError
from melascope.files import atomic_path, canonical_json, sha256_bytes
from melascope.tables.columns import class_columns, known_if_optional, lesion_or_image, unknown_text, write_table


@dataclass(frozen=True)
class LesionTable:
    """One row an image; text columns are object arrays in which unknown is `""`, numbers are NaN where unknown.

    Parameters
    ----------
    root : folder that `path` and `mask_path` are relative to. A zip archive counts as a folder:
        `HAM10000_images_part_1.zip/ISIC_0024306.jpg` names a member of it.
    source : row of `melascope.data.sources.SOURCES` that read it (`ham10000`, `image_folder`, `isic`, `phantom`).
    image_id, lesion_id, dx, dx_type, sex, localization, path, mask_path, sha256 : (n_images,) object
    age : (n_images,) float64, years
    width, height : (n_images,) int64, pixels; 0 until `validate` has looked inside the file.
    dataset : (n_images,) object, the part of the collection that an image comes from (`vidir_modern`, `rosendahl` …
        in HAM10000); unknown if left out. It is no part of the fingerprint.
    """

    root: Path
    source: str
    image_id: np.ndarray
    lesion_id: np.ndarray
    dx: np.ndarray
    dx_type: np.ndarray
    age: np.ndarray
    sex: np.ndarray
    localization: np.ndarray
    path: np.ndarray
    mask_path: np.ndarray
    width: np.ndarray
    height: np.ndarray
    sha256: np.ndarray
    dataset: np.ndarray = None  # type: ignore[assignment]  # `__post_init__` fills it in

    def __post_init__(self) -> None:
        if self.dataset is None:
            object.__setattr__(self, "dataset", unknown_text(len(self)))

    def __len__(self) -> int:
        return len(self.image_id)

    @property
    def labels(self) -> np.ndarray:
        """(n_images,) int64: column of `dx` in `CLASSES`, -1 where the truth is unknown."""
        return class_columns(self.dx)

    @property
    def lesion_key(self) -> np.ndarray:
        """(n_images,) object: `lesion_id`, or the image's own id where no lesion is known."""
        return lesion_or_image(self.lesion_id, self.image_id)

    def subset(self, keep: np.ndarray) -> LesionTable:
        """The rows that `keep` (boolean mask or indices) selects."""
        return replace(self, **{name: getattr(self, name)[keep] for name in self.columns()})

    def index_of(self, image_ids: np.ndarray) -> np.ndarray:
        """(len(image_ids),) int64: row of each id; an id that is absent raises `DataError`."""
        rows = {image_id: row for row, image_id in enumerate(self.image_id)}
        missing = [image_id for image_id in image_ids if image_id not in rows]
        if missing:
            raise DataError(
                f"{len(missing)} image ids are not in the data set, for example {', '.join(missing[:5])}.",
                where=self.root,
                expected="ids of the dataset table's column image_id",
            )
        return np.array([rows[image_id] for image_id in image_ids], dtype=np.int64)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over ids, lesions, labels and (where known) file hashes, in the order of ids."""
        order = np.argsort(self.image_id.astype(str), kind="stable")
        names = ("image_id", "lesion_id", "dx", "sha256")
        rows = [[str(getattr(self, name)[row]) for name in names] for row in order]
        return sha256_bytes(canonical_json(rows).encode())

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """Names of the array columns, in the order of the table on disk."""
        return tuple(field.name for field in fields(cls) if field.name not in ("root", "source"))

    def write(self, path: Path) -> Path:
        """Write the table as CSV (`.csv`) or Parquet."""
        columns = known_if_optional({name: getattr(self, name) for name in self.columns()})
        metadata = {} if Path(path).suffix == ".csv" else {"source": self.source, "fingerprint": self.fingerprint}
        with atomic_path(path) as temporary:
            write_table(temporary, columns, metadata)
        return Path(path)

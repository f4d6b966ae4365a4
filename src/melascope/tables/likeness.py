"""What does a run keep of its images, to tell whether a new picture is like them, and which is nearest?"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from melascope.classes import CLASSES
from melascope.errors import RunError
from melascope.files import canonical_json, parsed_json, write_bytes
from melascope.tables.npz import read_npz

SCHEMA_VERSION = 1
_WORDS = ("image_id", "lesion_id", "dx", "dx_type")
_NUMBERS: dict[str, str] = {
    "appearance_mean": "<f8",
    "appearance_scale": "<f8",
    "points": "<f4",
    "group": "|i1",
    "unit": "<f8",
    "strangeness": "<f8",
    "probabilities": "<f8",
    "embedding": "<f2",
    "thumbnail_end": "<i8",
    "thumbnails": "|u1",
}
_OPTIONAL: dict[str, str] = {"basis": "<f2"}
_FACTS = ("limit", "kept", "n_train", "n_train_lesions", "n_target", "n_target_refused", "rule", "checkpoint_sha256")


@dataclass(frozen=True)
class LikenessStore:
    """What training images look like, a limit chosen on validation images, and a small picture of each of those.

    Parameters
    ----------
    appearance_mean, appearance_scale : (d,) of the training images' `data.appearance`
    points : (n_points, d) float32, their appearance in standard deviations
    group, unit : (n_points,) int8 and (n_groups,): which of them are compared with together, and the distance that is
        usual there
    limit : strangeness above which a picture is unlike the training images
    kept : share of validation images that the limit was chosen to keep
    n_train, n_train_lesions : images that were fitted, and their lesions
    n_target, n_target_refused : validation images of the operating point's target, and those beyond the limit
    rule : `data.appearance.RULE` that the numbers were made by
    checkpoint_sha256 : weights that the features come from
    image_id, lesion_id, dx, dx_type : (n,) object, of the validation images
    strangeness : (n_val,) of all validation images, also of those that are not shown, ascending
    probabilities : (n, 7) calibrated
    embedding : (n, c) float16, pooled features of length 1
    thumbnails, thumbnail_end : JPEG files one after another, and where each ends; a packed run has none
    basis : (c, k) float16, orthonormal: `embedding` holds the features along these alone; (0, 0) where all are kept
    """

    appearance_mean: np.ndarray
    appearance_scale: np.ndarray
    points: np.ndarray
    group: np.ndarray
    unit: np.ndarray
    limit: float
    kept: float
    n_train: int
    n_train_lesions: int
    n_target: int
    n_target_refused: int
    rule: str
    checkpoint_sha256: str
    image_id: np.ndarray
    lesion_id: np.ndarray
    dx: np.ndarray
    dx_type: np.ndarray
    strangeness: np.ndarray
    probabilities: np.ndarray
    embedding: np.ndarray
    thumbnail_end: np.ndarray
    thumbnails: np.ndarray
    basis: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float16))

    def __len__(self) -> int:
        return len(self.image_id)

    def similarity(self, features: np.ndarray) -> np.ndarray:
        """(n,) float32: cosine of pooled features (c,) with each validation image's."""
        length = float(np.linalg.norm(features))
        asked = (features / (length or 1.0)).astype(np.float32)
        if self.basis.size:
            asked = asked @ self.basis.astype(np.float32)
        return self.embedding.astype(np.float32) @ asked

    @property
    def has_thumbnails(self) -> bool:
        return self.thumbnails.size > 0

    def thumbnail(self, row: int) -> bytes:
        """JPEG of one validation image; empty where none is kept."""
        start = int(self.thumbnail_end[row - 1]) if row else 0
        return self.thumbnails[start : int(self.thumbnail_end[row])].tobytes()

    @property
    def sha256(self) -> str:
        """SHA-256 over all facts and arrays: the name of this very test in all that was told with it."""
        digest = hashlib.sha256(canonical_json({"schema_version": SCHEMA_VERSION, **self._facts()}).encode())
        for name in self._written():
            array = self._array(name)
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _written(self) -> tuple[str, ...]:
        return (*_WORDS, *_NUMBERS, *(name for name in _OPTIONAL if getattr(self, name).size))

    def _facts(self) -> dict:
        return {name: getattr(self, name) for name in _FACTS}

    def _array(self, name: str) -> np.ndarray:
        value = getattr(self, name)
        return value.astype(str) if name in _WORDS else value.astype((_NUMBERS | _OPTIONAL)[name])

    def write(self, path: Path) -> Path:
        """Write an `.npz` file of arrays and one JSON text, whole or not at all; nothing in it is pickled."""
        facts = {"schema_version": SCHEMA_VERSION, "class_order": CLASSES, "sha256": self.sha256, **self._facts()}
        arrays = {name: self._array(name) for name in self._written()}
        stream = io.BytesIO()
        np.savez_compressed(stream, facts=np.array(json.dumps(facts, sort_keys=True)), **arrays)
        return write_bytes(path, stream.getvalue())

    @classmethod
    def read(cls, path: Path) -> LikenessStore:
        """Read what `write` wrote; a broken, foreign or changed file is a `RunError`."""
        try:
            arrays = read_npz(path, ("facts", *_WORDS, *_NUMBERS), _OPTIONAL)
            facts = parsed_json(str(arrays.pop("facts")))
            store = cls(
                **{name: facts[name] for name in _FACTS},
                **{name: array.astype(object) if name in _WORDS else array for name, array in arrays.items()},
            )
            sound = facts["schema_version"] == SCHEMA_VERSION and tuple(facts["class_order"]) == CLASSES
            sound = sound and facts["sha256"] == store.sha256
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unusable(path, str(error)) from error
        if not sound:
            raise _unusable(path, "its content is not what its digest says, or of another schema")
        return store

    @classmethod
    def read_if_of(cls, path: Path, checkpoint_sha256: str, rule: str) -> LikenessStore | None:
        """The store at `path`; None where there is none, or one of other weights or other numbers."""
        if not path.is_file():
            return None
        store = cls.read(path)
        return store if (store.checkpoint_sha256, store.rule) == (checkpoint_sha256, rule) else None


def _unusable(path: Path, why: str) -> RunError:
    return RunError(
        f"The run's likeness file cannot be used ({why}).", where=path, fix=f"delete {path.name}; it is made again"
    )


_KNOWN = {*_WORDS, *_NUMBERS, *_OPTIONAL, *_FACTS}
assert {one.name for one in fields(LikenessStore)} == _KNOWN  # nothing is left unwritten

"""How are raw, signed saliency maps kept, so that no reader can mistake their scale?"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from melascope.classes import CLASSES
from melascope.errors import RunError
from melascope.files import atomic_path, parsed_json
from melascope.tables.cell_places import UNKNOWN, CellPlaces
from melascope.tables.npz import read_npz

SCHEMA_VERSION = 1
_FACTS = ("method", "layer", "input_width", "input_height", "checkpoint_sha256")
_LATER_FACTS = ("classes", "unit", "resolution", "signed", "per_class", "precision")  # absent in files of before
REFERENCE = "float32"
_MAP_HEADER = {"descr": "<f4", "fortran_order": False}


@dataclass(frozen=True)
class MapStore:
    """Raw class maps of many images, in the method's unit, never rescaled.

    Parameters
    ----------
    image_id : (n_images,) object
    logits : (n_images, 7) float32, from the same forward pass as the maps
    maps : (n_images, len(classes), map_height, map_width) float32; positive cells raise the class's logit
    method : row of `melascope.explain.methods.METHODS`, e.g. `gradcam`
    layer : name of the layer whose activations were weighted; "input" where the method reads none
    input_width, input_height : pixels that the model saw
    checkpoint_sha256 : weights that made them
    classes : whose maps these are, in their order; all seven unless a subset was asked for
    unit : of one cell
    resolution : what one cell stands for
    signed : whether negative cells speak against the class
    per_class : whether the method knows classes at all
    precision : "float32" for numbers that are reported; anything else is for pictures only
    places : where the cells lie on the picture; not known in files of before
    """

    image_id: np.ndarray
    logits: np.ndarray
    maps: np.ndarray
    method: str
    layer: str
    input_width: int
    input_height: int
    checkpoint_sha256: str
    classes: tuple[str, ...] = CLASSES
    unit: str = "logit per cell"
    resolution: str = "the layer's cells"
    signed: bool = True
    per_class: bool = True
    precision: str = REFERENCE
    places: CellPlaces = UNKNOWN

    def __len__(self) -> int:
        return len(self.image_id)

    @property
    def logit_tolerance(self) -> float:
        """How far its logits may lie from those of a prediction by the same weights on the same pixels.

        Another batch or thread count changes the last digits; bfloat16 up to 0.09 (docs/performance.md).
        """
        return 0.01 if self.precision == REFERENCE else 0.25

    def of(self, image_id: str) -> np.ndarray:
        """(len(classes), map_height, map_width) float32 maps of one image; `KeyError` if it is not here."""
        rows = np.flatnonzero(self.image_id == image_id)
        if len(rows) == 0:
            raise KeyError(image_id)
        return self.maps[rows[0]]

    def subset(self, keep: np.ndarray) -> MapStore:
        """The images that `keep` (mask or indices) selects."""
        return replace(self, image_id=self.image_id[keep], logits=self.logits[keep], maps=self.maps[keep])

    @classmethod
    def joined(cls, stores: Sequence[MapStore]) -> MapStore:
        """One store of several that the same engine made."""
        arrays = {
            name: np.concatenate([getattr(one, name) for one in stores]) for name in ("image_id", "logits", "maps")
        }
        return replace(stores[0], **arrays)

    def write(self, path: Path) -> Path:
        """Write an `.npz` file that holds arrays and one JSON text; nothing in it is pickled."""
        return write_map_batches(path, [self], len(self))

    @classmethod
    def read(cls, path: Path) -> MapStore:
        """Read what `write` wrote; a broken or foreign file is a `RunError`."""
        try:
            arrays = read_npz(path, ("facts", "image_id", "logits", "maps"))
            facts = parsed_json(str(arrays.pop("facts")))
        except ValueError as error:
            raise RunError(
                f"The map file cannot be read ({error}).", where=path, fix="make it again with `melascope explain`"
            ) from error
        shape = (len(arrays["image_id"]), len(CLASSES))
        classes = tuple(facts.get("classes", CLASSES)) if isinstance(facts, dict) else ()
        of_maps = (shape[0], len(classes))
        if not classes or arrays["logits"].shape != shape or arrays["maps"].shape[:2] != of_maps:
            raise RunError(
                "The map file has not one stack of maps an image.",
                where=path,
                expected=f"logits of {shape[0]} images × {shape[1]} classes, and a map of each class that it names",
                fix="make it again with `melascope explain`",
            )
        lacking = [name for name in _FACTS if name not in facts]
        if lacking or facts.get("class_order") != list(CLASSES) or facts.get("schema_version") != SCHEMA_VERSION:
            raise RunError(
                f"The map file has class order {facts.get('class_order')}, schema {facts.get('schema_version')}.",
                where=path,
                expected=f"{list(CLASSES)}, schema {SCHEMA_VERSION}, and {', '.join(_FACTS)}",
                fix="make it again with `melascope explain`",
            )
        try:
            places = CellPlaces.from_json(facts.get("cells"))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"The map file does not say in a known form where its cells lie ({error}).",
                where=path,
                expected="offset_y_x and pitch_y_x, two numbers each, and source",
                fix="make it again with `melascope explain`",
            ) from error
        return cls(
            image_id=arrays["image_id"].astype(object),
            logits=arrays["logits"],
            maps=arrays["maps"],
            **{name: facts[name] for name in _FACTS},
            **{name: facts[name] for name in _LATER_FACTS if name in facts} | {"classes": classes, "places": places},
        )


def write_map_batches(path: Path, batches: Iterable[MapStore], n_images: int) -> Path:
    """Write one map file from batches that the same engine made, each let go when the next one comes.

    Parameters
    ----------
    path : the `.npz` file; it appears when all is written, whole, or not at all
    batches : at least one
    n_images : in all batches together

    Raises
    ------
    ValueError : batches of different maps, or another number of images than was told.
    """
    ids, logits, kinds = [], [], []
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("maps.npy", "w", force_zip64=True) as member:
            for batch in batches:
                kinds.append(
                    (*batch.maps.shape[1:], *(getattr(batch, name) for name in (*_FACTS, *_LATER_FACTS, "places")))
                )
                if kinds[0] != kinds[-1]:
                    raise ValueError(f"a batch of other maps: first {kinds[0]}, now {kinds[-1]}")
                if len(kinds) == 1:
                    shape = (n_images, *batch.maps.shape[1:])
                    facts = _facts_text(batch)
                    np.lib.format.write_array_header_1_0(member, {**_MAP_HEADER, "shape": shape})
                member.write(batch.maps.astype(_MAP_HEADER["descr"]).tobytes())
                ids.extend(batch.image_id)
                logits.append(batch.logits)
        if len(ids) != n_images:
            raise ValueError(f"maps of {len(ids)} images came, {n_images} were told")
        small = {"image_id": np.array(ids).astype(str), "logits": np.concatenate(logits).astype(np.float32)}
        for name, array in {**small, "facts": np.array(facts)}.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return Path(path)


def _facts_text(store: MapStore) -> str:
    """What the maps are of and on which scale they stand, as the file says it."""
    facts = {
        "schema_version": SCHEMA_VERSION,
        "class_order": list(CLASSES),
        **{name: getattr(store, name) for name in (*_FACTS, *_LATER_FACTS)},
        "cells": store.places.as_json(),
        "scale": f"{'signed' if store.signed else 'without evidence against'}, {store.unit}, not rescaled",
    }
    return json.dumps(facts, sort_keys=True)

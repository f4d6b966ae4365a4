"""Are raw maps kept to the last bit, and is any other file refused?"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from melascope.classes import CLASSES
from melascope.errors import RunError
from melascope.tables.cell_places import RECEPTIVE_FIELD, UNKNOWN, CellPlaces
from melascope.tables.maps import MapStore


def store(n_images: int = 3) -> MapStore:
    rng = np.random.default_rng(1)
    return MapStore(
        image_id=np.array([f"I{i}" for i in range(n_images)], dtype=object),
        logits=rng.normal(size=(n_images, 7)).astype(np.float32),
        maps=rng.normal(size=(n_images, 7, 2, 3)).astype(np.float32),
        method="gradcam",
        layer="head",
        input_width=96,
        input_height=64,
        checkpoint_sha256="ab",
    )


def test_what_is_written_is_read_back_exactly(tmp_path):
    one = store()
    again = MapStore.read(one.write(tmp_path / "maps.npz"))
    assert again.image_id.tolist() == one.image_id.tolist() and again.image_id.dtype == object
    assert np.array_equal(again.maps, one.maps) and np.array_equal(again.logits, one.logits)
    for name in ("method", "layer", "input_width", "input_height", "checkpoint_sha256"):
        assert getattr(again, name) == getattr(one, name)


def test_a_subset_of_the_classes_and_what_the_maps_mean_are_kept(tmp_path):
    """Logits are always of all seven classes, maps of those that are named."""
    whole = store()
    one = replace(
        whole,
        maps=whole.maps[:, [4, 5]],
        classes=("mel", "nv"),
        unit="weighted activation",
        resolution="the input's pixels",
        signed=False,
        per_class=False,
        precision="bfloat16, channels last",
        places=CellPlaces((-0.484375, 0.2), (1.0, 16 / 15), RECEPTIVE_FIELD),
    )
    path = one.write(tmp_path / "maps.npz")
    again = MapStore.read(path)
    assert np.array_equal(again.maps, one.maps) and again.logits.shape == (3, 7)
    for name in ("classes", "unit", "resolution", "signed", "per_class", "precision", "places"):
        assert getattr(again, name) == getattr(one, name)
    with np.load(path) as archive:
        assert "without evidence against, weighted activation" in str(archive["facts"])


def test_a_file_from_before_these_facts_is_grad_cam_of_all_classes(tmp_path):
    path = store().write(tmp_path / "maps.npz")
    with np.load(path) as archive:
        facts = json.loads(str(archive["facts"]))
    for name in ("classes", "unit", "resolution", "signed", "per_class", "precision", "cells"):
        del facts[name]
    again = MapStore.read(changed(path, facts=np.array(json.dumps(facts))))
    assert again.classes == CLASSES and again.unit == "logit per cell" and again.precision == "float32"
    assert again.places == UNKNOWN and "not known" in again.places.source


@pytest.mark.parametrize("cells", [{}, 3, {"offset_y_x": [0], "pitch_y_x": [1, 1], "source": ""}])
def test_places_of_cells_in_no_known_form_are_refused(tmp_path, cells):
    path = store().write(tmp_path / "maps.npz")
    with np.load(path) as archive:
        facts = json.loads(str(archive["facts"])) | {"cells": cells}
    with pytest.raises(RunError, match="where its cells lie"):
        MapStore.read(changed(path, facts=np.array(json.dumps(facts))))


def test_finds_selects_and_joins():
    one = store()
    assert np.array_equal(one.of("I1"), one.maps[1])
    with pytest.raises(KeyError):
        one.of("I9")
    some = one.subset(np.array([2, 0]))
    assert some.image_id.tolist() == ["I2", "I0"] and np.array_equal(some.maps, one.maps[[2, 0]])
    joined = MapStore.joined([one.subset(np.array([0])), one.subset(np.array([1, 2]))])
    assert len(joined) == 3 and np.array_equal(joined.maps, one.maps) and joined.method == "gradcam"


class Bomb:
    def __reduce__(self):
        raise AssertionError("unpickled")


def changed(path, **changes):
    """The file with some arrays replaced, or taken out where None."""
    with np.load(path) as archive:
        arrays = dict(archive) | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


FACTS = {"schema_version": 1, "class_order": ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]}
FOREIGN = {
    "another schema": {"facts": np.array(json.dumps(FACTS | {"schema_version": 2}))},
    "another class order": {"facts": np.array(json.dumps(FACTS | {"class_order": ["mel"]}))},
    "facts that are no JSON": {"facts": np.array("{")},
    "facts that lack the method": {"facts": np.array(json.dumps(FACTS))},
    "facts that are a list": {"facts": np.array("[]")},
    "no maps": {"maps": None},
    "pickled ids": {"image_id": np.array([{"a": 1}, 2, 3], dtype=object)},
    "maps of other images": {"maps": np.zeros((2, 7, 2, 3), np.float32)},
    "fewer maps than classes named": {"facts": np.array(json.dumps(FACTS | {"classes": ["mel", "nv"]}))},
    "maps of other classes": {"maps": np.zeros((3, 5, 2, 3), np.float32)},
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_foreign_file_is_refused_with_its_path(tmp_path, what):
    path = changed(store().write(tmp_path / "maps.npz"), **FOREIGN[what])
    with pytest.raises(RunError, match="map file") as caught:
        MapStore.read(path)
    assert caught.value.where == path


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"\x80\x04N."])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "maps.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match="cannot be read"):
        MapStore.read(path)

"""Is a map file that was written a batch at a time the same as one written at once, and whole or absent?"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from melascope.tables.cell_places import CellPlaces
from melascope.tables.maps import MapStore, write_map_batches


def maps_of(n_images: int, *, first: int = 0, cells: int = 4) -> MapStore:
    rng = np.random.default_rng(first)
    return MapStore(
        image_id=np.array([f"image {first + index}" * (1 + index) for index in range(n_images)], dtype=object),
        logits=rng.normal(size=(n_images, 7)).astype(np.float32),
        maps=rng.normal(size=(n_images, 7, cells, cells + 1)).astype(np.float32),
        method="gradcam",
        layer="bn2",
        input_width=80,
        input_height=64,
        checkpoint_sha256="ab" * 32,
    )


@pytest.mark.parametrize("sizes", [(7,), (3, 3, 1), (1,) * 7])
def test_batches_of_any_size_give_the_same_bytes_and_numpy_reads_them(tmp_path, sizes):
    whole = maps_of(7)
    starts = np.cumsum((0, *sizes))
    batches = (whole.subset(np.arange(*pair)) for pair in pairwise(starts))
    path = write_map_batches(tmp_path / "maps.npz", batches, 7)
    assert path.read_bytes() == whole.write(tmp_path / "whole.npz").read_bytes()
    again = MapStore.read(path)
    np.testing.assert_array_equal(again.maps, whole.maps)
    np.testing.assert_array_equal(again.logits, whole.logits)
    assert list(again.image_id) == list(whole.image_id)
    assert (again.method, again.layer, again.checkpoint_sha256) == ("gradcam", "bn2", "ab" * 32)
    with np.load(path, allow_pickle=False) as archive:
        assert archive["maps"].dtype == np.float32


def test_memory_is_bounded_by_the_batches_and_not_by_the_file(tmp_path):
    def batches() -> Iterator[MapStore]:
        for index in range(16):
            yield maps_of(8, first=8 * index, cells=24)

    batch_bytes = maps_of(8, cells=24).maps.nbytes
    tracemalloc.start()
    try:
        path = write_map_batches(tmp_path / "maps.npz", batches(), 128)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * batch_bytes  # drawing a batch takes three of its size, writing it two
    assert MapStore.read(path).maps.nbytes == 16 * batch_bytes


@pytest.mark.parametrize(
    ("batches", "n_images", "says"),
    [
        ([maps_of(2), maps_of(2, cells=5)], 4, "other maps"),
        ([maps_of(2), replace(maps_of(2), checkpoint_sha256="cd")], 4, "other maps"),
        ([maps_of(2), replace(maps_of(2), places=CellPlaces((0.5, 0.0)))], 4, "other maps"),
        ([maps_of(2), replace(maps_of(2), precision="bfloat16, channels last")], 4, "other maps"),
        ([maps_of(2), maps_of(2)], 5, "4 images came, 5"),
        ([maps_of(2), maps_of(2)], 3, "4 images came, 3"),
        ([], 1, "0 images came, 1"),
    ],
    ids=["another size", "other weights", "other places", "another precision", "too few", "too many", "none"],
)
def test_batches_that_do_not_make_one_file_leave_none(tmp_path, batches, n_images, says):
    with pytest.raises(ValueError, match=says):
        write_map_batches(tmp_path / "maps.npz", batches, n_images)
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_stays_when_the_new_one_is_not_finished(tmp_path):
    old = maps_of(3).write(tmp_path / "maps.npz").read_bytes()

    def interrupted() -> Iterator[MapStore]:
        yield maps_of(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_map_batches(tmp_path / "maps.npz", interrupted(), 4)
    assert [path.name for path in tmp_path.iterdir()] == ["maps.npz"]
    assert (tmp_path / "maps.npz").read_bytes() == old

"""Are the kept pixels those of the one resize rule, resumed after a kill, and never those of other images?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_release import encoded, picture

from melascope.data import pixels
from melascope.data.archive import read_member
from melascope.data.decode import decode_image
from melascope.data.pixels import PixelStore, resize_image, resize_mask
from melascope.data.sources import read_dataset
from melascope.data.validate import validate
from melascope.errors import DataError, ImageError, OutputError


def triangle_resize(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """Antialiased bilinear by its definition: a triangle filter as wide as the shrinkage, rows then columns."""

    def weights(n_in: int, n_out: int) -> np.ndarray:
        scale = n_in / n_out
        support = max(scale, 1.0)
        centre = (np.arange(n_out) + 0.5) * scale
        distance = np.abs((np.arange(n_in) + 0.5)[None] - centre[:, None]) / support
        triangle = np.clip(1 - distance, 0, None)
        return triangle / triangle.sum(axis=1, keepdims=True)

    rows = weights(rgb.shape[0], height)
    columns = weights(rgb.shape[1], width)
    return np.einsum("yr,xc,rck->yxk", rows, columns, rgb.astype(float))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.tuples(*[st.integers(1, 40)] * 4))
def test_resizing_is_antialiased_bilinear_by_its_definition(seed, sizes):
    width_in, height_in, width, height = sizes
    rgb = picture(seed, width_in, height_in)
    resized = resize_image(rgb, width, height)
    assert resized.shape == (height, width, 3) and resized.dtype == np.uint8
    assert np.abs(resized - triangle_resize(rgb, width, height)).max() <= 1.01  # two roundings to whole levels


def test_the_same_size_is_left_as_it_is():
    rgb = picture(1)
    assert resize_image(rgb, 20, 15) is rgb


def expected(table, width: int = 16, height: int = 12) -> np.ndarray:
    images = [decode_image(read_member(table.root, path), name=path) for path in table.path]
    return np.stack([resize_image(image, width, height) for image in images])


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_holds_the_resized_pixels_in_the_order_of_the_table(release, tmp_path, zipped, workers):
    table = read_dataset(release(zipped=zipped))
    seen = []
    store = PixelStore.build(table, 16, 12, tmp_path / "store", workers=workers, progress=lambda *n: seen.append(n))
    assert np.array_equal(store.pixels, expected(table)) and store.image_id is table.image_id
    assert isinstance(store.pixels, np.memmap) and not store.pixels.flags.writeable
    assert seen == [(done, 8) for done in range(1, 9)]
    assert np.array_equal(np.load(store.path), store.pixels)
    card = json.loads(store.path.with_suffix(".json").read_text())
    assert card["dataset_fingerprint"] == table.fingerprint and card["n_images"] == 8 and card["source"] == "ham10000"
    store.verify()
    assert sorted(path.suffix for path in (tmp_path / "store").iterdir()) == [".json", ".npy"]


def test_a_finished_store_is_opened_without_decoding(release, tmp_path, monkeypatch):
    table = read_dataset(release())
    first = PixelStore.build(table, 16, 12, tmp_path)
    monkeypatch.setattr(pixels, "decode_image", None)
    assert np.array_equal(PixelStore.build(table, 16, 12, tmp_path).pixels, first.pixels)


@pytest.mark.parametrize("rest", [0, 7])
def test_an_interrupted_build_goes_on_where_it_was(release, tmp_path, monkeypatch, rest):
    table = read_dataset(release())

    def interrupt(done: int, _total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PixelStore.build(table, 16, 12, tmp_path, progress=interrupt)
    (part,) = tmp_path.glob("*.part")
    with open(part, "ab") as stream:
        stream.write(b"\xff" * rest)  # a row that was cut in the middle
    assert not list(tmp_path.glob("*.json"))
    decoded = []
    monkeypatch.setattr(
        pixels, "decode_image", lambda data, name: decoded.append(name) or decode_image(data, name=name)
    )
    store = PixelStore.build(table, 16, 12, tmp_path)
    assert np.array_equal(store.pixels, expected(table)) and len(decoded) == 3
    store.verify()


@pytest.mark.parametrize("length", [0, 3, 128])
def test_a_part_file_cut_in_its_header_is_begun_anew(release, tmp_path, length):
    table = read_dataset(release())
    store = PixelStore.build(table, 16, 12, tmp_path)
    whole = store.path.read_bytes()
    store.path.with_suffix(".json").unlink()
    store.path.unlink()
    store.path.with_suffix(".npy.part").write_bytes(whole[:length])
    assert np.array_equal(PixelStore.build(table, 16, 12, tmp_path).pixels, expected(table))


def test_a_killed_process_leaves_a_build_that_another_finishes(release, tmp_path):
    root = release([(f"L{i}", f"I_{i:02d}", "nv") for i in range(60)])
    script = (
        "import sys, time; from pathlib import Path; from melascope.data.sources import read_dataset;"
        "from melascope.data.pixels import PixelStore;"
        "PixelStore.build(read_dataset(Path(sys.argv[1])), 200, 150, Path(sys.argv[2]), workers=1,"
        "                 progress=lambda done, total: (print(done, flush=True), time.sleep(0.02)))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, root, tmp_path / "store"], stdout=subprocess.PIPE, text=True
    )
    while int(child.stdout.readline()) < 30:
        pass
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    table = read_dataset(root)
    seen = []
    store = PixelStore.build(table, 200, 150, tmp_path / "store", progress=lambda done, total: seen.append(done))
    assert seen[0] > 1 and len(seen) < 60
    assert np.array_equal(store.pixels, expected(table, 200, 150))


def test_two_processes_that_build_at_once_make_one_right_store(release, tmp_path):
    root = release([(f"L{i}", f"I_{i:02d}", "nv") for i in range(60)])
    script = (
        "import sys; from pathlib import Path; from melascope.data.sources import read_dataset;"
        "from melascope.data.pixels import PixelStore;"
        "PixelStore.build(read_dataset(Path(sys.argv[1])), 200, 150, Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", script, root, tmp_path / "store"]
    assert [child.wait() for child in [subprocess.Popen(command) for _ in range(3)]] == [0, 0, 0]
    table = read_dataset(root)
    store = PixelStore.build(table, 200, 150, tmp_path / "store")
    assert np.array_equal(store.pixels, expected(table, 200, 150))
    assert len(list((tmp_path / "store").iterdir())) == 2


def test_other_images_sizes_or_orders_are_other_stores(release, tmp_path):
    table = read_dataset(release())
    first = PixelStore.build(table, 16, 12, tmp_path).path
    assert PixelStore.build(table, 12, 16, tmp_path).path != first
    some = table.subset(np.array([3, 1]))
    assert np.array_equal(PixelStore.build(some, 16, 12, tmp_path).pixels, expected(some))
    assert PixelStore.build(table, 16, 12, tmp_path).path == first


@pytest.mark.parametrize("validated", [False, True])
def test_a_replaced_image_is_never_served_from_the_old_store(release, tmp_path, validated):
    root = release()
    table = validate(read_dataset(root)).usable() if validated else read_dataset(root)
    PixelStore.build(table, 16, 12, tmp_path)
    image = root / table.path[2]
    image.write_bytes(encoded(picture(99), "JPEG"))
    os.utime(image, ns=(1, time.time_ns()))
    changed = validate(read_dataset(root)).usable() if validated else read_dataset(root)
    assert np.array_equal(PixelStore.build(changed, 16, 12, tmp_path).pixels, expected(changed))


def test_an_image_that_changed_after_validation_is_refused(release, tmp_path):
    table = validate(read_dataset(release())).usable()
    (table.root / table.path[2]).write_bytes(encoded(picture(99), "JPEG"))
    with pytest.raises(ImageError, match="changed since") as caught:
        PixelStore.build(table, 16, 12, tmp_path)
    assert table.path[2] in str(caught.value.where)


def test_an_unreadable_image_is_named_and_nothing_looks_finished(release, tmp_path):
    table = read_dataset(release())
    (table.root / table.path[4]).write_bytes(b"no image")
    with pytest.raises(ImageError) as caught:
        PixelStore.build(table, 16, 12, tmp_path)
    assert table.path[4] in str(caught.value.where)
    assert not list(tmp_path.glob("*.json")) and not list(tmp_path.glob("*.npy"))


def test_damage_is_found(release, tmp_path):
    table = read_dataset(release())
    store = PixelStore.build(table, 16, 12, tmp_path)
    data = bytearray(store.path.read_bytes())
    data[-1] ^= 1
    store.path.write_bytes(data)
    with pytest.raises(DataError, match="not what their card says"):
        store.verify()
    for content in (data[:-9], data + bytes(9), b"", None):
        store.path.unlink()
        if content is not None:
            store.path.write_bytes(content)
        with pytest.raises(DataError, match="not what their card says") as caught:
            PixelStore.build(table, 16, 12, tmp_path)
        assert "delete" in caught.value.fix


def test_a_folder_that_cannot_be_written_is_told(release, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        PixelStore.build(read_dataset(release()), 16, 12, tmp_path / "file")


def test_a_full_disk_is_told_and_the_build_goes_on_later(release, tmp_path, monkeypatch):
    table = read_dataset(release())

    def full(*_):
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space") as caught:
        PixelStore.build(table, 16, 12, tmp_path, progress=full)
    assert "goes on where it stopped" in caught.value.fix
    assert np.array_equal(PixelStore.build(table, 16, 12, tmp_path).pixels, expected(table))


def test_an_empty_table_is_refused_rather_than_stored(release, tmp_path):
    table = read_dataset(release())
    none = replace(table.subset(np.zeros(8, dtype=bool)))
    with pytest.raises(DataError, match="no image"):
        PixelStore.build(none, 16, 12, tmp_path)


def test_the_real_images_decode_quickly(shared, tmp_path):
    table = read_dataset(shared / "ham10000").subset(np.arange(300))
    begin = time.perf_counter()
    PixelStore.build(table, 112, 112, tmp_path)
    assert time.perf_counter() - begin < 10  # 0.4 s on a free core; the bound only catches a slip


def test_the_file_lies_beside_its_card(release, tmp_path):
    store = PixelStore.build(read_dataset(release()), 16, 12, tmp_path / "store")
    assert store.path.parent == Path(tmp_path / "store") and store.path.name.startswith("pixels-16x12-")


def test_a_mask_is_resized_to_the_nearest_pixel():
    mask = np.array([[True, False], [False, True]])
    np.testing.assert_array_equal(resize_mask(mask, 4, 6), np.kron(mask, np.ones((3, 2), dtype=bool)))
    np.testing.assert_array_equal(resize_mask(np.kron(mask, np.ones((3, 3), dtype=bool)), 2, 2), mask)

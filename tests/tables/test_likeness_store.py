"""Does what a run keeps of its images come back whole, and is a changed or foreign file refused?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from melascope.errors import RunError
from melascope.tables.likeness import LikenessStore


def words(*text: str) -> np.ndarray:
    return np.array(text, dtype=object)


STORE = LikenessStore(
    appearance_mean=np.arange(3.0), appearance_scale=np.ones(3), points=np.eye(4, 3, dtype=np.float32),
    group=np.array([0, 0, 1, 1], np.int8), unit=np.array([1.0, 2.0]), limit=1.5, kept=0.95, n_train=4,
    n_train_lesions=3, n_target=1, n_target_refused=0, rule="r", checkpoint_sha256="c" * 64,
    image_id=words("a", "ß<b>"),
    lesion_id=words("", "L"), dx=words("mel", "nv"), dx_type=words("histo", ""), strangeness=np.array([0.1, 0.9]),
    probabilities=np.full((2, 7), 1 / 7), embedding=np.array([[1, 0], [0.6, 0.8]], np.float16),
    thumbnail_end=np.array([2, 5]), thumbnails=np.frombuffer(b"abcde", np.uint8),
)  # fmt: skip


def test_what_is_written_is_read(tmp_path):
    found = LikenessStore.read(STORE.write(tmp_path / "likeness.npz"))
    assert found.sha256 == STORE.sha256 and list(found.image_id) == ["a", "ß<b>"] and found.limit == 1.5
    assert [found.thumbnail(row) for row in (0, 1)] == [b"ab", b"cde"]
    np.testing.assert_array_equal(found.points, STORE.points)


def test_similarity_is_the_cosine():
    np.testing.assert_allclose(STORE.similarity(np.array([2.0, 0])), [1, 0.6], atol=1e-3)
    np.testing.assert_array_equal(STORE.similarity(np.zeros(2)), [0, 0])


def test_other_weights_have_none(tmp_path):
    path = STORE.write(tmp_path / "likeness.npz")
    assert (
        LikenessStore.read_if_of(path, "d" * 64, "r") is None and LikenessStore.read_if_of(path, "c" * 64, "s") is None
    )
    assert LikenessStore.read_if_of(tmp_path / "no", "c", "r") is None
    assert LikenessStore.read_if_of(path, "c" * 64, "r").limit == 1.5


def test_a_changed_limit_is_noticed(tmp_path, monkeypatch):
    path = tmp_path / "likeness.npz"
    digest = STORE.sha256
    with monkeypatch.context() as patch:
        patch.setattr(LikenessStore, "sha256", property(lambda _: digest))
        replace(STORE, limit=9.0).write(path)
    with pytest.raises(RunError, match="not what its digest says"):
        LikenessStore.read(path)


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04 broken"])
def test_a_file_that_is_none_is_refused(tmp_path, data):
    path = tmp_path / "likeness.npz"
    path.write_bytes(data)
    with pytest.raises(RunError, match="cannot be used"):
        LikenessStore.read(path)


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "likeness.npz"
    np.savez(path, facts=np.array([{"a": 1}], dtype=object))
    with pytest.raises(RunError, match="cannot be used"):
        LikenessStore.read(path)


def test_features_along_few_directions_and_no_pictures(tmp_path):
    few = np.array([[1], [0]], np.float16)
    light = replace(STORE, embedding=STORE.embedding @ few, basis=few, thumbnails=np.zeros(0, np.uint8),
                    thumbnail_end=np.zeros(2, np.int64))  # fmt: skip
    found = LikenessStore.read(light.write(tmp_path / "light.npz"))
    assert found.sha256 == light.sha256 != STORE.sha256
    assert STORE.has_thumbnails and not found.has_thumbnails and found.thumbnail(1) == b""
    np.testing.assert_allclose(found.similarity(np.array([3.0, 4.0])), [0.6, 0.36], atol=1e-3)

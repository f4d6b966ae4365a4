"""Are the arrays of an archive those that were written, and anything else a reason?"""

from __future__ import annotations

import numpy as np
import pytest

from melascope.tables.npz import read_npz


def test_arrays_come_back_as_numpy_wrote_them(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(["x", "yz"]), "c": np.asfortranarray(np.eye(3))}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **arrays)
        found = read_npz(tmp_path / "x.npz", ("a", "b"), ("c", "d"))
        assert set(found) == {"a", "b", "c"}
        assert all(np.array_equal(found[name], arrays[name]) for name in found)


def test_large_arrays_of_little_content_are_read_and_bombs_are_not(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(2**22))  # 32 MiB that pack to nothing
    assert read_npz(tmp_path / "x.npz", ("a",))["a"].shape == (2**22,)
    np.savez_compressed(tmp_path / "y.npz", a=np.zeros(2**24, np.float32).repeat(2))
    with pytest.raises(ValueError, match="says that it has 134,217,856 bytes"):
        read_npz(tmp_path / "y.npz", ("a",))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + bytes(40)])
def test_what_is_no_archive_is_a_reason(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match="zip"):
        read_npz(tmp_path / "x.npz", ("a",))
    with pytest.raises(ValueError, match="No such file"):
        read_npz(tmp_path / "none.npz", ("a",))

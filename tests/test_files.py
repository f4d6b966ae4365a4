"""Does a file come to be whole or not at all, whatever goes wrong in between?"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melascope import files
from melascope.errors import OutputError, RunError
from melascope.files import (
    atomic_path,
    canonical_json,
    make_folder,
    parsed_json,
    read_json,
    sha256_bytes,
    sha256_file,
    write_bytes,
    write_json,
    write_manifest,
    write_text,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_hashes_are_sha256(tmp_path):
    assert sha256_bytes(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    data = bytes(range(256)) * 5000
    (tmp_path / "f").write_bytes(data)
    assert sha256_file(tmp_path / "f") == hashlib.sha256(data).hexdigest()


def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = write_bytes(tmp_path / "new/folder/f", b"old")
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"new, but half")
        assert path.read_bytes() == b"old" and temporary.parent == path.parent
    assert path.read_bytes() == b"new, but half" and names(path.parent) == ["f"]


def test_two_threads_that_write_one_file_leave_one_of_the_two_whole(tmp_path):
    texts = ["a" * 1_000_000, "b" * 1_000_000]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            list(pool.map(lambda text: write_text(tmp_path / "f", text), texts))
            assert (tmp_path / "f").read_text() in texts and names(tmp_path) == ["f"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = write_text(tmp_path / "f", "old")
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["f"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path, monkeypatch, step):
    def fail(*_):
        raise OSError(28, "No space left on device")

    path = write_text(tmp_path / "f", "old")
    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(OutputError, match="No space left") as caught:
        write_text(path, "new")
    assert caught.value.where == path and path.read_text() == "old" and names(tmp_path) == ["f"]


def test_it_is_flushed_to_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    calls = []
    for step in ("fsync", "replace"):
        real = getattr(os, step)
        monkeypatch.setattr(files.os, step, lambda *a, step=step, real=real: calls.append(step) or real(*a))
    write_text(tmp_path / "f", "x")
    assert calls == ["fsync", "replace"]


def test_a_missing_input_is_not_called_an_output_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "out"):
        (tmp_path / "input").read_bytes()
    assert names(tmp_path) == []


def test_places_that_cannot_be_written_are_told(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file/inside", tmp_path / "file/deep/inside"):
        with pytest.raises(OutputError):
            write_text(path, "x")
    with pytest.raises(OutputError, match="cannot be written"):
        make_folder(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError):
        write_text(tmp_path / "folder", "x")
    assert names(tmp_path) == ["file", "folder"]


def test_make_folder_leaves_no_trace(tmp_path):
    assert make_folder(tmp_path / "a/b") == tmp_path / "a/b"
    assert names(make_folder(tmp_path / "a/b")) == []


@given(json_values)
def test_json_comes_back_as_it_went(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "f.json"
    write_json(path, value)
    assert read_json(path) == value and path.read_bytes().endswith(b"\n")
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value):
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("nan")]}])
def test_json_holds_no_nan(tmp_path, value):
    for write in (canonical_json, lambda value: write_json(tmp_path / "f", value)):
        with pytest.raises(ValueError):
            write(value)
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [None, b"{", b"", b"\xff\xfe{}"])
def test_unreadable_json_is_a_run_error_with_its_path(tmp_path, content):
    path = tmp_path / "f.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"missing|cannot be read") as caught:
        read_json(path)
    assert caught.value.where == path


def test_a_manifest_lists_every_file_but_itself_and_the_unfinished(tmp_path):
    write_text(tmp_path / "b/c.txt", "text")
    write_text(tmp_path / "a.txt", "é")
    (tmp_path / ".a.txt.tmp-1").write_text("half")
    for _ in range(2):
        manifest = read_json(write_manifest(tmp_path, run="x"))
        assert manifest == {
            "run": "x",
            "files": {
                "a.txt": {"bytes": 2, "sha256": sha256_bytes("é".encode())},
                "b/c.txt": {"bytes": 4, "sha256": sha256_bytes(b"text")},
            },
        }


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '[{"b": {"a": 1, "c": 0, "a": 1}}]'])
def test_json_with_a_key_twice_is_refused(text):
    with pytest.raises(ValueError, match="key 'a' stands twice"):
        parsed_json(text)


def test_json_that_is_nested_without_end_is_refused():
    with pytest.raises(ValueError, match="nested too deeply"):
        parsed_json("[" * 100_000)
    assert parsed_json("[" * 50 + "]" * 50)


def test_json_of_a_device_or_a_huge_file_is_not_waited_for(tmp_path):
    with pytest.raises(RunError, match="no regular file"):
        read_json(Path("/dev/zero"))
    with open(tmp_path / "x.json", "wb") as stream:
        stream.truncate(2**27)
    with pytest.raises(RunError, match="larger than 64 MiB"):
        read_json(tmp_path / "x.json")

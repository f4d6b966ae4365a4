"""Does a source name the same inputs in the same order each time, and is what is no image file refused unread?"""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from melascope.data import inputs
from melascope.data.inputs import Source, read_input
from melascope.errors import DataError, ImageError


@pytest.fixture
def photos(tmp_path):
    for name in ("b.jpg", "a.png", "sub/c.jpg", "sub/deep/d.txt", ".hidden/e.jpg", ".f.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(name.encode())
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")
    return tmp_path / "photos"


def named(source, root) -> list[str]:
    return [os.path.relpath(one, root) for one in source]


def test_a_folder_by_name_without_hidden_ones_and_loops(photos):
    source = Source.of(str(photos))
    assert named(source, photos) == ["a.png", "b.jpg", "sub/c.jpg", "sub/deep/d.txt"]
    assert list(source) == list(source)  # it can be read again


def test_a_pattern(photos):
    assert named(Source.of(f"{photos}/**/*.jpg"), photos)[:2] == ["b.jpg", "loop/b.jpg"]
    assert named(Source.of(f"{photos}/*.png"), photos) == ["a.png"]
    assert list(Source.of(f"{photos}/*.bmp")) == []


def test_one_file(photos):
    assert list(Source.of(str(photos / "a.png"))) == [str(photos / "a.png")]


def test_a_list_names_paths_beside_itself_or_anywhere(photos):
    (photos / "list.txt").write_bytes(b"\xef\xbb\xbfb.jpg\n\n  sub/c.jpg \n/elsewhere/x.jpg\nb.jpg\n")
    found = list(Source.of(str(photos / "list.txt")))
    assert found == [str(photos / "b.jpg"), str(photos / "sub/c.jpg"), "/elsewhere/x.jpg", str(photos / "b.jpg")]


@pytest.mark.parametrize("column", ["path", "filename", "mine"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_manifest(photos, column, ending):
    manifest = photos / f"m.{ending}"
    table = pa.table({"other": [1, 2], column: ["b.jpg", "007.jpg"]})
    if ending == "csv":
        manifest.write_text(f"other,{column}\n1,b.jpg\n2,007.jpg\n")
    else:
        pq.write_table(table, manifest)
    source = Source.of(str(manifest), column="mine" if column == "mine" else "")
    assert named(source, photos) == ["b.jpg", "007.jpg"]


def test_ids_of_digits_stay_text(photos):
    (photos / "m.csv").write_text("path\n001\n002\n")
    assert named(Source.of(str(photos / "m.csv")), photos) == ["001", "002"]


@pytest.mark.parametrize(
    ("name", "content", "column", "word"),
    [
        ("gone.jpg", None, "", "no such source"),
        ("m.csv", b"name,x\n1,2\n", "", "columns name, x"),
        ("m.csv", b"path,x\n1,2\n", "y", "a column y"),
        ("m.parquet", b"no parquet", "", "cannot be read"),
        ("a.png", b"", "path", "has no columns"),
    ],
)
def test_what_names_nothing_is_refused(tmp_path, name, content, column, word):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=word):
        Source.of(str(tmp_path / name), column=column)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"path\na\n,\n", "cannot be read|names no path"),
        (b"path,x\na,1\n,1\n", "row 3, column path"),
        (b"\xff\n", "UTF-8"),
    ],
)
def test_a_bad_row_is_told(tmp_path, content, word):
    path = tmp_path / ("m.csv" if b"path" in content else "l.txt")
    path.write_bytes(content)
    with pytest.raises(DataError, match=word):
        list(Source.of(str(path)))


def test_what_is_no_file_is_refused_unread(photos, monkeypatch):
    assert read_input(str(photos / "b.jpg")) == b"b.jpg"
    os.mkfifo(photos / "pipe")
    for name, word in (("pipe", "no file"), ("sub", "no file|directory"), ("gone", "No such file"), ("a\0b", "null")):
        with pytest.raises(ImageError, match=word):
            read_input(f"{photos}/{name}")
    monkeypatch.setattr(inputs, "MAX_BYTES", 4)
    with pytest.raises(ImageError, match="larger than"):
        read_input(str(photos / "b.jpg"))

"""Is a member read whether it lies in a folder or a zip, and never anything outside the data set?"""

from __future__ import annotations

import os
import threading
import zipfile

import pytest

from melascope.data import archive
from melascope.data.archive import list_files, outer_file, read_member
from melascope.errors import DataError


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "data"
    (root / "images/inner").mkdir(parents=True)
    (root / "images/inner/a.jpg").write_bytes(b"a")
    with zipfile.ZipFile(root / "part.zip", "w", zipfile.ZIP_DEFLATED) as stream:
        stream.writestr("b.jpg", b"b" * 1000)
        stream.writestr("level/c.jpg", b"c")
        stream.writestr("__MACOSX/._b.jpg", b"?")
        stream.writestr(".DS_Store", b"?")
    (tmp_path / "secret.txt").write_text("secret")
    return root


def test_reads_folders_and_zips_alike(root):
    assert read_member(root, "images/inner/a.jpg") == b"a"
    assert read_member(root, "part.zip/b.jpg") == b"b" * 1000
    assert read_member(root, "part.zip/level/c.jpg") == b"c"


def test_a_folder_named_like_an_archive_is_a_folder(root):
    (root / "folder.zip").mkdir()
    (root / "folder.zip/d.jpg").write_bytes(b"d")
    assert read_member(root, "folder.zip/d.jpg") == b"d"


def test_lists_what_can_be_read_and_leaves_out_hidden_files(root):
    assert list_files(root, "part.zip") == ["part.zip/b.jpg", "part.zip/level/c.jpg"]
    (root / "images/.hidden.jpg").write_bytes(b"?")
    assert list_files(root, "images") == ["images/inner/a.jpg"]
    assert list_files(root, "") == ["images/inner/a.jpg", "part.zip"]
    assert list_files(root, "nothing") == []
    for path in list_files(root, "part.zip"):
        read_member(root, path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "../secret.txt",
        "images/../../secret.txt",
        "/etc/passwd",
        "images/..",
        "a\0b",
        "images\\..\\..\\secret.txt",
        "C:/secret.txt",
        "part.zip/../../secret.txt",
    ],
)
def test_unsafe_paths_are_refused(root, path):
    for read in (read_member, outer_file):
        with pytest.raises(DataError, match="not one inside the data set"):
            read(root, path)


def test_links_that_leave_the_root_are_refused_and_others_followed(root, tmp_path):
    (root / "out.txt").symlink_to(tmp_path / "secret.txt")
    (root / "up").symlink_to(tmp_path)
    (root / "in.jpg").symlink_to(root / "images/inner/a.jpg")
    (tmp_path / "link to data").symlink_to(root)
    for path in ("out.txt", "up/secret.txt"):
        with pytest.raises(DataError, match="leaves the data set by a link"):
            read_member(root, path)
    assert read_member(root, "in.jpg") == b"a"
    assert read_member(tmp_path / "link to data", "images/inner/a.jpg") == b"a"


def test_a_zip_member_that_points_outside_reaches_nothing(root):
    with zipfile.ZipFile(root / "evil.zip", "w") as stream:
        stream.writestr("../secret.txt", b"from the archive")
    listed = list_files(root, "evil.zip")
    assert listed == []
    with pytest.raises(DataError):
        read_member(root, "evil.zip/../secret.txt")


@pytest.mark.parametrize("path", ["none.jpg", "part.zip/none.jpg", "none.zip/a.jpg", "images", "part.zip"])
def test_what_is_not_there_is_told(root, path):
    if path == "part.zip":
        assert read_member(root, path)[:2] == b"PK"  # the archive itself is a file too
        return
    with pytest.raises(DataError, match=r"missing|no such member|not a regular file") as caught:
        read_member(root, path)
    assert path.split("/")[0] in str(caught.value.where)


def test_a_pipe_is_not_waited_for(root):
    os.mkfifo(root / "pipe.jpg")
    with pytest.raises(DataError, match="regular"):
        read_member(root, "pipe.jpg")


def test_large_members_are_refused_by_their_stated_size(root, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 999)
    with pytest.raises(DataError, match="1,000 bytes, more than 999"):
        read_member(root, "part.zip/b.jpg")
    (root / "images/large.jpg").write_bytes(b"x" * 1000)
    with pytest.raises(DataError, match="more than"):
        read_member(root, "images/large.jpg")


def test_broken_archives_are_told(root):
    whole = (root / "part.zip").read_bytes()
    (root / "broken.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="archive cannot be read"):
        read_member(root, "broken.zip/b.jpg")
    damaged = bytearray(whole)
    damaged[40] ^= 0xFF
    (root / "damaged.zip").write_bytes(damaged)
    with pytest.raises(DataError, match="member of the archive cannot be read"):
        read_member(root, "damaged.zip/b.jpg")


def test_a_replaced_archive_is_opened_anew(root):
    assert read_member(root, "part.zip/level/c.jpg") == b"c"
    with zipfile.ZipFile(root / "new.zip", "w") as stream:
        stream.writestr("level/c.jpg", b"new")
    (root / "new.zip").replace(root / "part.zip")
    assert read_member(root, "part.zip/level/c.jpg") == b"new"


def test_few_archives_stay_open(root):
    for index in range(30):
        with zipfile.ZipFile(root / f"z{index}.zip", "w") as stream:
            stream.writestr("a", b"a")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for index in range(30):
        read_member(root, f"z{index}.zip/a")
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + archive.MAX_OPEN_ARCHIVES
    assert len(archive._cache.archives) <= archive.MAX_OPEN_ARCHIVES


def test_threads_and_forks_read_undisturbed(root):
    names = [f"{index}.bin" for index in range(200)]
    with zipfile.ZipFile(root / "many.zip", "w") as stream:
        for name in names:
            stream.writestr(name, name.encode() * 500)
    wrong: list[str] = []

    def read_all() -> None:
        wrong.extend(name for name in names if read_member(root, f"many.zip/{name}") != name.encode() * 500)

    read_all()
    ours = archive._archive(root / "many.zip")
    child = os.fork()
    if child == 0:  # a shared file position would make parent and child read each other's bytes
        try:
            right = all(read_member(root, f"many.zip/{name}") == name.encode() * 500 for name in names)
            os._exit(0 if right and archive._archive(root / "many.zip") is not ours else 1)
        finally:
            os._exit(2)  # a copy of the test runner must never go on
    threads = [threading.Thread(target=read_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and os.waitpid(child, 0)[1] == 0

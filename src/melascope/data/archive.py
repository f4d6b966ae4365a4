"""How is a file of a data set read, whether it lies in a folder or inside a zip, and never outside the data set?"""

from __future__ import annotations

import os
import struct
import threading
import zipfile
import zlib
from collections import Counter, OrderedDict
from pathlib import Path, PurePosixPath

from melascope.errors import DataError

MAX_MEMBER_BYTES = 64 * 2**20  # as large as an image may be (`decode.MAX_BYTES`)
MAX_OPEN_ARCHIVES = 8

_cache = threading.local()


def read_member(root: Path, path: str) -> bytes:
    """Read one file of a data set.

    Parameters
    ----------
    root : the data set's folder
    path : relative to `root`, with `/`; a component that is a `.zip` file is an archive whose member follows,
        e.g. `HAM10000_images_part_1.zip/ISIC_0024306.jpg`

    Raises
    ------
    DataError : the path is unsafe or leaves `root`, the file is missing, too large or cannot be read.
    """
    parts = _safe_parts(root, path)
    outer = _inside(root, path, parts)
    if outer is None:
        raise DataError("The file is missing.", where=Path(root) / path)
    file, member = outer
    try:
        return _read_zip(file, member) if member else _read_file(file)
    except OSError as error:
        raise DataError(f"The file cannot be read ({error.strerror or error}).", where=Path(root) / path) from error


def outer_file(root: Path, path: str) -> Path:
    """The file on disk that holds `path`: itself, or the archive that it is a member of; a `DataError` if missing."""
    outer = _inside(root, path, _safe_parts(root, path))
    if outer is None:
        raise DataError("The file is missing.", where=Path(root) / path)
    return outer[0]


def list_files(root: Path, path: str) -> list[str]:
    """Paths (relative to `root`, as `read_member` takes them) of all files under a folder or in a zip, sorted.

    Hidden files and what macOS adds to archives are left out.
    """
    parts = _safe_parts(root, path) if path else ()
    outer = _inside(root, path, parts) if path else (Path(root), "")
    if outer is None:
        return []
    file, _ = outer
    if file.is_dir():
        names = [
            (Path(folder) / name).relative_to(file).as_posix() for folder, _, files in os.walk(file) for name in files
        ]
    else:
        names = [info.filename for info in _archive(file).infolist() if not info.is_dir()]
    names = [name for name in names if not any(p.startswith(".") or p == "__MACOSX" for p in name.split("/"))]
    return sorted(f"{path}/{name}" if path else name for name in names)


def _safe_parts(root: Path, path: str) -> tuple[str, ...]:
    parts = PurePosixPath(path).parts
    if not parts or "\0" in path or "\\" in path or ":" in parts[0] or path.startswith("/") or ".." in parts:
        raise DataError(
            f"The path {path!r} is not one inside the data set.",
            where=root,
            expected="a relative path with '/' and without '..'",
        )
    return parts


def _inside(root: Path, path: str, parts: tuple[str, ...]) -> tuple[Path, str] | None:
    """(file, member inside it or ""), or None where there is no such file; links must stay inside `root`."""
    count = len(parts)
    for index, part in enumerate(parts, start=1):
        if part.lower().endswith(".zip") and os.path.isfile(os.path.join(root, *parts[:index])):
            count = index
            break
    file, top = os.path.realpath(os.path.join(root, *parts[:count])), os.path.realpath(root)
    if os.path.commonpath((file, top)) != top:
        raise DataError(
            f"The path {path!r} leaves the data set by a link.",
            where=root,
            expected="files that lie inside the data set's folder",
            fix="copy the files there, or give the folder that they truly lie in",
        )
    return (Path(file), "/".join(parts[count:])) if os.path.exists(file) else None


def _read_file(file: Path) -> bytes:
    if not file.is_file():  # a folder; or a pipe or device, which could be read for ever
        raise DataError("This is not a regular file.", where=file)
    _check_size(file.stat().st_size, file)
    return file.read_bytes()


def _read_zip(file: Path, member: str) -> bytes:
    archive = _archive(file)
    try:
        info = archive.getinfo(member)
    except KeyError as error:
        raise DataError("The archive has no such member.", where=file / member) from error
    _check_size(info.file_size, file / member)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError("The member of the archive is packed in a rare way.", where=file / member, fix="zip it again")
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, struct.error) as error:
        raise DataError(
            f"The member of the archive cannot be read ({error}).",
            where=file / member,
            fix="download or copy the archive again",
        ) from error


def _check_size(size: int, where: Path) -> None:
    if size > MAX_MEMBER_BYTES:
        raise DataError(f"The file has {size:,} bytes, more than {MAX_MEMBER_BYTES:,}.", where=where)


def _archive(file: Path) -> zipfile.ZipFile:
    """An open archive, kept by this thread of this process (a file position must not be shared)."""
    status = file.stat()
    key = (os.getpid(), str(file), status.st_ino, status.st_size, status.st_mtime_ns)
    archives: OrderedDict = _cache.__dict__.setdefault("archives", OrderedDict())
    if key in archives:
        archives.move_to_end(key)
        return archives[key]
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, struct.error, OSError) as error:
        raise DataError(
            f"The archive cannot be read ({error}).", where=file, fix="download or copy the archive again"
        ) from error
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    if len(set(names)) < len(names):
        twice = next(name for name, n in Counter(names).items() if n > 1)
        raise DataError(f"Two members of the archive are called {twice!r}.", where=file, fix="zip the files again")
    archives[key] = archive
    while len(archives) > MAX_OPEN_ARCHIVES:
        archives.popitem(last=False)[1].close()
    return archives[key]

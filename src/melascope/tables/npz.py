"""Which arrays lie in an `.npz` file that anybody may have made or damaged? Nothing is unpickled or unpacked unseen."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

ANY_BYTES, MOST_RATIO = 64 * 2**20, 100
"""An array beyond the first may not be packed more tightly than the second: real ones hardly pack, bombs do."""

_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of these names; `optional` ones where they are.

    Raises
    ------
    ValueError : no such archive, a damaged or foreign one, a name that stands twice or lacks, an array whose size
        is not the one that it says, Python objects, a bomb; the text says which.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
            lacking = [name for name in needed if name not in members]
            if lacking:
                raise ValueError(f"it lacks {', '.join(lacking)}")
            return {name: _array(archive, members[name]) for name in (*needed, *optional) if name in members}
    except MemoryError as error:
        raise ValueError("its arrays do not fit into memory") from error
    except ValueError:
        raise
    except Exception as error:  # zipfile, zlib and numpy each raise their own for a broken file
        raise ValueError(str(error) or type(error).__name__) from error


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name in members:
            raise ValueError(f"{name} stands twice")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name} is packed in an unknown way")
        if info.file_size > max(ANY_BYTES, MOST_RATIO * info.compress_size):
            raise ValueError(f"{name} says that it has {info.file_size:,} bytes, packed in {info.compress_size:,}")
        members[name] = info
    return members


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as stream:
        _check_size(stream, info)
    with archive.open(info) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _check_size(stream: IO[bytes], info: zipfile.ZipInfo) -> None:
    """Refuse an array that says another size than the archive holds of it, before room is made for it."""
    shape, _, dtype = _READ_HEADER[np.lib.format.read_magic(stream)](stream)
    if dtype.hasobject:
        raise ValueError(f"{info.filename} holds Python objects")
    if math.prod(shape) * dtype.itemsize != info.file_size - stream.tell():
        raise ValueError(f"{info.filename} says shape {shape}, but is {info.file_size:,} bytes long")

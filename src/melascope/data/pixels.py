"""What does the network see? Every image decoded once, resized by the one rule, kept as a memory map."""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image

from melascope.data.archive import outer_file, read_member
from melascope.data.decode import decode_image
from melascope.errors import DataError, ImageError, OutputError, RunError
from melascope.files import canonical_json, make_folder, read_json, sha256_bytes, sha256_file, write_json
from melascope.tables.lesions import LesionTable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

RESIZE_RULE = "stretch, bilinear with antialias, v1"
CHUNK_BYTES = 32 * 2**20
"""Pixels that are in memory at once, besides one image a worker."""

Progress = Callable[[int, int], None]


def resize_image(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """Stretch a whole image to width × height: the one rule for training, prediction and maps.

    Bilinear with antialiasing: where the image shrinks, the filter grows with it (Pillow's `BILINEAR`).

    Parameters
    ----------
    rgb : (any height, any width, 3) uint8
    width, height : pixels of the result

    Returns
    -------
    resized : (height, width, 3) uint8
    """
    if rgb.shape[:2] == (height, width):
        return rgb
    return np.array(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR))


def resize_mask(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) bool: a mask at another size, each pixel taken from the nearest one."""
    rows = (np.arange(height) * 2 + 1) * mask.shape[0] // (2 * height)
    columns = (np.arange(width) * 2 + 1) * mask.shape[1] // (2 * width)
    return mask[np.ix_(rows, columns)]


@dataclass(frozen=True)
class PixelStore:
    """Decoded pixels of a data set, in the order of its table.

    Parameters
    ----------
    pixels : (n_images, height, width, 3) uint8, memory-mapped, read-only
    image_id : (n_images,) object
    card : facts of the JSON beside it: key, dataset fingerprint, size, rule, SHA-256 of the file
    path : the `.npy` file
    """

    pixels: np.ndarray
    image_id: np.ndarray
    card: dict[str, Any]
    path: Path

    @classmethod
    def build(
        cls,
        table: LesionTable,
        width: int,
        height: int,
        folder: Path,
        *,
        workers: int = 2,
        progress: Progress | None = None,
    ) -> PixelStore:
        """Decode and resize every image of `table`, or open the store that an earlier call finished.

        Rows are appended to a `.part` file, so a killed build goes on where it was; the file gets its name, and last
        its JSON card, when it is whole. Where two processes build at once, the second waits for the first.

        Parameters
        ----------
        table : where its `sha256` is known (see `validate`), the bytes that are decoded are checked against it
        width, height : pixels of every row
        folder : holds `pixels-<width>x<height>-<key>.npy` and its card; several stores may share it
        workers : threads that decode
        progress : called with (images done, images in all)

        Raises
        ------
        ImageError : an image cannot be decoded, or is not the one that was validated.
        DataError : the table is empty, or a finished store was damaged.
        OutputError : no room, or no permission.
        """
        if len(table) == 0:
            raise DataError("There is no image to decode.", where=table.root)
        key = _key(table, width, height)
        path = Path(folder) / f"pixels-{width}x{height}-{key[:16]}.npy"
        card_path = path.with_suffix(".json")
        if not card_path.is_file():
            with _alone(make_folder(path.parent)):
                if not card_path.is_file():  # else another process has just finished it
                    part = path.with_suffix(".npy.part")
                    _append_rows(table, (height, width), part, workers, progress)
                    card = _card(table, width, height, key, sha256_file(part))
                    part.replace(path)
                    write_json(card_path, card)
        return cls._open(path, table, key)

    @classmethod
    def _open(cls, path: Path, table: LesionTable, key: str) -> PixelStore:
        try:
            card = read_json(path.with_suffix(".json"))
            pixels = np.lib.format.open_memmap(path, mode="r")
        except (RunError, OSError, ValueError) as error:
            raise _damaged(path) from error
        whole = pixels.offset + pixels.nbytes == path.stat().st_size
        if not whole or card.get("key") != key or pixels.shape != (len(table), card["height"], card["width"], 3):
            raise _damaged(path)
        return cls(pixels, table.image_id, card, path)

    def verify(self) -> None:
        """Read the whole file and compare it with the card's SHA-256; a difference is a `DataError`."""
        if sha256_file(self.path) != self.card["sha256"]:
            raise _damaged(self.path)


def gather(pixels: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
    """A copy of some rows, after which no page of the map stays with the process.

    A store larger than memory so costs no more than a batch: its pages lie in the system's cache, which it takes back
    when others need it, and fetching one again from there costs microseconds.
    """
    copied = np.array(pixels[rows])
    mapped = getattr(pixels, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
    return copied


class Rows:
    """Some rows of a store, read a slice at a time and never all at once."""

    def __init__(self, pixels: np.ndarray, rows: np.ndarray) -> None:
        self.pixels, self.rows = pixels, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> np.ndarray:
        return gather(self.pixels, self.rows[part])


def _card(table: LesionTable, width: int, height: int, key: str, sha256: str) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "key": key,
        "source": table.source,
        "dataset_fingerprint": table.fingerprint,
        "n_images": len(table),
        "width": width,
        "height": height,
        "resize": RESIZE_RULE,
        "sha256": sha256,
    }


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process builds in this folder: two that append to one file would shuffle its rows."""
    if fcntl is None:  # Windows; there the size of the finished file is what tells
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # given back by the kernel, even after kill -9
        yield
    finally:
        os.close(descriptor)


def _damaged(path: Path) -> DataError:
    return DataError(
        "The decoded pixels are not what their card says.",
        where=path,
        fix=f"delete {path.name} and {path.with_suffix('.json').name}; they are made again",
    )


def _key(table: LesionTable, width: int, height: int) -> str:
    """SHA-256 of all that the pixels depend on: which files in which order, size, rule, decoder."""
    files = [
        [image_id, sha256 or _file_state(table.root, path)]
        for image_id, path, sha256 in zip(table.image_id, table.path, table.sha256, strict=True)
    ]
    return sha256_bytes(canonical_json([files, width, height, RESIZE_RULE, PIL.__version__]).encode())


def _file_state(root: Path, path: str) -> str:
    """Stands for the content of a file that nobody has hashed yet: its path, and size and time of what it lies in."""
    status = outer_file(root, path).stat()
    return f"{path}:{status.st_size}:{status.st_mtime_ns}"


def _append_rows(
    table: LesionTable, size: tuple[int, int], part: Path, workers: int, progress: Progress | None
) -> None:
    """Bring the `.part` file from as many whole rows as it has to all rows."""
    n_images, (height, width) = len(table), size
    row_bytes = height * width * 3
    rows_at_once = max(1, min(CHUNK_BYTES // row_bytes, 256))
    try:
        with open(part, "ab+") as stream, ThreadPoolExecutor(max_workers=workers) as pool:
            header = _npy_header((n_images, height, width, 3))
            done = max(0, (stream.tell() - len(header)) // row_bytes)
            stream.truncate(len(header) + done * row_bytes if stream.tell() >= len(header) else 0)
            if stream.seek(0, 2) == 0:
                stream.write(header)
            while done < n_images:
                rows = range(done, min(done + rows_at_once, n_images))
                for pixels in pool.map(lambda row: _pixels(table, row, width, height), rows):
                    stream.write(pixels.tobytes())
                    done += 1
                    if progress is not None:
                        progress(done, n_images)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise OutputError(
            f"The decoded pixels could not be written ({error.strerror or error}).",
            where=part,
            expected=f"room for {n_images * row_bytes / 2**30:.1f} GiB",
            fix="free some space, then run the same command again: it goes on where it stopped",
        ) from error


def _npy_header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def _pixels(table: LesionTable, row: int, width: int, height: int) -> np.ndarray:
    path = table.path[row]
    data = read_member(table.root, path)
    if table.sha256[row] not in ("", sha256_bytes(data)):
        raise ImageError(
            "The image has changed since the data set was validated.",
            where=table.root / path,
            expected=f"SHA-256 {table.sha256[row][:12]}…",
            fix=f"melascope data validate {table.root}",
        )
    return resize_image(decode_image(data, name=str(table.root / path)), width, height)

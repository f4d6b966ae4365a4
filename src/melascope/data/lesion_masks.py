"""What share of each pixel of a small picture is lesion? Every published mask decoded once, kept as a memory map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from melascope.data.archive import outer_file, read_member
from melascope.data.decode import decode_mask
from melascope.data.pixels import Progress
from melascope.errors import DataError
from melascope.files import atomic_path, canonical_json, make_folder, sha256_bytes
from melascope.tables.lesions import LesionTable


def read_lesion_mask(table: LesionTable, row: int) -> np.ndarray:
    """(mask_height, mask_width) bool: the data set's own mask of an image, at the mask's own size."""
    path = table.mask_path[row]
    return decode_mask(read_member(table.root, path), name=path)


def shrink_mask(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) uint8: the share of each pixel that is lesion, 255 for all of it (area mean)."""
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.array(grey.resize((width, height), Image.Resampling.BOX))


def shrunk_masks(
    table: LesionTable, width: int, height: int, folder: Path, *, progress: Progress | None = None
) -> np.ndarray:
    """(n_images, height, width) uint8, memory-mapped: `shrink_mask` of every mask, made now or by an earlier call.

    Raises
    ------
    DataError : an image has no mask, or a mask cannot be read.
    """
    lacking = [image_id for image_id, path in zip(table.image_id, table.mask_path, strict=True) if not path]
    if lacking:
        raise DataError(
            f"{len(lacking)} images have no lesion mask, for example {', '.join(lacking[:5])}.",
            where=table.root,
            expected="HAM10000_segmentations_lesion_tschandl.zip beside the images",
            fix="melascope data fetch",
        )
    path = make_folder(Path(folder)) / f"masks-{width}x{height}-{_key(table, width, height)[:16]}.npy"
    if not path.is_file():
        with atomic_path(path) as temporary:
            masks = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(table), height, width))
            for row in range(len(table)):
                masks[row] = shrink_mask(read_lesion_mask(table, row), width, height)
                if progress is not None:
                    progress(row + 1, len(table))
            masks.flush()
    return np.lib.format.open_memmap(path, mode="r")


def _key(table: LesionTable, width: int, height: int) -> str:
    """Stands for all that the masks depend on: which files in which order, with size and time; size; decoder."""
    state = {outer: outer.stat() for outer in {outer_file(table.root, path) for path in table.mask_path}}
    files = [[str(outer), of.st_size, of.st_mtime_ns] for outer, of in sorted(state.items())]
    return sha256_bytes(canonical_json([list(table.mask_path), files, width, height, PIL.__version__]).encode())

"""What are the images and the metadata of a small HAM10000 release made of?"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

ROWS = [  # lesion, image, dx: three lesions have two images
    ("HAM_1", "ISIC_01", "mel"),
    ("HAM_1", "ISIC_02", "mel"),
    ("HAM_2", "ISIC_03", "nv"),
    ("HAM_3", "ISIC_04", "bkl"),
    ("HAM_3", "ISIC_05", "bkl"),
    ("HAM_4", "ISIC_06", "nv"),
    ("HAM_5", "ISIC_07", "bcc"),
    ("HAM_5", "ISIC_08", "bcc"),
]


def picture(seed: int, width: int = 20, height: int = 15) -> np.ndarray:
    """(height, width, 3) uint8 noise, the same for the same seed."""
    return np.random.default_rng([seed, 1]).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    """Pixels as the bytes of an image file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG file by hand: what Pillow cannot write."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (header, *more, png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b""))
    )


def mask(width: int = 20, height: int = 15) -> bytes:
    """A mask whose middle is lesion."""
    pixels = np.zeros((height, width), dtype=np.uint8)
    pixels[height // 4 : -height // 4, width // 4 : -width // 4] = 255
    return encoded(pixels)


def metadata(rows=ROWS, delimiter: str = ",", dataset: bool = False, quoted: bool = False) -> str:
    """The metadata as text, in the CSV or the Dataverse's form."""
    names = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"] + ["dataset"] * dataset
    lines = [names] + [[*row, "histo", "80.0", "male", "unknown"] + ["vidir_modern"] * dataset for row in rows]
    if quoted:
        lines = [names] + [[f'"{value}"' for value in line] for line in lines[1:]]
    return "".join(delimiter.join(line) + "\n" for line in lines)

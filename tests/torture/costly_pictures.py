"""Which small files would cost a decoder most, if it let them?"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image
from small_release import png, png_chunk

Make = Callable[[], bytes]

SIDES = (8000, 6000)  # 48 megapixels: just let in


def _jpeg(width: int, height: int, **options) -> bytes:
    rng = np.random.default_rng(3)
    small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    stream = io.BytesIO()
    small.resize((width, height), Image.Resampling.NEAREST).save(stream, "JPEG", quality=70, **options)
    return stream.getvalue()


def many_scans(n: int, width: int, height: int) -> bytes:
    """A progressive JPEG whose last scan, a refinement in which nothing changes, stands `n` times more."""
    data = _jpeg(width, height, progressive=True)
    last = data.rindex(b"\xff\xda")
    tables = data.rfind(b"\xff\xc4", 0, last)
    again = data[tables:-2] if 0 < last - tables < 600 else data[last:-2]
    return data[:-2] + again * n + data[-2:]


def grey_scans(n: int, width: int, height: int) -> bytes:
    """A progressive JPEG whose scans of the finest grey, almost without bytes, ask for all blocks each time."""
    stream = io.BytesIO()
    Image.new("L", (width, height), 90).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    last = data.rindex(b"\xff\xc4", 0, data.rindex(b"\xff\xda"))
    return data[:-2] + data[last:-2] * n + data[-2:]


def deep_png(bits: int, colour: int, channels: int, width: int, height: int, *more: bytes) -> bytes:
    row = b"\0" + bytes(-(-width * channels * bits // 8))
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row * 100) for _ in range(height // 100)) + packer.compress(row * (height % 100))
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    rest = png_chunk(b"IDAT", packed + packer.flush()) + png_chunk(b"IEND", b"")
    return b"".join((b"\x89PNG\r\n\x1a\n", header, *more, rest))


def opaque_png(width: int, height: int, mode: str) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (width, height), (90, 255) if mode == "LA" else (90, 80, 70, 255)).save(stream, "PNG")
    return stream.getvalue()


def webp(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (90, 80, 70)).save(stream, "WEBP", lossless=True, method=0)
    return stream.getvalue()


def many_webp_chunks(n: int) -> bytes:
    body = b"WEBP" + b"junk\0\0\0\0" * n
    return b"RIFF" + struct.pack("<I", len(body)) + body


def costly(full: bool) -> dict[str, Make]:
    """By name; at small size the same with fewer pixels and bytes."""
    width, height = SIDES if full else (800, 600)
    bulk = 60 * 2**20 if full else 2**20
    palette = png_chunk(b"PLTE", bytes(3)), png_chunk(b"tRNS", b"\xff")
    return {
        "JPEG of nothing but fill bytes": lambda: b"\xff\xd8\xff" + b"\xff" * bulk,
        "JPEG of empty segments": lambda: b"\xff\xd8" + b"\xff\xe5\x00\x02" * (bulk // 4),
        "WebP of empty chunks": partial(many_webp_chunks, bulk // 8),
        "PNG of empty chunks": lambda: b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", bytes(13)) + bytes(12) * (bulk // 12),
        "JPEG, progressive, large": partial(_jpeg, width, height, progressive=True, subsampling=0),
        "JPEG of 89 more scans": partial(many_scans, 89, width, height),
        "grey JPEG of 90 more scans": partial(grey_scans, 90, width, height),
        "PNG, 16-bit grey": partial(deep_png, 16, 0, 1, width, height),
        "PNG, 16-bit colour": partial(deep_png, 16, 2, 3, width, height),
        "PNG, 16-bit colour and alpha": partial(deep_png, 16, 6, 4, width, height),
        "PNG, palette with alpha": partial(deep_png, 8, 3, 1, width, height, *palette),
        "PNG, one bit": partial(deep_png, 1, 0, 1, width, height),
        "PNG, opaque grey and alpha": partial(opaque_png, width, height, "LA"),
        "PNG, opaque alpha": partial(opaque_png, width, height, "RGBA"),
        "PNG that unpacks to more than it says": lambda: png(60, 40, 8, 2, bytes(4 * bulk)),
        "WebP, lossless, large": partial(webp, min(width, 16383), height),
    }

"""What does an image file's header say, before any pixel is decoded and before a library sees its metadata?"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

JPEG, PNG, WEBP, BMP = "JPEG", "PNG", "WEBP", "BMP"
MAX_SCANS = 100  # a progressive JPEG has about 10; thousands are a way to keep a decoder busy,
ANY_SCANS, MAX_SCAN_PIXELS = 20, 10**9  # and so are more than twenty of a large picture: each goes over all its pixels
MAX_CHUNKS = 100_000  # of a PNG or WebP, or segments of a JPEG: millions of empty ones keep us busy ourselves


class HeaderError(ValueError):
    """The header cannot be used; the text says why. `decode` turns it into an `ImageError` with the file's name."""


@dataclass(frozen=True)
class Header:
    """What the header says.

    Parameters
    ----------
    kind : `JPEG`, `PNG`, `WEBP` or `BMP`
    width, height : pixels as stored, before `orientation` is applied
    orientation : EXIF value 1 … 8 (1 where none is written)
    bits : bits a channel (PNG and JPEG), else 8
    clean : the same file without EXIF, XMP, comments, profiles and thumbnails
    """

    kind: str
    width: int
    height: int
    orientation: int
    bits: int
    clean: bytes


def read_header(data: bytes) -> Header:
    """Recognise the format by content and read size, orientation and depth from its header.

    Raises
    ------
    HeaderError : another format, an animation, a broken or truncated header.
    """
    for begins, read in _READERS.items():
        if data.startswith(begins) and (begins != b"RIFF" or data[8:12] == b"WEBP"):
            try:
                return read(data)
            except (struct.error, IndexError) as error:
                raise HeaderError("its header is broken or truncated") from error
    raise HeaderError(f"its content is {_named(data)}, which is not read")


def _jpeg(data: bytes) -> Header:
    kept, orientation, frame, place = [data[:2]], 1, None, 2
    for _ in range(MAX_CHUNKS):
        begin = _FILLED.match(data, place)  # fill bytes are allowed before a marker
        if begin is None:
            raise HeaderError("its header is broken")
        place = begin.end() - 1
        marker = data[place + 1]
        if marker in (0x01, 0xD8, 0xD9) or 0xD0 <= marker <= 0xD7:
            raise HeaderError("it ends, or begins again, before its first scan")
        end = place + 2 + struct.unpack_from(">H", data, place + 2)[0]
        body = data[place + 4 : end]
        if end > len(data) or end < place + 4:
            raise HeaderError("its header is truncated")
        if marker == 0xDA:
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if frame:
                raise HeaderError("it has two frame headers")
            frame = struct.unpack_from(">BHHB", body)
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = exif_orientation(body[6:])
        if not (0xE1 <= marker <= 0xEF or marker == 0xFE) or marker == 0xEE:  # JFIF and Adobe say what colours mean
            kept.append(data[place:end])
        place = end
    else:
        raise HeaderError(f"it has more than {MAX_CHUNKS} segments")
    if not frame:
        raise HeaderError("it has no frame header")
    bits, height, width, channels = frame
    scans = data.count(b"\xff\xda", place)
    if scans > MAX_SCANS or (scans > ANY_SCANS and scans * width * height > MAX_SCAN_PIXELS):
        most = MAX_SCANS if scans > MAX_SCANS else ANY_SCANS
        raise HeaderError(f"it has more than {most} scans, too many for its {width}×{height} pixels")
    if channels == 4:
        raise HeaderError("it is CMYK, whose colours have no meaning without the printer's profile")
    return Header(JPEG, width, height, orientation, bits, b"".join((*kept, data[place:])))


def _png(data: bytes) -> Header:
    kept, orientation, place = [data[:8]], 1, 8
    for _ in range(MAX_CHUNKS):
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if end > len(data):
            raise HeaderError("it is truncated")
        if place == 8 and (name != b"IHDR" or length != 13):
            raise HeaderError("its header is broken")
        if name == b"acTL":
            raise HeaderError("it is animated")
        if name == b"eXIf":
            orientation = exif_orientation(data[place + 8 : end - 4])
        if name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(data[place:end])
        if name == b"IEND":
            width, height, bits = struct.unpack_from(">IIB", data, 16)
            return Header(PNG, width, height, orientation, bits, b"".join(kept))
        place = end
    raise HeaderError(f"it has more than {MAX_CHUNKS} chunks")


def _webp(data: bytes) -> Header:
    size = struct.unpack_from("<I", data, 4)[0] + 8
    if size > len(data):
        raise HeaderError("it is truncated")
    kept, orientation, sizes, place = [], 1, set(), 12
    for _ in range(MAX_CHUNKS):
        if place + 8 > size:
            break
        name, length = struct.unpack_from("<4sI", data, place)
        end = place + 8 + length + length % 2
        body = data[place + 8 : place + 8 + length]
        if name in (b"ANIM", b"ANMF"):
            raise HeaderError("it is animated")
        if name == b"EXIF":
            orientation = exif_orientation(body.removeprefix(b"Exif\0\0"))
        if name in _WEBP_SIZES:
            sizes.add(_WEBP_SIZES[name](body))
        if name in (*_WEBP_SIZES, b"ALPH"):
            kept.append(data[place:end])
        place = end
    else:
        raise HeaderError(f"it has more than {MAX_CHUNKS} chunks")
    if len(sizes) != 1:
        raise HeaderError("its header is broken")
    (width, height), content = sizes.pop(), b"WEBP" + b"".join(kept)
    return Header(WEBP, width, height, orientation, 8, b"RIFF" + struct.pack("<I", len(content)) + content)


def _vp8x_size(body: bytes) -> tuple[int, int]:
    return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1


def _vp8_size(body: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF


def _vp8l_size(body: bytes) -> tuple[int, int]:
    packed = struct.unpack_from("<I", body, 1)[0]
    return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1


def _bmp(data: bytes) -> Header:
    header_size, width, height, _, _, compression = struct.unpack_from("<IiiHHI", data, 14)
    if header_size < 40 or width <= 0 or height == 0:
        raise HeaderError("its header is broken, or of the form of before Windows 3")
    if compression not in (0, 3):
        raise HeaderError("it is a run-length coded BMP")
    return Header(BMP, width, abs(height), 1, 8, data)


def exif_orientation(tiff: bytes) -> int:
    """The orientation 1 … 8 that an EXIF block asks for; 1 where it says nothing that can be read."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        place = struct.unpack_from(order + "I", tiff, 4)[0]
        for entry in range(struct.unpack_from(order + "H", tiff, place)[0]):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, place + 2 + 12 * entry)
            if (tag, kind) == (0x0112, 3):
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def _named(data: bytes) -> str:
    """A name for content that is not read, so that the message tells more than "unknown"."""
    for begins, name in _OTHERS.items():
        if data.startswith(begins):
            return name
    if data[4:8] == b"ftyp":
        return "HEIC, AVIF or video"
    if data[128:132] == b"DICM":
        return "DICOM"
    return "text" if data[:512].isascii() and b"\0" not in data[:512] else "of no known image format"


_FILLED = re.compile(rb"\xff+")
_READERS = {b"\xff\xd8\xff": _jpeg, b"\x89PNG\r\n\x1a\n": _png, b"RIFF": _webp, b"BM": _bmp}
_WEBP_SIZES = {b"VP8X": _vp8x_size, b"VP8 ": _vp8_size, b"VP8L": _vp8l_size}
_OTHERS = {
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"PK\x03\x04": "a ZIP archive",
    b"%PDF": "PDF",
}

"""How do bytes from anywhere become pixels safely? The one door; its rules are the table in docs/formats.md.

| found                                    | done                                              |
|------------------------------------------|---------------------------------------------------|
| JPEG, PNG, WebP, BMP (by content)        | read; the file's extension is never trusted       |
| any other format (GIF, TIFF, HEIC …)     | refused                                           |
| grey, 1 bit, palette                     | the same colours as RGB                           |
| 16 bits a channel (PNG)                  | the high 8 bits, within 1/255                     |
| alpha                                    | dropped if all opaque, else refused               |
| CMYK, 12-bit or lossless JPEG            | refused                                           |
| EXIF orientation                         | applied; a value that is none of 1 … 8 is ignored |
| colour profile, EXIF, XMP, comments      | taken out before decoding, never carried on       |
| animated, truncated, empty               | refused                                           |
| more than `MAX_PIXELS` or `MAX_BYTES`    | refused from the header                           |
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from melascope.data.headers import WEBP, Header, HeaderError, read_header
from melascope.errors import ImageError

MAX_BYTES = 64 * 2**20
"""Largest file that is looked at."""
MAX_PIXELS = 50_000_000
"""Largest image that is decoded: a 48-megapixel phone picture passes, a bomb does not."""
MAX_WEBP_PIXELS = 40_000_000
"""The same for a WebP, whose decoder holds the picture three times."""

STRIP_PIXELS = 2**20
FORMATS = "a JPEG, PNG, WebP or BMP image (see docs/formats.md)"


def decode_image(data: bytes, *, name: str) -> np.ndarray:
    """Turn the bytes of an image file into upright RGB pixels.

    Parameters
    ----------
    data : content of the file
    name : what to call it in an error, e.g. its path

    Returns
    -------
    rgb : (height, width, 3) uint8

    Raises
    ------
    ImageError : the bytes are no image that we read safely; says which file and why.
    """
    header = _header(data, name)
    return _upright(_rgb(_load(header, name), name), header.orientation)


def decode_mask(data: bytes, *, name: str) -> np.ndarray:
    """Turn the bytes of a lesion mask into a boolean array: True is lesion.

    A mask is grey; above half of its scale is lesion. The scale is 0 … 255, or 0 … 1 where nothing is above 1.

    Returns
    -------
    lesion : (height, width) bool

    Raises
    ------
    ImageError : no image that we read safely, or one with colours in it.
    """
    header = _header(data, name)
    image = _load(header, name)
    if image.mode in ("1", "L") and "transparency" not in image.info:  # the usual mask, without the way over RGB
        grey = np.array(image.convert("L"))
    else:
        rgb = _rgb(image, name)
        if (rgb != rgb[..., :1]).any():
            raise ImageError("The mask has colours.", where=name, expected="grey, 255 in the lesion and 0 outside")
        grey = rgb[..., 0]
    return _upright(grey > (127 if grey.max() > 1 else 0), header.orientation)


def _header(data: bytes, name: str) -> Header:
    if len(data) == 0:
        raise _refusal("it is empty (0 bytes)", name)
    if len(data) > MAX_BYTES:
        raise _refusal(f"it is larger than {MAX_BYTES // 2**20} MiB", name)
    try:
        header = read_header(data)
    except HeaderError as error:
        raise _refusal(str(error), name) from error
    most = MAX_WEBP_PIXELS if header.kind == WEBP else MAX_PIXELS
    if header.width * header.height > most:
        raise _refusal(f"it is {header.width}×{header.height} pixels, more than {most // 1_000_000} megapixels", name)
    return header


def _refusal(reason: str, name: str) -> ImageError:
    return ImageError(f"The image is refused: {reason}.", where=name, expected=FORMATS)


def _load(header: Header, name: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(header.clean), formats=(header.kind,))
        if image.size != (header.width, header.height):
            raise ValueError("two sizes in one file")
        image.load()
    except MemoryError:
        raise
    except UnidentifiedImageError as error:  # its text is an address in memory
        raise _refusal(f"it is truncated or damaged (no {header.kind} that can be read)", name) from error
    except Exception as error:  # whatever a decoder raises on foreign bytes says that the bytes are broken
        raise _refusal(f"it is truncated or damaged ({str(error) or type(error).__name__})", name) from error
    return image


def _rgb(image: Image.Image, name: str) -> np.ndarray:
    """(height, width, 3) uint8 pixels as stored, by the module's table."""
    if image.mode in ("I;16", "I;16B", "I"):  # `convert("RGB")` would clip these at 255 instead of scaling
        if "transparency" in image.info:
            raise _refusal("it has transparent pixels", name)
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise _refusal(f"its pixels are {image.mode}", name)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise _refusal("it has transparent pixels, whose colour nobody knows", name)
    return _in_strips(image)


def _in_strips(image: Image.Image) -> np.ndarray:
    """(height, width, 3) uint8; strip by strip, because Pillow's way to an array holds a large image three times."""
    rgb = np.empty((image.height, image.width, 3), dtype=np.uint8)
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        strip = image if rows >= image.height else image.crop((0, top, image.width, bottom))
        rgb[top:bottom] = np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
    return rgb


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation (CIPA DC-008, tag 0x0112) to (height, width, …) pixels."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(pixels, turns))

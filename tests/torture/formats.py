"""Is each format what docs/formats.md says: refused, or the pixels of another decoder within 1/255?"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps
from small_release import picture, png

from melascope.data.decode import decode_image
from melascope.errors import ImageError
from torture.pictures import saved

EDGE = 1.0
"""Steps of 1/255 that a pixel may differ by."""


def reference(data: bytes) -> np.ndarray:
    """Pillow's whole way, orientation and all, in float: 16 bits a channel as shares of 255."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I"):
        return np.repeat(np.asarray(image).astype(float)[..., None] * 255 / 65535, 3, axis=2)
    return np.asarray(image.convert("RGB")).astype(float)


def turned(form: str, orientation: int, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(picture(2, 40, 31)), form, exif=exif, **options)


def let_in() -> dict[str, bytes]:
    """Every kind that is read."""
    rgb = Image.fromarray(picture(1, 40, 31))
    wide = (np.arange(31 * 40, dtype=np.uint32) * 52 % 65536).astype(np.uint16).reshape(31, 40)
    opaque = Image.merge("RGBA", (*rgb.split(), Image.new("L", rgb.size, 255)))
    found = {
        f"{form} {mode}": saved(rgb.convert(mode), form) for form in ("PNG", "BMP") for mode in ("RGB", "L", "1", "P")
    }
    found |= {f"JPEG {name}": saved(rgb, "JPEG", **options) for name, options in JPEGS.items()}
    found |= {"JPEG grey": saved(rgb.convert("L"), "JPEG"), "PNG 16-bit grey": saved(Image.fromarray(wide), "PNG")}
    found |= {"PNG opaque alpha": saved(opaque, "PNG"), "WebP opaque alpha": saved(opaque, "WEBP", lossless=True)}
    found |= {"WebP": saved(rgb, "WEBP"), "WebP lossless": saved(rgb, "WEBP", lossless=True)}
    for form, options in (("JPEG", {}), ("PNG", {}), ("WEBP", {"lossless": True})):
        found |= {f"{form} orientation {k}": turned(form, k, **options) for k in range(1, 9)}
    return found


JPEGS = {"plain": {}, "progressive": {"progressive": True}, "4:4:4": {"subsampling": 0}, "4:2:0": {"subsampling": 2}}


def sixteen_bit_colour() -> tuple[bytes, np.ndarray]:
    """A PNG that Pillow reads with 8 bits only, and its pixels as they were made."""
    values = np.random.default_rng(5).integers(0, 65536, (9, 7, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    return png(7, 9, 16, 2, rows), values.astype(float) * 255 / 65535


def refused() -> dict[str, tuple[bytes, str]]:
    """Every kind that is not read, and a word of the reason."""
    rgb = Image.fromarray(picture(1, 40, 31))
    clear = Image.merge("RGBA", (*rgb.split(), Image.new("L", rgb.size, 254)))
    moving = {"save_all": True, "append_images": [rgb.rotate(90)]}
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500)
    return {
        "JPEG CMYK": (saved(rgb.convert("CMYK"), "JPEG"), "CMYK"),
        "PNG transparent": (saved(clear, "PNG"), "transparent"),
        "WebP transparent": (saved(clear, "WEBP", lossless=True), "transparent"),
        "PNG animated": (saved(rgb, "PNG", **moving), "animated"),
        "WebP animated": (saved(rgb, "WEBP", **moving), "animated"),
        "GIF animated": (saved(rgb, "GIF", **moving), "GIF"),
        "HEIC": (heic, "HEIC"),
        "AVIF": (saved(rgb, "AVIF"), "AVIF"),
        "TIFF": (saved(rgb, "TIFF"), "TIFF"),
        "JPEG 2000": (saved(rgb, "JPEG2000"), "JPEG 2000"),
        "text": (b"This is no image.\n" * 40, "text"),
        "empty": (b"", "empty"),
        "truncated": (saved(rgb, "PNG")[:-30], "truncated"),
        "one pixel too many": (png(50_000_001, 1, 8, 0, b""), "megapixels"),
    }


def table() -> tuple[str, list[str]]:
    """Every row; what was said, and what is not as written."""
    failures, widest = [], 0.0
    sound = {name: (data, reference(data)) for name, data in let_in().items()}
    sound["PNG 16-bit colour"] = sixteen_bit_colour()
    for name, (data, expected) in sound.items():
        try:
            pixels = decode_image(data, name=name)
        except ImageError as error:
            failures.append(f"{name}: {error.found}")
            continue
        far = np.abs(pixels - expected).max() if pixels.shape == expected.shape else 999.0
        widest = max(widest, far)
        failures += [f"{name}: {far:.2f}/255 away, {pixels.shape}"] if far > EDGE else []
    for name, (data, word) in refused().items():
        try:
            decode_image(data, name=name)
            failures.append(f"{name}: let in")
        except ImageError as error:
            failures += [] if word in error.found and error.where == name else [f"{name}: {error}"]
    said = f"{len(sound)} kinds read, at most {widest:.2f}/255 from the reference; {len(refused())} refused as written"
    return said, failures

"""Which picture files does a case get, at what size, and under which safe names?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from melascope.explain.overlay import OPACITY, draw_outline, encode_image, palette, render_overlay
from melascope.explain.panel import LIGHT_SKIN
from melascope.files import sha256_bytes, write_in_draft
from melascope.gallery.case import Case

LONG_SIDE = 600
"""Pixels of a picture's longer side: the release's own size; other images are enlarged or reduced to it."""

THUMBNAIL_FACTOR = 2
"""A thumbnail has half the picture's pixels on each side."""

RAMP_STOPS = 17

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")


@dataclass(frozen=True)
class Pictures:
    """Picture files of one case in the folder of images.

    Parameters
    ----------
    plain : file name of the photograph
    thumbnail : file name of a small one
    overlays : file names for `FIGURES.md`, one for each of `Case.shown`, outlined; empty if not asked for
    width, height : of the photograph, in pixels
    own_width, own_height : of the file of the data set
    """

    plain: str
    thumbnail: str
    overlays: tuple[str, ...]
    width: int
    height: int
    own_width: int
    own_height: int


def file_stems(image_ids: Sequence[str]) -> dict[str, str]:
    """Image id -> a file name's beginning that is safe and of no other id, on any file system.

    A plain id stays as it is. One with other characters, or that differs from another only by case, is
    followed by a part of its hash.
    """
    seen = Counter(image_id.lower() for image_id in image_ids)
    stems = {}
    for image_id in image_ids:
        plain = _SAFE.fullmatch(image_id) and seen[image_id.lower()] == 1
        cleaned = re.sub(r"[^A-Za-z0-9_-]+", "_", image_id)[:60].strip("_-") or "image"
        stems[image_id] = image_id if plain else f"{cleaned}.{sha256_bytes(image_id.encode('utf-8'))[:10]}"
    return stems


def write_pictures(case: Case, folder: Path, stem: str, *, overlays: bool) -> Pictures:
    """Draw and save the pictures of a case; the page itself draws maps, so `overlays` are for `FIGURES.md` alone."""
    original = case.pixels()
    image = _sized(original)
    pictures = {"image": image, "small": np.asarray(Image.fromarray(image).reduce(THUMBNAIL_FACTOR))}
    if overlays:
        pictures |= {f"overlay_{name}": _overlay(case, name, image) for name in case.shown}
    for name, picture in pictures.items():
        write_in_draft(folder / f"{stem}_{name}.jpg", encode_image(picture, "JPEG"))
    return Pictures(
        plain=f"{stem}_image.jpg",
        thumbnail=f"{stem}_small.jpg",
        overlays=tuple(f"{stem}_overlay_{name}.jpg" for name in case.shown) if overlays else (),
        width=image.shape[1],
        height=image.shape[0],
        own_width=original.shape[1],
        own_height=original.shape[0],
    )


def _overlay(case: Case, name: str, image: np.ndarray) -> np.ndarray:
    """The map of a class over the image, on the case's scale, with the lesion's outline where there is one."""
    overlay, mask = render_overlay(image, case.cells(name), scale=case.scale, places=case.places), case.mask()
    if mask is None:
        return overlay
    size = image.shape[1], image.shape[0]
    return draw_outline(overlay, np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)))


def _sized(image: np.ndarray) -> np.ndarray:
    """The image with its longer side at `LONG_SIDE` pixels, its shape kept."""
    height, width = image.shape[:2]
    factor = LONG_SIDE / max(width, height)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    if size == (width, height):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def page_palettes() -> dict[str, bytes]:
    """256 RGBA colours each, of which the page draws its maps.

    `evidence` is the overlays' own. `contrast` goes from purple (for the first answer) over nothing to green (for
    melanoma): ColorBrewer's PRGn, which the colour-blind can tell apart and which no skin has.
    """
    share = np.linspace(-1, 1, 256)
    contrast = matplotlib.colormaps["PRGn"](0.5 + 0.42 * share, bytes=True)
    contrast[:, 3] = np.round(255 * OPACITY * np.minimum(np.abs(share) / 0.5, 1))
    return {"evidence": palette(), "contrast": contrast.tobytes()}


def ramp() -> tuple[tuple[str, str], ...]:
    """The palette as overlays show it on light skin: (offset, colour) stops from 0 to the top of the scale."""
    skin = np.full((1, RAMP_STOPS, 3), LIGHT_SKIN, dtype=np.uint8)
    level = np.linspace(0, 1, RAMP_STOPS, dtype=np.float32)[None]
    colours = render_overlay(skin, level, scale=1.0)[0]
    return tuple(
        (f"{100 * share:.4g}%", "#{:02x}{:02x}{:02x}".format(*colour))
        for share, colour in zip(level[0], colours, strict=True)
    )

"""Which picture files does a case get, at what size, and under which safe names?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from melascope.explain.overlay import draw_outline, render_overlay, save_image
from melascope.explain.panel import LIGHT_SKIN
from melascope.files import sha256_bytes
from melascope.gallery.case import Case

LONG_SIDE = 600
"""Pixels of a picture's longer side: the release's own size; other images are enlarged or reduced to it."""

RAMP_STOPS = 17

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")


@dataclass(frozen=True)
class Pictures:
    """File names of one case inside the folder of images, all of one size.

    Parameters
    ----------
    plain : the photograph
    outlined : the same with the lesion's outline; `""` where there is no mask
    overlays : one for each of `Case.shown`, with the outline where there is one
    width, height : of every picture, in pixels
    own_width, own_height : of the file of the data set
    """

    plain: str
    outlined: str
    overlays: tuple[str, str]
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


def write_pictures(case: Case, folder: Path, stem: str) -> Pictures:
    """Draw and save the pictures of a case."""
    original = case.pixels()
    image, mask = _sized(original), case.mask()
    height, width = image.shape[:2]
    outline = (
        None if mask is None else np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    )

    def outlined(picture: np.ndarray) -> np.ndarray:
        return picture if outline is None else draw_outline(picture, outline)

    overlays = tuple(f"{stem}_overlay_{name}.jpg" for name in case.shown)
    for file, name in zip(overlays, case.shown, strict=True):
        save_image(folder / file, outlined(render_overlay(image, case.cells(name), scale=case.scale)))
    save_image(folder / f"{stem}_image.jpg", image)
    if outline is not None:
        save_image(folder / f"{stem}_outline.jpg", outlined(image))
    return Pictures(
        plain=f"{stem}_image.jpg",
        outlined="" if outline is None else f"{stem}_outline.jpg",
        overlays=overlays,
        width=width,
        height=height,
        own_width=original.shape[1],
        own_height=original.shape[0],
    )


def _sized(image: np.ndarray) -> np.ndarray:
    """The image with its longer side at `LONG_SIDE` pixels, its shape kept."""
    height, width = image.shape[:2]
    factor = LONG_SIDE / max(width, height)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    if size == (width, height):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def ramp() -> tuple[tuple[str, str], ...]:
    """The palette as overlays show it on light skin: (offset, colour) stops from 0 to the top of the scale."""
    skin = np.full((1, RAMP_STOPS, 3), LIGHT_SKIN, dtype=np.uint8)
    level = np.linspace(0, 1, RAMP_STOPS, dtype=np.float32)[None]
    colours = render_overlay(skin, level, scale=1.0)[0]
    return tuple(
        (f"{100 * share:.4g}%", "#{:02x}{:02x}{:02x}".format(*colour))
        for share, colour in zip(level[0], colours, strict=True)
    )

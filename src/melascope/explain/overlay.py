"""How does a signed map become a picture, without looking surer or busier than it is?

No map is stretched to its own range: a scale is given, the same for every class shown of an image, and skin without
positive evidence stays as it was photographed.
"""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from melascope.errors import ExplainError, OutputError
from melascope.files import write_bytes
from melascope.tables.cell_places import EVEN, CellPlaces

COLORMAP = "viridis"
"""Perceptually even and colour-blind safe; its blue, green and yellow are no skin's colours."""

OPACITY = 0.75
"""Share of the palette's colour where evidence is at the top of the scale."""

_FULL_AT = 0.5  # share of the scale at which the palette has reached its full opacity
_ONE_THREAD = 2**18 - 1  # multiplications up to which OpenBLAS wakes no threads; those wait for 16 ms in a loop
_SMALLEST_STRIP = 8  # rows; maps so fine are worth the threads
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".png": "PNG"}
_OPTIONS: dict[str, dict] = {
    "JPEG": {"quality": 90, "subsampling": "4:2:0"},  # as the release's own files; 4:4:4 takes half as long again
    "WEBP": {"quality": 90, "method": 0},
    "PNG": {"compress_level": 1},
}


def upsample_map(values: np.ndarray, width: int, height: int, places: CellPlaces = EVEN) -> np.ndarray:
    """Bilinear interpolation between the middles of a map's cells, constant beyond the outermost ones.

    The same as `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` where cells lie evenly.

    Parameters
    ----------
    values : (map_height, map_width)
    width, height : of the picture, in pixels
    places : where the cells lie

    Returns
    -------
    picture : (height, width) float32
    """
    checked = _finite_map(values)
    rows = _weights(checked.shape[0], height, places, 0) @ checked
    columns = _weights(checked.shape[1], width, places, 1).T
    picture = np.empty((height, width), dtype=np.float32)
    strip = max(_SMALLEST_STRIP, _ONE_THREAD // columns.size)
    for top in range(0, height, strip):
        np.matmul(rows[top : top + strip], columns, out=picture[top : top + strip])
    return picture


@lru_cache(maxsize=64)
def _weights(n_cells: int, n_pixels: int, places: CellPlaces, axis: int) -> np.ndarray:
    """(n_pixels, n_cells) float32: how much of each cell a pixel takes; bilinear interpolation is one for each axis."""
    place = np.clip(places.cell_at(n_pixels, n_cells, axis), 0, n_cells - 1)
    below = np.minimum(place.astype(int), max(n_cells - 2, 0))
    weights = np.zeros((n_pixels, n_cells), dtype=np.float32)
    weights[np.arange(n_pixels), below] = 1 - (place - below)
    if n_cells > 1:
        weights[np.arange(n_pixels), below + 1] = place - below
    weights.setflags(write=False)
    return weights


def positive_part(values: np.ndarray) -> np.ndarray:
    """What speaks for the class (Selvaraju et al. 2017, eq. 2: the ReLU), at the map's own resolution.

    Parameters
    ----------
    values : (map_height, map_width) signed

    Returns
    -------
    positive : (map_height, map_width) float32
    """
    return np.maximum(_finite_map(values), 0)


def shared_scale(maps: np.ndarray) -> float:
    """Highest positive value among the maps of one image: the top of the one scale on which all of them are shown.

    Parameters
    ----------
    maps : (..., map_height, map_width) signed, e.g. the classes that will stand side by side

    Returns
    -------
    scale : > 0, in the maps' unit; 0 where no map has positive evidence
    """
    values = np.asarray(maps)
    if values.size == 0 or not np.isfinite(values).all():
        raise ExplainError("The maps are empty or hold values that are not finite.")
    return max(float(values.max()), 0.0)


def render_overlay(
    image: np.ndarray,
    values: np.ndarray,
    *,
    scale: float,
    places: CellPlaces = EVEN,
    colormap: str = COLORMAP,
    opacity: float = OPACITY,
) -> np.ndarray:
    """Lay the positive part of a map over its image.

    Colour says how much evidence; opacity grows with it from nothing, so that skin without evidence stays as it is.

    Parameters
    ----------
    image : (height, width, 3) uint8
    values : (map_height, map_width) signed
    scale : evidence at the top of the palette, of `shared_scale`; a cell above it looks like the top;
        0 leaves the image as it is
    places : where the cells lie on the picture: `MapEngine.places`, or `MapStore.places`
    colormap : name of a matplotlib colormap; "jet" for the look of older figures
    opacity : 0 … 1, reached at half of the scale

    Returns
    -------
    overlay : (height, width, 3) uint8
    """
    return np.asarray(_blended(image, values, scale, places, colormap, opacity))


def encode_overlay(
    image: np.ndarray,
    values: np.ndarray,
    *,
    scale: float,
    places: CellPlaces = EVEN,
    form: str = "JPEG",
    colormap: str = COLORMAP,
    opacity: float = OPACITY,
) -> bytes:
    """The same as the bytes of a file, without a detour: what a gallery of thousands, a page or a service sends.

    Parameters
    ----------
    form : "JPEG", "WEBP" or "PNG"; the others as of `render_overlay`
    """
    return _encoded(_blended(image, values, scale, places, colormap, opacity), form)


def _blended(
    image: np.ndarray, values: np.ndarray, scale: float, places: CellPlaces, colormap: str, opacity: float
) -> Image.Image:
    _check_image(image)
    positive = positive_part(values)
    if not (np.isfinite(scale) and scale >= 0):
        raise ExplainError(f"The scale is {scale}.", expected="a finite number, 0 or more, as of shared_scale")
    overlay = Image.fromarray(image)  # a copy
    if scale == 0:
        if positive.any():
            raise ExplainError("The scale is 0, yet the map has positive evidence.", fix="use shared_scale(maps)")
        return overlay
    cells = np.minimum(positive / scale, 1) * 255 + 0.5  # limited and rounded here: few cells, many pixels
    levels = upsample_map(cells, image.shape[1], image.shape[0], places).astype(np.uint8)
    rows, columns = np.flatnonzero(levels.any(1)), np.flatnonzero(levels.any(0))
    if len(rows) == 0:
        return overlay
    top, left = rows[0], columns[0]  # blending takes most of the time: only where there is something to blend
    coloured = Image.fromarray(levels[top : rows[-1] + 1, left : columns[-1] + 1])
    coloured.putpalette(palette(colormap, opacity), "RGBA")
    coloured = coloured.convert("RGBA")
    overlay.paste(coloured, (int(left), int(top)), mask=coloured)
    return overlay


@lru_cache(maxsize=16)
def palette(colormap: str = COLORMAP, opacity: float = OPACITY) -> bytes:
    """256 colours as RGBA bytes, for 0 to the top of the scale; alpha is 0 at 0, and full from half of the scale on."""
    if colormap not in matplotlib.colormaps:
        raise ExplainError(f"There is no colormap {colormap!r}.", expected="a name of matplotlib, e.g. viridis or jet")
    if not 0 <= opacity <= 1:
        raise ExplainError(f"The opacity is {opacity}.", expected="0 … 1")
    share = np.linspace(0, 1, 256)
    colours = matplotlib.colormaps[colormap](share, bytes=True)
    colours[:, 3] = np.round(255 * opacity * np.minimum(share / _FULL_AT, 1))
    return colours.tobytes()


def draw_outline(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A thin white line along a lesion's edge, with a dark one around it, so that it shows on any skin.

    Parameters
    ----------
    image : (height, width, 3) uint8
    mask : (height, width) bool

    Returns
    -------
    outlined : (height, width, 3) uint8
    """
    _check_image(image)
    if mask.dtype != bool or mask.shape != image.shape[:2]:
        raise ExplainError(
            f"The mask is {mask.dtype} {mask.shape}, the image {image.shape}.", expected="bool (height, width)"
        )
    thickness = max(1, round(min(mask.shape) / 225))  # pages show a picture at about half its size
    inner, outer = mask, mask
    outlined = image.copy()
    for _ in range(thickness):
        inner, outer = ~_grown(~inner), _grown(outer)
    outlined[outer & ~mask] = (32, 32, 32)
    outlined[mask & ~inner] = (255, 255, 255)
    return outlined


def _grown(mask: np.ndarray) -> np.ndarray:
    """The mask and its four neighbours."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown


def save_image(path: Path, image: np.ndarray) -> Path:
    """Write a picture, whole or not at all, without metadata; the name's ending says how.

    Parameters
    ----------
    path : `.jpg`, `.webp` (both at quality 90) or `.png`; a name without ending gets `.jpg`
    image : (height, width, 3) uint8

    Returns
    -------
    path : the file written
    """
    _check_image(image)
    path = Path(path)
    path = path if path.suffix else path.with_name(path.name + ".jpg")
    if path.suffix.lower() not in _FORMATS:
        raise OutputError(
            f"No picture format is known by the ending {path.suffix!r}.",
            where=path,
            expected=f"one of {', '.join(_FORMATS)}",
        )
    return write_bytes(path, _encoded(Image.fromarray(image), _FORMATS[path.suffix.lower()]))


def encode_image(image: np.ndarray, form: str) -> bytes:
    """A picture (height, width, 3) uint8 as JPEG, WEBP or PNG, without metadata, as `save_image` writes it."""
    _check_image(image)
    return _encoded(Image.fromarray(image), form)


def _encoded(picture: Image.Image, form: str) -> bytes:
    if form not in _OPTIONS:
        raise OutputError(f"No picture format {form!r} is known.", expected=f"one of {', '.join(_OPTIONS)}")
    stream = io.BytesIO()
    picture.save(stream, format=form, **_OPTIONS[form])
    return stream.getvalue()


def _check_image(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ExplainError(f"The image is {image.dtype} {image.shape}.", expected="uint8 (height, width, 3)")


def _finite_map(values: np.ndarray) -> np.ndarray:
    checked = np.asarray(values, dtype=np.float32)
    if checked.ndim != 2 or checked.size == 0 or not np.isfinite(checked).all():
        raise ExplainError(
            f"The map has shape {checked.shape}" + (" and is not finite." if checked.ndim == 2 else "."),
            expected="a finite array (map_height, map_width)",
        )
    return checked

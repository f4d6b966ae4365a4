"""What does a reader need beside an overlay: the original, the other class, the scale, and what the map cannot show?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from melascope.classes import CLASS_NAMES
from melascope.errors import ExplainError
from melascope.explain.overlay import COLORMAP, OPACITY, draw_outline, render_overlay, shared_scale
from melascope.tables.cell_places import EVEN, CellPlaces

_INK, _QUIET, _PAPER = (24, 24, 24), (96, 96, 96), (255, 255, 255)
LIGHT_SKIN = (226, 192, 172)
"""Under a colour bar, since the palette is laid over skin."""


def colour_bar(
    scale: float,
    *,
    width: int,
    height: int = 36,
    unit: str = "logit per cell",
    colormap: str = COLORMAP,
    opacity: float = OPACITY,
) -> np.ndarray:
    """The palette as it looks over light skin, with the map's unit at its ends.

    Parameters
    ----------
    scale : top of the scale; 0 where there is no positive evidence to show
    width, height : pixels
    unit : of the map, e.g. "logit per cell"

    Returns
    -------
    bar : (height, width, 3) uint8
    """
    skin = np.full((height // 2, width, 3), LIGHT_SKIN, dtype=np.uint8)
    ramp = np.linspace(0, scale, 256)[None]
    bar = Image.new("RGB", (width, height), _PAPER)
    bar.paste(Image.fromarray(render_overlay(skin, ramp, scale=scale, colormap=colormap, opacity=opacity)))
    pen, font, y = ImageDraw.Draw(bar), _font(height // 3), height // 2 + 2
    pen.text((0, y), "0", _INK, font)
    pen.text((width - 1, y), f"+{scale:.2g} {unit}" if scale else "nothing to show", _INK, font, anchor="ra")
    return np.asarray(bar)


def compose_panel(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    *,
    predicted: str,
    scale: float | None = None,
    places: CellPlaces = EVEN,
    mask: np.ndarray | None = None,
    mask_source: str = "lesion mask of the data set",
    labels: Mapping[str, str] | None = None,
    unit: str = "logit per cell",
    notes: Sequence[str] = (),
    warning: str = "",
    colormap: str = COLORMAP,
    opacity: float = OPACITY,
) -> np.ndarray:
    """The original and the maps of some classes side by side on one scale, with what a reader must know of them.

    Parameters
    ----------
    image : (height, width, 3) uint8
    maps : class name -> (map_height, map_width) signed, e.g. the predicted class and `mel`, in the order to show
    predicted : class name that the model gave; its map is labelled so
    scale : top of the scale; None takes `shared_scale` of these maps
    places : where the maps' cells lie; where that is not known, a line below says so
    mask : (height, width) bool, outlined on every picture if given
    mask_source : where the mask comes from, written below
    labels : what stands above a map in place of "evidence for NAME", by its name
    unit : of the maps, written at the colour bar
    notes : further lines below, e.g. the method
    warning : stands on every map

    Returns
    -------
    panel : (panel_height, panel_width, 3) uint8
    """
    if not maps or len({np.shape(values) for values in maps.values()}) != 1:
        raise ExplainError("There is no map, or the maps differ in size.", expected="one map or more, of one layer")
    top = shared_scale(np.stack(list(maps.values()))) if scale is None else scale
    titles = {name: (labels or {}).get(name) or _label(name, predicted) for name in maps}
    pictures = {"original": image} | {
        titles[name]: render_overlay(image, values, scale=top, places=places, colormap=colormap, opacity=opacity)
        for name, values in maps.items()
    }
    if mask is not None:
        pictures = {label: draw_outline(picture, mask) for label, picture in pictures.items()}
    remarks = {titles[name]: _remark(name, values, warning) for name, values in maps.items()}
    lines = [f"map resolution {_grid(maps)} cells, interpolated"]
    lines += [] if places.is_known else [f"where its cells lie is {places.source}"]
    lines += ["one scale for all maps shown"] if len(maps) > 1 else []
    lines += [f"outline: {mask_source}"] if mask is not None else []
    bar_width = image.shape[1] * len(maps)
    return _laid_out(
        pictures,
        remarks,
        colour_bar(top, width=bar_width, height=_unit(image) * 3, unit=unit, colormap=colormap, opacity=opacity),
        [*lines, *notes],
    )


def _label(name: str, predicted: str) -> str:
    full = CLASS_NAMES.get(name, "")
    return f"evidence for {name}" + (f", {full}" if full else "") + (" (predicted)" if name == predicted else "")


def _remark(name: str, values: np.ndarray, warning: str) -> str:
    return " · ".join(filter(None, (warning, "" if np.max(values) > 0 else f"no positive evidence for {name}")))


def _grid(maps: Mapping[str, np.ndarray]) -> str:
    height, width = np.shape(next(iter(maps.values())))
    return f"{width}×{height}"


def _unit(image: np.ndarray) -> int:
    """Height of the text in pixels: readable at the picture's size."""
    return max(11, round(image.shape[0] / 28))


def _laid_out(
    pictures: dict[str, np.ndarray], remarks: dict[str, str], bar: np.ndarray, notes: list[str]
) -> np.ndarray:
    """Labels above, pictures in a row, the colour bar below the maps, the notes below the original."""
    height, width = next(iter(pictures.values())).shape[:2]
    unit = _unit(next(iter(pictures.values())))
    gap, head = unit // 2, 2 * unit
    foot = max(bar.shape[0], len(notes) * round(1.3 * unit)) + gap
    sheet = Image.new("RGB", (len(pictures) * (width + gap) + gap, head + height + gap + foot), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, (label, picture) in enumerate(pictures.items()):
        x = gap + column * (width + gap)
        pen.text((x, head // 2), label, _INK, _fitting(label, unit, width), anchor="lm")
        sheet.paste(Image.fromarray(picture), (x, head))
        if remarks.get(label):
            _write_on_picture(pen, remarks[label], (x, head, width, height), unit)
    y = head + height + gap
    sheet.paste(Image.fromarray(bar), (gap + width + gap, y))
    for line, note in enumerate(notes):
        pen.text((gap, y + line * round(1.3 * unit)), note, _QUIET, _fitting(note, unit, width))
    return np.asarray(sheet)


def _write_on_picture(pen: ImageDraw.ImageDraw, text: str, box: tuple[int, int, int, int], unit: int) -> None:
    """White on a dark strip at the picture's lower edge."""
    x, y, width, height = box
    pen.rectangle((x, y + height - 2 * unit, x + width - 1, y + height - 1), fill=(32, 32, 32))
    pen.text((x + width // 2, y + height - unit), text, _PAPER, _fitting(text, unit, width), anchor="mm")


def _fitting(text: str, size: int, width: int) -> ImageFont.FreeTypeFont:
    """The font at `size`, or as much smaller as the text needs to fit into `width` pixels."""
    needed = _font(size).getlength(text)
    return _font(size if needed <= width else max(6, int(size * width / needed)))


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)

"""What is a lesion painted on: a half-size sheet of optical density, seen through one view of the lesion?

Colour is kept as optical density (-ln of the reflected share), so that pigments add as they do in skin
(Beer–Lambert), and is turned into RGB once at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from melascope.data.sources.phantom.noise import CELL, cloud, look_up, tile_index

WIDTH, HEIGHT = 600, 450
"""Size of a phantom image in pixels, as in the HAM10000 release."""

SHEET = (HEIGHT // 2, WIDTH // 2)
"""Rows and columns of the sheet; one sheet pixel is two image pixels."""

MELANIN = (0.40, 0.82, 1.08)
RED_BROWN = (0.30, 0.90, 0.98)
BLOOD = (0.10, 0.80, 0.58)
LACUNA = (0.26, 1.60, 0.82)
KERATIN = (0.08, 0.26, 0.72)
SLATE = (0.88, 0.70, 0.46)
"""Density of one unit of each pigment in red, green and blue (chosen by eye beside real images)."""

Pigment = tuple[float, float, float]


@dataclass(frozen=True)
class View:
    """How one image sees its lesion: rotation (radians), zoom, and its centre (sheet pixels from the middle)."""

    rotation: float = 0.0
    zoom: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0


class Canvas:
    """The sheet while it is painted, or a window of it.

    Attributes
    ----------
    view : how this image sees the lesion.
    top, left : where the window begins on the sheet; 0 and 0 for the whole.
    x, y : (rows, columns) float32, coordinates of each sheet pixel on the lesion, in sheet pixels at zoom 1.
    density : (3, rows, columns) float32, optical density in red, green and blue; a window shares the whole's.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.top, self.left = 0, 0
        rows, columns = SHEET
        px = np.arange(columns, dtype=np.float32)[None, :] - np.float32(columns / 2 + view.shift_x)
        py = np.arange(rows, dtype=np.float32)[:, None] - np.float32(rows / 2 + view.shift_y)
        cos, sin = (np.float32(f(view.rotation) / view.zoom) for f in (np.cos, np.sin))
        self.x, self.y = cos * px + sin * py, cos * py - sin * px
        self.density = np.zeros((3, rows, columns), dtype=np.float32)

    def window(self, rows: slice, columns: slice) -> Canvas:
        """The part of this canvas in which something is going to be painted: the less paper, the faster."""
        part = Canvas.__new__(Canvas)
        part.view = self.view
        part.top, part.left = self.top + rows.start, self.left + columns.start
        part.x, part.y = (np.ascontiguousarray(field[rows, columns]) for field in (self.x, self.y))
        part.density = self.density[:, rows, columns]
        return part

    def on_sheet(self, field: np.ndarray, outside: float) -> np.ndarray:
        """A field of this window as a field of the whole sheet, `outside` where the window is not."""
        whole = np.full(SHEET, outside, dtype=np.float32)
        whole[self.top : self.top + field.shape[0], self.left : self.left + field.shape[1]] = field
        return whole

    def add(self, pigment: Pigment, amount: np.ndarray) -> None:
        """Add `amount` (rows, columns) units of `pigment`; a negative amount takes it away."""
        for channel, per_unit in zip(self.density, pigment, strict=True):
            channel += np.float32(per_unit) * amount

    def cover(self, colour: tuple[float, float, float], share: np.ndarray) -> None:
        """Let a veil of RGB `colour` (0–255) cover `share` (rows, columns; 0–1) of what lies below."""
        for channel, value in zip(self.density, colour, strict=True):
            channel += share * (np.float32(-np.log(value / 255.0)) - channel)

    def distance(self, x: float, y: float) -> np.ndarray:
        """Distance (rows, columns) of each sheet pixel from the point (x, y), both in lesion coordinates."""
        return np.hypot(self.x - np.float32(x), self.y - np.float32(y))

    def clouds(self, rng: np.random.Generator, size: float = 1.0) -> np.ndarray:
        """A soft random field (rows, columns), unit variance; `size` stretches its features (1: about 40 pixels)."""
        index, offset = int(rng.integers(3)), tuple(rng.uniform(0, 512, 2))
        return self.texture(cloud(index), size, offset)

    def texture(self, tile: np.ndarray, size: float, offset: tuple[float, float], bend: float = 0.0) -> np.ndarray:
        """Any tile seen in lesion coordinates, stretched by `size`, displaced by up to about `bend` tile pixels."""
        return look_up(tile, self._index(size, offset, bend))

    def honeycomb(self, cell: float, offset: tuple[float, float], bend: float = 4.0) -> np.ndarray:
        """Index (rows, columns) into the tiles of `noise.cells`, with cells of `cell` sheet pixels in this view."""
        return self._index(cell / CELL, offset, bend)

    def _index(self, size: float, offset: tuple[float, float], bend: float) -> np.ndarray:
        scale = np.float32(1.0 / size)
        x, y = self.x * scale, self.y * scale
        if bend:
            bend_x, bend_y = self._bends
            x, y = x + np.float32(bend) * bend_x, y + np.float32(bend) * bend_y
        return tile_index(x, y, offset)

    @cached_property
    def _bends(self) -> tuple[np.ndarray, np.ndarray]:
        index = tile_index(self.x, self.y)
        return look_up(cloud(0), index), look_up(cloud(1), index)

    def strokes(self, lines: Iterable[tuple[np.ndarray, float]], blur: float = 0.0) -> np.ndarray:
        """Draw lines, given as (points (n, 2) in lesion coordinates, width in sheet pixels): coverage 0–1."""
        image, draw = self._drawing()
        for points, width in lines:
            xy = [tuple(point) for point in self._to_drawing(points)]
            draw.line(xy, fill=255, width=max(1, round(2 * width * self.view.zoom)), joint="curve")
        return self._coverage(image, blur)

    def discs(self, centres: np.ndarray, radii: np.ndarray, blur: float = 0.0) -> np.ndarray:
        """Draw discs of `radii` (n,) at `centres` (n, 2): coverage 0–1, blurred over `blur` sheet pixels."""
        image, draw = self._drawing()
        for (x, y), radius in zip(self._to_drawing(centres), radii, strict=True):
            r = max(2 * radius * self.view.zoom, 0.8)
            draw.ellipse((x - r, y - r, x + r, y + r), fill=255)
        return self._coverage(image, blur)

    def at(self, field: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Value of a field of this window at points (n, 2) in lesion coordinates; outside, of the nearest pixel."""
        columns, rows = np.round(self._to_window(points).T).astype(int)
        return field[np.clip(rows, 0, field.shape[0] - 1), np.clip(columns, 0, field.shape[1] - 1)]

    def _to_window(self, points: np.ndarray) -> np.ndarray:
        """Columns and rows (n, 2) of this window, in pixels with fractions, of points in lesion coordinates."""
        view = self.view
        points = np.asarray(points, dtype=np.float64) * view.zoom
        cos, sin = np.cos(view.rotation), np.sin(view.rotation)
        columns = cos * points[:, 0] - sin * points[:, 1] + SHEET[1] / 2 + view.shift_x - self.left
        rows = sin * points[:, 0] + cos * points[:, 1] + SHEET[0] / 2 + view.shift_y - self.top
        return np.stack([columns, rows], axis=1)

    def _to_drawing(self, points: np.ndarray) -> np.ndarray:
        return 2.0 * self._to_window(points) + 0.5  # a window pixel is two drawn ones; its middle lies between them

    def _drawing(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        rows, columns = self.x.shape
        image = Image.new("L", (2 * columns, 2 * rows))
        return image, ImageDraw.Draw(image)

    @staticmethod
    def _coverage(image: Image.Image, blur: float) -> np.ndarray:
        # Drawn twice as large and averaged: Pillow's own lines have no smooth edges.
        image = image.reduce(2)
        if blur > 0:
            image = image.filter(ImageFilter.BoxBlur(blur))
        return np.asarray(image, dtype=np.float32) * np.float32(1 / 255)

    def picture(self, blur: float = 0.0) -> np.ndarray:
        """The sheet at full size, out of focus by `blur` sheet pixels: (3, 450, 600) uint16, 256ths of a grey level."""
        light = np.exp(-np.maximum(self.density, 0.0)) * np.float32(255 * 16)
        fine = light.astype(np.uint16)
        if blur > 0:
            fine = np.stack([_blurred(channel, blur) for channel in fine])
        return _twice(_twice(fine, axis=1), axis=2)


def _blurred(channel: np.ndarray, blur: float) -> np.ndarray:
    """A channel in 16ths of a grey level (rows, columns) uint16, out of focus by `blur` pixels."""
    grey = Image.fromarray((channel >> 4).astype(np.uint8)).filter(ImageFilter.BoxBlur(blur))
    return np.asarray(grey).astype(np.uint16) << 4


def _twice(field: np.ndarray, axis: int) -> np.ndarray:
    """Enlarge (3, rows, columns) uint16 twofold along an axis, bilinearly, and its values fourfold: no division."""
    before, after = np.moveaxis(field, axis, 0)[:-1], np.moveaxis(field, axis, 0)[1:]
    shape = [size * (2 if place == axis else 1) for place, size in enumerate(field.shape)]
    large = np.empty(shape, dtype=np.uint16)
    out = np.moveaxis(large, axis, 0)
    np.add(3 * after, before, out=out[2::2])
    np.add(3 * before, after, out=out[1:-1:2])
    out[0], out[-1] = 4 * before[0], 4 * after[-1]
    return large

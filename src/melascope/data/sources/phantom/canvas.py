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

from melascope.data.sources.phantom.noise import CELL, FINE_BITS, Offset, cloud, look_up, random_offset, tile_index

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
    density : (3, rows, columns) float32, optical density in red, green and blue; a window shares the whole's.
    top, left : where the window begins on the sheet; 0 and 0 for the whole.
    """

    def __init__(self, view: View, density: np.ndarray | None = None, top: int = 0, left: int = 0) -> None:
        self.view = view
        self.density = np.zeros((3, *SHEET), dtype=np.float32) if density is None else density
        self.top, self.left = top, left
        # How far right of and below the lesion's centre each column and row lies, in sheet pixels at zoom 1.
        rows, columns = self.density.shape[1:]
        self._right = (np.arange(left, left + columns) - (SHEET[1] / 2 + view.shift_x)) / view.zoom
        self._below = (np.arange(top, top + rows) - (SHEET[0] / 2 + view.shift_y)) / view.zoom
        self._plain_index: dict[float, np.ndarray] = {}

    def window(self, rows: slice, columns: slice) -> Canvas:
        """The part of this canvas in which something is going to be painted: the less paper, the faster."""
        part = self.density[:, rows, columns]
        return Canvas(self.view, part, self.top + rows.start, self.left + columns.start)

    @cached_property
    def x(self) -> np.ndarray:
        """Coordinate (rows, columns) float32 of each pixel on the lesion, in sheet pixels at zoom 1."""
        cos, sin = np.cos(self.view.rotation), np.sin(self.view.rotation)
        return np.add.outer((sin * self._below).astype(np.float32), (cos * self._right).astype(np.float32))

    @cached_property
    def y(self) -> np.ndarray:
        """The other coordinate, like `x`."""
        cos, sin = np.cos(self.view.rotation), np.sin(self.view.rotation)
        return np.add.outer((cos * self._below).astype(np.float32), (-sin * self._right).astype(np.float32))

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
        cos, sin = np.cos(self.view.rotation), np.sin(self.view.rotation)
        right, below = self._right - (cos * x - sin * y), self._below - (sin * x + cos * y)
        squared = np.add.outer((below**2).astype(np.float32), (right**2).astype(np.float32))
        return np.sqrt(squared, out=squared)

    def clouds(self, rng: np.random.Generator, size: float = 1.0) -> np.ndarray:
        """A soft random field (rows, columns), unit variance; `size` stretches its features (1: about 40 pixels)."""
        return self.texture(cloud(int(rng.integers(3))), size, random_offset(rng))

    def texture(self, tile: np.ndarray, size: float, offset: Offset, bend: float = 0.0) -> np.ndarray:
        """Any tile seen in lesion coordinates, stretched by `size`, displaced by up to about `bend` tile pixels."""
        if bend:
            return look_up(tile, self._bent_index(size, offset, bend))
        if size not in self._plain_index:
            self._plain_index[size] = tile_index(*self._places(size))
        return look_up(tile, self._plain_index[size], offset)

    def honeycomb(self, cell: float, offset: Offset, bend: float = 4.0) -> np.ndarray:
        """Index (rows, columns) into the tiles of `noise.cells`, with cells of `cell` sheet pixels in this view."""
        return self._bent_index(cell / CELL, offset, bend)

    def _bent_index(self, size: float, offset: Offset, bend: float) -> np.ndarray:
        column, row = self._places(size, offset)
        for place, aside in zip((column, row), self._bends, strict=True):
            place += (np.float32(bend * (1 << FINE_BITS)) * aside).astype(np.int32)
        return tile_index(column, row)

    def _places(self, size: float, offset: Offset = (0, 0)) -> tuple[np.ndarray, np.ndarray]:
        """Column and row of each pixel (rows, columns) in a tile stretched by `size`, as `tile_index` reads them."""
        one = 1 << FINE_BITS
        cos, sin = one / size * np.cos(self.view.rotation), one / size * np.sin(self.view.rotation)
        right, below = self._right, self._below
        column = np.add.outer((sin * below).astype(np.int32), (cos * right + one * offset[0]).astype(np.int32))
        row = np.add.outer((cos * below).astype(np.int32), (one * offset[1] - sin * right).astype(np.int32))
        return column, row

    @cached_property
    def _bends(self) -> tuple[np.ndarray, np.ndarray]:
        return self.texture(cloud(0), 1.0, (0, 0)), self.texture(cloud(1), 1.0, (0, 0))

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
        rows, columns = self.density.shape[1:]
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
        """The sheet as RGB of full size (450, 600, 3) uint16, 0–255, out of focus by `blur` (0–1) sheet pixels."""
        light = np.exp(-np.maximum(self.density, 0.0))
        if blur > 0:
            light = _softened(_softened(light, blur).swapaxes(1, 2), blur).swapaxes(1, 2)
        light *= np.float32(_BRIGHTEST)
        rgb = enlarged(light.astype(np.uint16))
        rgb >>= 8
        return rgb


_BRIGHTEST = 255 * 16  # what `enlarged` makes of it still fits 16 bits


def _softened(light: np.ndarray, blur: float) -> np.ndarray:
    """`light` (3, rows, columns) averaged over 1 + 2 `blur` rows, `blur` at most 1."""
    near = np.concatenate([light[:, :1], light, light[:, -1:]], axis=1)
    return (light + np.float32(blur) * (near[:, :-2] + near[:, 2:])) * np.float32(1 / (1 + 2 * blur))


def enlarged(planes: np.ndarray) -> np.ndarray:
    """Planes (n, rows, columns) uint16 < 4096 as a picture (2 rows, 2 columns, n) of 16 times their values; bilinear.

    Whole numbers are enough here, and take a third of the time of Pillow's resize.
    """
    count, rows, columns = planes.shape
    wide = np.empty((rows, columns, 2, count), dtype=np.uint16)
    for side, half in enumerate(_between(planes.transpose(2, 0, 1))):
        for plane in range(count):
            wide[:, :, side, plane] = half[:, plane].T
    tall = np.empty((rows, 2, columns * 2 * count), dtype=np.uint16)
    tall[:, 0], tall[:, 1] = _between(wide.reshape(rows, -1))
    return tall.reshape(2 * rows, 2 * columns, count)


def _between(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """4 × the values a quarter of the way from each line (first axis) to the one before it, and to the one after."""
    before = 3 * lines
    after = before.copy(order="K")
    before[1:] += lines[:-1]
    before[:1] += lines[:1]
    after[:-1] += lines[1:]
    after[-1:] += lines[-1:]
    return before, after

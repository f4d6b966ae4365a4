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
    rows, columns : which ones of the sheet this canvas holds.
    """

    def __init__(self, view: View) -> None:
        self._lay(view, np.zeros((3, *SHEET), dtype=np.float32), range(SHEET[0]), range(SHEET[1]))

    def _lay(self, view: View, density: np.ndarray, rows: range, columns: range) -> None:
        self.view, self.density, self.rows, self.columns = view, density, rows, columns
        # How far right of and below the lesion's centre each column and row lies, in sheet pixels at zoom 1.
        self._right = (np.asarray(columns) - (SHEET[1] / 2 + view.shift_x)) / view.zoom
        self._below = (np.asarray(rows) - (SHEET[0] / 2 + view.shift_y)) / view.zoom
        self._turn = float(np.cos(view.rotation)), float(np.sin(view.rotation))
        self._indices: dict[float, np.ndarray] = {}

    def window(self, rows: slice, columns: slice) -> Canvas:
        """The part of this canvas in which something is going to be painted: the less paper, the faster."""
        part = Canvas.__new__(Canvas)
        part._lay(self.view, self.density[:, rows, columns], self.rows[rows], self.columns[columns])
        return part

    def every(self, step: int) -> Canvas:
        """Each `step`-th pixel of each `step`-th row: for what is smooth, or first only looked at."""
        return self.window(slice(None, None, step), slice(None, None, step))

    def fill_in(self) -> None:
        """Fill in what lies between the pixels of `every(2)`: halfway from each to the next."""
        for lines in (self.density[:, ::2].swapaxes(1, 2), self.density):
            here, between, following = lines[:, 0::2], lines[:, 1::2], lines[:, 2::2]
            count = following.shape[1]
            np.add(here[:, :count], following, out=between[:, :count])
            between[:, :count] *= np.float32(0.5)
            between[:, count:] = here[:, count : between.shape[1]]

    def coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """Where on the lesion each pixel lies: x and y (rows, columns) float32, in sheet pixels at zoom 1."""
        return self._outer(1.0, (0, 0), np.float32)

    def _outer(self, scale: float, offset: tuple[float, float], dtype: type) -> tuple[np.ndarray, np.ndarray]:
        cos, sin = self._turn[0] * scale, self._turn[1] * scale
        x = np.add.outer((sin * self._below).astype(dtype), (cos * self._right + offset[0]).astype(dtype))
        y = np.add.outer((cos * self._below).astype(dtype), (offset[1] - sin * self._right).astype(dtype))
        return x, y

    def on_sheet(self, field: np.ndarray, outside: float) -> np.ndarray:
        """A field of this window as a field of the whole sheet, `outside` where the window is not."""
        whole = np.full(SHEET, outside, dtype=np.float32)
        whole[self.rows.start : self.rows.stop, self.columns.start : self.columns.stop] = field
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
        cos, sin = self._turn
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
        if size not in self._indices:
            self._indices[size] = tile_index(*self._places(size))
        return look_up(tile, self._indices[size], offset)

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
        return self._outer(one / size, (one * offset[0], one * offset[1]), np.int32)

    @cached_property
    def _bends(self) -> tuple[np.ndarray, np.ndarray]:
        return self.texture(cloud(0), 1.0, (0, 0)), self.texture(cloud(1), 1.0, (0, 0))

    def strokes(self, lines: Iterable[tuple[np.ndarray, float]], blur: float = 0.0) -> np.ndarray:
        """Draw lines, given as (points (n, 2) in lesion coordinates, width in sheet pixels): coverage 0–1."""
        image, draw = self._drawing()
        for points, width in lines:
            xy = self._to_drawing(points).ravel().tolist()
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
        """Value of a field of this window at points (..., 2) in lesion coordinates; outside, of the nearest pixel."""
        places = np.rint(self._to_window(points)).astype(int)
        np.clip(places, 0, (field.shape[1] - 1, field.shape[0] - 1), out=places)
        return field[places[..., 1], places[..., 0]]

    def _to_window(self, points: np.ndarray) -> np.ndarray:
        """Columns and rows (..., 2) of this window, in pixels with fractions, of points in lesion coordinates."""
        cos, sin = self._turn
        turned = np.asarray(points) @ np.array([[cos, sin], [-sin, cos]])
        return turned * self.view.zoom - (self._right[0] * self.view.zoom, self._below[0] * self.view.zoom)

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

    def picture(self, grain: np.ndarray, blur: float = 0.0) -> np.ndarray:
        """The sheet as RGB of full size (450, 600, 3) uint8.

        Parameters
        ----------
        grain : (450, 600, 3) uint8, what lies too fine for the sheet: multiplied in, 256 for 1.
        blur : how far out of focus the sheet (not the grain) is, in sheet pixels from 0 to 1.
        """
        light = np.exp(-np.maximum(self.density, 0.0))
        if blur > 0:
            light = _softened(_softened(light, blur).swapaxes(1, 2), blur).swapaxes(1, 2)
        light *= np.float32(_BRIGHTEST)
        sheet = np.pad(light.astype(np.uint16), ((0, 0), (1, 1), (0, 0)), mode="edge")
        rgb = np.empty((HEIGHT, WIDTH, 3), dtype=np.uint8)
        for top in range(0, SHEET[0], _STRIP):
            strip = enlarged(sheet[:, top : top + _STRIP + 2])[2:-2]
            place = slice(2 * top, 2 * (top + _STRIP))
            strip >>= 8
            strip *= grain[place]
            np.right_shift(strip, 8, out=rgb[place], casting="unsafe")
        return rgb


_STRIP = 25  # rows at a time: what stays in the processor's cache is done in two thirds of the time
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
    wide = np.empty((rows, 2 * columns, count), dtype=np.uint16)
    halves = np.empty((2, *planes.shape), dtype=np.uint16)
    _between(planes.transpose(2, 0, 1), *halves.transpose(0, 3, 1, 2))
    for side, half in enumerate(halves):
        for place, plane in enumerate(half):
            wide[:, side::2, place] = plane
    tall = np.empty((2 * rows, 2 * columns * count), dtype=np.uint16)
    _between(wide.reshape(rows, -1), tall[0::2], tall[1::2])
    return tall.reshape(2 * rows, 2 * columns, count)


def _between(lines: np.ndarray, before: np.ndarray, after: np.ndarray) -> None:
    """4 × the values a quarter of the way from each line (first axis) to the one before it, and to the one after."""
    threefold = 3 * lines
    np.add(threefold[1:], lines[:-1], out=before[1:])
    np.add(threefold[:-1], lines[1:], out=after[:-1])
    before[0], after[-1] = 4 * lines[0], 4 * lines[-1]

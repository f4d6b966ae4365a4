"""What is a lesion painted on: a half-size sheet of optical density, seen through one view of the lesion?

Colour is kept as optical density (-ln of the reflected share), so that pigments add as they do in skin
(Beer–Lambert), and is turned into RGB once at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from melascope.data.sources.phantom.noise import CELL, cells, cloud, look_up, tile_index

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
    """The sheet while it is painted.

    Attributes
    ----------
    x, y : (rows, columns) float32, coordinates of each sheet pixel on the lesion, in sheet pixels at zoom 1.
    density : (3, rows, columns) float32, optical density in red, green and blue.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        rows, columns = SHEET
        px = np.arange(columns, dtype=np.float32)[None, :] - np.float32(columns / 2 + view.shift_x)
        py = np.arange(rows, dtype=np.float32)[:, None] - np.float32(rows / 2 + view.shift_y)
        cos, sin = (np.float32(f(view.rotation) / view.zoom) for f in (np.cos, np.sin))
        self.x, self.y = cos * px + sin * py, cos * py - sin * px
        self.density = np.zeros((3, rows, columns), dtype=np.float32)

    def add(self, pigment: Pigment, amount: np.ndarray) -> None:
        """Add `amount` (rows, columns) units of `pigment`; a negative amount takes it away."""
        for channel, per_unit in zip(self.density, pigment, strict=True):
            channel += np.float32(per_unit) * amount

    def cover(self, colour: tuple[float, float, float], share: np.ndarray) -> None:
        """Let a veil of RGB `colour` (0–255) cover `share` (rows, columns; 0–1) of what lies below."""
        for channel, value in zip(self.density, colour, strict=True):
            channel += share * (np.float32(-np.log(value / 255.0)) - channel)

    def clouds(self, rng: np.random.Generator, size: float = 1.0) -> np.ndarray:
        """A soft random field (rows, columns), unit variance; `size` stretches its features (1: about 40 pixels)."""
        index, offset = int(rng.integers(3)), tuple(rng.uniform(0, 512, 2))
        return self.texture(cloud(index), size, offset)

    def texture(self, tile: np.ndarray, size: float, offset: tuple[float, float], bend: float = 0.0) -> np.ndarray:
        """Any tile seen in lesion coordinates, stretched by `size`, displaced by up to about `bend` tile pixels."""
        return look_up(tile, self._index(size, offset, bend))

    def honeycomb(
        self, cell: float, offset: tuple[float, float], bend: float = 4.0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`noise.cells` seen in lesion coordinates: wall and core distance in cell widths, and each cell's chance."""
        index = self._index(cell / CELL, offset, bend)
        wall, core, chance = (look_up(tile, index) for tile in cells())
        return wall, core, chance

    def _index(self, size: float, offset: tuple[float, float], bend: float) -> np.ndarray:
        scale = np.float32(1.0 / size)
        x, y = self.x * scale, self.y * scale
        if bend:
            shake = tile_index(self.x, self.y, offset)
            x = x + np.float32(bend) * look_up(cloud(0), shake)
            y = y + np.float32(bend) * look_up(cloud(1), shake)
        return tile_index(x, y, offset)

    def strokes(self, lines: Iterable[tuple[np.ndarray, float]]) -> np.ndarray:
        """Draw lines, given as (points (n, 2) in lesion coordinates, width in sheet pixels): coverage 0–1."""
        image, draw = self._drawing()
        for points, width in lines:
            xy = [tuple(point) for point in self._to_drawing(points)]
            draw.line(xy, fill=255, width=max(1, round(2 * width * self.view.zoom)), joint="curve")
        return self._coverage(image)

    def discs(self, centres: np.ndarray, radii: np.ndarray, shades: np.ndarray | None = None) -> np.ndarray:
        """Draw discs of `radii` (n,) at `centres` (n, 2), each in its shade 0–1 (default 1): coverage 0–1."""
        image, draw = self._drawing()
        levels = np.ones(len(radii)) if shades is None else shades
        for (x, y), radius, level in zip(self._to_drawing(centres), radii, levels, strict=True):
            r = max(2 * radius * self.view.zoom, 0.8)
            draw.ellipse((x - r, y - r, x + r, y + r), fill=round(255 * float(level)))
        return self._coverage(image)

    def at(self, field: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Value of a sheet field at points (n, 2) in lesion coordinates; the nearest edge pixel outside the sheet."""
        columns, rows = np.round(self._to_drawing(points).T / 2).astype(int)
        return field[np.clip(rows, 0, SHEET[0] - 1), np.clip(columns, 0, SHEET[1] - 1)]

    def _to_drawing(self, points: np.ndarray) -> np.ndarray:
        view = self.view
        points = np.asarray(points, dtype=np.float64) * view.zoom
        cos, sin = np.cos(view.rotation), np.sin(view.rotation)
        columns = cos * points[:, 0] - sin * points[:, 1] + SHEET[1] / 2 + view.shift_x
        rows = sin * points[:, 0] + cos * points[:, 1] + SHEET[0] / 2 + view.shift_y
        return 2.0 * np.stack([columns, rows], axis=1)

    @staticmethod
    def _drawing() -> tuple[Image.Image, ImageDraw.ImageDraw]:
        image = Image.new("L", (2 * SHEET[1], 2 * SHEET[0]))
        return image, ImageDraw.Draw(image)

    @staticmethod
    def _coverage(image: Image.Image) -> np.ndarray:
        # Drawn twice as large and averaged: Pillow's own lines have no smooth edges.
        return np.asarray(image.reduce(2), dtype=np.float32) * np.float32(1 / 255)

    def picture(self) -> Image.Image:
        """The sheet as an RGB image of full size."""
        light = np.exp(-np.maximum(self.density, 0.0)) * np.float32(255)
        sheet = Image.fromarray(np.ascontiguousarray(light.astype(np.uint8).transpose(1, 2, 0)))
        return sheet.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)

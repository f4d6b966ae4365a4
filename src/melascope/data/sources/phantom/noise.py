"""Which endless textures is the phantom painted from, and how are they looked up quickly?

Each texture is a periodic tile, computed once a process from a fixed key (the generator's version, not the
user's seed) and read by index: an image then costs look-ups instead of filters. A tile is stored twice as high as its
period, so that one index serves every offset: the offset only moves where the tile begins.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import fft
from scipy.spatial import cKDTree

TILE_BITS = 9
TILE = 1 << TILE_BITS
"""Period of a tile in tile pixels; a power of two, so that wrapping is a bit mask."""

FINE_BITS = 16
"""`tile_index` reads whole numbers of 2**-FINE_BITS tile pixels."""

_LEVEL = np.float32(1 / 4096)  # of a stored value: ±8 in 16 bits, and half as much to fetch as float32
_SKIN_TILE = 1024
_CELL_COUNT = 24

CELL = TILE / _CELL_COUNT
"""Width of a honeycomb cell in tile pixels."""

Offset = tuple[int, int]
"""Column and row of a tile, each in [0, TILE)."""


class Cells(NamedTuple):
    """A honeycomb's tiles, each of period TILE.

    Parameters
    ----------
    wall : distance to the nearest wall, 0 on the wall, in cell widths.
    core : distance to the cell's centre, in cell widths.
    chance : one number in [0, 1) a cell: its own size, colour or absence.
    """

    wall: np.ndarray
    core: np.ndarray
    chance: np.ndarray


_TEXTURE_KEY = 20261  # changes only together with `release.GENERATOR_VERSION`


def _band_noise(side: int, low: float, high: float, slope: float, key: int, stretch: float = 1.0) -> np.ndarray:
    """Periodic Gaussian noise (side, side), mean 0 and variance 1, with wavelengths between `low` and `high` pixels."""
    rng = np.random.default_rng([_TEXTURE_KEY, key])
    fy = (fft.fftfreq(side)[:, None] * stretch).astype(np.float32)
    fx = fft.rfftfreq(side)[None, :].astype(np.float32)
    frequency = np.hypot(fx, fy)
    frequency[0, 0] = 1.0
    amplitude = frequency**-slope * np.exp(-((frequency * low) ** 2)) * (1 - np.exp(-((frequency * high) ** 4)))
    white = rng.standard_normal((side, side), dtype=np.float32)
    field = fft.irfft2(fft.rfft2(white) * amplitude, s=(side, side))
    return ((field - field.mean()) / field.std()).astype(np.float32)


def _endless(tile: np.ndarray) -> np.ndarray:
    """A tile (TILE, TILE) as it is stored: two periods high, and flat, int16.

    Right of its last column comes the first, one row lower: a seam of one tile pixel, far too fine to be seen.
    """
    return np.rint(np.concatenate([tile, tile, tile[:1]]).ravel() / _LEVEL).astype(np.int16)


@cache
def cloud(index: int) -> np.ndarray:
    """Soft cloud `index`, unit variance: shapes, blotches, uneven pigment."""
    return _endless(_band_noise(TILE, 7.0, 190.0, 1.7, key=100 + index))


@cache
def rough(index: int) -> np.ndarray:
    """Rough cloud `index`, unit variance, down to 3 pixels: crust, scale, granular peppering."""
    return _endless(_band_noise(TILE, 2.0, 40.0, 0.8, key=200 + index))


@cache
def ridges() -> np.ndarray:
    """Winding bands, unit variance, wavelength about 22 pixels: gyri and sulci, fingerprint lines."""
    return _endless(_band_noise(TILE, 27.0, 30.0, -3.0, key=300))


@cache
def cells() -> Cells:
    """A honeycomb of 24 × 24 uneven cells (each about `CELL` tile pixels wide)."""
    rng = np.random.default_rng([_TEXTURE_KEY, 400])
    rows, columns = np.mgrid[:_CELL_COUNT, :_CELL_COUNT]
    centres = np.stack([rows + 0.25 + 0.5 * (columns % 2), columns + 0.5], axis=-1).reshape(-1, 2)
    centres = (centres + rng.uniform(-0.40, 0.40, centres.shape)) * CELL % TILE
    pixels = np.stack(np.mgrid[:TILE, :TILE], axis=-1).reshape(-1, 2) + 0.5
    distance, nearest = cKDTree(centres, boxsize=TILE).query(pixels, k=2)
    wall = (distance[:, 1] - distance[:, 0]) / (2 * CELL)
    chance = rng.permutation(len(centres))[nearest[:, 0]] / len(centres)
    return Cells(*(_endless(field.reshape(TILE, TILE)) for field in (wall, distance[:, 0] / CELL, chance)))


@cache
def skin_grain(index: int) -> np.ndarray:
    """Fine skin surface `index` (1024, 1024, 3) uint8 around 240, to be multiplied in at full size.

    Furrows criss-cross in two directions, pores and sensor grain lie over them; the colour channels differ a little.
    """
    side = _SKIN_TILE
    across = _band_noise(side, 2.2, 16.0, 0.5, key=500 + 10 * index, stretch=2.6)
    along = _band_noise(side, 2.2, 16.0, 0.5, key=501 + 10 * index, stretch=2.6).T
    furrows = np.exp(-((across / 0.16) ** 2)) + np.exp(-((along / 0.16) ** 2))
    soft = _band_noise(side, 3.0, 40.0, 0.6, key=502 + 10 * index)
    grain = _band_noise(side, 0.9, 6.0, 0.0, key=503 + 10 * index)
    strength = (0.4, 1.0, 1.6)[index % 3]
    light = 238.0 - strength * 7.0 * furrows + 2.4 * soft + 2.2 * grain
    rng = np.random.default_rng([_TEXTURE_KEY, 504 + 10 * index])
    speckle = rng.standard_normal((side, side, 3), dtype=np.float32)
    colour = speckle + soft[..., None] * np.array([0.0, 0.6, 0.5], dtype=np.float32)
    return np.clip(light[..., None] + colour, 0, 255).astype(np.uint8)


def look_up(tile: np.ndarray, index: np.ndarray, offset: Offset = (0, 0)) -> np.ndarray:
    """`tile`, moved by `offset`, at a flat index made by `tile_index`; same shape as the index."""
    start = (offset[1] << TILE_BITS) + offset[0]
    return tile[start:].take(index, mode="wrap") * _LEVEL  # "wrap" only because it is faster than "raise"


def tile_index(column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Flat index into a tile of points given in 2**-FINE_BITS tile pixels (int32), wrapped at the period.

    Whole numbers, because they wrap by a bit mask and are floored by a shift. Both arrays are used up.
    """
    column >>= FINE_BITS
    column &= TILE - 1
    row >>= FINE_BITS - TILE_BITS
    row &= (TILE - 1) << TILE_BITS
    row |= column
    return row.astype(np.intp)


def random_offset(rng: np.random.Generator) -> Offset:
    """A place in a tile at which to begin: column and row, whole tile pixels."""
    return int(rng.uniform(0, TILE)), int(rng.uniform(0, TILE))


def smooth_step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, a cubic between (Perlin 1985)."""
    t = values * np.float32(1.0 / (high - low))
    t -= np.float32(low / (high - low))
    np.minimum(np.maximum(t, 0.0, out=t), 1.0, out=t)
    share = np.float32(-2.0) * t
    share += np.float32(3.0)
    share *= t
    share *= t
    return share

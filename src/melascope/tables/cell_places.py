"""Where on a picture do the cells of a map lie? Not always side by side from edge to edge, as they are often drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

RECEPTIVE_FIELD = "middle of the receptive field"
PATCHES = "patches of the input"
PIXELS = "pixels of the input"
NOT_KNOWN = "not known; drawn side by side"


@dataclass(frozen=True)
class CellPlaces:
    """Where the middle of each cell of a map lies, beside a grid that fills the picture evenly.

    A strided convolution of odd size, padded on both sides, centres its cell i on pixel i · stride, not in the middle
    of the stride: after five of them a map of cells of 32 px that is drawn evenly lies 15.5 px too far right and down.
    Lengths are in *even cells*: the picture's height / rows, and its width / columns.

    Parameters
    ----------
    offset : (y, x) from where the first cell would lie evenly to where it lies; negative: up, left
    pitch : (y, x) from one cell to the next; 1 unless the input's size is no multiple of the stride
    source : how that is known
    """

    offset: tuple[float, float] = (0.0, 0.0)
    pitch: tuple[float, float] = (1.0, 1.0)
    source: str = NOT_KNOWN

    def __post_init__(self) -> None:
        if not np.isfinite([*self.offset, *self.pitch]).all() or min(self.pitch) <= 0:
            raise ValueError(f"cells at {self.offset} by {self.pitch}: finite numbers, and a pitch above 0 are needed")

    @classmethod
    def of_pixels(
        cls,
        first: tuple[float, float],
        step: tuple[float, float],
        grid: tuple[int, int],
        size: tuple[int, int],
        source: str,
    ) -> CellPlaces:
        """From pixels of the input, each (y, x).

        Parameters
        ----------
        first : middle of the first cell, from the input's edge; the middle of the first pixel is 0.5
        step : from one cell to the next
        grid : cells
        size : of the input
        """
        even = [side / cells for side, cells in zip(size, grid, strict=True)]
        offset = [at / cell - 0.5 for at, cell in zip(first, even, strict=True)]
        return cls(tuple(offset), tuple(one / cell for one, cell in zip(step, even, strict=True)), source)

    @property
    def is_known(self) -> bool:
        return self.source != NOT_KNOWN

    def cell_at(self, pixels: int, cells: int, axis: int) -> np.ndarray:
        """(pixels,) float64: on which cell, or how far between two, each pixel of a line lies; axis 0 is y, 1 is x."""
        even = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
        return (even - self.offset[axis]) / self.pitch[axis]

    def share_at(self, cells: int, axis: int) -> np.ndarray:
        """(cells,) float64: middles of the cells as shares of the picture's side."""
        return (np.arange(cells) * self.pitch[axis] + self.offset[axis] + 0.5) / cells

    def as_json(self) -> dict[str, Any]:
        """For a manifest; `from_json` reads it."""
        return {"offset_y_x": list(self.offset), "pitch_y_x": list(self.pitch), "source": self.source}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> CellPlaces:
        """What `as_json` wrote; not known where a file of before says nothing."""
        if value is None:
            return cls()
        (y, x), (down, across) = value["offset_y_x"], value["pitch_y_x"]
        return cls((float(y), float(x)), (float(down), float(across)), str(value["source"]))


UNKNOWN = CellPlaces()
"""Drawn as `EVEN`, and said to be so."""

EVEN = CellPlaces(source="side by side from edge to edge")
"""Of what fills a picture evenly."""

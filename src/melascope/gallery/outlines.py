"""How does a page know where the lesion ends, without a second picture?

A mask becomes closed polygons: marching squares at the half (contourpy), thinned as matplotlib thins the lines of a
plot, and written as the path of an SVG drawing.
"""

from __future__ import annotations

import numpy as np
from contourpy import contour_generator
from matplotlib.path import Path
from PIL import Image

GRID = 300
"""A mask is traced at this many pixels on its longer side: half of what a page shows."""

WIDTH, HEIGHT = 600, 450
"""Of the drawing that an outline stands in; a page stretches it over the picture, whatever its shape."""

TOLERANCE = 0.75
"""How far a thinned line may lie from the traced one, in pixels of the grid."""


def outline_path(mask: np.ndarray) -> str:
    """Outline of a lesion as an SVG path in a drawing of `WIDTH` × `HEIGHT`; empty for an empty mask.

    Parameters
    ----------
    mask : (height, width) bool, of the picture's field of view, at any size
    """
    sized = sized_mask(mask)
    rows, columns = np.flatnonzero(sized.any(axis=1)), np.flatnonzero(sized.any(axis=0))
    if not len(rows):
        return ""
    (top, bottom), (left, right) = rows[[0, -1]], columns[[0, -1]]
    # a frame of background closes the line of a lesion that the picture's edge cuts
    framed = np.pad(sized[top : bottom + 1, left : right + 1], 1).astype(np.float64)
    corner, factor = np.array([left - 0.5, top - 0.5]), np.array([WIDTH / sized.shape[1], HEIGHT / sized.shape[0]])
    lines = contour_generator(z=framed).lines(0.5)
    return "".join(_as_path((_thinned(line) + corner) * factor) for line in lines)


def sized_mask(mask: np.ndarray) -> np.ndarray:
    """The mask with its longer side at `GRID` pixels: enlarged as well, so that a coarse one keeps its corners."""
    factor = GRID / max(mask.shape)
    size = max(1, round(mask.shape[1] * factor)), max(1, round(mask.shape[0] * factor))
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def _thinned(line: np.ndarray) -> np.ndarray:
    """A line (n, 2) with fewer points, everywhere within `TOLERANCE` of it."""
    path = Path(line)
    path.should_simplify, path.simplify_threshold = True, TOLERANCE
    cleaned = path.cleaned(simplify=True)
    return cleaned.vertices[cleaned.codes != Path.STOP]


def _as_path(points: np.ndarray) -> str:
    whole = np.clip(np.rint(points), 0, [WIDTH, HEIGHT]).astype(int)
    whole = whole[np.append(True, (np.diff(whole, axis=0) != 0).any(axis=1))]
    if (whole[0] == whole[-1]).all():
        whole = whole[:-1]
    return "M" + "L".join(f"{x} {y}" for x, y in whole.tolist()) + "Z" if len(whole) > 2 else ""

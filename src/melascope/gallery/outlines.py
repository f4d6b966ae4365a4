"""How does a page know where the lesion ends, without a second picture?

A mask becomes closed polygons: marching squares at the half (contourpy), then thinned by Douglas & Peucker 1973
("Algorithms for the reduction of the number of points"), written as the path of an SVG drawing.
"""

from __future__ import annotations

import numpy as np
from contourpy import contour_generator
from PIL import Image

GRID = 300
"""A mask is traced at this many pixels on its longer side: half of what a page shows."""

TOLERANCE = 0.75
"""How far a thinned line may lie from the traced one, in pixels of the grid."""


def outline_path(mask: np.ndarray, width: int, height: int) -> str:
    """Outline of a lesion as an SVG path in the pixels of a picture; empty for an empty mask.

    Parameters
    ----------
    mask : (mask_height, mask_width) bool, of the picture's field of view, at any size
    width, height : of the picture, in pixels
    """
    sized = _sized(mask)
    # a frame of background closes the line of a lesion that the picture's edge cuts
    framed = np.pad(sized, 1).astype(np.float32)
    lines = contour_generator(z=framed).lines(0.5)
    factor = np.array([width / sized.shape[1], height / sized.shape[0]])
    return "".join(_as_path((thinned(line, TOLERANCE) - 0.5) * factor, width, height) for line in lines)


def _sized(mask: np.ndarray) -> np.ndarray:
    """The mask with its longer side at `GRID` pixels: enlarged as well, so that a coarse one keeps its corners."""
    factor = GRID / max(mask.shape)
    size = max(1, round(mask.shape[1] * factor)), max(1, round(mask.shape[0] * factor))
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def thinned(line: np.ndarray, tolerance: float) -> np.ndarray:
    """A line (n, 2) with only the points that keep it within `tolerance` of all points; its ends stay."""
    keep = np.zeros(len(line), dtype=bool)
    keep[[0, -1]] = True
    if len(line) > 3 and (line[0] == line[-1]).all():  # closed: its ends are one point, so halve it at the farthest
        middle = int(((line - line[0]) ** 2).sum(axis=1).argmax())
        keep[middle] = True
        spans = [(0, middle), (middle, len(line) - 1)]
    else:
        spans = [(0, len(line) - 1)]
    while spans:
        start, end = spans.pop()
        if end - start < 2:
            continue
        apart = _distance(line[start + 1 : end], line[start], line[end])
        farthest = int(apart.argmax())
        if apart[farthest] > tolerance:
            place = start + 1 + farthest
            keep[place] = True
            spans += [(start, place), (place, end)]
    return line[keep]


def _distance(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distance (n,) of points (n, 2) from the segment between two others."""
    along = end - start
    squared = float(along @ along)
    if squared == 0:
        return np.hypot(*(points - start).T)
    share = np.clip((points - start) @ along / squared, 0, 1)
    return np.hypot(*(points - (start + share[:, None] * along)).T)


def _as_path(points: np.ndarray, width: int, height: int) -> str:
    whole = np.clip(np.rint(points), 0, [width, height]).astype(int)
    if (whole[0] == whole[-1]).all():
        whole = whole[:-1]
    return "M" + "L".join(f"{x} {y}" for x, y in whole) + "Z" if len(whole) > 2 else ""

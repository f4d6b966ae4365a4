"""Does the drawn outline enclose what the mask marks?"""

from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.path import Path as Polygon

from melascope.gallery.outlines import outline_path


def enclosed(path: str, width: int, height: int) -> np.ndarray:
    """(height, width) bool: pixels whose centre lies inside an odd number of the path's polygons."""
    centres = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1).reshape(-1, 2)
    inside = np.zeros(len(centres), dtype=bool)
    for polygon in re.findall(r"M([^Z]+)Z", path):
        points = np.array([[int(n) for n in point.split()] for point in polygon.split("L")])
        inside ^= Polygon(np.vstack([points, points[:1]])).contains_points(centres)
    return inside.reshape(height, width)


def ellipse(height, width, x, y, a, b):
    rows, columns = np.mgrid[:height, :width]
    return ((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 < 1


@pytest.mark.parametrize(
    "mask",
    [
        ellipse(450, 600, 300, 225, 180, 90),
        ellipse(450, 600, 20, 440, 150, 120),  # cut by the picture's edge
        ellipse(450, 600, 150, 225, 90, 90) | ellipse(450, 600, 450, 225, 40, 90),  # two parts
        ellipse(450, 600, 300, 225, 200, 180) & ~ellipse(450, 600, 300, 225, 60, 60),  # a hole
        ellipse(150, 200, 100, 75, 60, 30),  # a smaller mask than its picture
        np.ones((45, 60), dtype=bool),
    ],
)
def test_the_outline_encloses_the_mask(mask):
    found = enclosed(outline_path(mask), 600, 450)
    rows = (np.arange(450) * 2 + 1) * mask.shape[0] // 900
    columns = (np.arange(600) * 2 + 1) * mask.shape[1] // 1200
    truth = mask[np.ix_(rows, columns)]
    assert (found & truth).sum() / (found | truth).sum() > 0.97


def test_an_empty_mask_has_no_outline():
    assert outline_path(np.zeros((45, 60), dtype=bool)) == ""


def test_the_outline_is_short_and_lies_near_the_edge():
    mask = ellipse(450, 600, 300, 225, 180, 90)
    path = outline_path(mask)
    assert len(path) < 1200 and re.fullmatch(r"(M\d+ \d+(L\d+ \d+)+Z)+", path)
    points = np.array([[int(n) for n in point.split()] for point in path[1:-1].split("L")])
    away = np.hypot((points[:, 0] - 300) / 180, (points[:, 1] - 225) / 90) - 1
    assert np.abs(away).max() * 90 < 4

"""Does the drawn outline enclose what the mask marks?"""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.path import Path as Polygon

from melascope.gallery.outlines import TOLERANCE, outline_path, thinned


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
    found = enclosed(outline_path(mask, 600, 450), 600, 450)
    rows = (np.arange(450) * 2 + 1) * mask.shape[0] // 900
    columns = (np.arange(600) * 2 + 1) * mask.shape[1] // 1200
    truth = mask[np.ix_(rows, columns)]
    assert (found & truth).sum() / (found | truth).sum() > 0.97


def test_an_empty_mask_has_no_outline():
    assert outline_path(np.zeros((45, 60), dtype=bool), 600, 450) == ""


def test_the_outline_is_short_and_every_traced_point_lies_near_it():
    path = outline_path(ellipse(450, 600, 300, 225, 180, 90), 600, 450)
    assert len(path) < 500 and re.fullmatch(r"(M\d+ \d+(L\d+ \d+)+Z)+", path)
    angle = np.linspace(0, 2 * np.pi, 400)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 100
    circle[-1] = circle[0]
    kept = thinned(circle, TOLERANCE)
    assert len(kept) < 60
    fine = np.concatenate([np.linspace(a, b, 50) for a, b in pairwise(kept)])
    assert max(np.hypot(*(fine - point).T).min() for point in circle) < TOLERANCE + 0.2


def test_a_straight_line_keeps_its_ends_alone():
    assert len(thinned(np.stack([np.arange(50.0), np.arange(50.0)], axis=1), 0.1)) == 2

"""How much of a map lies on the lesion, beside how much of the picture the lesion covers?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from melascope.errors import ExplainError
from melascope.explain.overlay import positive_part, upsample_map
from melascope.tables.results import NotApplicable

_TIE = 1e-5  # share of the maximum: pixels that differ by less differ by rounding only


@dataclass(frozen=True)
class MapScore:
    """A map against a lesion mask. A map that ignores the picture would put `area_share` of itself inside.

    Parameters
    ----------
    share_inside : share of the map's positive evidence that lies inside the lesion (energy-based pointing game,
        Wang et al. 2020, "Score-CAM", sec. 4.2)
    area_share : share of the picture's pixels that the lesion covers
    peak_inside : whether the map's highest pixels all lie inside (pointing game, Zhang et al. 2018, sec. 4.1)
    peak_share : share of those tied highest pixels that lie inside
    peak_xy : (x, y) in pixels of the mask, the tied pixel nearest to their middle; None without positive evidence
    """

    share_inside: float | NotApplicable
    area_share: float
    peak_inside: bool | NotApplicable
    peak_share: float | NotApplicable
    peak_xy: tuple[int, int] | None


def score_map(values: np.ndarray, mask: np.ndarray) -> MapScore:
    """Score the positive part of a map, upsampled to the mask's size.

    Parameters
    ----------
    values : (map_height, map_width) signed
    mask : (height, width) bool, True on the lesion

    Returns
    -------
    score : figures that are not defined (no positive evidence; a mask that is empty or full) say so
    """
    if mask.dtype != bool or mask.ndim != 2 or mask.size == 0:
        raise ExplainError(f"The mask is {mask.dtype} {mask.shape}.", expected="bool (height, width)")
    height, width = mask.shape
    area_share = float(mask.mean())
    evidence = upsample_map(positive_part(values), width, height)
    highest = float(evidence.max())
    if highest == 0:
        nothing = NotApplicable("no positive evidence")
        return MapScore(nothing, area_share, nothing, nothing, None)
    tied = evidence >= highest * (1 - _TIE)
    peak_xy = _nearest_to_middle(tied)
    if area_share in (0, 1):
        no_sides = NotApplicable("the mask is empty" if area_share == 0 else "the mask covers the whole picture")
        return MapScore(no_sides, area_share, no_sides, no_sides, peak_xy)
    share_inside = float(evidence[mask].sum(dtype=np.float64) / evidence.sum(dtype=np.float64))
    peak_share = float(mask[tied].mean())
    return MapScore(share_inside, area_share, peak_share == 1, peak_share, peak_xy)


def _nearest_to_middle(tied: np.ndarray) -> tuple[int, int]:
    """(x, y) of the True pixel nearest to the mean place of all: one that is itself among the highest."""
    rows, columns = np.nonzero(tied)
    away = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    nearest = int(away.argmin())
    return int(columns[nearest]), int(rows[nearest])

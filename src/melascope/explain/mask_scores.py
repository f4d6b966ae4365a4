"""How much of a map lies on the lesion, beside how much a map that ignores the picture would put there?

Two baselines: the lesion's share of the picture (a map that knows nothing), and a Gaussian in the picture's middle (one
that knows how dermatoscopes are aimed).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from melascope.errors import ExplainError
from melascope.explain.overlay import positive_part, upsample_map
from melascope.tables.cell_places import EVEN, CellPlaces
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
    matched_iou : intersection over union of the lesion and the map's highest pixels, as many as the lesion has: so no
        threshold is chosen. Where pixels tie at the last place, the mean over all ways to break the tie
    """

    share_inside: float | NotApplicable
    area_share: float
    peak_inside: bool | NotApplicable
    peak_share: float | NotApplicable
    peak_xy: tuple[int, int] | None
    matched_iou: float | NotApplicable


def score_map(values: np.ndarray, mask: np.ndarray, places: CellPlaces = EVEN) -> MapScore:
    """Score the positive part of a map, upsampled to the mask's size.

    Parameters
    ----------
    values : (map_height, map_width) signed
    mask : (height, width) bool, True on the lesion
    places : where the map's cells lie

    Returns
    -------
    score : figures that are not defined (no positive evidence; a mask that is empty or full) say so
    """
    if mask.dtype != bool or mask.ndim != 2 or mask.size == 0:
        raise ExplainError(f"The mask is {mask.dtype} {mask.shape}.", expected="bool (height, width)")
    height, width = mask.shape
    area_share = float(mask.mean())
    evidence = upsample_map(positive_part(values), width, height, places)
    highest = float(evidence.max())
    if highest == 0:
        nothing = NotApplicable("no positive evidence")
        return MapScore(nothing, area_share, nothing, nothing, None, nothing)
    tied = evidence >= highest * (1 - _TIE)
    peak_xy = _nearest_to_middle(tied)
    if area_share in (0, 1):
        no_sides = NotApplicable("the mask is empty" if area_share == 0 else "the mask covers the whole picture")
        return MapScore(no_sides, area_share, no_sides, no_sides, peak_xy, no_sides)
    share_inside = float(evidence[mask].sum(dtype=np.float64) / evidence.sum(dtype=np.float64))
    peak_share = float(mask[tied].mean())
    return MapScore(share_inside, area_share, peak_share == 1, peak_share, peak_xy, _matched_iou(evidence, mask))


def random_map_score(area_share: float) -> tuple[float, float, float]:
    """What a map that ignores the picture gets: share inside, chance of the peak inside, IoU at matched area.

    A region of the lesion's size that is placed pixel by pixel at random meets `area_share` of the lesion.
    """
    return area_share, area_share, area_share / (2 - area_share)


def centred_gaussian(height: int, width: int, sd: float = 0.5) -> np.ndarray:
    """The map of somebody who only knows that lesions lie in the middle: (height, width), `sd` in half sides."""
    row, column = (((np.arange(side) + 0.5) / side * 2 - 1) ** 2 for side in (height, width))
    return np.exp(-(row[:, None] + column[None]) / (2 * sd**2)).astype(np.float32)


def _matched_iou(evidence: np.ndarray, mask: np.ndarray) -> float:
    size = np.count_nonzero(mask)
    lowest = np.partition(evidence, evidence.size - size, axis=None)[evidence.size - size]
    slack = _TIE * float(evidence.max())
    above, tied = evidence > lowest + slack, np.abs(evidence - lowest) <= slack
    share_of_tied = (size - np.count_nonzero(above)) / np.count_nonzero(tied)
    both = np.count_nonzero(mask & above) + share_of_tied * np.count_nonzero(mask & tied)
    return float(both / (2 * size - both))


def _nearest_to_middle(tied: np.ndarray) -> tuple[int, int]:
    """(x, y) of the True pixel nearest to the mean place of all: one that is itself among the highest."""
    rows, columns = np.divmod(np.flatnonzero(tied), tied.shape[1])
    away = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    nearest = int(away.argmin())
    return int(columns[nearest]), int(rows[nearest])

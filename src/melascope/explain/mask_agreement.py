"""How well do two masks of one lesion agree: Dice and IoU of an image, their means by class, with intervals?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from melascope.classes import CLASSES
from melascope.errors import ExplainError
from melascope.explain.lesion_means import Mean, figures_by_lesion
from melascope.tables.results import Figure

POOR = 0.5
"""Below this Dice an outline is of no use."""


@dataclass(frozen=True)
class Agreement:
    """Of a found mask with the published one.

    Parameters
    ----------
    dice : 2 |A ∩ B| / (|A| + |B|) (Dice 1945); two empty masks agree, 1
    iou : |A ∩ B| / |A ∪ B| (Jaccard 1912)
    area_share : of the picture that the found mask covers
    """

    dice: float
    iou: float
    area_share: float


def agreement_of(found: np.ndarray, mask: np.ndarray) -> Agreement:
    """Agreement of two masks (height, width) bool of one size."""
    if found.dtype != bool or mask.dtype != bool or found.shape != mask.shape:
        raise ExplainError(
            f"The masks are {found.dtype} {found.shape} and {mask.dtype} {mask.shape}.", expected="bool, of one size"
        )
    both, areas = int((found & mask).sum()), int(found.sum()) + int(mask.sum())
    if areas == 0:
        return Agreement(1.0, 1.0, 0.0)
    return Agreement(2 * both / areas, both / (areas - both), float(found.mean()))


def agreement_figures(
    found: Sequence[Agreement],
    lesion_key: np.ndarray,
    dx: np.ndarray,
    *,
    scale: str = "bounded",
    draws: int = 2000,
    seed: int = 0,
) -> dict[tuple[str, str], Figure]:
    """(group, measure) -> its mean, for all images and for each class; intervals by lesion.

    Measures are `dice`, `iou`, and `poor`, the share of images whose Dice is below `POOR`.

    Parameters
    ----------
    scale : "difference" where the Dice of another segmenter was subtracted; then only `dice` is told
    """
    dice, iou = (np.array([getattr(one, name) for one in found]) for name in ("dice", "iou"))
    asked = {}
    for group in ("all", *CLASSES):
        among = np.ones(len(dice), bool) if group == "all" else dx == group
        if not among.any():
            continue
        asked[group, "dice"] = Mean(dice, among, scale)
        if scale == "bounded":
            asked[group, "iou"] = Mean(iou, among)
            asked[group, "poor"] = Mean((dice < POOR).astype(float), among, "share")
    return figures_by_lesion(asked, lesion_key, draws=draws, seed=seed)

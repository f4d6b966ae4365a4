"""How well was a picture taken: is it sharp, well exposed, and how much of it lies in dark corners?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from melascope.data.pixels import resize_image

QUALITY_SIDE = 192
"""Longest side in pixels to which a picture is brought before it is measured: sharpness depends on size."""
BLACK, WHITE = 5, 250
"""All three channels at or below (at or above) this are clipped."""
DARK = 0.2
"""Mean of the three channels (0 … 1) under which a pixel outside the inscribed ellipse is a dark corner."""
WORST = 10
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in brightness (Rec. ITU-R BT.601)."""


@dataclass(frozen=True)
class ImageQuality:
    """Measures of one picture, at `QUALITY_SIDE`. No single bound makes a picture bad: compare within a collection.

    Parameters
    ----------
    sharpness : variance of the Laplacian of brightness in grey levels² (Pech-Pacheco et al. 2000, ICPR 3, 314);
        low is blurred or without structure, high may also be hair, noise or a ruler
    luminance : mean brightness (0 … 1) inside the inscribed ellipse
    clipped_black, clipped_white : share of the ellipse's pixels whose three channels are all at the end of the scale
    dark_corners : share of the pixels outside the ellipse that are dark: 1 for a round picture on black
    """

    sharpness: float
    luminance: float
    clipped_black: float
    clipped_white: float
    dark_corners: float


@dataclass(frozen=True)
class QualityMeasure:
    """How one measure lies over a collection.

    Parameters
    ----------
    name : field of `ImageQuality`
    worst_is : "low", "high", or "far" (from the median, either way)
    p1, median, p99 : percentiles
    worst : (image_id, value) of at most `WORST` images, worst first; none that is as good as the best
    """

    name: str
    worst_is: str
    p1: float
    median: float
    p99: float
    worst: tuple[tuple[str, float], ...]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "worst": [list(pair) for pair in self.worst]}


WORST_IS: dict[str, str] = {
    "sharpness": "low",
    "luminance": "far",
    "clipped_black": "high",
    "clipped_white": "high",
    "dark_corners": "high",
}
"""Which end of a measure is the worse one."""


def image_quality(rgb: np.ndarray) -> ImageQuality:
    """Measure one picture.

    Parameters
    ----------
    rgb : (height, width, 3) uint8, of any size
    """
    height, width = fitted_size(rgb, QUALITY_SIDE)
    small = resize_image(rgb, width, height)
    inside = _ellipse(height, width)
    luma = small @ LUMA
    seen, corners = small[inside], small[~inside]
    return ImageQuality(
        sharpness=_laplacian_variance(luma),
        luminance=float(luma[inside].mean() / 255),
        clipped_black=float((seen.max(axis=1) <= BLACK).mean()),
        clipped_white=float((seen.min(axis=1) >= WHITE).mean()),
        dark_corners=float((corners.mean(axis=1) < 255 * DARK).mean()),
    )


def quality_measures(image_id: Sequence[str], qualities: Sequence[ImageQuality]) -> tuple[QualityMeasure, ...]:
    """Percentiles and worst images of every measure; both arguments in the table's order, at least one image."""
    return tuple(
        _measure(field.name, image_id, np.array([getattr(one, field.name) for one in qualities]))
        for field in fields(ImageQuality)
    )


def fitted_size(rgb: np.ndarray, side: int) -> tuple[int, int]:
    """(height, width) with the picture's aspect and `side` as the longer one; neither under 8 pixels."""
    height, width = rgb.shape[:2]
    scale = side / max(height, width)
    return max(8, round(height * scale)), max(8, round(width * scale))


def _ellipse(height: int, width: int) -> np.ndarray:
    """(height, width) bool: inside the ellipse that touches the four sides."""
    y = (np.arange(height) + 0.5) / height * 2 - 1
    x = (np.arange(width) + 0.5) / width * 2 - 1
    return y[:, None] ** 2 + x[None] ** 2 <= 1


def _laplacian_variance(luma: np.ndarray) -> float:
    around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return float((around - 4 * luma[1:-1, 1:-1]).var())


def _measure(name: str, image_id: Sequence[str], values: np.ndarray) -> QualityMeasure:
    p1, median, p99 = (float(value) for value in np.percentile(values, [1, 50, 99]))
    badness = {"low": -values, "high": values, "far": np.abs(values - median)}[WORST_IS[name]]
    order = np.argsort(-badness, kind="stable")[:WORST]
    worst = tuple((str(image_id[row]), float(values[row])) for row in order if badness[row] > badness.min())
    return QualityMeasure(name, WORST_IS[name], p1, median, p99, worst)

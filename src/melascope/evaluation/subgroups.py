"""For whom does it work less well: which parts of the images are judged by themselves, and when is a part too small?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from melascope.evaluation.counting import lesion_numbers
from melascope.tables.predictions import Predictions
from melascope.tables.results import Figure, figures_as_json, figures_from_json

AGE_BANDS = ((0, 30, "under 30"), (30, 50, "30 to 49"), (50, 70, "50 to 69"), (70, np.inf, "70 and over"))
UNKNOWN = "unknown"

MIN_SIDE = 10
"""Lesions on each side that a comparison needs, and under a share; below, a subgroup's figure is not applicable."""


def age_band(rows: Predictions) -> np.ndarray:
    """(n,) object: band of `AGE_BANDS`."""
    band = np.full(len(rows), UNKNOWN, dtype=object)
    for low, high, name in AGE_BANDS:
        band[(rows.age >= low) & (rows.age < high)] = name
    return band


def images_of_lesion(rows: Predictions) -> np.ndarray:
    """(n,) object: whether the lesion was photographed once or several times, among these rows."""
    lesion = lesion_numbers(rows.lesion_key)
    return np.where(np.bincount(lesion)[lesion] > 1, "several", "one").astype(object)


def _known(values: np.ndarray) -> np.ndarray:
    return np.where(values == "", UNKNOWN, values)


FACTORS: dict[str, Callable[[Predictions], np.ndarray]] = {
    "sex": lambda rows: _known(rows.sex),
    "age": age_band,
    "localization": lambda rows: _known(rows.localization),
    "dx_type": lambda rows: _known(rows.dx_type),
    "source": lambda rows: _known(rows.dataset),
    "images of the lesion": images_of_lesion,
}
"""What the images are parted by: rows (n) -> value of each (n,) object. A new factor is a function and a row."""


def parts(rows: Predictions) -> Iterator[tuple[str, str, np.ndarray]]:
    """Every subgroup: factor, value and which rows it holds (n,) bool; `unknown` last, bands of age by age.

    A factor that parts nothing (one value for all rows) is left out.
    """
    bands = [name for _, _, name in AGE_BANDS]
    for factor, value_of in FACTORS.items():
        values = value_of(rows)
        found = sorted(
            set(values), key=lambda value: (value == UNKNOWN, bands.index(value) if value in bands else 0, value)
        )
        if len(found) > 1:
            yield from ((factor, value, values == value) for value in found)


@dataclass(frozen=True)
class Subgroup:
    """Figures of one part of the images; sizes come first, because they say what the figures are worth.

    Parameters
    ----------
    factor, value : e.g. "sex", "female"
    n_images, n_lesions : its size
    n_target_images, n_target_lesions : of the target classes
    figures : sensitivity and specificity of the headline's decision, per image; lesion_sensitivity; auroc of P(target)
    """

    factor: str
    value: str
    n_images: int
    n_lesions: int
    n_target_images: int
    n_target_lesions: int
    figures: dict[str, Figure]

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "figures": figures_as_json(self.figures)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Subgroup:
        return cls(**{**content, "figures": figures_from_json(content["figures"])})

"""How large is a figure on average over images, how sure is that, and how far do two groups or two maps differ?

Intervals are by lesion (`evaluation.intervals`): all images of a drawn lesion are drawn together. NaN marks an image
for which a figure is undefined; it is left out of the mean and of its n, never counted as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from melascope.evaluation.counting import totals_by_lesion
from melascope.evaluation.differences import difference_interval
from melascope.evaluation.intervals import interval, lesion_draws
from melascope.tables.results import Estimate, Figure, NotApplicable


@dataclass(frozen=True)
class Mean:
    """The mean of values of images.

    Parameters
    ----------
    values : (n,) float, NaN where undefined
    among : (n,) bool, the images of the group
    scale : "share" for values 0 or 1, "bounded" for any in [0, 1], "difference" for any in [-1, 1]
    reason : why it is undefined where no value is left
    """

    values: np.ndarray
    among: np.ndarray
    scale: str = "bounded"
    reason: str = "n=0 images"

    @property
    def counted(self) -> np.ndarray:
        return self.among & np.isfinite(self.values)


@dataclass(frozen=True)
class Difference:
    """The mean of the same values over one group less that over another; a lesion may have images in both."""

    one: Mean
    other: Mean


def figures_by_lesion(
    asked: Mapping[tuple, Mean | Difference], lesion_key: np.ndarray, *, draws: int = 2000, seed: int = 0
) -> dict[tuple, Figure]:
    """Every figure with its interval, all from the same draws of lesions.

    Parameters
    ----------
    asked : name -> what is asked
    lesion_key : (n,) object, the lesion of each image
    """
    _, lesion = np.unique(lesion_key.astype(str), return_inverse=True)
    means = {key: (one,) if isinstance(one, Mean) else (one.one, one.other) for key, one in asked.items()}
    columns = [mean for parts in means.values() for mean in parts]
    drawn = iter(_drawn(columns, lesion, draws, seed))
    return {key: _figure(parts, [next(drawn) for _ in parts], lesion) for key, parts in means.items()}


def _drawn(columns: list[Mean], lesion: np.ndarray, draws: int, seed: int) -> list[np.ndarray]:
    """(draws,) of each mean; NaN in a draw that holds none of its images."""
    n_lesions = int(lesion.max()) + 1
    sums = np.stack([totals_by_lesion(np.where(one.counted, one.values, 0), lesion, n_lesions) for one in columns], 1)
    counts = np.stack([totals_by_lesion(one.counted.astype(float), lesion, n_lesions) for one in columns], 1)
    blocks = []
    for weights in lesion_draws(n_lesions, draws, seed):
        n = weights @ counts
        blocks.append(np.divide(weights @ sums, n, out=np.full(n.shape, np.nan), where=n > 0))
    return list(np.concatenate(blocks).T)


def _figure(parts: tuple[Mean, ...], drawn: list[np.ndarray], lesion: np.ndarray) -> Figure:
    for part in parts:
        if not part.counted.any():
            return NotApplicable(part.reason)
    sizes = [len(np.unique(lesion[part.counted])) for part in parts]
    values = [float(part.values[part.counted].mean()) for part in parts]
    n = [int(part.counted.sum()) for part in parts]
    if len(parts) == 2:
        value = values[0] - values[1]
        if parts[0].scale == "share":
            ends = _newcombe(values, [_ends_of_share(*one) for one in zip(values, drawn, n, sizes, strict=True)])
        else:
            ends = difference_interval(value, drawn[0] - drawn[1], min(sizes))
        shown = np.count_nonzero(np.bincount(lesion[parts[0].counted | parts[1].counted]))
        return Estimate(value, *(ends or (None, None)), sum(n), int(shown))
    (value,), (n_lesions,) = values, sizes
    if parts[0].scale == "difference":
        ends = difference_interval(value, drawn[0], n_lesions)
    else:
        ends = interval(value, drawn[0], n_lesions, is_share=parts[0].scale == "share", n=n[0])
    return Estimate(value, *(ends or (None, None)), n[0], n_lesions)


def _ends_of_share(value: float, drawn: np.ndarray, n: int, n_lesions: int) -> tuple[float, float] | None:
    return interval(value, drawn, n_lesions, is_share=True, n=n)


def _newcombe(shares: list[float], ends: list[tuple[float, float] | None]) -> tuple[float, float] | None:
    """Interval of a difference of two groups' shares from each one's (Newcombe 1998, Stat. Med. 17, 873, method 10).

    It keeps its width where a share is 0 or 1, whose draws do not vary.
    """
    if None in ends:
        return None
    (one, other), ((low, high), (other_low, other_high)) = shares, ends
    below, above = np.hypot(one - low, other_high - other), np.hypot(high - one, other - other_low)
    return float(one - other - below), float(one - other + above)

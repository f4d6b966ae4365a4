"""Does the model need what a map calls important? Pixels are removed in the map's order, and the model is asked again.

- *Deletion* and *insertion* (Petsiuk et al. 2018, "RISE", sec. 4.3): the area under P(class) while the most important
  pixels are removed first (low is faithful), or put back first (high is faithful). What stands in place of a removed
  pixel matters: here the blurred picture, and the mean skin.
- *ROAD* (Rong et al. 2022): the same orders with noisy linear imputation (`imputation.py`), which hides the removed
  region's outline. The figure is P(class) with the least important pixels removed less P(class) with the most
  important removed, averaged over the shares (their LeRF and MoRF; the difference as in pytorch-grad-cam's
  `ROADCombined`, without its factor 1/2). High is faithful.

Every figure also stands for two controls of the same picture: a *random map* with exactly the same values and nearly
the same smoothness (amplitude-adjusted Fourier surrogate: Theiler et al. 1992, Physica D 58, 77), and a Gaussian in the
middle, since lesions are where the dermatoscope is aimed. A map that does not beat them explains nothing of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from melascope.errors import ExplainError
from melascope.explain.answers import Scorer
from melascope.explain.edits import blurred, skin_colour
from melascope.explain.imputation import imputed
from melascope.explain.mask_scores import centred_gaussian
from melascope.explain.overlay import upsample_map
from melascope.tables.cell_places import EVEN, CellPlaces
from melascope.tables.probabilities import probabilities_from_logits

STEPS = 8
"""Shares removed: 1/8, 2/8 … 7/8, and the whole picture where the fill allows it."""

RANKED_BY = ("map", "random map", "centred Gaussian")
FILLS = ("blurred", "mean skin", "imputed")
ORDERS = ("most", "least")
"""Important pixels removed first."""


@dataclass(frozen=True)
class Case:
    """One picture, the map that is tested, and the class that it is of.

    Parameters
    ----------
    pixels : (height, width, 3) uint8, as the model sees it
    values : (map_height, map_width) signed
    lesion : (height, width) bool, for the mean colour of the skin
    column : of the class in the logits
    key : of the random generator
    places : where the map's cells lie
    """

    pixels: np.ndarray
    values: np.ndarray
    lesion: np.ndarray
    column: int
    key: list[int]
    places: CellPlaces = EVEN


def curves(scorer: Scorer, cases: Sequence[Case], *, steps: int = STEPS, temperature: float = 1.0) -> np.ndarray:
    """P(class) while pixels are removed.

    Parameters
    ----------
    scorer : (n, height, width, 3) uint8 -> logits (n, 7)
    cases : all asked in one call of the scorer: 3 + 18 (steps - 1) pictures each

    Returns
    -------
    p : (n_cases, 3 of `RANKED_BY`, 3 of `FILLS`, 2 of `ORDERS`, steps + 1) float64, at 0, 1/steps … 1 removed; NaN
        where the fill cannot replace a whole picture, and everywhere for a map without any order (all values equal)
    """
    if steps < 2:
        raise ExplainError(f"There are {steps} steps.", expected="at least 2")
    pictures = [_pictures(case, steps) for case in cases]
    logits = np.asarray(scorer(np.concatenate(pictures)), dtype=np.float64)
    p = probabilities_from_logits(logits, temperature)
    found, start = [], 0
    for case, asked in zip(cases, pictures, strict=True):
        found.append(_arranged(p[start : start + len(asked), case.column], case, steps))
        start += len(asked)
    return np.stack(found)


def figures(p: np.ndarray) -> dict[str, np.ndarray]:
    """The figures at the top of this file, from `curves` (n, 3, 3, 2, steps + 1): name -> (n, 3 of `RANKED_BY`)."""
    blur, skin, road = (p[:, :, FILLS.index(fill)] for fill in FILLS)
    most, least = 0, 1
    found = {}
    for name, of in (("blur", blur), ("skin", skin)):
        found[f"deletion_{name}"] = _area(of[:, :, most])
        found[f"insertion_{name}"] = _area(of[:, :, least])
    found["road"] = (road[:, :, least] - road[:, :, most])[..., 1:-1].mean(axis=-1)
    return found


HIGHER_IS_BETTER = {
    "deletion_blur": False,
    "deletion_skin": False,
    "insertion_blur": True,
    "insertion_skin": True,
    "road": True,
}
"""Figure -> whether a faithful map's is the higher one."""


def random_twin(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A map with the same values at other places: random phases under the map's own spectrum, its values by rank.

    Parameters
    ----------
    values : (map_height, map_width)
    """
    noise = rng.standard_normal(values.shape)
    phases = np.exp(1j * np.angle(np.fft.rfft2(noise)))
    field = np.fft.irfft2(np.abs(np.fft.rfft2(values - values.mean())) * phases, s=values.shape)
    twin = np.empty(values.size, dtype=np.float32)
    twin[np.lexsort((noise.ravel(), field.ravel()))] = np.sort(values, axis=None)
    return twin.reshape(values.shape)


def removal_rank(
    values: np.ndarray, height: int, width: int, rng: np.random.Generator, places: CellPlaces = EVEN
) -> np.ndarray:
    """(height, width) int: 0 for the pixel of most evidence; equal ones are ordered at random, not by place."""
    evidence = upsample_map(values, width, height, places).ravel()
    rank = np.empty(evidence.size, dtype=np.int64)
    rank[np.lexsort((rng.random(evidence.size), -evidence))] = np.arange(evidence.size)
    return rank.reshape(height, width)


def has_order(values: np.ndarray) -> bool:
    """Whether a map prefers any place."""
    return bool(values.max() > values.min())


def _area(curve: np.ndarray) -> np.ndarray:
    return np.trapezoid(curve, dx=1 / (curve.shape[-1] - 1), axis=-1)


def _pictures(case: Case, steps: int) -> np.ndarray:
    """The picture, its two whole fills, then by ranking, fill, order and share removed."""
    height, width = case.pixels.shape[:2]
    rng = np.random.default_rng(case.key)
    fills = [
        np.clip(np.rint(fill), 0, 255).astype(np.uint8)
        for fill in (blurred(case.pixels, case.lesion, case.lesion), _plain_skin(case))
    ]
    pieces = [np.stack([case.pixels, *fills])]
    if not has_order(case.values):
        return pieces[0]
    counts = np.rint(np.arange(1, steps) / steps * height * width)[:, None, None]
    twin = random_twin(case.values, rng)
    rankings = ((case.values, case.places), (twin, case.places), (centred_gaussian(height, width), EVEN))
    for values, places in rankings:
        rank = removal_rank(values, height, width, rng, places)
        removed = np.concatenate([rank < counts, rank >= height * width - counts])
        pieces += [np.where(removed[..., None], fill, case.pixels) for fill in fills]
        pieces.append(imputed(case.pixels, removed, rng))
    return np.concatenate(pieces)


def _plain_skin(case: Case) -> np.ndarray:
    """The mean colour of the skin, or of the picture where the lesion leaves none."""
    try:
        colour = skin_colour(case.pixels, case.lesion)
    except ExplainError:
        colour = case.pixels.reshape(-1, 3).mean(axis=0)
    return np.broadcast_to(colour, case.pixels.shape)


def _arranged(p: np.ndarray, case: Case, steps: int) -> np.ndarray:
    found = np.full((len(RANKED_BY), len(FILLS), len(ORDERS), steps + 1), np.nan)
    if len(p) == 3:
        return found
    found[..., 0] = p[0]
    found[:, 0, :, -1], found[:, 1, :, -1] = p[1], p[2]
    found[..., 1:-1] = p[3:].reshape(len(RANKED_BY), len(FILLS), len(ORDERS), steps - 1)
    return found

"""How far might a figure be off, given that images of one lesion are no independent witnesses?

Two images of one lesion are nearly one observation, so the unit that is drawn again is the lesion with all its
images (cluster bootstrap: Field & Welsh 2007, J. R. Statist. Soc. B 69, 369, "randomized cluster bootstrap"). What the
draws give is a figure's standard error; the interval is laid out from it on a scale that suits the figure:

- A *share* (sensitivity, PPV, accuracy …): the draws' variance, against that of as many independent images, is the
  design effect, which turns n images into an effective number (Kish 1965, § 8.2); around the share stands Wilson's
  score interval (1927, JASA 22, 209) for that number. It never degenerates: 20 of 20 found gives [0.84, 1], not [1, 1].
  Student's t, which Korn & Graubard 1998 lower the number by, would make it too wide (98 % and more with 12 lesions).
- A *mean over classes* (balanced accuracy, macro-F1) has rare classes whose draws say too little: `class_means.py`.
- A *ratio of two figures* (PPV at another prevalence): from the intervals of both, `ratio_interval`.
- Any other figure on a bounded scale (AUROC, Brier score …): symmetric on the log-odds scale, with Student's t of the
  rarer side's lesions (Pepe 2003, § 5.2.4, for AUROC). The area above 80 % sensitivity hangs on the fifth of the sought
  lesions that scores lowest, so only those count (`ranking.Area`).

Why not plain percentiles of the draws: with 72 lesions and 3 % misses they cover 81 % where 95 % is claimed, with few
lesions less (docs/decisions/0011-intervals.md has the simulation, and the coverage of the rule above).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy.special import betaincinv, expit, logit, ndtri, stdtrit

from melascope.evaluation.counting import n_units

MIN_LESIONS = 10
"""Lesions from which a figure that is no share has an interval; of the rarer side, where it compares two."""

FEW = 3
"""Lesions' worth of hits, or of misses, below which the draws cannot tell how alike a lesion's images are."""

MIN_DEFINED = 0.95
"""A bootstrap interval is given only if the figure is defined in this share of the draws."""

LEVEL = 0.95
_BLOCK_CELLS = 1_000_000  # weights held at once: 4 MB, which stays in the cache
_KEPT_CELLS = 2_000_000  # weights of a small collection, kept from one figure to the next: 8 MB
_MIN_BLOCK = 64
_TILE = 4096


def lesion_draws(n_lesions: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Draw lesions with replacement, as many as there are, `draws` times; beyond `MAX_UNITS`, random groups of them.

    Each draw has its own key (seed, draw), so it is the same however the draws are cut into blocks.

    Yields
    ------
    weights : (block, n_units) float32, how often each unit was drawn; every row sums to their number. Draws lie
        side by side in memory, as the products over units want them.
    """
    units = n_units(n_lesions)
    kept = units * draws <= _KEPT_CELLS
    yield from _kept_draws(units, draws, seed) if kept else _drawn_blocks(units, draws, seed)


@lru_cache(maxsize=4)
def _kept_draws(units: int, draws: int, seed: int) -> tuple[np.ndarray, ...]:
    """The blocks of a small collection, which figure after figure asks for; nobody may write on them."""
    blocks = tuple(_drawn_blocks(units, draws, seed))
    for block in blocks:
        block.flags.writeable = False
    return blocks


def _drawn_blocks(units: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    block = max(_MIN_BLOCK, _BLOCK_CELLS // max(1, units))
    for start in range(0, draws, block):
        drawn = np.stack([_one_draw(units, seed, draw) for draw in range(start, min(start + block, draws))])
        weights = np.empty(drawn.shape[::-1], dtype=np.float32)
        for part in range(0, units, _TILE):  # a transposed copy of the whole would miss the cache at every step
            weights[part : part + _TILE] = drawn[:, part : part + _TILE].T
        yield weights.T


def _one_draw(units: int, seed: int, draw: int) -> np.ndarray:
    chosen = np.random.default_rng([seed, draw]).integers(0, units, units)
    return np.bincount(chosen, minlength=units).astype(np.float32)


def wilson(share: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Score interval of a share of n independent observations (Wilson 1927); n may be a fraction, above 0."""
    z = float(ndtri((1 + level) / 2))
    centre, width = 1 + z * z / n, z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    middle = share + z * z / (2 * n)
    low = (middle - width) / centre if share > 0 else 0.0  # not a rounding error beside 0 or 1
    return low, (middle + width) / centre if share < 1 else 1.0


def effective_number(share: float, values: np.ndarray, n: int, n_lesions: int) -> float:
    """How many independent images the `n` images of a share are worth, from its bootstrap values (draws,).

    Parameters
    ----------
    share : of `n` images or lesions, of `n_lesions` distinct lesions.
    """
    variance = float(np.nanvar(values)) * n_lesions / (n_lesions - 1) if n_lesions > 1 else 0.0
    independent = share * (1 - share) / n
    design_effect = max(1.0, variance / independent) if independent > 0 else 1.0
    if min(share, 1 - share) * n_lesions < FEW:
        design_effect = max(design_effect, n / n_lesions)  # as if a lesion's images always agreed: the safe side
    return n / design_effect


def share_interval(share: float, values: np.ndarray, n: int, n_lesions: int) -> tuple[float, float] | None:
    """Interval of a share from its bootstrap values (draws,), by the rule at the top of this file.

    Parameters
    ----------
    share : of `n` images or lesions, of `n_lesions` distinct lesions; one lesion has no interval.
    """
    return wilson(share, effective_number(share, values, n, n_lesions)) if n_lesions > 1 else None


def log_odds_interval(value: float, values: np.ndarray, n_lesions: int) -> tuple[float, float] | None:
    """Interval of a figure in (0, 1) from its bootstrap values (draws,); None on an edge, or without variation."""
    spread = float(np.nanstd(values))
    if not 0 < value < 1 or spread == 0:
        return None
    half = float(stdtrit(n_lesions - 1, (1 + LEVEL) / 2)) * math.sqrt(n_lesions / (n_lesions - 1))
    half *= spread / (value * (1 - value))  # delta method: the derivative of log(v / (1 - v))
    low, high = expit(logit(value) + np.array([-half, half]))
    return float(low), float(high)


def ratio_interval(over: tuple[float, float, float], under: tuple[float, float, float]) -> tuple[float, float]:
    """Interval of a ratio of two independent figures from theirs (Donner & Zou 2012, Stat. Methods Med. Res. 21, 347).

    With a in [a1, a2] over b in [b1, b2], all at least 0, its lower end is
    (a b - sqrt(a² b² - a1 b2 (2 a - a1) (2 b - b2))) / (b2 (2 b - b2)); the upper one has a2 and b1 in their place.

    Parameters
    ----------
    over, under : figure and its ends (value, low, high); where `under` may be 0 the ratio has no upper end.
    """

    def end(a: float, b: float, sign: int) -> float:
        product, root = over[0] * under[0], a * b * (2 * over[0] - a) * (2 * under[0] - b)
        below = b * (2 * under[0] - b)
        numerator = product + sign * math.sqrt(max(0.0, product**2 - root))
        if abs(below) > 1e-12:
            return numerator / below
        return a * (2 * over[0] - a) / (2 * product) if product > 0 and sign < 0 else math.inf

    return max(0.0, end(over[1], under[2], -1)), end(over[2], under[1], 1)


def clopper_pearson(successes: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Exact two-sided interval of a binomial share (Clopper & Pearson 1934, Biometrika 26, 404).

    Parameters
    ----------
    successes, n : 0 <= successes <= n, n > 0; fractions are allowed (the beta quantiles interpolate).

    Returns
    -------
    low, high : ends of the interval in [0, 1]
    """
    tail = (1 - level) / 2
    low = float(betaincinv(successes, n - successes + 1, tail)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return low, high


def percentile_interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float] | None:
    """The middle `level` of a figure's bootstrap values (draws,); None where they cannot give an interval.

    Draws in which the figure is undefined (NaN) are left out; more than 5 % of them, or no variation, means None.
    """
    defined = values[~np.isnan(values)]
    if len(defined) == 0 or len(defined) < MIN_DEFINED * len(values) or defined.min() == defined.max():
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval(
    value: float,
    values: np.ndarray,
    n_lesions: int,
    *,
    is_share: bool,
    n: int | None = None,
    top: float | None = 1.0,
    least: int = MIN_LESIONS,
) -> tuple[float, float] | None:
    """The 95 % interval of a figure, by the rule at the top of this file.

    Parameters
    ----------
    value : the figure itself.
    values : (draws,) the figure in each bootstrap draw, NaN where undefined; without draws there is no interval.
    n_lesions : distinct lesions that it rests on; of the rarer side where it compares two.
    is_share : whether it is a proportion.
    n : images that it is a share of; None for a share of lesions.
    top : its highest possible value; None for a figure without bounds, which gets the middle 95 % of its draws.
    least : lesions from which a figure that is no share has an interval.
    """
    if len(values) == 0 or np.isfinite(values).mean() < MIN_DEFINED:
        return None
    if is_share:
        return share_interval(value, values, n or n_lesions, n_lesions)
    if n_lesions < least:
        return None
    if top is None:
        return percentile_interval(values)
    ends = log_odds_interval(value / top, values / top, n_lesions)
    return (ends[0] * top, ends[1] * top) if ends else None

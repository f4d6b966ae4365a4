"""How far might a figure be off, given that images of one lesion are no independent witnesses?

Two images of one lesion are nearly one observation, so the unit that is drawn again is the lesion with all its
images (cluster bootstrap: Field & Welsh 2007, J. R. Statist. Soc. B 69, 369, "randomized cluster bootstrap").
The 95 % interval is the percentile interval (Efron & Tibshirani 1993, ch. 13): it needs no formula of its own for
each metric, stays inside [0, 1], and treats image-level and lesion-level figures alike.

It fails where little is counted, and there it is not used: resampling a handful of lesions gives intervals that are
far too short (Cameron, Gelbach & Miller 2008), and if 71 of 72 melanomas are found, most draws hold that one miss once
or never, though three more may be due. A *share* with fewer than `MIN_EACH_SIDE` lesions' worth on either side
therefore gets the exact binomial interval (Clopper & Pearson 1934) with the lesion as the unit: exact if a lesion's
images always agree, too wide otherwise, which is the safe side. Any other figure of fewer than `MIN_LESIONS` lesions
has no interval.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import betaincinv

MIN_LESIONS = 10
"""Lesions under a figure from which the bootstrap is trusted."""

MIN_EACH_SIDE = 5
"""Lesions' worth of hits, and of misses, from which the bootstrap is trusted with a share."""

MIN_DEFINED = 0.95
"""A bootstrap interval is given only if the figure is defined in this share of the draws."""

LEVEL = 0.95
_BLOCK_CELLS = 2_000_000  # weights held at once: 16 MB


def lesion_draws(n_lesions: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Draw `n_lesions` lesions with replacement, `draws` times.

    Each draw has its own key (seed, draw), so it is the same however the draws are cut into blocks.

    Yields
    ------
    weights : (block, n_lesions) float64, how often each lesion was drawn; every row sums to `n_lesions`
    """
    block = max(1, _BLOCK_CELLS // max(1, n_lesions))
    for start in range(0, draws, block):
        yield np.stack([_one_draw(n_lesions, seed, draw) for draw in range(start, min(start + block, draws))])


def _one_draw(n_lesions: int, seed: int, draw: int) -> np.ndarray:
    chosen = np.random.default_rng([seed, draw]).integers(0, n_lesions, n_lesions)
    return np.bincount(chosen, minlength=n_lesions).astype(np.float64)


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


def interval(value: float, values: np.ndarray, n_lesions: int, *, is_share: bool) -> tuple[float, float] | None:
    """The 95 % interval of a figure, by the rule at the top of this file.

    Parameters
    ----------
    value : the figure itself.
    values : (draws,) the figure in each bootstrap draw, NaN where undefined; without draws there is no interval.
    n_lesions : lesions that the figure rests on.
    is_share : whether it is a proportion.
    """
    if len(values) == 0:
        return None
    if is_share and min(value, 1 - value) * n_lesions < MIN_EACH_SIDE:
        return clopper_pearson(value * n_lesions, n_lesions)
    return percentile_interval(values) if n_lesions >= MIN_LESIONS else None

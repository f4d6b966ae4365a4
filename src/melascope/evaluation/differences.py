"""How far might the difference between two models be off, given that both judged the same images?

Both models get the same draws of lesions (`intervals.py`), so whatever makes a lesion easy or hard for both cancels;
the draws of the difference give its standard error. The interval is laid out from it by the kind of figure:

- *Two shares of the same images* (sensitivity, specificity, accuracy): Tango's score interval for matched pairs (1998,
  Stat. Med. 17, 891) at an effective number of pairs: the variance of the draws, against that of as many independent
  pairs, is the design effect. It never degenerates: two models that agree on all of 72 melanomas differ by -0.05 to
  0.05, not by exactly 0. Several seeds are averaged image by image; an image then counts as lost or gained in part.
- *Balanced accuracy*: class by class, and put together (`class_means.py`).
- *Any other bounded figure* (AUROC, average precision …): the difference ± Student's t of the rarer side's lesions
  times the draws' standard deviation, cut off at what is possible.
- *A figure without bounds* (false alarms per melanoma found): the middle 95 % of the draws.

Why not t × deviation for shares: few images tell two models apart, and draws cannot show a disagreement that the
sample lacks. Simulated (800 collections a setting, lesions of one to three images; sensitivities 0.90 and 0.97): with
12, 40 and 72 lesions it covers down to 67, 90 and 91 % where 95 % is claimed. The score interval covers 93.7 % and
more with 10 to 72 lesions (80 settings, shares from 0.62 to 0.97); where fewer than about five lesions tell the models
apart it is too wide (97.5 % and more) rather than too narrow. docs/decisions/0011-intervals.md has all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit

from melascope.evaluation.intervals import FEW, LEVEL, MIN_DEFINED, MIN_LESIONS, percentile_interval

_NEAR = 1e-9  # at the difference itself the score equation has a root that is no end of the interval


def score_interval(gained: float, lost: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Interval of the difference of two shares of the same `n` pairs (Tango 1998), never without width.

    Its ends are the differences D for which |gained - lost - n D| = z sqrt(n (2 q + D (1 - D))), where q, the share
    lost if D were true, is the larger root of 2 n q² + ((2 n - gained + lost) D - gained - lost) q - lost D (1 - D).

    Parameters
    ----------
    gained, lost : pairs that only the other, or only the first, gets right; fractions are allowed.
    n : pairs, above 0; gained + lost <= n

    Returns
    -------
    low, high : ends of the interval in [-1, 1]
    """
    z = float(ndtri((1 + level) / 2))
    difference = (gained - lost) / n

    def excess(shift: float, sign: float) -> float:
        linear = (2 * n - gained + lost) * shift - gained - lost
        root = math.sqrt(max(0.0, linear**2 + 8 * n * lost * shift * (1 - shift)))
        share_lost = (root - linear) / (4 * n)
        variance = max(0.0, 2 * share_lost + shift * (1 - shift))
        return gained - lost - n * shift + sign * z * math.sqrt(n * variance)

    low = -1.0 if difference <= _NEAR - 1 else brentq(excess, -1.0, difference - _NEAR, args=(-1.0,))
    high = 1.0 if difference >= 1 - _NEAR else brentq(excess, difference + _NEAR, 1.0, args=(1.0,))
    return float(low), float(high)


@dataclass(frozen=True)
class Pairs:
    """How many independent pairs some images are worth, and how many of them one model gets right and the other wrong.

    Parameters
    ----------
    gained, lost : pairs that only the other, or only the first, gets right; fractions.
    n : pairs.
    """

    gained: float
    lost: float
    n: float

    @classmethod
    def of(cls, gains: np.ndarray, values: np.ndarray, n_lesions: int) -> Pairs:
        """From `gains` (n_images,) and their mean in each bootstrap draw, `values` (draws,)."""
        n, value = len(gains), float(gains.mean())
        gained, lost = float(gains[gains > 0].sum()) / n, float(-gains[gains < 0].sum()) / n
        independent = float(((gains - value) ** 2).sum()) / n**2
        drawn = float(np.nanvar(values)) * n_lesions / (n_lesions - 1) if n_lesions > 1 else 0.0
        design_effect = max(1.0, drawn / independent) if independent > 0 else 1.0
        if (gained + lost) * n_lesions < FEW:
            design_effect = max(design_effect, n / n_lesions)  # as if a lesion's images always agreed: the safe side
        whole = gained + lost - value**2  # variance of one pair, were every gain and loss a whole one
        averaging = whole / (independent * n) if independent > 0 else 1.0  # above 1 where seeds were averaged
        effective = n * averaging / design_effect
        return cls(gained * effective, lost * effective, effective)


def paired_share_interval(gains: np.ndarray, values: np.ndarray, n_lesions: int) -> tuple[float, float] | None:
    """Interval of the difference of two shares of the same images, by the rule at the top of this file.

    Parameters
    ----------
    gains : (n_images,) in [-1, 1], right by the other less right by the first; whole numbers for single models.
    values : (draws,) the difference in each bootstrap draw, NaN where undefined.
    n_lesions : distinct lesions that the images show; one lesion has no interval.
    """
    if n_lesions < 2 or len(values) == 0 or np.isfinite(values).mean() < MIN_DEFINED:
        return None
    pairs = Pairs.of(gains, values, n_lesions)
    return score_interval(pairs.gained, pairs.lost, pairs.n)


def difference_interval(
    value: float, values: np.ndarray, n_lesions: int, top: float | None = 1.0, *, least: int = MIN_LESIONS
) -> tuple[float, float] | None:
    """Interval of the difference of any other figure, by the rule at the top of this file.

    Parameters
    ----------
    value : the difference itself.
    values : (draws,) the difference in each bootstrap draw, NaN where undefined.
    n_lesions : distinct lesions of the rarer side; fewer than `least` have no interval.
    top : the figure's highest possible value, so that the difference lies in [-top, top]; None for one without bounds.
    """
    if n_lesions < least or len(values) == 0 or np.isfinite(values).mean() < MIN_DEFINED:
        return None
    if top is None:
        return percentile_interval(values)
    half = float(stdtrit(n_lesions - 1, (1 + LEVEL) / 2)) * math.sqrt(n_lesions / (n_lesions - 1))
    half *= float(np.nanstd(values))
    return (max(-top, value - half), min(top, value + half)) if half > 0 else None

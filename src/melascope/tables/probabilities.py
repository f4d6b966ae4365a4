"""How do logits become probabilities, and when are two of them the same?"""

from __future__ import annotations

import numpy as np

_SIGNIFICANT, _LEAST_ROUNDED = 12, 1e-290  # digits; below, their power of ten leaves a float's range
_POWERS_OF_TEN = 10.0 ** np.arange(_SIGNIFICANT + 290)  # of numbers up to 10


def probabilities_from_logits(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Turn logits into probabilities: the only place where that is done.

    Parameters
    ----------
    logits : (n_images, 7) float
    temperature : > 0; softmax(logits / temperature) (Guo et al. 2017, eq. 9). 1 leaves them as trained.

    Returns
    -------
    probabilities : (n_images, 7) float64, `steady`; rows sum to 1 but for that rounding (1e-12)
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    exponentials = np.exp(scaled)
    return steady(exponentials / exponentials.sum(axis=-1, keepdims=True))


def steady(numbers: np.ndarray) -> np.ndarray:
    """Round `numbers` >= 0 (float64, any shape) to 12 significant digits: equal but for a float's error becomes equal.

    A probability of 0.12 in somebody's table comes back from its logarithm as 0.12 give or take 1e-17, by what else
    stands in its row. Ties would then be broken by chance: a threshold of 0.12 would call some of them and not others.
    """
    numbers = np.asarray(numbers, dtype=np.float64)
    place = np.floor(np.log10(np.maximum(numbers, _LEAST_ROUNDED))).astype(np.int64)
    scale = _POWERS_OF_TEN[_SIGNIFICANT - 1 - place]
    return np.where(numbers < _LEAST_ROUNDED, numbers, np.rint(numbers * scale) / scale)

"""Why this class and not that one: what is the map of the difference of two logits?

A signed map is linear in its logit, so the map of logit_a - logit_b is the difference of the two maps, for nothing.
Positive cells speak for a rather than b, negative ones for b rather than a. Works on tensors and on arrays alike.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

Array = TypeVar("Array", bound=np.ndarray)  # or a torch.Tensor, which this module does not import


def highest_other(logits: Array, of: int) -> Array:
    """The class that beats `of`, or comes next to it: column of the highest logit besides `of`, (B,) of (B, K)."""
    others = logits + 0
    others[:, of] = -float("inf")
    return others.argmax(1)


def contrast_maps(maps: Array, of: int, against: Array) -> Array:
    """Map of `of` minus the map of each image's rival.

    Parameters
    ----------
    maps : (B, K, h, w) of a signed method
    of : column
    against : (B,) columns

    Returns
    -------
    contrast : (B, h, w)
    """
    return maps[:, of] - maps[list(range(len(maps))), against]

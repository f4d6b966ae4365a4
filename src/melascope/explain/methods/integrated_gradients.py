"""What do integrated gradients say: how much of the logit does each pixel add, from a plain image to this one?

Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML 2017, eq. 1 and 3: IG_i = (x_i - x'_i) times
the mean gradient on the straight line from the baseline x' to x. x' is 0, the mean colour once normalised; the line is
taken at the middles of `STEPS` equal parts; the three colours of a pixel are added. The pixels of a map then add up to
logit(x) - logit(x'), up to the error of the steps.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 32


def from_input_gradients(gradients: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """Maps (B, k, H, W), signed, in logit units, of a batch (B, 3, H, W)."""
    total = torch.zeros(())
    for step in range(STEPS):
        total = gradients(batch * ((step + 0.5) / STEPS)) + total
    return (batch[:, None] * total / STEPS).sum(dim=2)

"""What does SmoothGrad say: which pixels would move the logit, on average over small disturbances of the image?

Smilkov et al., "SmoothGrad", arXiv:1706.03825, section 3: the mean of d logit / d x over copies of the image with
Gaussian noise. The noise has `NOISE` times the image's own range, as the paper advises (10 … 20 %), and is the same for
every image and call. The gradient keeps its sign; the three colours of a pixel are added.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

COPIES = 16
NOISE = 0.15


def from_input_gradients(gradients: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """Maps (B, k, H, W), signed, logit per unit of the normalised input, of a batch (B, 3, H, W)."""
    spread = NOISE * (batch.amax((1, 2, 3), keepdim=True) - batch.amin((1, 2, 3), keepdim=True))
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(())
    for _ in range(COPIES):
        noise = torch.randn(batch.shape[1:], generator=generator).to(batch)
        total = gradients(batch + spread * noise) + total
    return total.sum(dim=2) / COPIES

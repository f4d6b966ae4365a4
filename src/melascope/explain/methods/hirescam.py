"""What does HiResCAM say: which cells raised the logit, each cell with its own gradient?

Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations", arXiv:2011.08891, eq. 5:
map = sum_c (d logit / d A_c) * A_c, cell by cell. Where average pooling and one linear layer follow, every cell of a
channel has the same gradient, and the map is Grad-CAM's.
"""

from __future__ import annotations

from torch import Tensor


def from_gradients(activations: Tensor, gradients: Tensor) -> Tensor:
    """HiResCAM of one class, signed: activations and gradients (B, C, h, w) -> maps (B, h, w)."""
    return (gradients * activations).sum(dim=1)

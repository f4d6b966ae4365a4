"""What does LayerCAM say: where does a layer carry what raises the logit, each cell weighted by itself?

Jiang et al., "LayerCAM", IEEE TIP 2021. Eq. 5: w_ij = ReLU(d logit / d A_ij); eq. 6: map = ReLU(sum_c w_c * A_c).
The outer ReLU is left to the display; but gradients against the class are dropped by the method itself, so that a
negative cell only tells of negative activations and is no evidence against the class.
"""

from __future__ import annotations

from torch import Tensor

from melascope.explain.methods import gradcam


def from_gradients(activations: Tensor, gradients: Tensor) -> Tensor:
    """LayerCAM of one class, without the outer ReLU: activations and gradients (B, C, h, w) -> maps (B, h, w)."""
    return (gradients.clamp(min=0) * activations).sum(dim=1)


def from_linear_head(activations: Tensor, weight: Tensor) -> Tensor:
    """LayerCAM of every class where average pooling and one linear layer (K, C) follow: maps (B, K, h, w)."""
    return gradcam.from_linear_head(activations, weight.clamp(min=0))

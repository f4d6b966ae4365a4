"""What does Grad-CAM say: which cells of a layer raised a class's logit, and which lowered it?

Selvaraju et al., "Grad-CAM", ICCV 2017. Eq. 1: alpha_c = mean over positions of d logit / d A_c.
Eq. 2: map = ReLU(sum_c alpha_c A_c). The ReLU is left to the display, so that a map keeps its sign.
"""

from __future__ import annotations

import torch
from torch import Tensor


def from_gradients(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM of one class, without the ReLU.

    Parameters
    ----------
    activations : (B, C, h, w)
    gradients : (B, C, h, w), d logit / d activations

    Returns
    -------
    maps : (B, h, w), signed
    """
    alpha = gradients.mean(dim=(2, 3))
    return torch.einsum("bc,bchw->bhw", alpha, activations)


def from_linear_head(activations: Tensor, weight: Tensor) -> Tensor:
    """Grad-CAM of every class at once, where average pooling and one linear layer follow.

    There logit_k = bias_k + sum_c weight_kc mean_ij(A_cij), so alpha_kc = weight_kc / (h w), and the cells of a map
    add up to logit_k - bias_k: a cell's value is its share of the logit.

    Parameters
    ----------
    activations : (B, C, h, w)
    weight : (K, C)

    Returns
    -------
    maps : (B, K, h, w), signed, in logit units
    """
    cells = activations.shape[2] * activations.shape[3]
    # einsum, not a 1x1 convolution: cuDNN rounds convolutions to TF32 by default, a matrix product is left exact
    return torch.einsum("bchw,kc->bkhw", activations, weight.to(activations.dtype)) / cells

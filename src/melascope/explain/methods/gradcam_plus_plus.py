"""What does Grad-CAM++ say: where are the things that raise a class's score, also if they occur several times?

Chattopadhay et al., "Grad-CAM++", WACV 2018. With Y = exp(logit), of which all derivatives are Y times powers of
g = d logit / d A (the ReLU network is piecewise linear), eq. 19 is alpha_ij = g_ij^2 / (2 g_ij^2 + S g_ij^3) with
S_c = sum_ab A_cab; eq. 5-6: w_c = sum_ij alpha_ij ReLU(dY/dA_ij), map = ReLU(sum_c w_c A_c).

This is the form that everybody computes, with two things said openly: the factor Y = exp(logit), one number an image
and class, is dropped from w (it would overflow, and alters no picture); and alpha is divided through, 1 / (2 + S g),
so that no epsilon is needed beside small gradients. The paper's A are 0 or more; where 2 + S g <= 0 the equation has no
meaning and the cell counts as nothing. Evidence against the class is dropped by the method itself.
"""

from __future__ import annotations

import torch
from torch import Tensor


def from_gradients(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM++ of one class, without the outer ReLU: activations and gradients (B, C, h, w) -> maps (B, h, w)."""
    total = activations.sum(dim=(2, 3), keepdim=True)
    weights = (_alpha(total * gradients) * gradients.clamp(min=0)).sum(dim=(2, 3))
    return torch.einsum("bc,bchw->bhw", weights, activations)


def from_linear_head(activations: Tensor, weight: Tensor) -> Tensor:
    """Grad-CAM++ of every class where average pooling and one linear layer (K, C) follow: maps (B, K, h, w).

    There g = weight / (h w) in every cell, so S g is the channel's share of the logit, weight * mean(A).
    """
    means = activations.mean(dim=(2, 3))
    weights = _alpha(torch.einsum("bc,kc->bkc", means, weight)) * weight.clamp(min=0)
    return torch.einsum("bkc,bchw->bkhw", weights, activations)


def _alpha(product: Tensor) -> Tensor:
    """1 / (2 + S g), and 0 where the denominator is not positive."""
    denominator = 2 + product
    return torch.where(denominator > 0, 1 / denominator, 0)

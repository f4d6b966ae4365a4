"""How do light, colour and sharpness differ from one dermatoscope to the next?

Every function takes (m, 3, height, width) float32 in [0, 1] and gives the same shape and range back.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from melascope.config import AugmentRecipe
from melascope.models.draws import Draws

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def vary_light(batch: torch.Tensor, recipe: AugmentRecipe, draws: Draws) -> torch.Tensor:
    """Brightness, contrast about the mean grey, and saturation about each pixel's grey, each by a factor near 1."""
    brightness, contrast, saturation = (
        (1 + draws.uniform(-1, 1) * strength).view(-1, 1, 1, 1)
        for strength in (recipe.brightness, recipe.contrast, recipe.saturation)
    )
    batch = batch * brightness
    luma = torch.tensor(_LUMA, device=batch.device).view(1, 3, 1, 1)
    grey = (batch * luma).sum(1, keepdim=True)
    batch = grey.mean((2, 3), keepdim=True) + (batch - grey.mean((2, 3), keepdim=True)) * contrast
    grey = (batch * luma).sum(1, keepdim=True)
    return (grey + (batch - grey) * saturation).clamp(0, 1)


def vary_gamma(batch: torch.Tensor, recipe: AugmentRecipe, draws: Draws) -> torch.Tensor:
    """Another tone curve: each value to the power exp(u), u within ± `gamma`."""
    exponent = torch.exp(draws.uniform(-1, 1) * recipe.gamma)
    return batch.pow(exponent.view(-1, 1, 1, 1))


def vary_white_balance(batch: torch.Tensor, recipe: AugmentRecipe, draws: Draws) -> torch.Tensor:
    """Another lamp: each channel has its own gain, within 1 ± `white_balance`."""
    gain = 1 + draws.uniform(-1, 1, 3) * recipe.white_balance
    return (batch * gain.view(-1, 3, 1, 1)).clamp(0, 1)


def add_vignette(batch: torch.Tensor, recipe: AugmentRecipe, draws: Draws) -> torch.Tensor:
    """Light falls off with the square of the distance from a middle that may lie a little aside."""
    squared = _squared_distance(batch, 0.2 * draws.uniform(-1, 1, 2))
    lost = recipe.vignette * draws.uniform(0, 1).view(-1, 1, 1, 1)
    return batch * (1 - lost * squared.clamp(max=1))


def _squared_distance(batch: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """(m, 1, height, width): 0 at the centre (m, 2), in units of half axes from the middle; 1 at the corners."""
    height, width = batch.shape[-2:]
    y = (torch.arange(height, device=batch.device) + 0.5) * 2 / height - 1
    x = (torch.arange(width, device=batch.device) + 0.5) * 2 / width - 1
    across, down = (x - centre[:, :1]) * width, (y - centre[:, 1:]) * height
    squared = across.square()[:, None, :] + down.square()[:, :, None]
    return (squared / (width**2 + height**2))[:, None]


def add_blur(batch: torch.Tensor, recipe: AugmentRecipe, draws: Draws) -> torch.Tensor:
    """Out of focus: a Gaussian of its own sigma, 0 to `blur` pixels, for each image; borders are mirrored."""
    sigma = recipe.blur * draws.uniform(0, 1)
    radius = min(max(1, math.ceil(3 * recipe.blur)), min(batch.shape[-2:]) - 1)
    at = torch.arange(-radius, radius + 1, device=batch.device, dtype=torch.float32)
    weights = torch.exp(-0.5 * (at / sigma.clamp(min=1e-3).view(-1, 1)).square())
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(3, dim=0)
    planes = batch.reshape(1, -1, *batch.shape[-2:])
    planes = functional.pad(planes, (radius, radius, radius, radius), mode="reflect")
    planes = functional.conv2d(planes, weights[:, None, None, :], groups=len(weights))
    planes = functional.conv2d(planes, weights[:, None, :, None], groups=len(weights))
    return planes.reshape(batch.shape)

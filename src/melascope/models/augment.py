"""How does a batch of stored pixels become what the network sees, at training and at prediction?"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from melascope.config import AugmentRecipe

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def normalise(pixels: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """Stored pixels as network input, nothing varied.

    Parameters
    ----------
    pixels : (n, height, width, 3) uint8
    mean, std : of each channel, for pixels in [0, 1]

    Returns
    -------
    batch : (n, 3, height, width) float32
    """
    batch = pixels.permute(0, 3, 1, 2).to(torch.float32) / 255
    return _standardise(batch, mean, std)


def augment(
    pixels: torch.Tensor,
    recipe: AugmentRecipe,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    generator: torch.Generator,
) -> torch.Tensor:
    """Vary a whole batch on its device: flips, rotation and zoom in one resampling, then colour and light.

    Random numbers come from `generator` (a CPU generator keyed by seed, epoch and step), so the same step
    sees the same images on every device and after every resume. Shapes as in `normalise`.
    """
    batch = pixels.permute(0, 3, 1, 2).to(torch.float32) / 255
    n = len(batch)
    matrix = _affine_matrices(n, batch.shape[-2] / batch.shape[-1], recipe, generator).to(batch.device)
    grid = functional.affine_grid(matrix, list(batch.shape), align_corners=False)
    batch = functional.grid_sample(batch, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return _standardise(_vary_light(batch, recipe, generator), mean, std)


def _standardise(batch: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    centre = torch.tensor(mean, device=batch.device).view(1, 3, 1, 1)
    spread = torch.tensor(std, device=batch.device).view(1, 3, 1, 1)
    return ((batch - centre) / spread).contiguous()


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)


def _affine_matrices(n: int, aspect: float, recipe: AugmentRecipe, generator: torch.Generator) -> torch.Tensor:
    """(n, 2, 3) matrices from output to input, in coordinates where both half axes are 1; `aspect` = height / width."""
    angle = _uniform(n, -1, 1, generator) * math.radians(recipe.rotate_degrees)
    zoom = 1 + _uniform(n, -1, 1, generator) * recipe.scale
    flip = torch.where(torch.rand(n, 2, generator=generator) < 0.5, -1.0, 1.0)
    if not recipe.flip:
        flip = torch.ones(n, 2)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    matrix = torch.zeros(n, 2, 3)
    matrix[:, 0, 0] = cosine * flip[:, 0]
    matrix[:, 0, 1] = -sine * aspect * flip[:, 1]
    matrix[:, 1, 0] = sine / aspect * flip[:, 0]
    matrix[:, 1, 1] = cosine * flip[:, 1]
    return matrix


def _vary_light(batch: torch.Tensor, recipe: AugmentRecipe, generator: torch.Generator) -> torch.Tensor:
    n = len(batch)
    factors = [
        (1 + _uniform(n, -1, 1, generator) * strength).view(n, 1, 1, 1).to(batch.device)
        for strength in (recipe.brightness, recipe.contrast, recipe.saturation)
    ]
    brightness, contrast, saturation = factors
    batch = batch * brightness
    luma = torch.tensor(_LUMA, device=batch.device).view(1, 3, 1, 1)
    grey = (batch * luma).sum(1, keepdim=True)
    batch = grey.mean((2, 3), keepdim=True) + (batch - grey.mean((2, 3), keepdim=True)) * contrast
    grey = (batch * luma).sum(1, keepdim=True)
    return (grey + (batch - grey) * saturation).clamp(0, 1)

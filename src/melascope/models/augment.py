"""How does a batch of stored pixels become what the network sees, at training and at prediction?"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from melascope.config import AugmentRecipe
from melascope.models.draws import Draws
from melascope.models.lighting import add_blur, add_vignette, vary_gamma, vary_light, vary_white_balance
from melascope.models.occlusion import add_dark_corners, add_hair, add_ruler

Augmentation = Callable[[torch.Tensor, AugmentRecipe, Draws], torch.Tensor]
"""(m, 3, height, width) in [0, 1], the recipe's strengths, random numbers -> the same shape and range."""


def vary_geometry(batch: torch.Tensor, recipe: AugmentRecipe, draws: Draws) -> torch.Tensor:
    """Flips, rotation, zoom and crop in one resampling; what comes in from outside is the picture's mirror image."""
    matrix = _affine_matrices(batch.shape[-2] / batch.shape[-1], recipe, draws)
    grid = functional.affine_grid(matrix, list(batch.shape), align_corners=False)
    return functional.grid_sample(batch, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


AUGMENTATIONS: dict[str, tuple[tuple[str, ...], Augmentation]] = {
    # name -> keys of the recipe that turn it on, function; in the order in which light meets them. A new one is a row.
    "geometry": (("flip", "rotate_degrees", "scale", "crop"), vary_geometry),
    "hair": (("hair",), add_hair),
    "ruler": (("ruler",), add_ruler),
    "light": (("brightness", "contrast", "saturation"), vary_light),
    "gamma": (("gamma",), vary_gamma),
    "white_balance": (("white_balance",), vary_white_balance),
    "vignette": (("vignette",), add_vignette),
    "blur": (("blur",), add_blur),
    "dark_corners": (("dark_corners",), add_dark_corners),
}
_FIRST = ("geometry", "light")
"""These draw from the step's generator itself, one after the other, also where they are off: as runs before 0.3 did."""


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
    return _standardise(_in_unit_range(pixels), mean, std)


def shrink(pixels: torch.Tensor, share: float) -> torch.Tensor:
    """Pixels (n, height, width, 3) in 0 … 255 with sides `share` as long, by means over areas; 1 changes nothing."""
    if share == 1:
        return pixels
    size = [max(1, round(side * share)) for side in pixels.shape[1:3]]
    channels_first = pixels.permute(0, 3, 1, 2).to(torch.float32)
    return functional.interpolate(channels_first, size, mode="area").permute(0, 2, 3, 1)


def augment(
    pixels: torch.Tensor,
    recipe: AugmentRecipe,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    generator: torch.Generator,
    *,
    of_batch: tuple[int, np.ndarray] | None = None,
) -> torch.Tensor:
    """Vary a whole batch on its device, row by row of `AUGMENTATIONS`; shapes as in `normalise`.

    Random numbers come from `generator` (a CPU generator keyed by seed, epoch and step), so the same step
    sees the same images on every device and after every resume.

    Parameters
    ----------
    of_batch : (images of the whole batch, (m,) which of them `pixels` are), where several processes share a batch
    """
    n, kept = of_batch or (len(pixels), np.arange(len(pixels)))
    batch = _in_unit_range(pixels)
    draws = Draws(generator, n, kept, batch.device)
    for name, (keys, function) in AUGMENTATIONS.items():
        if name in _FIRST:
            batch = function(batch, recipe, draws)
        elif any(getattr(recipe, one) for one in keys):
            batch = function(batch, recipe, draws.of(name))
    return _standardise(batch, mean, std)


def _in_unit_range(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.permute(0, 3, 1, 2).to(torch.float32) / 255


def _standardise(batch: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    centre = torch.tensor(mean, device=batch.device).view(1, 3, 1, 1)
    spread = torch.tensor(std, device=batch.device).view(1, 3, 1, 1)
    return ((batch - centre) / spread).contiguous()


def _affine_matrices(aspect: float, recipe: AugmentRecipe, draws: Draws) -> torch.Tensor:
    """(m, 2, 3) matrices from output to input, in coordinates where both half axes are 1; `aspect` = height / width."""
    angle = draws.uniform(-1, 1) * math.radians(recipe.rotate_degrees)
    zoom = 1 + draws.uniform(-1, 1) * recipe.scale
    flip = torch.where(draws.uniform(0, 1, 2) < 0.5, -1.0, 1.0)
    if not recipe.flip:
        flip = torch.ones_like(flip)
    cropping = draws.of("crop")
    kept = 1 - recipe.crop * cropping.uniform(0, 1)
    zoom = zoom * kept
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    matrix = torch.zeros(len(angle), 2, 3, device=angle.device)
    matrix[:, 0, 0] = cosine * flip[:, 0]
    matrix[:, 0, 1] = -sine * aspect * flip[:, 1]
    matrix[:, 1, 0] = sine / aspect * flip[:, 0]
    matrix[:, 1, 1] = cosine * flip[:, 1]
    if recipe.crop:
        matrix[:, :, 2] = (1 - kept)[:, None] * cropping.uniform(-1, 1, 2)
    return matrix

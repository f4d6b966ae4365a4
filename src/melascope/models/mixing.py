"""Which two images become one for training, and what is the truth of the mixture?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from melascope.config import AugmentRecipe
from melascope.models.order import key


@dataclass(frozen=True)
class Mixture:
    """What a whole batch is mixed from.

    Parameters
    ----------
    method : row of `MIXING`
    partner : (n,) int64, with which image of the batch each one is mixed
    share : of its own image in each mixture; cutmix corrects it to the area that is left
    box : (4,) top, bottom, left and right of the pasted box, in shares of the sides
    """

    method: str
    partner: np.ndarray
    share: float
    box: tuple[float, float, float, float]


def draw_mixture(recipe: AugmentRecipe, n: int, *parts: int) -> Mixture | None:
    """The mixture of a batch of `n` images, keyed by seed, epoch and step; None where the recipe mixes nothing."""
    alphas = {name: getattr(recipe, name) for name in MIXING if getattr(recipe, name) > 0}
    if not alphas:
        return None
    rng = np.random.default_rng(key("mixing", *parts))
    method = list(alphas)[rng.integers(len(alphas))]
    share = float(rng.beta(alphas[method], alphas[method]))
    half = np.sqrt(1 - share) / 2
    down, across = rng.uniform(0, 1, 2)
    box = (down - half, down + half, across - half, across + half)
    return Mixture(method, rng.permutation(n), share, tuple(float(min(max(side, 0), 1)) for side in box))


def mixup(own: torch.Tensor, partner: torch.Tensor, mixture: Mixture) -> tuple[torch.Tensor, float]:
    """x = λ x_i + (1 - λ) x_j, λ ~ Beta(α, α) (Zhang et al. 2018, eq. 1)."""
    return torch.lerp(partner, own, mixture.share), mixture.share


def cutmix(own: torch.Tensor, partner: torch.Tensor, mixture: Mixture) -> tuple[torch.Tensor, float]:
    """A box of the partner's pixels in the image; λ is the area that is left of it (Yun et al. 2019, eq. 1-2)."""
    height, width = own.shape[-2:]
    top, bottom = (round(side * height) for side in mixture.box[:2])
    left, right = (round(side * width) for side in mixture.box[2:])
    mixed = own.clone()
    mixed[..., top:bottom, left:right] = partner[..., top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


MIXING: dict[str, Callable[[torch.Tensor, torch.Tensor, Mixture], tuple[torch.Tensor, float]]] = {
    "mixup": mixup,
    "cutmix": cutmix,
}

"""Which small network says of every pixel whether it is lesion, what does it see in training, what is its loss?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.nn import functional

from melascope.config import AugmentRecipe, SegmenterNetworkRecipe, SegmenterRecipe
from melascope.errors import RecipeError
from melascope.models.augment import AUGMENTATIONS, normalise
from melascope.models.draws import Draws
from melascope.models.order import key


def _fpn(recipe: SegmenterNetworkRecipe) -> nn.Module:
    """Feature pyramid (Kirillov et al. 2019, "Panoptic feature pyramid networks", § 3.1): quarter size, enlarged."""
    return smp.FPN(
        f"tu-{recipe.encoder}",
        encoder_weights=None,
        decoder_pyramid_channels=recipe.width,
        decoder_segmentation_channels=recipe.width // 2,
        decoder_dropout=recipe.dropout,
    )


def _unet(recipe: SegmenterNetworkRecipe) -> nn.Module:
    """U-Net (Ronneberger et al. 2015): full size, about half as fast."""
    channels = [max(8, recipe.width >> level) for level in range(5)]
    return smp.Unet(f"tu-{recipe.encoder}", encoder_weights=None, decoder_channels=channels)


DECODERS: dict[str, Callable[[SegmenterNetworkRecipe], nn.Module]] = {"fpn": _fpn, "unet": _unet}
"""By name in the recipe; one row adds a decoder. Each gives logits (n, 1, height, width) of (n, 3, height, width)."""


def build_segmenter(recipe: SegmenterRecipe) -> nn.Module:
    """The network with its keyed random weights; the global generator is given back as it was.

    Raises
    ------
    RecipeError : the encoder is none of timm's, or gives no pyramid of features.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key("segmenter weights", recipe.seed))
        try:
            return DECODERS[recipe.network.decoder](recipe.network)
        except (RuntimeError, ValueError, KeyError, AttributeError) as error:  # timm's and the library's answers
            raise RecipeError(
                f"No segmenter can be built on {recipe.network.encoder} ({str(error)[:200]}).",
                where="network.encoder",
                expected="a timm network that gives features at five sizes, e.g. mobilenetv3_small_100",
            ) from error


def vary_pair(
    pixels: torch.Tensor, masks: torch.Tensor, recipe: AugmentRecipe, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures and masks under one geometry; light, hairs and corners change the picture alone.

    Parameters
    ----------
    pixels : (n, height, width, 3) uint8
    masks : (n, height, width) uint8, 255 where all of a pixel is lesion
    generator : CPU generator, keyed by seed, epoch and step

    Returns
    -------
    batch : (n, 3, height, width) float32 in [0, 1]
    truth : (n, 1, height, width) float32 in [0, 1]
    """
    batch = torch.cat([pixels.permute(0, 3, 1, 2), masks[:, None]], dim=1).to(torch.float32) / 255
    draws = Draws(generator, len(batch), np.arange(len(batch)), batch.device)
    for name, (keys, function) in AUGMENTATIONS.items():
        if not any(getattr(recipe, one) for one in keys):
            continue
        if name == "geometry":
            batch = function(batch, recipe, draws.of(name))
        else:
            batch = torch.cat([function(batch[:, :3], recipe, draws.of(name)), batch[:, 3:]], dim=1)
    return batch[:, :3], batch[:, 3:]


def dice_and_cross_entropy(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean over images of 1 - Dice (Milletari et al. 2016, eq. 3, without squares) plus binary cross-entropy.

    Parameters
    ----------
    logits, truth : (n, 1, height, width); truth in [0, 1]
    """
    chance = torch.sigmoid(logits)
    overlap, areas = (chance * truth).sum((1, 2, 3)), (chance + truth).sum((1, 2, 3))
    dice = (2 * overlap + 1) / (areas + 1)
    return (1 - dice).mean() + functional.binary_cross_entropy_with_logits(logits, truth)


class PixelsToLesion(nn.Module):
    """A segmenter with its preprocessing before it and probabilities behind it: what is exported.

    Parameters
    ----------
    network : (n, 3, height, width) -> logits (n, 1, height, width)
    mean, std : of each channel, for pixels in [0, 1]
    """

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network, self.mean, self.std = network, mean, std
        self.eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, height, width, 3) uint8 -> probability of lesion (n, height, width) float32."""
        return torch.sigmoid(self.network(normalise(pixels, self.mean, self.std)))[:, 0]

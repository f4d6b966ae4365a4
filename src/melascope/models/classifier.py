"""How is a trained model loaded and asked, with the preprocessing that travels with its weights?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from melascope.classes import CLASSES
from melascope.config import ModelRecipe, PredictRecipe, validated
from melascope.data.pixels import gather
from melascope.models.augment import normalise
from melascope.models.backbones import build_network
from melascope.models.checkpoint import load_weights
from melascope.models.views import mean_logits
from melascope.tables.runs import CheckpointCard, RunDirectory


@dataclass(frozen=True)
class Classifier:
    """A network in evaluation mode and the card that tells its input size, mean, std, classes and temperature."""

    network: nn.Module
    card: CheckpointCard

    @classmethod
    def load(cls, run: RunDirectory, which: str = "best") -> Classifier:
        """The verified checkpoint `best` or `last` of a run, on the CPU."""
        card, weights = run.checkpoint(which)
        recipe = ModelRecipe(backbone=card.backbone, dropout=card.dropout, drop_path=card.drop_path)
        network = build_network(recipe, seed=0, download=False)
        load_weights(network, weights)
        if card.recipe.get("train", {}).get("channels_last", True):  # 1.3 to 1.5 times as fast (docs/performance.md)
            network = network.to(memory_format=torch.channels_last)
        return cls(network.eval(), card)

    def logits(
        self, pixels: np.ndarray, *, batch_size: int = 64, progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        """Raw logits of stored pixels.

        Parameters
        ----------
        pixels : (n_images, input_height, input_width, 3) uint8, RGB

        Returns
        -------
        logits : (n_images, 7) float32
        """
        return predict_logits(
            self.network, pixels, self.card.mean, self.card.std, batch_size, progress, views=self.views
        )

    def under_its_views(self, logits: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """What a table of this run holds of `pixels`: `logits`, of its one view, or the mean of several."""
        return logits if self.views == "one" else self.logits(np.asarray(pixels))

    @property
    def views(self) -> str:
        """Row of `VIEWS`: the threshold was chosen from these views, so these are the ones ever after."""
        return validated(PredictRecipe, self.card.recipe.get("predict", {}), where="checkpoint").views


@torch.inference_mode()
def predict_logits(
    network: nn.Module,
    pixels: np.ndarray,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
    *,
    views: str = "one",
) -> np.ndarray:
    """Logits of `pixels` (n, height, width, 3) uint8 from `network`, whose training mode is put back after."""
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    pieces = []
    try:
        for start in range(0, len(pixels), batch_size):
            batch = torch.from_numpy(gather(pixels, slice(start, start + batch_size))).to(device)
            pieces.append(mean_logits(network, normalise(batch, mean, std), views).cpu().numpy())
            if progress:
                progress(min(start + batch_size, len(pixels)), len(pixels))
    finally:
        network.train(was_training)
    return np.concatenate(pieces) if pieces else np.zeros((0, len(CLASSES)), dtype=np.float32)

"""What does one training step see: which images, how varied, mixed with which others, and what is their truth?"""

from __future__ import annotations

import numpy as np
import torch

from melascope.config import Recipe
from melascope.data.pixels import gather
from melascope.models.augment import augment, shrink
from melascope.models.losses import as_truth
from melascope.models.mixing import MIXING, draw_mixture
from melascope.models.order import keyed_generator
from melascope.models.schedule import image_share


def training_batch(
    pixels: np.ndarray,
    labels: np.ndarray,
    rows: np.ndarray,
    recipe: Recipe,
    *,
    epoch: int,
    step: int,
    mine: np.ndarray,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor]:
    """This process's part of a batch; all that is drawn is keyed by (seed, epoch, step) and drawn for all of it.

    Parameters
    ----------
    pixels : (n_images, height, width, 3) uint8, the store
    labels : (n_images,) int64
    rows : (n,) images of the whole batch
    mine : (m,) which of them this process sees; all, where there is one process

    Returns
    -------
    batch : (m, 3, height, width) float32; smaller in epochs for which `train.resizing` says so
    truth : (m, 7) float32, rows sum to 1
    """
    mixture = draw_mixture(recipe.augment, len(rows), recipe.seed, epoch, step)
    needed = mine if mixture is None else np.unique(np.concatenate([mine, mixture.partner[mine]]))
    varied = augment(
        shrink(torch.from_numpy(gather(pixels, rows[needed])).to(device), image_share(recipe, epoch)),
        recipe.augment,
        recipe.input.mean,
        recipe.input.std,
        keyed_generator("augment", recipe.seed, epoch, step),
        of_batch=(len(rows), needed),
    )
    truth = as_truth(torch.from_numpy(labels[rows[needed]]).to(device))
    if mixture is None:
        return varied, truth
    own, partner = (torch.from_numpy(np.searchsorted(needed, of)).to(device) for of in (mine, mixture.partner[mine]))
    batch, share = MIXING[mixture.method](varied[own], varied[partner], mixture)
    return batch, share * truth[own] + (1 - share) * truth[partner]

"""What does training minimise, and how much more does a melanoma weigh?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from melascope.classes import CLASSES, MEL
from melascope.config import LossRecipe
from melascope.errors import RecipeError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def class_weights(class_counts: np.ndarray, melanoma_factor: float = 1.0) -> np.ndarray:
    """Balanced class weights w_k = n / (K · n_k), melanoma's times `melanoma_factor`.

    King & Zeng 2001 (eq. 8's sample counterpart), as in scikit-learn's `class_weight="balanced"`.
    A class without a training image has weight 0: it never enters the loss.

    Parameters
    ----------
    class_counts : (7,) int, training images a class

    Returns
    -------
    weights : (7,) float64
    """
    counts = np.asarray(class_counts, dtype=np.float64)
    present = counts > 0
    weights = np.zeros(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    weights[MEL] *= melanoma_factor
    return weights


def weighted_cross_entropy(recipe: LossRecipe, class_counts: np.ndarray) -> Loss:
    """Cross-entropy with `class_weights`: the seed's baseline; `melanoma_factor = 3` is its melanoma-weighted row."""
    weights = torch.as_tensor(class_weights(class_counts, recipe.melanoma_factor), dtype=torch.float32)

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(
            logits, labels, weight=weights.to(logits.device), label_smoothing=recipe.label_smoothing
        )

    return loss


def cross_entropy(recipe: LossRecipe, class_counts: np.ndarray) -> Loss:
    """Plain cross-entropy; for the balanced sampler, which already evens out the classes."""
    if recipe.melanoma_factor != 1.0:
        raise RecipeError(
            f"cross_entropy knows no melanoma_factor (found {recipe.melanoma_factor}).",
            where="loss.melanoma_factor",
            fix='use name = "weighted_cross_entropy"',
        )

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)

    return loss


LOSSES: dict[str, Callable[[LossRecipe, np.ndarray], Loss]] = {
    "weighted_cross_entropy": weighted_cross_entropy,
    "cross_entropy": cross_entropy,
}


def build_loss(recipe: LossRecipe, class_counts: np.ndarray) -> Loss:
    """The loss that a recipe names, for a training set with these images a class.

    Returns
    -------
    loss : (logits (n, 7), labels (n,) int64) -> scalar
    """
    if recipe.name not in LOSSES:
        raise RecipeError(f"The loss {recipe.name!r} is unknown.", where="loss.name", expected=", ".join(LOSSES))
    if len(class_counts) != len(CLASSES):
        raise ValueError(f"class_counts must have {len(CLASSES)} entries, found {len(class_counts)}")
    return LOSSES[recipe.name](recipe, class_counts)

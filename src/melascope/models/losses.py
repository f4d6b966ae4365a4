"""What does training minimise, and how much more does a melanoma weigh?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from melascope.classes import CLASSES, MEL
from melascope.config import LossRecipe
from melascope.errors import RecipeError

Loss = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""(logits (n, 7), truth (n, 7), rows sum to 1) -> terms (n,), weights (n,): the loss is Σ terms / Σ weights.

The two sums stay apart, so that processes that share a batch can divide by the weight of all of it.
"""


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
    return _cross_entropy(recipe, class_weights(class_counts, recipe.melanoma_factor))


def cross_entropy(recipe: LossRecipe, class_counts: np.ndarray) -> Loss:
    """Plain cross-entropy; for the balanced sampler, which already evens out the classes."""
    return _cross_entropy(recipe, np.ones(len(CLASSES)))


def focal(recipe: LossRecipe, class_counts: np.ndarray) -> Loss:
    """-w_y (1 - p_y)^γ log p_y (Lin et al. 2017, eq. 5), with `class_weights` for its α."""
    return _cross_entropy(recipe, class_weights(class_counts, recipe.melanoma_factor), gamma=recipe.focal_gamma)


def logit_adjusted(recipe: LossRecipe, class_counts: np.ndarray) -> Loss:
    """Cross-entropy of logits + τ log π, π the shares of the training images (Menon et al. 2021, eq. 10).

    The network's own logits then answer as if all classes were equally common. A class without a training image
    counts as half an image. `melanoma_factor` weighs melanoma beside it.
    """
    counts = np.maximum(np.asarray(class_counts, dtype=np.float64), 0.5)
    weights = np.ones(len(CLASSES))
    weights[MEL] = recipe.melanoma_factor
    return _cross_entropy(recipe, weights, offset=recipe.logit_adjustment * np.log(counts / counts.sum()))


def _cross_entropy(
    recipe: LossRecipe, weights: np.ndarray, *, offset: np.ndarray | float = 0.0, gamma: float = 0.0
) -> Loss:
    """Weighted cross-entropy of soft truth; smoothing ε mixes it with the uniform (Szegedy et al. 2016, sec. 7)."""
    of_class = torch.as_tensor(weights, dtype=torch.float32)
    added = torch.as_tensor(np.broadcast_to(offset, len(CLASSES)).copy(), dtype=torch.float32)
    smoothing = recipe.label_smoothing

    def loss(logits: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        weight, logits = of_class.to(logits.device), logits.float()
        logs = torch.log_softmax(logits + added.to(logits.device), dim=1)
        smooth = truth * (1 - smoothing) + smoothing / len(CLASSES)
        hard = (1 - logs.exp()).clamp(min=1e-7) ** gamma if gamma else 1.0
        return -(smooth * weight * hard * logs).sum(1), (truth * weight).sum(1)

    return loss


LOSSES: dict[str, tuple[Callable[[LossRecipe, np.ndarray], Loss], frozenset[str]]] = {
    # name -> function, settings that it heeds besides label_smoothing
    "weighted_cross_entropy": (weighted_cross_entropy, frozenset({"melanoma_factor"})),
    "cross_entropy": (cross_entropy, frozenset()),
    "focal": (focal, frozenset({"melanoma_factor", "focal_gamma"})),
    "logit_adjusted": (logit_adjusted, frozenset({"melanoma_factor", "logit_adjustment"})),
}


def build_loss(recipe: LossRecipe, class_counts: np.ndarray) -> Loss:
    """The loss that a recipe names, for a training set with these images a class.

    Raises
    ------
    RecipeError : the loss is unknown, or would ignore a setting that the recipe changes.
    """
    if recipe.name not in LOSSES:
        raise RecipeError(f"The loss {recipe.name!r} is unknown.", where="loss.name", expected=", ".join(LOSSES))
    if len(class_counts) != len(CLASSES):
        raise ValueError(f"class_counts must have {len(CLASSES)} entries, found {len(class_counts)}")
    function, heeded = LOSSES[recipe.name]
    for setting in ("melanoma_factor", "focal_gamma", "logit_adjustment"):
        if setting not in heeded and getattr(recipe, setting) != LossRecipe.model_fields[setting].default:
            fitting = " or ".join(f'"{name}"' for name, (_, settings) in LOSSES.items() if setting in settings)
            raise RecipeError(
                f"{recipe.name} knows no {setting} (found {getattr(recipe, setting)}).",
                where=f"loss.{setting}",
                fix=f"use name = {fitting}",
            )
    return function(recipe, class_counts)


def mean_loss(loss: Loss, logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The loss of a batch that lies here as a whole: Σ terms / Σ weights."""
    terms, weights = loss(logits, truth)
    return terms.sum() / weights.sum()


def as_truth(labels: torch.Tensor) -> torch.Tensor:
    """(n,) int64 labels as (n, 7) float32 rows of one 1."""
    return torch.nn.functional.one_hot(labels, len(CLASSES)).to(torch.float32)

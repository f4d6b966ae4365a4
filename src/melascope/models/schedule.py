"""How large is each step of a training, and how large are its images?"""

from __future__ import annotations

import math

from melascope.config import Recipe


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Rate at a step: linear warm-up, then constant or half a cosine to zero (Loshchilov & Hutter 2017, eq. 5)."""
    train = recipe.train
    warmup = train.warmup_epochs * steps_per_epoch
    if step < warmup:
        return train.learning_rate * min(1.0, (step + 1) / warmup)  # a warm-up may end in the middle of a step
    if train.schedule == "constant":
        return train.learning_rate
    share = (step - warmup) / max(1.0, train.epochs * steps_per_epoch - warmup)
    return train.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def image_share(recipe: Recipe, epoch: int) -> float:
    """Side of an epoch's training images as a share of the input's: progressive learning (Tan & Le 2021, sec. 4)."""
    shares = recipe.train.resizing
    return shares[epoch * len(shares) // recipe.train.epochs]

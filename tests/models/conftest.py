"""A network of 100 000 weights, a recipe for it, and drawn pixels whose class shows in their colour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from melascope.classes import CLASSES
from melascope.config import Recipe, validated
from melascope.models.train import TrainingData

TINY = {
    "name": "tiny",
    "model": {"backbone": "test_efficientnet", "pretrained": False, "dropout": 0.3},
    "input": {"width": 32, "height": 32},
    "train": {"epochs": 2, "batch_size": 8, "learning_rate": 0.005, "schedule": "cosine", "warmup_epochs": 0.5},
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Training is exact for one number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def recipe_of() -> Callable[..., Recipe]:
    """The tiny recipe with some keys of some sections changed: `recipe_of(train={"epochs": 3}, seed=2)`."""

    def recipe(**changes: object) -> Recipe:
        merged = {
            name: {**TINY.get(name, {}), **value} if isinstance(value, dict) else value
            for name, value in changes.items()
        }
        return validated(Recipe, {**TINY, **merged}, where=Path("tiny.toml"))

    return recipe


def drawn_data(n_train: int = 20, n_val: int = 14, classes: int = len(CLASSES)) -> TrainingData:
    """Noise whose red rises with the class; the first `classes` classes occur in turn."""
    rng = np.random.default_rng(0)
    labels = np.arange(n_train + n_val) % classes
    pixels = rng.integers(0, 120, (len(labels), 32, 32, 3), dtype=np.uint8)
    pixels[..., 0] += (20 * labels).astype(np.uint8)[:, None, None]
    rows = np.arange(len(labels))
    return TrainingData(pixels, labels, rows[:n_train], rows[n_train:], "phantom", "f" * 64, "5" * 64)


@pytest.fixture(scope="session")
def data_of() -> Callable[..., TrainingData]:
    return drawn_data

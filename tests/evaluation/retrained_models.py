"""Models that are compared: one table, the same images as other models see them, and seeds of one recipe."""

from dataclasses import replace

import numpy as np

from melascope.config import Recipe
from melascope.evaluation.compare import Entry
from melascope.tables.predictions import PredictionsOrigin

ORIGIN = PredictionsOrigin(
    source="ham10000", checkpoint_sha256="c" * 64, split_sha256="d" * 64, dataset_fingerprint="f" * 64
)
DRAWS = 200


def retrained(table, seed, noise=1.0, **origin):
    """The same images as another model sees them."""
    logits = table.logits + np.random.default_rng(seed).normal(0, noise, table.logits.shape)
    return replace(table, logits=logits, origin=replace(table.origin, **origin))


def runs(table, point, n_seeds, **changes):
    recipe = Recipe(name="small", **changes)
    return [
        Entry(f"small-s{seed}", retrained(table, seed), point, recipe.model_copy(update={"seed": seed}))
        for seed in range(1, n_seeds + 1)
    ]

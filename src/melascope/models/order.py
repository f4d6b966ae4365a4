"""Which images make up each batch of each epoch? Random numbers keyed by (seed, epoch, step): resume is exact."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def key(*parts: int | str) -> int:
    """A 63-bit seed from its parts, e.g. `key("augment", seed, epoch, step)`: the same on every machine."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def keyed_generator(*parts: int | str) -> torch.Generator:
    """A CPU generator that starts at `key(*parts)`."""
    return torch.Generator().manual_seed(key(*parts))


def epoch_order(labels: np.ndarray, *, sampler: str, seed: int, epoch: int) -> np.ndarray:
    """Positions of the training images in the order of this epoch.

    Parameters
    ----------
    labels : (n_train,) int64
    sampler : `shuffle` visits every image once; `balanced` draws n_train images with replacement so that
        every class is equally likely (the seed's sampler row).

    Returns
    -------
    order : (n_train,) int64
    """
    rng = np.random.default_rng(key("order", seed, epoch))
    if sampler == "shuffle":
        return rng.permutation(len(labels))
    counts = np.bincount(labels)
    chance = 1.0 / counts[labels]
    return rng.choice(len(labels), size=len(labels), replace=True, p=chance / chance.sum())


def batches(order: np.ndarray, batch_size: int, *, least: int = 2) -> list[np.ndarray]:
    """Cut an order into batches; a last one of fewer than `least` images joins the one before (BatchNorm needs two)."""
    pieces = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if len(pieces) > 1 and len(pieces[-1]) < least:
        pieces[-2:] = [np.concatenate(pieces[-2:])]
    return pieces

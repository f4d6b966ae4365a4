"""Which random numbers belong to one image of one batch, so that processes that share a batch draw the same ones?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from melascope.models.order import key


@dataclass(frozen=True)
class Draws:
    """Random numbers of a whole batch, of which the images that lie here keep theirs.

    Parameters
    ----------
    generator : CPU generator, keyed by seed, epoch and step
    n : images of the whole batch, over all processes
    kept : (m,) int64, which of them lie here
    device : where the numbers are wanted
    """

    generator: torch.Generator
    n: int
    kept: np.ndarray
    device: torch.device

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        """(m, *shape) float32 in [low, high)."""
        values = low + (high - low) * torch.rand(self.n, *shape, generator=self.generator)
        return values[torch.from_numpy(self.kept)].to(self.device)

    def of(self, name: str) -> Draws:
        """Draws of one augmentation, which move no other's: keyed by its name and this generator's first seed."""
        seed = key(name, self.generator.initial_seed())
        return Draws(torch.Generator().manual_seed(seed), self.n, self.kept, self.device)

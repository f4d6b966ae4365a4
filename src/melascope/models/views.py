"""From how many sides is an image looked at before the network answers?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

View = Callable[[torch.Tensor], torch.Tensor]

VIEWS: dict[str, tuple[View, ...]] = {
    # name in a recipe -> what is shown of a batch (n, 3, height, width); a skin lesion has no right way up
    "one": (lambda batch: batch,),
    "mirrored": (
        lambda batch: batch,
        lambda batch: batch.flip(3),
        lambda batch: batch.flip(2),
        lambda batch: batch.flip(2, 3),
    ),
}


def mean_logits(network: nn.Module, batch: torch.Tensor, views: str) -> torch.Tensor:
    """(n, 7) float32: the mean of the logits over all views; nothing is drawn, so it is the same each time."""
    return torch.stack([network(view(batch)).float() for view in VIEWS[views]]).mean(0)

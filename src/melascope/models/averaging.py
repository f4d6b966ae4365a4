"""Which weights are judged and kept: the last step's, or their average over many steps?"""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """Exponential moving average of a network's weights and BatchNorm statistics (Polyak & Juditsky 1992).

    After step t, average = d · average + (1 - d) · weights with d = min(decay, (1 + t) / (10 + t)), so that the random
    first weights are forgotten early. It depends on the step alone, and so goes on exactly after a resume.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step` finished steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        moving = [(mean, value.to(mean.dtype)) for mean, value in pairs if mean.is_floating_point()]
        torch._foreach_lerp_(*map(list, zip(*moving, strict=True)), 1 - decay)  # in less time than one by one
        for mean, value in pairs:
            if not mean.is_floating_point():
                mean.copy_(value)


def _tensors(network: nn.Module) -> list[torch.Tensor]:
    return [*network.parameters(), *network.buffers()]

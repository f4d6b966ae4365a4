"""Of all the heads that give the same probabilities, which one is kept: whose maps speak of the decision alone?"""

from __future__ import annotations

import copy

import torch
from torch import nn


@torch.no_grad()
def with_centred_head(network: nn.Module) -> nn.Module:
    """A copy of a timm network whose linear head has rows, and biases, of mean 0 over the classes.

    Another kind of head stays as it is.

    softmax(z) = softmax(z - mean(z)): what all rows have in common changes no probability, and no loss here sees it.
    The optimizer lets it drift all the same. But a map of one logit (Grad-CAM) shows it, in every class alike: a
    picture of where the features are strong, which says nothing of the decision and outlives even random weights
    (docs/explain.md). With it gone, a logit is the evidence for a class beyond the mean of all, and so is its map.
    """
    network = copy.deepcopy(network)
    head = network.get_classifier()
    if isinstance(head, nn.Linear):
        for values in (head.weight, head.bias):
            if values is not None:
                exact = values.cpu().double()  # not every device knows float64
                values.copy_(exact - exact.mean(dim=0, keepdim=True))
    return network

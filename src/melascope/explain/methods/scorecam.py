"""What does Score-CAM say: which channels keep a class's logit up when the image is seen through them alone?

Wang et al., "Score-CAM", CVPRW 2020, algorithm 1: H_c = A_c enlarged to the input and scaled to 0 … 1; S_c = logit
of the input times H_c; alpha = softmax_c(S_c - S_b), which the baseline S_b does not change;
map = ReLU(sum_c alpha_c A_c). The ReLU is left to the display. All weights are positive: the method knows no evidence
against a class. The input is multiplied as the model sees it, normalised, so that what is hidden becomes the mean
colour. One forward pass a channel and image, for all classes at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from melascope.explain.methods.rows import Seen

PASSES_AT_ONCE = 32


def from_forward(seen: Seen) -> Tensor:
    """Score-CAM of every class asked for, without the ReLU: (B, k, h, w)."""
    maps = []
    for image, activations in zip(seen.batch, seen.activations, strict=True):
        scores = [seen.ask(image * masks) for masks in _masks(activations, image.shape[1:])]
        weights = torch.cat(scores).float().softmax(dim=0).to(activations.dtype)
        maps.append(torch.einsum("ck,chw->khw", weights, activations))
    return torch.stack(maps)


def _masks(activations: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """Of one image's (C, h, w), some channels at a time, (n, 1, H, W) in 0 … 1; a channel of one value hides all."""
    for part in activations[:, None].split(PASSES_AT_ONCE):
        large = interpolate(part, size=tuple(size), mode="bilinear", align_corners=False)
        low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
        yield torch.where(high > low, (large - low) / (high - low), 0)

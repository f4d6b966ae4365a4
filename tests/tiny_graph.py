"""Which exported graph do several tests ask? Two convolutions with random weights, their maps, and a card."""

from __future__ import annotations

import torch
from torch import nn

from melascope.classes import CLASSES
from melascope.models.export import PixelsToMaps
from melascope.tables.exports import ExportCard
from melascope.tables.runs import CheckpointCard

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
CHECKPOINT = CheckpointCard(
    weights="w", weights_sha256="a" * 64, backbone="tiny", dropout=0, drop_path=0, class_order=CLASSES,
    input_width=14, input_height=10, mean=MEAN, std=STD, temperature=1.5, epoch=1, step=1, figures={}, recipe={},
    source="phantom", dataset_fingerprint="", split_sha256="",
)  # fmt: skip
PLACES = {"offset_y_x": [-0.5, -0.5], "pitch_y_x": [1.0, 1.0], "source": "middle of the receptive field"}
MAPS = {
    "method": "gradcam",
    "layer": "1",
    "unit": "logits",
    "resolution": "cells",
    "path": "closed form",
    "places": PLACES,
}
CARD = ExportCard(
    melascope="0", run="run", source="phantom", checkpoint=CHECKPOINT, views="one", maps=MAPS, operating_point=None
)


def closed_form(activations, weight):
    return torch.einsum("bchw,kc->bkhw", activations, weight) / activations[0, 0].numel()


def tiny(seed=0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(5, 6, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 7),
    ).eval()


def graph(views="one", maps=True) -> PixelsToMaps:
    extra = {"layer": "3", "maps": closed_form} if maps else {}
    return PixelsToMaps(tiny(), mean=MEAN, std=STD, views=views, head="6", **extra)

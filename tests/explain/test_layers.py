"""Is the right layer found, is every module's mode put back, and is what is not supported refused in clear words?"""

import pytest
import timm
import torch
from torch import nn

from melascope.errors import ExplainError
from melascope.explain.layers import evaluation_mode, forward_hook
from melascope.explain.maps import AUTOGRAD, MapEngine


def test_modes_are_put_back_one_by_one():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4), nn.Dropout()))
    model.train()
    model[1][0].eval()
    before = [module.training for module in model.modules()]
    with pytest.raises(KeyError), evaluation_mode(model):
        assert not any(module.training for module in model.modules())
        raise KeyError
    assert [module.training for module in model.modules()] == before


def test_a_hook_is_gone_after_an_error():
    layer = nn.Conv2d(3, 4, 1)
    with pytest.raises(KeyError), forward_hook(layer, lambda *_: None):
        raise KeyError
    assert not layer._forward_hooks


def test_pass_through_modules_are_not_named():
    """The layer is the module that made the activations, not an identity, dropout or pooling after it."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Identity(), nn.Dropout2d(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 7)
    )
    assert MapEngine(model).layer == "0"


def test_token_models_are_refused_in_clear_words():
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=7, depth=1)
    with pytest.raises(ExplainError, match="tokens") as refused:
        MapEngine(vit, probe_size=(224, 224))
    assert "not supported yet" in str(refused.value)
    with pytest.raises(ExplainError, match=r"(?s)random batch.*token models.*probe_size"):
        MapEngine(vit)


def test_channels_last_layers_are_refused():
    class ChannelsLast(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.fc = nn.Conv2d(3, 64, 8, stride=8), nn.LayerNorm(64), nn.Linear(64, 7)

        def forward(self, batch):
            return self.fc(self.norm(self.conv(batch).permute(0, 2, 3, 1)).mean((1, 2)))

    with pytest.raises(ExplainError, match="channels last"):
        MapEngine(ChannelsLast())
    assert MapEngine(ChannelsLast(), layer="conv").path == AUTOGRAD


class Odd(nn.Module):
    """One ReLU runs twice; a convolution runs aside and its result is never used."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.aside = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1)
        self.never, self.fc = nn.Conv2d(4, 4, 1), nn.Linear(4, 7)

    def forward(self, batch):
        activations = self.relu(self.conv(batch))
        self.aside(activations)
        return self.fc(self.relu(activations).mean((2, 3)))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("relu", "runs 2 times"),
        ("conv1", r"(?s)No layer 'conv1'.*conv"),
        ("never", "No layer 'never' runs"),
        ("fc", "no grid of cells"),
        ("aside", "do not depend|does not depend"),
    ],
)
def test_unusable_layers_are_refused(layer, message):
    with pytest.raises(ExplainError, match=message):
        MapEngine(Odd(), layer=layer)(torch.zeros(1, 3, 8, 8))


def test_unknown_methods_are_refused():
    with pytest.raises(ExplainError, match="gradcam"):
        MapEngine(Odd(), method="gradcamm")


def test_a_model_without_logits_is_refused():
    with pytest.raises(ExplainError, match="logits"):
        MapEngine(nn.Conv2d(3, 4, 3))


def test_a_model_without_a_grid_is_refused():
    with pytest.raises(ExplainError, match="No layer of the model gives activations"):
        MapEngine(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 7)))

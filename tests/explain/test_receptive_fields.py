"""Does a cell lie where the network looks: against hand-made networks, autograd, and an impulse in the picture?"""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from melascope.explain.maps import MapEngine
from melascope.explain.overlay import upsample_map
from melascope.tables.cell_places import EVEN, NOT_KNOWN, PATCHES, PIXELS, RECEPTIVE_FIELD


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 7)]


def network(*layers: nn.Module, channels: int = 4) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(*layers, *head(channels)).eval()


def pixels_of(places, grid, size):
    """(y, x) of the first cell's middle and of the step, in pixels of the input."""
    shares = [places.share_at(cells, axis) * size[axis] for axis, cells in enumerate(grid)]
    return tuple(one[0] for one in shares), tuple(one[1] - one[0] for one in shares)


class Same(nn.Module):
    """Padding made in `forward`, more of it right and below, as TensorFlow's networks do."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, batch):
        return self.conv(F.pad(batch, (0, 1, 0, 1)))


class Residual(nn.Module):
    """Two paths that look at other places: pixel 2i, and between 2i and 2i + 1; the second brings three times more."""

    def __init__(self):
        super().__init__()
        self.odd, self.even = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), nn.AvgPool2d(2)
        with torch.no_grad():
            self.odd.weight.zero_()
            self.odd.weight[:3, :, 1, 1] = torch.eye(3)  # variance 1 of each colour; the mean of four has 1/4

    def forward(self, batch):
        other = F.pad(self.even(batch), (0, 0, 0, 0, 0, 1))
        out = self.odd(batch)
        out += 2 * 3**0.5 * other
        return out


FIRST_AND_STEP = {
    "odd, padded": (nn.Conv2d(3, 4, 3, stride=2, padding=1), 0.5, 2),
    "odd, not padded": (nn.Conv2d(3, 4, 3, stride=2), 1.5, 2),
    "even": (nn.Conv2d(3, 4, 2, stride=2), 1.0, 2),
    "dilated": (nn.Conv2d(3, 4, 3, stride=2, dilation=2), 2.5, 2),
    "same, by name": (nn.Conv2d(3, 4, 3, padding="same"), 0.5, 1),
    "reflected": (nn.Conv2d(3, 4, 3, stride=2, padding=1, padding_mode="reflect"), 0.5, 2),
    "largest": (nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(3, 2, 1)), 0.5, 2),
    "mean": (nn.Sequential(nn.Conv2d(3, 4, 1), nn.AvgPool2d(3, 2, 1)), 0.5, 2),
    "five strides": (nn.Sequential(nn.Conv2d(3, 4, 7, 2, 3), *[nn.Conv2d(4, 4, 3, 2, 1) for _ in range(4)]), 0.5, 32),
    "padded inside": (Same(), 1.5, 2),
}


@pytest.mark.parametrize("name", FIRST_AND_STEP)
def test_known_answers(name):
    layer, first, step = FIRST_AND_STEP[name]
    engine = MapEngine(network(layer, nn.ReLU()), probe_size=(128, 192))
    for size in ((128, 192), (131, 250)):
        places, grid = engine.places(*size), engine(torch.ones(1, 3, *size))[1].shape[2:]
        assert places.source == RECEPTIVE_FIELD
        found = pixels_of(places, grid, size)
        np.testing.assert_allclose(found, ((first, first), (step, step)), atol=1e-9)


def test_paths_of_other_middles_count_by_the_variance_they_bring():
    places = MapEngine(network(Residual()), probe_size=(128, 192)).places(128, 192)
    (first, _), _ = pixels_of(places, (64, 96), (128, 192))
    assert first == pytest.approx(0.25 * 0.5 + 0.75 * 1.0, abs=0.01)


def mean_place_by_gradient(model, layer, size, cell):
    """(y, x): centre of mass of the squared gradient of one cell by the input, over noise."""
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    batch = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    model(batch)
    handle.remove()
    sides = torch.randn(kept[0].shape[:2], generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((kept[0][:, :, cell, cell] * sides).sum(), batch)
    power = (gradient**2).sum((0, 1)).double()
    middles = torch.arange(size) + 0.5
    return [float(power.sum(1 - axis) @ middles.double() / power.sum()) for axis in (0, 1)]


NETWORKS = {
    "resnet18": (lambda: torchvision.models.resnet18(weights=None, num_classes=7), "layer4", 193),
    "resnet10t": (lambda: timm.create_model("resnet10t", num_classes=7), "layer4", 224),
    "tf_mobilenetv3_small_minimal_100": (
        lambda: timm.create_model("tf_mobilenetv3_small_minimal_100", num_classes=7),
        "blocks",
        224,
    ),
    "convnext_atto": (lambda: timm.create_model("convnext_atto", num_classes=7), "stages", 224),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_cell_lies_where_its_gradient_does(name):
    """Off by half a cell, 16 px, where cells are taken to lie evenly (but for ConvNeXt)."""
    make, layer, size = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = make().eval()
    places, cells = MapEngine(model, layer=layer).places(size, size), -(-size // 32)
    cell = cells // 2
    expected = mean_place_by_gradient(model, layer, size, cell)
    found = [places.share_at(cells, axis)[cell] * size for axis in (0, 1)]
    np.testing.assert_allclose(found, expected, atol=4)


class Looking(nn.Module):
    """Cell i sees pixel 8 i alone: each convolution passes on the middle of its window."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(*[nn.Conv2d(3, 3, 3, stride=2, padding=1, bias=False) for _ in range(3)])
        self.fc = nn.Linear(3, 7)
        with torch.no_grad():
            for convolution in self.body:
                convolution.weight.zero_()
                convolution.weight[:, :, 1, 1] = torch.eye(3)
            self.fc.weight.fill_(1.0)

    def forward(self, batch):
        return self.fc(self.body(batch).mean((2, 3)))


@pytest.mark.parametrize("larger", [1, 3])
def test_an_impulse_is_drawn_where_it_is(larger):
    """Of an odd number of pixels, so that one is drawn highest; side by side the peak would lie 3.5 px off."""
    engine, batch = MapEngine(Looking(), probe_size=(64, 96)), torch.zeros(1, 3, 64, 96)
    batch[..., 24, 56] = 1.0
    values = engine(batch)[1][0, 0].numpy()

    def peak(places):
        drawn = upsample_map(values, 96 * larger, 64 * larger, places)
        return (np.argwhere(drawn >= drawn.max() - 1e-6).mean(axis=0) + 0.5) / larger

    np.testing.assert_allclose(peak(engine.places(64, 96)), (24.5, 56.5), atol=0.5)
    assert np.abs(peak(EVEN) - (24.5, 56.5)).min() > 3


def test_patches_lie_side_by_side():
    vit = timm.create_model(
        "vit_tiny_patch16_224", num_classes=7, img_size=(64, 96), embed_dim=48, depth=1, num_heads=3
    )
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", num_classes=7, img_size=64, embed_dim=24, depths=(1, 1), num_heads=(2, 2)
    )
    torchvision_swin = torchvision.models.SwinTransformer([4, 4], 24, [1, 1], [2, 2], [4, 4], num_classes=7)
    for model, size in ((vit, (64, 96)), (swin, (64, 64)), (torchvision_swin, (64, 96))):
        places = MapEngine(model, probe_size=size).places(*size)
        assert (places.offset, places.pitch, places.source) == ((0, 0), (1, 1), PATCHES)


def test_patches_that_are_padded_below_lie_at_their_own_step():
    """54 px are 6 rows of 8 and a part: 7 rows of 8 px, not of 7.7."""
    model = timm.create_model(
        "vit_tiny_patch16_224", patch_size=8, num_classes=7, embed_dim=48, depth=1, num_heads=3,
        dynamic_img_size=True, dynamic_img_pad=True,
    )  # fmt: skip
    places = MapEngine(model, probe_size=(54, 64)).places(54, 64)
    np.testing.assert_allclose(pixels_of(places, (7, 8), (54, 64)), ((4, 4), (8, 8)))


class Shuffled(nn.Module):
    """Cells are cut out and put together again in a way that nobody can follow."""

    def forward(self, batch):
        return F.pixel_unshuffle(batch, 2)


def test_a_lost_trail_is_said_to_be_lost():
    places = MapEngine(network(Shuffled(), nn.Conv2d(12, 4, 3, 2, 1)), probe_size=(64, 96)).places(64, 96)
    assert places.source == NOT_KNOWN and not places.is_known and places.offset == (0, 0)


def test_methods_of_the_input_have_its_pixels_and_occlusion_its_windows():
    model = network(nn.Conv2d(3, 4, 3, 2, 1))
    gradients = MapEngine(model, method="integrated_gradients").places(64, 96)
    assert (gradients.offset, gradients.pitch, gradients.source) == ((0, 0), (1, 1), PIXELS)
    occlusion = MapEngine(model, method="occlusion").places(128, 128)  # 13 cells of 10 px, the last beyond the edge
    np.testing.assert_allclose(pixels_of(occlusion, (13, 13), (128, 128)), ((5, 5), (10, 10)))


def test_nothing_is_left_behind_and_each_size_is_worked_out_once(monkeypatch):
    model = network(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4)).train()
    engine, before = MapEngine(model), {name: one.clone() for name, one in model.state_dict().items()}
    first = engine.places(64, 96)
    monkeypatch.setattr("melascope.explain.maps.places_of_layer", lambda *_: pytest.fail("worked out again"))
    assert engine.places(64, 96) is first
    assert model.training and not any(module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])

"""Is the right layer found, is every module's mode put back, and is what is not supported refused in clear words?"""

import pytest
import timm
import torch
import torchvision
from torch import nn

from melascope.errors import ExplainError
from melascope.explain.grids import CHANNELS_FIRST, CHANNELS_LAST, TOKENS, Grid, find_grid, token_grid
from melascope.explain.maps import AUTOGRAD, CLOSED_FORM, MapEngine
from melascope.explain.methods import METHODS
from melascope.explain.running import evaluation_mode, forward_hook


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


def timm_model(name, **options):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return timm.create_model(name, num_classes=7, **options).eval()


def torchvision_vit():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = torchvision.models.VisionTransformer(32, 8, 2, 3, 48, 96, num_classes=7).eval()
        torch.nn.init.normal_(model.heads.head.weight)
    return model


SMALL = {"embed_dim": 48, "depth": 2, "num_heads": 3}
SWIN = {"embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}
TOKEN_MODELS = {
    # made by, the input's height and width, the layer that "auto" takes, the grid of the map
    "vit": (lambda: timm_model("vit_tiny_patch16_224", img_size=64, **SMALL), (64, 64), "blocks.1.norm1", (4, 4)),
    "vit, not square": (
        lambda: timm_model("vit_tiny_patch16_224", img_size=(64, 96), **SMALL),
        (64, 96),
        "blocks.1.norm1",
        (4, 6),
    ),
    "vit of any size": (
        lambda: timm_model("vit_tiny_patch16_224", dynamic_img_size=True, **SMALL),
        (48, 112),
        "blocks.1.norm1",
        (3, 7),
    ),
    "vit with registers": (
        lambda: timm_model("vit_tiny_patch16_224", img_size=(64, 96), reg_tokens=4, **SMALL),
        (64, 96),
        "blocks.1.norm1",
        (4, 6),
    ),
    "vit that pools its patches": (
        lambda: timm_model("vit_tiny_patch16_224", img_size=(64, 96), global_pool="avg", fc_norm=False, **SMALL),
        (64, 96),
        "norm",
        (4, 6),
    ),
    "deit with two heads": (
        lambda: timm_model("deit_tiny_distilled_patch16_224", img_size=(64, 96), **SMALL),
        (64, 96),
        "blocks.1.norm1",
        (4, 6),
    ),
    "swin": (lambda: timm_model("swin_tiny_patch4_window7_224", img_size=(64, 96), **SWIN), (64, 96), "norm", (8, 12)),
    "torchvision vit": (torchvision_vit, (32, 32), "encoder.layers.encoder_layer_1.ln_1", (4, 4)),
}


def gradcam_of_tokens(model, layer, batch, prefix, grid):
    """Eq. 1 and 2 with the tokens of the patches as cells, by a hook on the whole network."""
    kept = {}

    def keep(_module, _inputs, output):
        kept["tokens"] = output
        output.retain_grad()

    handle = model.get_submodule(layer).register_forward_hook(keep)
    maps = []
    for k in range(7):
        model(batch.clone().requires_grad_())[:, k].sum().backward()
        tokens, gradient = kept["tokens"].detach(), kept["tokens"].grad
        tokens, gradient = (one.flatten(1, -2)[:, prefix:] for one in (tokens, gradient))
        maps.append((tokens * gradient.mean(1, keepdim=True)).sum(2).unflatten(1, grid))
        model.zero_grad()
    handle.remove()
    return torch.stack(maps, 1)


@pytest.mark.parametrize("name", TOKEN_MODELS)
def test_tokens_are_laid_over_the_image(name):
    make, size, layer, grid = TOKEN_MODELS[name]
    model, batch = make(), torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(6))
    engine = MapEngine(model)
    assert engine.layer == layer
    logits, maps = engine(batch)
    assert maps.shape == (2, 7, *grid)
    torch.testing.assert_close(logits, model(batch).detach(), rtol=1e-4, atol=1e-5)
    prefix = {"vit with registers": 5, "deit with two heads": 2, "swin": 0}.get(name, 1)
    expected = gradcam_of_tokens(model, layer, batch, prefix, grid)
    assert expected.abs().max() > 0
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("name", ["vit, not square", "swin", "torchvision vit"])
@pytest.mark.parametrize("method", [name for name in METHODS if name != "gradcam++"])
def test_every_method_that_has_a_meaning_reads_tokens(name, method):
    make, size, _, grid = TOKEN_MODELS[name]
    engine = MapEngine(make(), method=method)
    maps = engine(torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(6)), classes=[4])[1]
    assert maps.abs().max() > 0
    if engine.layer != "input":
        assert maps.shape == (1, 1, *grid)


def test_gradcam_plus_plus_has_no_meaning_for_normalised_tokens():
    with pytest.raises(ExplainError, match="no meaning"):
        MapEngine(TOKEN_MODELS["vit"][0](), method="gradcam++")


def test_one_bright_patch_is_found_where_it_is():
    """A token grid laid the wrong way would show another place: occlusion, which knows no tokens, tells which."""
    model, batch = TOKEN_MODELS["swin"][0](), torch.zeros(1, 3, 64, 96)
    batch[..., 8:16, 80:88] = 3.0
    cells = MapEngine(model, layer="layers.0")(batch)[1].abs().amax((0, 1))
    plain = MapEngine(model, layer="layers.0")(torch.zeros_like(batch))[1].abs().amax((0, 1))
    row, column = divmod((cells - plain).abs().argmax().item(), cells.shape[1])
    assert abs(row / cells.shape[0] - 12 / 64) < 0.15 and abs(column / cells.shape[1] - 84 / 96) < 0.15


def test_a_layer_past_the_patches_is_refused():
    vit = TOKEN_MODELS["vit"][0]()
    for layer in ("norm", "blocks.1"):
        with pytest.raises(ExplainError, match="past the patches"):
            MapEngine(vit, layer=layer)
    assert MapEngine(vit, layer="blocks[0]").layer == "blocks.0"


def test_a_head_of_zeros_is_told():
    vit = torchvision_vit()
    torch.nn.init.zeros_(vit.heads.head.weight)
    with pytest.raises(ExplainError, match="every gradient is 0"):
        MapEngine(vit)


@pytest.mark.parametrize(
    ("shape", "size", "prefix", "expected"),
    [
        ((2, 64, 7, 9), (224, 288), None, Grid(CHANNELS_FIRST)),
        ((2, 7, 9, 64), (224, 288), None, Grid(CHANNELS_LAST)),
        ((2, 56, 56, 96), (224, 224), None, Grid(CHANNELS_LAST)),
        ((2, 56, 56, 56), (224, 224), None, Grid(CHANNELS_FIRST)),
        ((2, 64, 1, 1), (224, 224), None, None),
        ((2, 197, 192), (224, 224), None, Grid(TOKENS, 1)),
        ((2, 201, 192), (224, 224), 5, Grid(TOKENS, 5)),
        ((2, 25, 8), (64, 96), 1, Grid(TOKENS, 1)),
        ((2, 24, 8), (64, 96), 1, None),  # 23 tokens are no grid
        ((2, 7), (64, 96), None, None),
        (None, (64, 96), None, None),
    ],
)
def test_grids_by_shape(shape, size, prefix, expected):
    assert find_grid(shape, size, prefix) == expected


@pytest.mark.parametrize(
    ("n_tokens", "size", "expected"),
    [(24, (64, 96), (4, 6)), (24, (96, 64), (6, 4)), (196, (224, 224), (14, 14)), (70, (70, 100), (7, 10))],
)
def test_token_grids(n_tokens, size, expected):
    assert token_grid(n_tokens, size) == expected


def test_tokens_that_are_no_grid_are_refused():
    with pytest.raises(ValueError, match="23 tokens"):
        token_grid(23, (64, 96))


def test_windows_of_swin_are_no_grid():
    """Attention inside Swin's windows has more rows than the batch: it is never taken for a picture."""
    with pytest.raises(ExplainError, match="no grid"):
        MapEngine(TOKEN_MODELS["swin"][0](), layer="layers.0.blocks.0.attn.proj")


def test_channels_last_layers_are_read_as_what_they_are():
    class ChannelsLast(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.fc = nn.Conv2d(3, 64, 8, stride=8), nn.LayerNorm(64), nn.Linear(64, 7)

        def forward(self, batch):
            return self.fc(self.norm(self.conv(batch).permute(0, 2, 3, 1)).mean((1, 2)))

    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = ChannelsLast()
    engine = MapEngine(model)
    assert (engine.layer, engine.path) == ("norm", CLOSED_FORM)
    logits, maps = engine(torch.randn(1, 3, 32, 56, generator=torch.Generator().manual_seed(1)))
    assert maps.shape == (1, 7, 4, 7)
    torch.testing.assert_close(maps.sum((2, 3)), logits - model.fc.bias)
    assert MapEngine(model, layer="conv").path == AUTOGRAD


@pytest.mark.parametrize("spelling", ["1.0", "1[0]", "1[-2]", "[1][0]"])
def test_layers_may_be_spelled_by_index(spelling):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    model.append(nn.Linear(4, 7))
    if spelling.startswith("["):
        with pytest.raises(ExplainError, match="No layer"):
            MapEngine(model, layer=spelling)
    else:
        assert MapEngine(model, layer=spelling).layer == "1.0"


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
        ("conv[3]", "No layer 'conv.3'"),
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

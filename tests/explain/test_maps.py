"""Are maps what Grad-CAM's paper says, on any network, and does the engine leave the network as it was?"""

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn

from melascope.classes import CLASSES
from melascope.errors import ExplainError
from melascope.explain.maps import AUTOGRAD, CLOSED_FORM, MapEngine, make_maps
from melascope.tables.maps import MapStore

torch.set_num_threads(1)


class TinyNet(nn.Module):
    """Two channels by a 1×1 convolution, pooled, one linear layer: maps can be worked out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2, 2)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).view(2, 3, 1, 1))
            self.fc.weight.copy_(torch.tensor([[2.0, -4.0], [0.0, 1.0]]))
            self.fc.bias.copy_(torch.tensor([0.5, 0.0]))

    def forward(self, batch):
        return self.fc(self.pool(self.conv(batch)).flatten(1))


NETWORKS = {
    "efficientnet_b0": (lambda: timm.create_model("efficientnet_b0", num_classes=7), "bn2", CLOSED_FORM),
    "resnet10t": (lambda: timm.create_model("resnet10t", num_classes=7), "layer4", CLOSED_FORM),
    "mobilenetv3_small_050": (lambda: timm.create_model("mobilenetv3_small_050", num_classes=7), "blocks", AUTOGRAD),
    "convnext_atto": (lambda: timm.create_model("convnext_atto", num_classes=7), "stages", AUTOGRAD),
    "torchvision resnet18": (
        lambda: torchvision.models.resnet18(weights=None, num_classes=7),
        "layer4",
        CLOSED_FORM,
    ),
    # a ReLU in place, called as a function after the last module: no list of modules can show it
    "torchvision densenet121": (
        lambda: torchvision.models.densenet121(weights=None, num_classes=7),
        "features",
        AUTOGRAD,
    ),
}


def random_batch(size=2, height=64, width=96, seed=5):
    return torch.randn(size, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def made():
    """Networks with random weights, each made once."""
    networks = {}

    def make(name):
        if name not in networks:
            with torch.random.fork_rng():
                torch.manual_seed(2)
                network = NETWORKS[name][0]().eval()
            with torch.no_grad():  # statistics that are not 0 and 1, as after training
                for module in network.modules():
                    if isinstance(module, nn.BatchNorm2d):
                        module.running_mean.uniform_(-0.1, 0.1)
                        module.running_var.uniform_(0.5, 1.5)
            networks[name] = network
        return networks[name]

    return make


def gradcam_by_the_book(model, layer, batch):
    """Selvaraju et al. 2017, eq. 1 and 2 (no ReLU): one forward and one backward pass a class, through everything."""
    kept = {}

    def keep(_module, _inputs, output):
        kept["a"] = output.clone()
        return kept["a"].clone()  # what the network then does in place is not the layer's output

    handle = model.get_submodule(layer).register_forward_hook(keep)
    maps = []
    for k in range(model(batch).shape[1]):
        logits = model(batch.clone().requires_grad_())
        (gradient,) = torch.autograd.grad(logits[:, k].sum(), kept["a"])
        alpha = gradient.mean((2, 3), keepdim=True)
        maps.append((alpha * kept["a"]).sum(1).detach())
    handle.remove()
    return logits.detach(), torch.stack(maps, 1)


def test_known_answer():
    batch = torch.zeros(1, 3, 1, 2)
    batch[0, 0] = torch.tensor([[1.0, 3.0]])  # channel 0 of the layer
    batch[0, 1] = torch.tensor([[0.0, 1.0]])  # channel 1
    engine = MapEngine(TinyNet(), probe_size=(6, 8))
    logits, maps = engine(batch)
    assert engine.path == CLOSED_FORM and engine.layer == "conv"
    # alpha = weight / 2 cells: class 0 has (1, -2), class 1 has (0, 0.5)
    torch.testing.assert_close(maps, torch.tensor([[[[1.0, 1.0]], [[0.0, 0.5]]]]))
    torch.testing.assert_close(logits, torch.tensor([[2.5, 0.5]]))
    torch.testing.assert_close(maps.sum((2, 3)), logits - torch.tensor([[0.5, 0.0]]))


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_gradcam_by_the_book(made, name):
    _, layer, path = NETWORKS[name]
    model, batch = made(name), random_batch()
    engine = MapEngine(model)
    assert (engine.layer, engine.path) == (layer, path), engine
    logits, maps = engine(batch)
    expected_logits, expected = gradcam_by_the_book(model, layer, batch)
    assert maps.shape[:2] == (2, 7) and maps.shape[2] * maps.shape[3] > 1
    assert not maps.requires_grad and not logits.requires_grad
    torch.testing.assert_close(logits, expected_logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("name", [name for name, row in NETWORKS.items() if row[2] == CLOSED_FORM])
def test_closed_form_equals_the_general_path(made, name):
    engine = MapEngine(made(name))
    logits, closed = engine(random_batch())
    engine.path = AUTOGRAD
    again, general = engine(random_batch())
    torch.testing.assert_close(again, logits, rtol=0, atol=1e-6)
    torch.testing.assert_close(closed, general, rtol=0, atol=1e-5 * general.abs().max().item())


@pytest.mark.parametrize(("name", "layer"), [("efficientnet_b0", "blocks.4"), ("torchvision resnet18", "layer2.0.bn2")])
def test_earlier_layers_go_the_general_way(made, name, layer):
    """layer2.0.bn2 is added to and rectified in place afterwards: the map is still of its own output."""
    model, batch = made(name), random_batch()
    engine = MapEngine(model, layer=layer)
    assert engine.path == AUTOGRAD
    expected = gradcam_by_the_book(model, layer, batch)[1]
    torch.testing.assert_close(engine(batch)[1], expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_positive_part_is_what_pytorch_grad_cam_shows(made):
    """Its post-processing (ReLU, min-max to 0 … 1, bilinear resize by OpenCV) replicated on the by-the-book map."""
    from melascope.explain.overlay import upsample_map

    model, batch = made("efficientnet_b0"), random_batch(size=1, height=128, width=160)
    ours = MapEngine(model)(batch)[1][0].numpy()
    theirs = gradcam_by_the_book(model, "bn2", batch)[1][0]
    for k in range(7):
        rectified = theirs[k].clamp(min=0)
        scaled = (rectified - rectified.min()) / (1e-7 + rectified.max() - rectified.min())
        expected = nn.functional.interpolate(scaled[None, None], size=(128, 160), mode="bilinear")[0, 0].numpy()
        positive = np.maximum(ours[k], 0)
        spread = positive.max() - positive.min()
        found = upsample_map((positive - positive.min()) / (1e-7 + spread), 160, 128)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_weights_are_read_anew_in_every_call():
    model = TinyNet()
    engine = MapEngine(model, probe_size=(6, 8))
    before = engine(random_batch())[1]
    with torch.no_grad():
        model.fc.weight.mul_(-2)
    torch.testing.assert_close(engine(random_batch())[1], -2 * before)


def test_a_head_of_zeros_is_not_taken_for_verified():
    model = TinyNet()
    nn.init.zeros_(model.fc.weight)
    engine = MapEngine(model, probe_size=(6, 8))
    assert engine.path == AUTOGRAD and "zero" in engine.path_reason


class Capped(TinyNet):
    """Not linear after the layer, but only far above what the probe's activations reach."""

    def forward(self, batch):
        return self.fc(self.pool(self.conv(batch).clamp(max=20)).flatten(1))


def test_what_the_probe_does_not_reach_is_found_too():
    engine = MapEngine(Capped(), probe_size=(6, 8))
    assert engine.path == AUTOGRAD
    batch = torch.full((1, 3, 1, 2), 1.0)
    batch[..., 1] = 30  # capped: this cell has no gradient, so alpha is half of the weight / 2 cells
    torch.testing.assert_close(engine(batch)[1][0, 0], torch.tensor([[-0.5, -15.0]]))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050"])
def test_the_callers_gradient_mode_does_not_matter(made, name, mode):
    engine = MapEngine(made(name))
    expected = engine(random_batch())[1]
    with mode():
        found = engine(random_batch())[1]
    torch.testing.assert_close(found, expected)


def test_maps_do_not_depend_on_the_rest_of_the_batch(made):
    engine, batch = MapEngine(made("convnext_atto")), random_batch(size=3)
    torch.testing.assert_close(engine(batch)[1][1:2], engine(batch[1:2])[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((1, 3, 8, 8), np.float32), "is a ndarray"),
        (torch.zeros(3, 8, 8), "shape"),
        (torch.zeros(1, 4, 8, 8), "shape"),
        (torch.zeros(0, 3, 8, 8), "shape"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "uint8"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.float64), "float64"),
        (torch.full((1, 3, 8, 8), float("nan")), "not finite"),
    ],
)
def test_unusable_batches_are_refused(batch, message):
    with pytest.raises(ExplainError, match=message):
        MapEngine(TinyNet(), probe_size=(6, 8))(batch)


def test_weights_that_are_not_finite_are_refused():
    model = TinyNet()
    engine = MapEngine(model, probe_size=(6, 8))
    with torch.no_grad():
        model.fc.bias.fill_(float("inf"))
    with pytest.raises(ExplainError, match="not finite"):
        engine(random_batch())


@pytest.mark.parametrize("classes", [[], [2], [-1], [0, 7]])
def test_classes_that_the_model_has_not_are_refused(classes):
    engine = MapEngine(TinyNet(), probe_size=(6, 8))
    with pytest.raises(ExplainError, match="columns"):
        engine(random_batch(), classes=classes)
    with pytest.raises(ExplainError, match="columns"):
        engine.contrast(random_batch(), 2)


@pytest.mark.parametrize("layer", ["auto", "blocks[4]"])
def test_a_subset_of_the_classes(made, layer):
    engine = MapEngine(made("efficientnet_b0"), layer=layer)
    logits, maps = engine(random_batch())
    few_logits, few = engine(random_batch(), classes=[4, 1])
    torch.testing.assert_close(few_logits, logits)
    torch.testing.assert_close(few, maps[:, [4, 1]])


@pytest.mark.parametrize("name", ["efficientnet_b0", "convnext_atto"])
def test_fast_maps_are_near_and_say_what_they_are(made, name):
    model, batch = made(name), random_batch()
    engine, fast = MapEngine(model), MapEngine(model, fast=True)
    assert (engine.precision, fast.precision) == ("float32", "bfloat16, channels last")
    (logits, maps), (rough_logits, rough) = engine(batch), fast(batch)
    assert rough.dtype == rough_logits.dtype == torch.float32
    assert next(model.parameters()).dtype == torch.float32
    assert 0 < (rough - maps).abs().max() < 0.1 * maps.abs().max()
    torch.testing.assert_close(rough_logits, logits, rtol=0, atol=0.1 * logits.abs().max().item())


def test_double_precision():
    engine = MapEngine(TinyNet().double(), probe_size=(6, 8))
    assert engine(random_batch().double())[1].dtype == torch.float64


def seven_class_net():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return nn.Sequential(
            nn.Conv2d(3, 8, 4, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7)
        )


MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)


def test_make_maps_normalises_and_keeps_the_order(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (5, 16, 24, 3), dtype=np.uint8)
    engine, seen = MapEngine(seven_class_net()), []
    store = make_maps(
        engine,
        pixels,
        list("abcde"),
        mean=MEAN,
        std=STD,
        checkpoint_sha256="f00",
        batch_size=2,
        progress=lambda done, of: seen.append((done, of)),
    )
    assert seen == [(2, 5), (4, 5), (5, 5)]
    batch = np.moveaxis((pixels / 255 - np.array(MEAN)) / np.array(STD), 3, 1).astype(np.float32)
    logits, maps = engine(torch.from_numpy(batch))
    np.testing.assert_allclose(store.logits, logits.numpy(), atol=1e-5)
    np.testing.assert_allclose(store.maps, maps.numpy(), atol=1e-5)
    np.testing.assert_array_equal(store.of("d"), store.maps[3])
    assert (store.input_width, store.input_height, store.layer, store.method) == (24, 16, "1", "gradcam")
    assert store.checkpoint_sha256 == "f00" and store.maps.shape == (5, len(CLASSES), 4, 6)
    again = MapStore.read(store.write(tmp_path / "maps.npz"))
    np.testing.assert_array_equal(again.maps, store.maps)


def test_make_maps_reads_a_memory_map(tmp_path):
    path = tmp_path / "pixels.npy"
    np.save(path, np.full((3, 16, 16, 3), 9, np.uint8))
    store = make_maps(
        MapEngine(seven_class_net()),
        np.load(path, mmap_mode="r"),
        list("abc"),
        mean=MEAN,
        std=STD,
        checkpoint_sha256="",
    )
    assert len(store) == 3


@pytest.mark.parametrize(
    ("pixels", "ids", "message"),
    [
        (np.zeros((2, 16, 16, 3), np.float32), ["a", "b"], "float32"),
        (np.zeros((2, 3, 16, 16), np.uint8), ["a", "b"], "expected"),
        (np.zeros((2, 16, 16, 3), np.uint8), ["a"], "1 image ids"),
        (np.zeros((0, 16, 16, 3), np.uint8), [], "no image"),
    ],
)
def test_make_maps_refuses_unusable_pixels(pixels, ids, message):
    with pytest.raises(ExplainError, match=message):
        make_maps(MapEngine(seven_class_net()), pixels, ids, mean=MEAN, std=STD, checkpoint_sha256="")


def test_make_maps_refuses_a_model_of_other_classes():
    pixels = np.zeros((1, 16, 16, 3), np.uint8)
    with pytest.raises(ExplainError, match="2 classes"):
        make_maps(MapEngine(TinyNet(), probe_size=(6, 8)), pixels, ["a"], mean=MEAN, std=STD, checkpoint_sha256="")

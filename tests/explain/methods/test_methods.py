"""Does every method give maps as its row promises, equal to its equation and to other libraries?"""

from pathlib import Path

import numpy as np
import pytest
import torch
from reference_network import CLASSES, reference_batch, reference_network
from torch import nn

from melascope.errors import ExplainError
from melascope.explain.maps import AUTOGRAD, CLOSED_FORM, MapEngine
from melascope.explain.methods import METHODS, eigencam, gradcam, gradcam_plus_plus, layercam, occlusion, smoothgrad
from melascope.explain.methods.rows import ActivationMethod, InputMethod
from melascope.explain.overlay import upsample_map

SIGNED = [name for name, rule in METHODS.items() if rule.signed]
ON_ACTIVATIONS = [name for name, rule in METHODS.items() if isinstance(rule, ActivationMethod)]
PEERS = np.load(Path(__file__).with_name("reference.npz"))


def activations_and_weight(batch=2, channels=5, classes=3, height=4, width=6):
    generator = torch.Generator().manual_seed(7)
    return (
        torch.randn(batch, channels, height, width, generator=generator),
        torch.randn(classes, channels, generator=generator),
    )


class Negated(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, batch):
        return -self.network(batch)


@pytest.mark.parametrize("name", METHODS)
def test_every_row_keeps_its_promises(name):
    """Shape, resolution, classes and sign: a signed map of the negated logit is the negated map."""
    rule, network, batch = METHODS[name], reference_network(), reference_batch(20, 28)
    engine = MapEngine(network, method=name)
    logits, maps = engine(batch)
    torch.testing.assert_close(logits, network(batch).detach())
    grid = (14, 20) if engine.layer == "input" else (4, 6)
    grid = (20, 28) if isinstance(rule, InputMethod) else (10, 14) if name == "occlusion" else grid
    assert maps.shape == (2, CLASSES, *grid) and not maps.requires_grad
    assert rule.paper and rule.unit and rule.resolution
    few = engine(batch, classes=[2, 0])[1]
    torch.testing.assert_close(few, maps[:, [2, 0]])
    alone = engine(batch[1:])[1]
    torch.testing.assert_close(alone, maps[1:], rtol=1e-4, atol=1e-4 * maps.abs().max().item())
    same = all(torch.equal(maps[:, 0], maps[:, k]) for k in range(CLASSES))
    assert same is not rule.per_class
    negated = MapEngine(Negated(network), method=name)(batch)[1]
    opposite = torch.allclose(negated, -maps, rtol=1e-4, atol=1e-5 * maps.abs().max().item())
    assert opposite is rule.signed


@pytest.mark.parametrize("name", METHODS)
def test_contrast_is_the_map_of_the_difference_of_logits(name):
    network, batch = reference_network(), reference_batch(20, 28)
    engine = MapEngine(network, method=name)
    if name not in SIGNED:
        with pytest.raises(ExplainError, match="not signed"):
            engine.contrast(batch, 1)
        return
    logits, found, rivals = engine.contrast(batch, 1)
    expected_rivals = logits.index_fill(1, torch.tensor([1]), -torch.inf).argmax(1)
    assert torch.equal(rivals, expected_rivals)
    for row, rival in enumerate(rivals.tolist()):
        difference = reference_network()
        with torch.no_grad():
            difference[-1].weight[0] = network[-1].weight[1] - network[-1].weight[rival]
            difference[-1].bias[0] = network[-1].bias[1] - network[-1].bias[rival]
        expected = MapEngine(difference, method=name)(batch[row : row + 1], classes=[0])[1][:, 0]
        torch.testing.assert_close(found[row : row + 1], expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
        against = engine.contrast(batch[row : row + 1], 1, against=rival)[1]
        torch.testing.assert_close(against, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("name", ON_ACTIVATIONS)
@pytest.mark.parametrize(("place", "index"), [("last", 3), ("earlier", 1)])
def test_equals_pytorch_grad_cam(name, place, index):
    """Within 1e-4 after its post-processing: ReLU, each map to 0 … 1, enlarged bilinearly, to 0 … 1 again."""
    maps = MapEngine(reference_network(), method=name, layer=str(index))(reference_batch(20, 28))[1].numpy()
    for row in range(2):
        for k in range(CLASSES):
            positive = np.maximum(maps[row, k], 0)
            shown = scaled(upsample_map(scaled(positive), 28, 20))
            np.testing.assert_allclose(shown, PEERS[f"{name} {place}"][row, k], atol=1e-4)


def scaled(values):
    values = values - values.min()
    return values / (1e-7 + values.max())


def test_integrated_gradients_equal_captum():
    maps = MapEngine(reference_network(), method="integrated_gradients")(reference_batch(20, 28))[1].numpy()
    expected = PEERS["integrated_gradients"]
    np.testing.assert_allclose(maps, expected, atol=1e-4 * np.abs(expected).max())


def test_occlusion_equals_captum():
    """42 pixels are 14 cells of 3; Captum's window of 9 pixels in steps of 3 is ours of 3 cells in steps of one."""
    maps = MapEngine(reference_network(), method="occlusion")(reference_batch(42, 42))[1].numpy()
    expected = PEERS["occlusion"]
    assert maps.shape == expected.shape == (2, CLASSES, 14, 14)
    np.testing.assert_allclose(maps, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", [name for name in ON_ACTIVATIONS if METHODS[name].from_linear_head])
def test_closed_form_equals_gradients(name):
    """Average pooling and a linear layer: d logit / d A is weight / (h w) everywhere."""
    activations, weight = activations_and_weight()
    closed = METHODS[name].from_linear_head(activations, weight)
    for k in range(len(weight)):
        gradients = (weight[k] / 24).view(1, -1, 1, 1).expand_as(activations)
        torch.testing.assert_close(closed[:, k], METHODS[name].from_gradients(activations, gradients))


@pytest.mark.parametrize("name", ON_ACTIVATIONS)
def test_the_engine_takes_the_closed_form_where_it_holds(name):
    network, batch = reference_network(), reference_batch(20, 28)
    engine = MapEngine(network, method=name)
    assert engine.path == CLOSED_FORM
    closed = engine(batch)[1]
    engine.path = AUTOGRAD
    torch.testing.assert_close(closed, engine(batch)[1], rtol=0, atol=1e-5 * closed.abs().max().item())


A, G = torch.tensor([[[[1.0, 2.0]], [[3.0, 5.0]]]]), torch.tensor([[[[1.0, 3.0]], [[0.0, -2.0]]]])
KNOWN = {
    "gradcam": [-1.0, -1.0],  # alpha = (2, -1)
    "hirescam": [1.0, -4.0],  # 1*1 + 0*3, 3*2 - 2*5
    "layercam": [1.0, 6.0],  # the gradient of -2 is dropped
    "gradcam++": [0.2 + 3 / 11, 2 * (0.2 + 3 / 11)],  # S = (3, 8): w_0 = 1 / (2 + 3) + 3 / (2 + 9), w_1 = 0
}


@pytest.mark.parametrize("name", ON_ACTIVATIONS)
def test_known_answers(name):
    torch.testing.assert_close(METHODS[name].from_gradients(A, G), torch.tensor([[KNOWN[name]]]))


def test_gradcam_plus_plus_drops_what_its_equation_cannot_weigh():
    """S g = -3: the denominator of eq. 19 is negative, as it cannot be after a ReLU."""
    maps = gradcam_plus_plus.from_gradients(torch.tensor([[[[-3.0]], [[1.0]]]]), torch.ones(1, 2, 1, 1))
    torch.testing.assert_close(maps, torch.tensor([[[1 / 3]]]))


def test_gradcam_plus_plus_is_refused_where_activations_have_both_signs():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.LayerNorm(12 * 18), nn.Unflatten(2, (12, 18)))
    network = nn.Sequential(network, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(ExplainError, match="no meaning"):
        MapEngine(network, method="gradcam++", layer="0.3", probe_size=(14, 20))
    assert MapEngine(network, method="gradcam", layer="0.3", probe_size=(14, 20)).path == CLOSED_FORM


def test_cells_of_the_closed_form_add_up_to_the_logit():
    activations, weight = activations_and_weight()
    logits = activations.mean((2, 3)) @ weight.T
    torch.testing.assert_close(gradcam.from_linear_head(activations, weight).sum((2, 3)), logits)


def test_layercam_keeps_no_evidence_against_in_its_closed_form():
    torch.testing.assert_close(
        layercam.from_linear_head(A, torch.tensor([[-1.0, 2.0]])), torch.tensor([[[[3.0, 5.0]]]])
    )


def test_scorecam_by_the_book():
    """Algorithm 1, one channel and one class after the other."""
    network, image = reference_network(), reference_batch(20, 28)[:1]
    with torch.no_grad():
        network[-1].weight.div_(200)  # so that the softmax does not pick one channel alone
    activations = network[:4](image).detach()
    scores = torch.zeros(8, CLASSES)
    for channel in range(8):
        mask = torch.nn.functional.interpolate(activations[:, [channel]], (20, 28), mode="bilinear")
        spread = mask.max() - mask.min()
        mask = (mask - mask.min()) / spread if spread > 0 else 0 * mask
        scores[channel] = network(image * mask).detach() - network(torch.zeros_like(image)).detach()
    weights = scores.exp() / scores.exp().sum(0)
    assert weights.max() < 0.9
    expected = torch.stack([(weights[:, k, None, None] * activations[0]).sum(0) for k in range(CLASSES)])
    found = MapEngine(network, method="scorecam")(image)[1][0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_eigencam_is_the_first_singular_vector():
    activations = reference_network()[:4](reference_batch(20, 28)).detach()
    found = eigencam.from_forward(type("", (), {"activations": activations})())[:, 0]
    for row in range(2):
        cells = activations[row].flatten(1).T.numpy().astype(np.float64)  # (h w, C)
        values, vectors = np.linalg.eigh(cells.T @ cells)
        expected = cells @ vectors[:, -1]
        expected *= np.sign(expected.sum())
        assert values[-1] > values[-2]
        np.testing.assert_allclose(found[row].flatten().numpy(), expected, rtol=1e-4)


class Quadratic(nn.Module):
    """logit 0 = sum of x^2, logit 1 = 3 times the red pixel at (1, 2)."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, batch):
        return torch.stack([(batch**2).sum((1, 2, 3)) * self.scale, 3 * batch[:, 0, 1, 2] * self.scale], dim=1)


def test_integrated_gradients_known_answer_without_any_layer():
    batch = reference_batch(5, 6)
    logits, maps = MapEngine(Quadratic(), method="integrated_gradients")(batch)
    torch.testing.assert_close(maps[:, 0], (batch**2).sum(1))
    torch.testing.assert_close(maps.sum((2, 3)), logits)
    assert maps[:, 1].count_nonzero() == 2


def test_smoothgrad_known_answer():
    """The gradient of x^2 is 2 x, and the noise adds twice its own mean; that of a linear logit does not feel noise."""
    batch = reference_batch(5, 6)
    maps = MapEngine(Quadratic(), method="smoothgrad")(batch)[1]
    expected = torch.zeros(2, 5, 6)
    expected[:, 1, 2] = 3
    torch.testing.assert_close(maps[:, 1], expected)
    generator = torch.Generator().manual_seed(0)
    noise = torch.stack([torch.randn(3, 5, 6, generator=generator) for _ in range(smoothgrad.COPIES)]).mean(0)
    spread = 0.15 * (batch.amax((1, 2, 3)) - batch.amin((1, 2, 3)))
    torch.testing.assert_close(maps[:, 0], 2 * (batch + spread.view(2, 1, 1, 1) * noise).sum(1))


def test_occlusion_known_answer():
    """Only windows over the pixel lower its logit; a cell's value is the share of its windows that do."""
    batch = torch.zeros(1, 3, 14, 14)
    batch[0, 0, 1, 2] = 1.0
    maps = MapEngine(Quadratic(), method="occlusion")(batch)[1][0, 1]
    # windows of 3 cells begin at rows 0, 1 and columns 0, 1, 2 where they cover (1, 2): each fall is 3
    assert maps.shape == (14, 14) and maps[1, 2] == 3 and maps[0, 0] == 3
    assert maps[2, 2].item() == pytest.approx(3 * 2 / 3)  # rows 0-2 cover it, of which 2 reach row 1
    assert maps[4, :].abs().sum() == 0 and maps[:, 5:].abs().sum() == 0


def test_occlusion_of_an_image_smaller_than_its_window():
    maps = MapEngine(Quadratic(), method="occlusion")(reference_batch(2, 3))[1]
    assert maps.shape == (2, 2, 2, 3)
    assert occlusion.WINDOW == 3


@pytest.mark.parametrize("name", ["integrated_gradients", "smoothgrad", "occlusion"])
def test_methods_of_the_input_name_no_layer(name):
    assert MapEngine(reference_network(), method=name).layer == "input"
    with pytest.raises(ExplainError, match="no layer"):
        MapEngine(reference_network(), method=name, layer="3")

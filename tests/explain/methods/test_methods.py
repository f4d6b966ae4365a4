"""Does every method keep the interface: signed maps of the right shape, and a closed form equal to its gradients?"""

import pytest
import torch

from melascope.explain.methods import METHODS, gradcam


def activations_and_weight(batch=2, channels=5, classes=3, height=4, width=6):
    generator = torch.Generator().manual_seed(7)
    return (
        torch.randn(batch, channels, height, width, generator=generator),
        torch.randn(classes, channels, generator=generator),
    )


@pytest.mark.parametrize("name", METHODS)
def test_maps_are_signed_and_of_the_layers_size(name):
    activations, _ = activations_and_weight()
    gradients = torch.randn(activations.shape, generator=torch.Generator().manual_seed(8))
    maps = METHODS[name].from_gradients(activations, gradients)
    assert maps.shape == (2, 4, 6)
    assert (maps < 0).any() and (maps > 0).any()


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.from_linear_head])
def test_closed_form_equals_gradients(name):
    """Average pooling and a linear layer: d logit / d A is weight / (h w) everywhere."""
    activations, weight = activations_and_weight()
    closed = METHODS[name].from_linear_head(activations, weight)
    for k in range(len(weight)):
        gradients = (weight[k] / 24).view(1, -1, 1, 1).expand_as(activations)
        torch.testing.assert_close(closed[:, k], METHODS[name].from_gradients(activations, gradients))


def test_gradcam_known_answer():
    activations = torch.tensor([[[[1.0, 2.0]], [[3.0, 5.0]]]])
    gradients = torch.tensor([[[[1.0, 3.0]], [[0.0, -2.0]]]])  # alpha = (2, -1)
    torch.testing.assert_close(gradcam.from_gradients(activations, gradients), torch.tensor([[[-1.0, -1.0]]]))


def test_cells_of_the_closed_form_add_up_to_the_logit():
    activations, weight = activations_and_weight()
    logits = activations.mean((2, 3)) @ weight.T
    torch.testing.assert_close(gradcam.from_linear_head(activations, weight).sum((2, 3)), logits)

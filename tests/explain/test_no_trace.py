"""Does making a map leave anything behind in the network: a hook, a gradient, a mode, a changed number?"""

import pytest
import torch
from torch import nn

from melascope.errors import ExplainError
from melascope.explain.maps import CLOSED_FORM, INPUT_GRADIENTS, PASSES, MapEngine
from melascope.explain.methods import METHODS

torch.set_num_threads(1)


class Guarded(nn.Module):
    """Raises in the head when asked to, after the explained layer has run."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())
        self.norm = nn.LayerNorm(8)
        self.fc = nn.Linear(8, 7)
        self.broken = False

    def forward(self, batch):
        pooled = self.features(batch).mean((2, 3))
        if self.broken:
            raise RuntimeError("broken head")
        return self.fc(self.norm(pooled))


def random_batch():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(5))


def traces(model):
    """Everything of a model that an engine could leave behind."""
    hooks = sum(
        len(getattr(module, name))
        for module in model.modules()
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    )
    return {
        "hooks": hooks,
        "modes": [module.training for module in model.modules()],
        "gradients": [weight.grad is None for weight in model.parameters()],
        "requires": [weight.requires_grad for weight in model.parameters()],
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "grad mode": torch.is_grad_enabled(),
        "random": torch.random.get_rng_state(),
    }


def assert_no_trace(before, after):
    for name in ("hooks", "modes", "gradients", "requires", "grad mode"):
        assert before[name] == after[name], name
    assert torch.equal(before["random"], after["random"])
    for name, value in before["state"].items():
        assert torch.equal(value, after["state"][name]), name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("fast", [False, True])
def test_no_trace_is_left(method, broken, fast):
    """In training mode but for one frozen norm; BatchNorm's statistics must not move."""
    model = Guarded().train()
    model.features[1].eval()
    model.features[0].weight.requires_grad_(False)
    before = traces(model)
    engine = MapEngine(model, method=method, fast=fast)
    assert_no_trace(before, traces(model))
    engine._runner.broken = model.broken = broken
    batch = random_batch()
    if broken:
        with pytest.raises(RuntimeError, match="broken head"):
            engine(batch)
    else:
        logits, maps = engine(batch)
        assert logits.grad_fn is None and maps.grad_fn is None and not maps.requires_grad
    assert batch.grad is None and not batch.requires_grad
    assert_no_trace(before, traces(model))


@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_no_trace_is_left_where_the_model_breaks_later(method, calls):
    """Methods that ask the model many times clean up after the pass that fails too."""
    model = Guarded().train()
    engine, left = MapEngine(model, method=method), [calls]
    before = traces(model)

    def count(*_):
        left[0] -= 1
        if left[0] <= 0:
            raise RuntimeError("broken head")

    handle = model.norm.register_forward_pre_hook(count)
    if calls == 1 or (engine.path in (PASSES, INPUT_GRADIENTS) and method != "eigencam"):
        with pytest.raises(RuntimeError, match="broken head"):
            engine(random_batch())
    handle.remove()
    assert_no_trace(before, traces(model))


def test_a_layer_of_the_engine_leaves_no_trace_either():
    model = Guarded().train()
    before = traces(model)
    MapEngine(model, layer="features[1]")(random_batch())
    assert_no_trace(before, traces(model))


def test_no_trace_is_left_by_the_closed_form():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7))
    before = traces(model.train())
    engine = MapEngine(model)
    assert engine.path == CLOSED_FORM
    engine(random_batch())
    assert_no_trace(before, traces(model))


def test_no_trace_is_left_where_the_engine_cannot_be_built():
    model = Guarded().train()
    model.broken = True
    before = traces(model)
    with pytest.raises(ExplainError, match="broken head"):
        MapEngine(model)
    assert_no_trace(before, traces(model))

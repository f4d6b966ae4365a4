"""Is a checkpoint read back as it was, and refused when it is not whole?"""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from melascope.classes import CLASSES
from melascope.errors import CheckpointError
from melascope.models import checkpoint
from melascope.models.checkpoint import load_training_state, load_weights, save_checkpoint
from melascope.tables.runs import RunDirectory

CARD = {
    "backbone": "test_efficientnet",
    "dropout": 0.1,
    "drop_path": 0.0,
    "class_order": CLASSES,
    "input_width": 32,
    "input_height": 32,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.2, 0.2, 0.2),
    "epoch": 1,
    "step": 3,
    "figures": {"macro_f1": 0.5},
    "recipe": {"name": "tiny"},
    "source": "phantom",
    "dataset_fingerprint": "f",
    "split_sha256": "s",
}


def stepped(seed: int, steps: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A small network with BatchNorm, and AdamW after some steps."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 7))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.randn(6, 4)).square().mean().backward()
        optimizer.step()
    return network, optimizer


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    run = RunDirectory(tmp_path / "run")
    network, optimizer = stepped(1)
    save_checkpoint(run.checkpoints, "last", network, CARD, optimizer=optimizer)
    return run


def test_network_optimizer_and_scaler_come_back_exactly(tmp_path):
    network, optimizer = stepped(1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=77)
    card = save_checkpoint(tmp_path, "last", network, CARD, optimizer=optimizer, scaler=scaler)
    other, other_optimizer = stepped(2, steps=1)
    fresh = torch.amp.GradScaler("cpu")
    load_training_state(tmp_path, card, other, other_optimizer, scaler=fresh)
    assert fresh.state_dict() == scaler.state_dict()
    for mine, theirs in zip(network.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    states = optimizer.state_dict()["state"], other_optimizer.state_dict()["state"]
    assert states[0].keys() == states[1].keys()
    for index, fields in states[0].items():
        assert all(torch.equal(value, states[1][index][name]) for name, value in fields.items())


@pytest.mark.parametrize("role", ["weights", "training_state"])
@pytest.mark.parametrize(
    "spoil",
    [lambda data: data[: len(data) // 2], lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: b""],
    ids=["truncated", "one bit flipped", "empty"],
)
def test_a_file_that_is_not_the_one_that_was_written_is_refused_by_its_digest(run, role, spoil):
    card, _ = run.checkpoint("last")
    path = run.checkpoints / getattr(card, role)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"damaged: their SHA-256 begins with") as caught:
        if role == "weights":
            run.checkpoint("last")
        else:
            load_training_state(run.checkpoints, card, *stepped(2))
    assert caught.value.where == path
    assert getattr(card, f"{role}_sha256")[:12] in caught.value.expected
    path.unlink()
    with pytest.raises(CheckpointError, match="missing"):
        load_training_state(run.checkpoints, card, *stepped(2))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda fields: fields | {"exp_avg": fields["exp_avg"][:1]},
        lambda fields: fields | {"exp_avg_sq": fields["exp_avg_sq"].double()},
        lambda fields: {name: value for name, value in fields.items() if name != "exp_avg_sq"},
        lambda fields: fields | {"step": torch.zeros(9)},
        lambda fields: {name: value for name, value in fields.items() if name != "step"},
        lambda fields: fields | {"exp_avg": fields["exp_avg"].flatten()[:0]},
    ],
    ids=["short", "of doubles", "one moment alone", "many steps", "no step", "empty"],
)
def test_moments_that_do_not_fit_their_parameter_are_refused(tmp_path, spoil):
    """The file is whole and its digest right, as a foreign one's may be: the fused optimizer would read beside it."""
    network, optimizer = stepped(1)
    state = optimizer.state_dict()["state"]
    state[0] = spoil(state[0])
    forged = SimpleNamespace(state_dict=lambda: {"state": state})
    card = save_checkpoint(tmp_path, "last", network, CARD, optimizer=forged)
    with pytest.raises(CheckpointError, match="does not fit"):
        load_training_state(tmp_path, card, *stepped(2))


def test_whole_weights_of_another_network_are_refused(run):
    _, weights = run.checkpoint("last")
    with pytest.raises(CheckpointError, match="do not fit"):
        load_weights(nn.Linear(4, 7), weights)


def test_a_kill_between_weights_and_card_leaves_the_old_checkpoint_whole(run, monkeypatch):
    before, _ = run.checkpoint("last")
    network, optimizer = stepped(5)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, "write_json", killed)
        save_checkpoint(run.checkpoints, "last", network, CARD, optimizer=optimizer)
    assert run.checkpoint("last")[0] == before
    load_training_state(run.checkpoints, before, *stepped(2))
    after = save_checkpoint(run.checkpoints, "last", network, CARD, optimizer=optimizer)
    files = {path.name for path in run.checkpoints.iterdir()}
    assert files == {"last.json", after.weights, after.training_state}  # what no card names is gone


def test_best_and_last_lie_side_by_side(run):
    last, _ = run.checkpoint("last")
    best = save_checkpoint(run.checkpoints, "best", stepped(3)[0], CARD)
    assert best.training_state == ""
    assert run.checkpoint("last")[0] == last
    assert json.loads((run.checkpoints / "best.json").read_text())["weights"] == best.weights

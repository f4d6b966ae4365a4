"""Is the average of the weights the formula's, the one that is judged and kept, and exact to resume?"""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from melascope.models.averaging import Average
from melascope.models.train import Trainer
from melascope.tables.runs import RunDirectory


def test_the_average_follows_its_formula_and_leaves_the_network_alone():
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = Average(network, 0.5)
    network[0].weight.data.fill_(1.0)
    average.network[0].weight.data.fill_(0.0)
    expected = 0.0
    for step in range(1, 12):
        network[1].num_batches_tracked += 1
        average.update(network, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay)
    assert average.network[0].weight.item() == pytest.approx(expected, rel=1e-6)
    assert int(average.network[1].num_batches_tracked) == 11
    assert network[0].weight.item() == 1.0
    assert not any(value.requires_grad for value in average.network.parameters())


class StopAt:
    def __init__(self, at: tuple[int, int]) -> None:
        self.at = at

    def step(self, epoch: int, step: int, n_steps: int, loss: float) -> None:
        if (epoch, step) == self.at:
            raise KeyboardInterrupt

    def epoch(self, row: dict[str, float]) -> None:
        pass


def test_an_averaged_training_keeps_judges_and_resumes_its_average(recipe_of, data_of, tmp_path, monkeypatch):
    monkeypatch.setattr("melascope.models.train.SAVE_EVERY_SECONDS", 0.0)
    judged = []

    def figures_of(labels, logits):
        judged.append(logits)
        return {"macro_f1": float((logits.argmax(1) == labels).mean())}

    recipe = recipe_of(train={"ema_decay": 0.8, "epochs": 3})
    whole, stopped = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "stopped")
    trainer = Trainer(recipe, data_of(), whole, figures_of, accelerator="cpu")
    trainer.fit()
    with pytest.raises(KeyboardInterrupt):
        Trainer(recipe, data_of(), stopped, figures_of, accelerator="cpu").fit(StopAt((1, 2)))
    Trainer(recipe, data_of(), stopped, figures_of, accelerator="cpu").fit()
    for which in ("best", "last"):
        card, weights = whole.checkpoint(which)
        assert stopped.checkpoint(which)[0] == card
    assert whole.results.read_text() == stopped.results.read_text()
    kept, trained = load_file(weights), trainer.network.module.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in trainer.average.network.state_dict().items())
    assert not all(torch.equal(value, kept[name]) for name, value in trained.items())

"""A phantom of 70 images, its split, and a run of one epoch on it: enough for every stage's test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from melascope.config import Recipe, validated
from melascope.data.sources import read_dataset
from melascope.data.sources.phantom import write_phantom
from melascope.data.split import make_split
from melascope.files import write_json
from melascope.stages import training
from melascope.stages.reporting import Reporter
from melascope.tables.runs import RunDirectory

RECIPE = {
    "name": "tiny",
    "operating_point_rule": "empirical",
    "model": {"backbone": "test_efficientnet", "pretrained": False},
    "input": {"width": 48, "height": 32},
    "train": {"epochs": 2, "batch_size": 16, "learning_rate": 0.005},
}


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Training is exact for one number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    """A folder with `phantom/` and `split.csv`."""
    folder = tmp_path_factory.mktemp("stages")
    write_phantom(folder / "phantom", n_images=70, seed=3, workers=1)
    make_split(read_dataset(folder / "phantom"), seed=2).write(folder / "split.csv")
    return folder


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return validated(Recipe, RECIPE, where="tiny.toml")


@pytest.fixture(scope="session")
def finished(place, recipe) -> RunDirectory:
    """A complete run, but for its evaluation's plots; tests that change something work on a copy."""
    with pytest.MonkeyPatch.context() as quick:
        quick.setattr(training, "evaluate_run", lambda run, _: write_json(run.evaluation / "evaluation.json", {}))
        run = training.start_run(recipe, data=place / "phantom", split=place / "split.csv", runs=place / "runs")
        return training.train_run(run, Reporter.silent(), accelerator="cpu")

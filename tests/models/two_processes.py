"""Started by `torchrun` from test_processes.py: trains the recipe in argv[1] into argv[2] and leaves its figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from conftest import drawn_data  # pytest's own fixtures, drawn alike in every process
from melascope.config import read_recipe
from melascope.models.train import Trainer
from melascope.stages.training import validation_figures
from melascope.tables.runs import RunDirectory


def main(recipe: Path, place: Path) -> None:
    torch.set_num_threads(1)
    run = RunDirectory(place)
    trainer = Trainer(read_recipe(recipe), drawn_data(21, 15), run, validation_figures, accelerator="cpu")
    trainer.fit()
    if trainer.first:
        told = {"processes": trainer.fabric.world_size, "results": run.results.read_text()}
        (place / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

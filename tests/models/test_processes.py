"""Do two processes that share each batch train what one would?"""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from melascope.config import recipe_toml
from melascope.models.processes import n_processes, share_of
from melascope.models.train import Trainer
from melascope.stages.training import validation_figures
from melascope.tables.runs import RunDirectory

DRIVER = Path(__file__).with_name("two_processes.py")

TOLERANCE = 2e-3
"""Of every figure of every epoch: sums over two halves of a batch round otherwise than one over all of it."""


def rows_of(results: str) -> np.ndarray:
    return np.array([[float(value) for value in row.values()] for row in csv.DictReader(io.StringIO(results))])


def torchrun(recipe: Path, place: Path) -> dict:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*command, str(DRIVER), str(recipe), str(place)], capture_output=True, text=True, timeout=200, env=alone
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads((place / "told.json").read_text())


def test_two_processes_train_what_one_does_and_one_goes_on_where_they_stopped(recipe_of, data_of, tmp_path):
    """Network with BatchNorm, mixtures, an average of the weights, a loss whose weights differ between the halves."""
    recipe = recipe_of(
        model={"dropout": 0.0},
        augment={"cutmix": 1.0, "hair": 0.5},
        loss={"melanoma_factor": 3},
        train={"ema_decay": 0.5, "learning_rate": 1e-3},
    )
    (tmp_path / "tiny.toml").write_text(recipe_toml(recipe))
    (tmp_path / "two").mkdir()
    told = torchrun(tmp_path / "tiny.toml", tmp_path / "two")
    assert told["processes"] == 2
    alone = RunDirectory(tmp_path / "one")
    trainer = Trainer(recipe, data_of(21, 15), alone, validation_figures, accelerator="cpu")
    trainer.fit()
    np.testing.assert_allclose(rows_of(told["results"]), rows_of(alone.results.read_text()), atol=TOLERANCE)
    taken_over = Trainer(recipe, data_of(21, 15), RunDirectory(tmp_path / "two"), validation_figures, accelerator="cpu")
    assert (taken_over.state.epoch, taken_over.state.step) == (2, trainer.state.step)
    for mine, theirs in zip(
        trainer.network.module.state_dict().values(), taken_over.network.module.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=TOLERANCE, rtol=1e-2)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, (1, 1)),
        ({"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}, (4, 2)),
        ({"SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_PROCID": "3"}, (4, 2)),
        ({"SLURM_NTASKS": "1", "SLURM_NNODES": "1", "SLURM_PROCID": "0"}, (1, 1)),
    ],
    ids=["alone", "torchrun", "srun", "a job of one task"],
)
def test_processes_and_nodes_are_what_the_starter_told(monkeypatch, told, expected):
    for name in ("TORCHELASTIC_RUN_ID", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "SLURM_NTASKS", "SLURM_NNODES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert n_processes() == expected


def test_shares_of_a_batch_are_all_of_it_once():
    class Fabric:
        world_size = 3

        def __init__(self, rank: int) -> None:
            self.global_rank = rank

    shares = [share_of(8, Fabric(rank)) for rank in range(3)]
    assert sorted(np.concatenate(shares)) == list(range(8))
    assert {len(share) for share in shares} == {2, 3}

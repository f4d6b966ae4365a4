"""Does a training that is killed, or whose disk fails, leave whole files, and end as if nothing had happened?"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from melascope.errors import CheckpointError, OutputError
from melascope.models import train
from melascope.models.classifier import Classifier
from melascope.models.train import Trainer
from melascope.tables.runs import RunDirectory, read_card

SETTINGS = {"train": {"epochs": 2, "ema_decay": 0.5}, "augment": {"cutmix": 1.0}}


def figures_of(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    return {"macro_f1": float((logits.argmax(1) == labels).mean())}


@pytest.fixture
def trainer_in(recipe_of, data_of, monkeypatch) -> Callable[[Path], Trainer]:
    """A training that saves after every step."""
    monkeypatch.setattr(train, "SAVE_EVERY_SECONDS", 0.0)
    recipe, data = recipe_of(**SETTINGS), data_of()
    return lambda place: Trainer(recipe, data, RunDirectory(place), figures_of, accelerator="cpu")


def end_of(place: Path) -> tuple:
    run = RunDirectory(place)
    return run.results.read_text(), *(run.checkpoint(which)[0] for which in ("best", "last"))


class Disk:
    """Counts writes, flushes and renames, and does something at one of them."""

    def __init__(self, monkeypatch, at: int | None, does: Callable[[str], None]) -> None:
        self.at, self.does, self.kinds = at, does, []
        write, fsync, replace = Path.write_bytes, os.fsync, os.replace
        monkeypatch.setattr(Path, "write_bytes", lambda path, data: self.half(path, data) or write(path, data))
        monkeypatch.setattr(os, "fsync", lambda number: self.next("flush") or fsync(number))
        monkeypatch.setattr(os, "replace", lambda old, new: self.next("rename") or replace(old, new))

    def half(self, path: Path, data: bytes) -> None:
        if len(self.kinds) + 1 == self.at:
            with open(path, "wb") as stream:
                stream.write(data[: len(data) // 2])
        self.next("write")

    def next(self, kind: str) -> None:
        self.kinds.append(kind)
        if len(self.kinds) == self.at:
            self.does(kind)


def no_room(kind: str) -> None:
    raise OSError(28, f"No space left on device, at a {kind}")


@pytest.fixture
def undisturbed(trainer_in, tmp_path) -> tuple[tuple, int]:
    """How it ends, and how often it writes, flushes or renames."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, None, no_room)
        trainer_in(tmp_path / "undisturbed").fit()
    assert set(disk.kinds) == {"write", "flush", "rename"}
    return end_of(tmp_path / "undisturbed"), len(disk.kinds)


def test_every_write_flush_and_rename_that_fails_is_told_and_leaves_the_checkpoint_before(
    trainer_in, undisturbed, tmp_path
):
    """Every fourth in turn: a save has nine of them, so that each kind and place is met."""
    expected, n = undisturbed
    for at in range(1, n + 1, 4):
        place = tmp_path / str(at)
        trainer = trainer_in(place)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(OutputError, match="No space left"):
            Disk(patch, at, no_room)
            trainer.fit()
        assert not [path for path in place.rglob("*") if ".tmp-" in path.name]
        for path in sorted(place.glob("checkpoints/*.json")):  # whatever says "saved" is whole, and can be gone on from
            card = read_card(path)
            assert card.step <= trainer.state.step
            Classifier.load(RunDirectory(place), path.stem)
        if place.joinpath("results.csv").is_file():
            assert place.joinpath("results.csv").read_text().count("\n") in (1, 2, 3)
        trainer_in(place).fit()
        assert end_of(place) == expected, f"failure {at} of {n}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 in a fork of this process")
@pytest.mark.parametrize("share", [0.02, 0.25, 0.5, 0.77, 0.99])
def test_kill_9_while_saving_changes_nothing(trainer_in, undisturbed, tmp_path, share):
    """benchmarks/kill_resume.py does this 200 times, in steps and in validation too."""
    expected, n = undisturbed
    child = os.fork()
    if child == 0:
        try:
            with pytest.MonkeyPatch.context() as patch:
                Disk(patch, max(1, round(share * n)), lambda _: os.kill(os.getpid(), signal.SIGKILL))
                trainer_in(tmp_path / "killed").fit()
        finally:
            os._exit(0)  # a copy of the test runner must never go on
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    trainer_in(tmp_path / "killed").fit()
    assert end_of(tmp_path / "killed") == expected


@pytest.mark.parametrize("role", ["weights", "training_state"])
@pytest.mark.parametrize("spoil", [lambda data: data[:-7], lambda data: data[:99] + bytes([data[99] ^ 4]) + data[100:]])
def test_a_truncated_or_bit_flipped_checkpoint_is_not_gone_on_from(trainer_in, tmp_path, role, spoil):
    trainer_in(tmp_path).fit()
    card = read_card(tmp_path / "checkpoints" / "last.json")
    path = tmp_path / "checkpoints" / getattr(card, role)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(CheckpointError, match="damaged"):
        trainer_in(tmp_path)
    assert torch.get_num_threads() == 1  # what "exact" is promised for

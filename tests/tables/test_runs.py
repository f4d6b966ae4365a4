"""Is a run directory what it says, and are damaged or foreign weights refused before anybody loads them?"""

from __future__ import annotations

import pytest

from melascope.classes import CLASSES
from melascope.errors import CheckpointError, RunError
from melascope.files import sha256_bytes, write_bytes, write_json
from melascope.tables.runs import CheckpointCard, RunDirectory, read_card, verified

WEIGHTS = b"weights of a network"
CARD = {
    "weights": "best-abc.safetensors",
    "weights_sha256": sha256_bytes(WEIGHTS),
    "backbone": "efficientnet_b0",
    "dropout": 0.2,
    "drop_path": 0.0,
    "class_order": list(CLASSES),
    "input_width": 224,
    "input_height": 224,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.2, 0.2, 0.2],
    "epoch": 3,
    "step": 30,
    "figures": {"macro_f1": 0.5},
    "recipe": {"name": "x"},
    "source": "phantom",
    "dataset_fingerprint": "f",
    "split_sha256": "s",
}


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    root = tmp_path / "20260220_192847__x-s1"
    write_json(root / "run.json", {"source": "phantom"})
    write_bytes(root / "checkpoints/best-abc.safetensors", WEIGHTS)
    write_json(root / "checkpoints/best.json", CARD)
    return RunDirectory(root)


def test_a_run_opens_and_gives_its_verified_checkpoint(run):
    opened = RunDirectory.open(run.root)
    assert opened.name == "20260220_192847__x-s1" and opened.read_facts() == {"source": "phantom"}
    card, weights = opened.checkpoint()
    assert weights.read_bytes() == WEIGHTS and card.input_width == 224 and card.class_order == CLASSES
    assert card.temperature == 1.0 and card.best_figure is None


@pytest.mark.parametrize("exists", [True, False])
def test_another_folder_is_no_run(tmp_path, exists):
    path = tmp_path if exists else tmp_path / "nothing"
    with pytest.raises(RunError) as caught:
        RunDirectory.open(path)
    assert caught.value.where == path and "melascope train" in caught.value.fix
    assert ("no run.json" in str(caught.value)) == exists


def test_a_missing_checkpoint_says_how_to_get_one(run):
    with pytest.raises(CheckpointError, match="no checkpoint 'last'") as caught:
        run.checkpoint("last")
    assert caught.value.fix == f"finish its training: melascope train --resume {run.root}"


def test_a_card_reads_back_as_written(run):
    card = CheckpointCard(**CARD | {"class_order": CLASSES, "temperature": 1.7, "best_figure": 0.4})
    write_json(run.checkpoints / "last.json", card.model_dump(mode="json"))
    assert read_card(run.checkpoints / "last.json") == card


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"class_order": [*CLASSES[1:], CLASSES[0]]}, "class order is bcc"),
        ({"class_order": ["mel", "nv"]}, "class order is mel, nv"),
        ({"weights": "../../secret"}, "outside its own folder"),
        ({"weights": "/etc/passwd"}, "outside its own folder"),
        ({"training_state": "a/b"}, "outside its own folder"),
        ({"input_width": "wide"}, "cannot be used"),
        ({"mean": [0.5]}, "cannot be used"),
        ({"surprise": 1}, "surprise: unknown key"),
    ],
)
def test_a_card_of_another_kind_is_refused(run, change, says):
    path = run.checkpoints / "best.json"
    write_json(path, CARD | change)
    with pytest.raises(CheckpointError, match=says) as caught:
        run.checkpoint()
    assert caught.value.where == path


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_a_broken_card_is_refused(run, content):
    write_bytes(run.checkpoints / "best.json", content)
    with pytest.raises(CheckpointError, match="cannot be used"):
        run.checkpoint()


def test_damaged_or_missing_weights_are_refused(run):
    path = run.checkpoints / CARD["weights"]
    assert verified(path, sha256_bytes(WEIGHTS)) == path
    path.write_bytes(WEIGHTS[:-1])
    with pytest.raises(CheckpointError, match="damaged") as caught:
        run.checkpoint()
    assert caught.value.where == path and CARD["weights_sha256"][:12] in caught.value.expected
    path.unlink()
    with pytest.raises(CheckpointError, match="missing"):
        run.checkpoint()

"""Does a training leave a run directory that is complete, or visibly is not?"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

from melascope.config import read_recipe
from melascope.data.sources import read_dataset
from melascope.data.split import make_split
from melascope.errors import RunError, SplitError
from melascope.files import MANIFEST, sha256_file, write_json
from melascope.stages import training
from melascope.stages.reporting import Reporter
from melascope.stages.training import open_for_resume, start_run, train_run
from melascope.tables.runs import RunDirectory


@pytest.fixture
def copied(finished, tmp_path) -> RunDirectory:
    """A complete run of its own, to be changed."""
    return RunDirectory(shutil.copytree(finished.root, tmp_path / finished.name))


def go_on(run: RunDirectory) -> RunDirectory:
    return train_run(open_for_resume(run.root), Reporter.silent(), accelerator="cpu")


def test_the_manifest_lists_every_file_with_its_digest_and_none_is_younger(finished):
    manifest = finished.root / MANIFEST
    listed = json.loads(manifest.read_text())["files"]
    found = {path for path in finished.root.rglob("*") if path.is_file() and path != manifest}
    assert {finished.root / name for name in listed} == found
    for name, facts in listed.items():
        path = finished.root / name
        assert facts == {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        assert path.stat().st_mtime_ns <= manifest.stat().st_mtime_ns, name
    assert finished.read_facts()["status"] == "complete"


def test_results_and_curves_are_there_with_the_figures_of_validation(finished, recipe):
    with open(finished.results, newline="") as stream:
        rows = list(csv.DictReader(stream))
    figures = [
        "nll",
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "mel_sensitivity",
        "mel_auroc",
        "mel_specificity",
        "mel_ap",
    ]
    assert list(rows[0]) == ["epoch", "step", "learning_rate", "train_loss", *(f"val_{name}" for name in figures)]
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["learning_rate"]) == recipe.train.learning_rate for row in rows)
    for name in ("training_loss", "training_figures"):
        assert (finished.root / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert "<svg" in (finished.root / f"{name}.svg").read_text()
    best = finished.checkpoint("best")[0]
    assert best.figures["macro_f1"] == max(float(row["val_macro_f1"]) for row in rows)


def test_a_run_says_what_it_was_made_with(finished, recipe):
    facts = finished.read_facts()
    assert facts["device"] == "cpu"
    assert facts["threads"] == 1
    assert {"python", "platform", "git_commit", "versions", "dataset_fingerprint", "split_sha256"} <= facts.keys()
    assert read_recipe(finished.recipe) == recipe
    assert "resumed" not in facts


AFTER_TRAINING = ("save_training_curves", "score_run", "evaluate_run")


@pytest.mark.parametrize("stage", AFTER_TRAINING)
def test_what_fails_after_training_leaves_no_manifest_and_can_be_taken_up(copied, monkeypatch, stage):
    def failing(*_, **__):
        raise RunError("no room")

    for name in AFTER_TRAINING:
        monkeypatch.setattr(training, name, lambda *_, **__: None)
    before = {path.name: path.read_bytes() for path in (copied.results, copied.recipe, copied.split)}
    with monkeypatch.context() as broken, pytest.raises(RunError, match="no room"):
        broken.setattr(training, stage, failing)
        go_on(copied)
    assert not (copied.root / MANIFEST).exists()
    assert copied.read_facts()["status"] == "trained"
    go_on(copied)
    assert (copied.root / MANIFEST).is_file()
    first, second = copied.read_facts()["resumed"]
    assert first["at_step"] == second["at_step"] == copied.checkpoint("last")[0].step
    assert {path.name: path.read_bytes() for path in (copied.results, copied.recipe, copied.split)} == before


def test_a_recipe_changed_between_is_refused_and_a_finished_run_stays_finished(copied):
    copied.recipe.write_text(copied.recipe.read_text().replace("seed = 1", "seed = 5"))
    with pytest.raises(RunError, match="another recipe"):
        go_on(copied)
    assert (copied.root / MANIFEST).is_file()


def test_a_split_without_melanoma_in_validation_is_refused_before_a_network_is_built(place, recipe, tmp_path):
    lines = (place / "split.csv").read_text().splitlines()
    metadata = (place / "phantom" / "HAM10000_metadata.csv").read_text().splitlines()
    melanomas = {line.split(",")[1] for line in metadata if line.split(",")[2] == "mel"}
    moved = [f"{line.split(',')[0]},train" if line.split(",")[0] in melanomas else line for line in lines]
    (tmp_path / "split.csv").write_text("\n".join(moved) + "\n")
    run = start_run(recipe, data=place / "phantom", split=tmp_path / "split.csv", runs=tmp_path / "runs")
    with pytest.raises(SplitError, match="no melanoma"):
        train_run(run, Reporter.silent(), accelerator="cpu")
    assert not run.checkpoints.exists() and run.recipe.is_file()
    with pytest.raises(SplitError, match="no melanoma"):
        train_run(run, Reporter.silent(), accelerator="cpu", fresh=True)
    assert not run.root.exists()


def test_the_commit_is_of_this_checkout_and_empty_outside_of_one(monkeypatch, tmp_path):
    stranger = tmp_path / "theirs"
    installed = stranger / ".venv" / "lib" / "python3.11" / "site-packages" / "melascope" / "stages" / "training.py"
    installed.parent.mkdir(parents=True)
    for command in (["init", "-q"], ["-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "x", "--allow-empty"]):
        subprocess.run(["git", "-C", str(stranger), *command], check=True)
    here = training._git_commit()
    assert here == "" or len(here.removesuffix("-dirty")) == 40
    monkeypatch.setattr(training, "__file__", str(installed))
    assert training._git_commit() == ""


def test_a_resume_on_other_threads_code_or_device_says_that_it_may_differ(copied, monkeypatch):
    for name in AFTER_TRAINING:
        monkeypatch.setattr(training, name, lambda *_, **__: None)
    facts = copied.read_facts()
    monkeypatch.setattr(training, "_git_commit", lambda: facts["started_on"]["git_commit"])
    assert facts["started_on"]["threads"] == 1 and facts["started_on"]["processes"] == 1
    go_on(copied)
    assert copied.read_facts()["resumed"][-1]["may_differ"] == []
    changed = {**facts["started_on"], "threads": 7, "versions": {**facts["started_on"]["versions"], "torch": "1.0"}}
    write_json(copied.facts, {**facts, "started_on": changed})
    told = StringIO()
    train_run(open_for_resume(copied.root), Reporter(Console(file=told, width=500)), accelerator="cpu")
    assert "may differ in the last digits" in told.getvalue()
    assert "another number of threads than at its start (7, now 1)" in told.getvalue()
    _, versions = copied.read_facts()["resumed"][-1]["may_differ"]
    assert "torch 1.0" in versions


def test_on_a_gpu_exactness_is_never_promised():
    same = {"threads": 1}
    assert training._why_not_exact(same, {**same, "device": "cpu"}) == []
    (reason,) = training._why_not_exact(same, {**same, "device": "cuda:0"})
    assert "fixed order" in reason


def test_a_doubtful_recipe_is_told_before_it_trains(place, recipe, tmp_path, monkeypatch):
    for name in AFTER_TRAINING:
        monkeypatch.setattr(training, name, lambda *_, **__: None)
    alone = recipe.model_copy(update={"train": recipe.train.model_copy(update={"select_by": "mel_sensitivity"})})
    run = start_run(alone, data=place / "phantom", split=place / "split.csv", runs=tmp_path / "runs")
    told = StringIO()
    train_run(run, Reporter(Console(file=told, width=500)), accelerator="cpu")
    assert "calls everything a melanoma" in told.getvalue()
    assert told.getvalue().index("note:") < told.getvalue().index("epoch 1/")


def test_weights_of_a_run_start_another_unless_they_knew_its_test_images(finished, place, recipe, tmp_path):
    """Its best weights, by the run's name alone; refused before training, with nothing left behind."""
    once = recipe.train.model_copy(update={"epochs": 1, "learning_rate": 1e-9, "warmup_epochs": 0})
    on = recipe.model_copy(
        update={"train": once, "model": recipe.model.model_copy(update={"init": str(finished.root)})}
    )
    facts = {"data": place / "phantom", "runs": tmp_path / "runs"}
    run = train_run(start_run(on, split=finished.split, **facts), Reporter.silent(), accelerator="cpu")
    before, after = (load_file(one.checkpoint()[1]) for one in (finished, run))
    for name in before:
        if "running_" not in name and "num_batches" not in name:  # at this rate nothing else moves
            np.testing.assert_allclose(before[name], after[name], atol=1e-6, err_msg=name)
    make_split(read_dataset(place / "phantom"), seed=9).write(tmp_path / "another.csv")
    refused = start_run(on, split=tmp_path / "another.csv", **facts)
    with pytest.raises(SplitError, match="come from a training that knew the lesions of"):
        train_run(refused, Reporter.silent(), accelerator="cpu", fresh=True)
    assert not refused.root.exists()


def test_a_folder_that_is_no_run_gives_no_first_weights(place, recipe, tmp_path):
    on = recipe.model_copy(update={"model": recipe.model.model_copy(update={"init": str(tmp_path)})})
    run = start_run(on, data=place / "phantom", split=place / "split.csv", runs=tmp_path / "runs")
    with pytest.raises(RunError, match="not a run directory"):
        train_run(run, Reporter.silent(), accelerator="cpu", fresh=True)

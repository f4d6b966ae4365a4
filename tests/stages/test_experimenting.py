"""Does an experiment train each recipe and seed once, go on where it stopped, and let the runs answer together?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from melascope.config import read_recipe, recipe_toml
from melascope.errors import DataError, RecipeError, RunError
from melascope.evaluation.operating_point import OperatingPoint
from melascope.files import MANIFEST, read_json, write_json
from melascope.models.train import Trainer
from melascope.stages import ensembling, experimenting, training
from melascope.stages.ensembling import together
from melascope.stages.experimenting import Place, run_experiment
from melascope.stages.first_weights import with_init
from melascope.stages.reporting import Reporter
from melascope.stages.training import start_run, train_run
from melascope.tables.columns import read_csv_text
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory


@pytest.fixture(scope="module")
def work(place, recipe, tmp_path_factory):
    """Two recipes of one epoch, two seeds; the plots and evaluations of single runs are left out."""
    folder = tmp_path_factory.mktemp("experiment")
    once = recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": 1})})
    (folder / "first.toml").write_text(recipe_toml(once))
    other = {"name": "other", "loss": once.loss.model_copy(update={"name": "focal"})}
    (folder / "second.toml").write_text(recipe_toml(once.model_copy(update=other)))
    (folder / "list.toml").write_text('name = "pair"\nrecipes = ["first.toml", "second.toml"]\nseeds = [1, 2]\n')
    (folder / "folds.toml").write_text('name = "folded"\nrecipes = ["first.toml"]\nfolds = 3\n')
    return folder


@pytest.fixture(autouse=True)
def without_plots(monkeypatch):
    monkeypatch.setattr(training, "evaluate_run", lambda run, _: write_json(run.evaluation / "evaluation.json", {}))
    monkeypatch.setattr(ensembling, "evaluate_run", lambda run, _: None)
    monkeypatch.setattr(training, "save_training_curves", lambda *_, **__: None)


def at(place, out) -> Place:
    return Place(place / "phantom", place / "split.csv", out)


def test_a_stopped_experiment_goes_on_and_compares_seeds_and_ensembles(work, place, monkeypatch):
    out, trained = work / "out", []
    real = experimenting.train_run

    def counted(run, reporter, **facts):
        trained.append(run.name)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return real(run, reporter, **facts)

    monkeypatch.setattr(experimenting, "train_run", counted)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(work / "list.toml", at(place, out), Reporter.silent(), accelerator="cpu")
    comparison = run_experiment(work / "list.toml", at(place, out), Reporter.silent(), accelerator="cpu")
    assert len(trained) == 5 and len(set(trained)) == 4 and trained[2] == trained[3]
    told = [(contender.name, len(contender.members)) for contender in comparison.contenders]
    assert [n for _, n in told] == [2, 1, 2, 1], told  # both seeds of a recipe as one, then its ensemble
    assert (out / "comparison" / "list" / "comparison.csv").is_file()
    assert all("lesion_sensitivity" in contender.figures for contender in comparison.contenders)
    for name in read_json(out / "experiment.json")["runs"].values():
        assert (out / "runs" / name / MANIFEST).is_file()
    run_experiment(work / "list.toml", at(place, out), Reporter.silent(), accelerator="cpu")
    assert len(trained) == 5
    (work / "first.toml").write_text((work / "first.toml").read_text().replace("dropout = 0.2", "dropout = 0.3"))
    with pytest.raises(RunError, match="changed since"):
        run_experiment(work / "list.toml", at(place, out), Reporter.silent(), accelerator="cpu")
    with pytest.raises(RunError, match="another list"):
        run_experiment(work / "folds.toml", at(place, out), Reporter.silent(), accelerator="cpu")


@pytest.mark.parametrize("written", ["now", "by an older melascope"])
def test_an_experiment_goes_on_with_the_same_split_however_it_is_written_and_with_no_other(
    work, place, tmp_path, written
):
    """What an older melascope did not write down is told by the runs that it began."""
    out = tmp_path / "out"
    run_experiment(work / "list.toml", at(place, out), Reporter.silent(), accelerator="cpu")
    if written != "now":
        state = read_json(out / "experiment.json")
        older = {key: state[key] for key in ("list", "split", "runs")}
        write_json(out / "experiment.json", {**older, "data": str(place / "elsewhere" / ".." / "phantom")})
    head, *rows = (place / "split.csv").read_text().splitlines()

    def again(rows, held_out=()):
        (tmp_path / "again.csv").write_text("\r\n".join([head, *rows]))
        elsewhere = replace(at(place, out), split=tmp_path / "again.csv", held_out_lesions=held_out)
        return run_experiment(work / "list.toml", elsewhere, Reporter.silent(), accelerator="cpu")

    assert again(rows[::-1])
    with pytest.raises(RunError, match="another split"):
        again([rows[0].replace(",train", ",held_out").replace(",val", ",train"), *rows[1:]])
    with pytest.raises(RunError, match="another set of held-out lesions"):
        again(rows, held_out=("PHAN_0000001",))
    with pytest.raises(DataError, match="missing"):
        nowhere = replace(at(place, out), split=tmp_path / "nowhere.csv")
        run_experiment(work / "list.toml", nowhere, Reporter.silent(), accelerator="cpu")


@pytest.mark.parametrize("jobs", [1, 2])
def test_recipes_that_ask_differently_are_trained_once(work, place, tmp_path, monkeypatch, jobs):
    """The second one ends as its own training would have: same weights and curves, its own answers and threshold."""
    once = read_recipe(work / "first.toml")
    views = {"name": "views", "predict": once.predict.model_copy(update={"views": "mirrored"})}
    (tmp_path / "first.toml").write_text(recipe_toml(once))
    (tmp_path / "views.toml").write_text(recipe_toml(once.model_copy(update=views)))
    (tmp_path / "list.toml").write_text('name = "views"\nrecipes = ["first.toml", "views.toml"]\nseeds = [1]\n')
    steps = []
    real = Trainer._step
    monkeypatch.setattr(Trainer, "_step", lambda self, rows: steps.append(self.run.name) or real(self, rows))
    alone = train_run(
        start_run(
            read_recipe(tmp_path / "views.toml"),
            data=place / "phantom",
            split=place / "split.csv",
            runs=tmp_path / "alone",
        ),
        Reporter.silent(),
        accelerator="cpu",
    )
    steps.clear()
    out = tmp_path / "out"
    run_experiment(tmp_path / "list.toml", at(place, out), Reporter.silent(), accelerator="cpu", jobs=jobs)
    assert len(set(steps)) == (1 if jobs == 1 else 0)  # with jobs, it trains in a process of its own
    (one, _), (other, weights) = (RunDirectory(path).checkpoint() for path in sorted((out / "runs").glob("2*")))
    run, trained_as = RunDirectory(weights.parents[1]), RunDirectory(weights.parents[1]).read_facts()["trained_as"]
    assert read_json(run.root / "split.json") == read_json(alone.root / "split.json")
    took_over, trained = run.read_facts(), RunDirectory(out / "runs" / trained_as).read_facts()
    for fact in ("first_weights", "started_on", "threads", "training_seconds_since_resume"):
        assert took_over[fact] == trained[fact], fact
    assert "resumed" not in took_over  # it did not go on with a training: another's was its own
    assert (out / "runs" / trained_as).is_dir() and run.results.read_text() == alone.results.read_text()
    assert one.weights_sha256 == other.weights_sha256 == alone.checkpoint()[0].weights_sha256
    assert (one.recipe["predict"]["views"], other.recipe["predict"]["views"]) == ("one", "mirrored")
    mirrored, on_its_own = Predictions.read(run.predictions), Predictions.read(alone.predictions)
    np.testing.assert_array_equal(mirrored.logits, on_its_own.logits)
    assert OperatingPoint.read(run.operating_point).threshold == OperatingPoint.read(alone.operating_point).threshold
    assert not np.array_equal(
        mirrored.logits, Predictions.read(out / "runs" / trained_as / "predictions.parquet").logits
    )


def test_folds_become_one_table_in_which_each_image_is_judged_by_who_did_not_train_on_it(work, place):
    out = work / "folded"
    assert run_experiment(work / "folds.toml", at(place, out), Reporter.silent(), accelerator="cpu") is None
    (ensemble,) = (out / "ensembles").iterdir()
    table = Predictions.read(ensemble / "predictions.parquet")
    assert not (table.split == "train").any() and (table.split == "val").sum() > (table.split == "test").sum()
    point = OperatingPoint.read(ensemble / "operating_point.json")
    validation = table.of_split("val")
    assert point.is_positive(validation.probabilities)[validation.dx == "mel"].mean() >= 0.9
    members = [Predictions.read(path / "predictions.parquet") for path in sorted((out / "runs").glob("2*"))]
    assert len(members) == 3
    tempered = table.logits - np.log(np.exp(table.logits).sum(1, keepdims=True))
    for row in range(0, len(table), 7):
        asked = [member.probabilities[row] for member in members if member.split[row] != "train"]
        assert len(asked) == (1 if table.split[row] == "val" else 3)
        np.testing.assert_allclose(np.exp(tempered[row]), np.mean(asked, axis=0), rtol=1e-6)
    assert read_recipe(RunDirectory(ensemble).recipe).name.endswith("-ensemble")


def test_seeds_keep_their_split_and_other_images_are_refused(finished):
    one = Predictions.read(finished.predictions)
    other = replace(one, logits=one.logits[:, ::-1].copy())
    both = together([one, other], ["a", "b"])
    np.testing.assert_array_equal(both.split, one.split)
    np.testing.assert_allclose(both.probabilities, (one.probabilities + other.probabilities) / 2, rtol=1e-9)
    assert both.origin.split_sha256 == one.origin.split_sha256
    assert both.origin.checkpoint_sha256 != one.origin.checkpoint_sha256
    with pytest.raises(DataError, match="same images"):
        together([one, one.subset(np.arange(5))])
    with pytest.raises(DataError, match="two or more"):
        together([one])


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_recipe_goes_on_from_the_run_of_an_earlier_one(work, place, tmp_path, jobs):
    """Also where that one was adopted from its twin; the second call, from another folder, finds all done."""
    once = read_recipe(work / "first.toml")
    views = {"name": "views", "predict": once.predict.model_copy(update={"views": "mirrored"})}
    recipes = {"first": once, "views": once.model_copy(update=views), "on": once.model_copy(update={"name": "on"})}
    for name, recipe in recipes.items():
        (tmp_path / f"{name}.toml").write_text(recipe_toml(recipe))
    head = 'name = "chain"\nrecipes = ["first.toml", "views.toml", "on.toml"]\nseeds = [2]\n'
    (tmp_path / "list.toml").write_text(f'{head}[after]\non = "views"\n')
    out = tmp_path / "out"
    for where in (out, tmp_path / "elsewhere" / ".." / "out"):
        run_experiment(tmp_path / "list.toml", at(place, where), Reporter.silent(), accelerator="cpu", jobs=jobs)
    names = read_json(out / "experiment.json")["runs"]
    first, on = (RunDirectory(out / "runs" / names[f"{key}-s2"]) for key in (once.name, "on"))
    assert Path(read_recipe(on.recipe).model.init).name == first.name and len(names) == 3
    assert len(list((out / "runs").glob("2*"))) == 3
    began, went_on = (float(read_csv_text(run.results)["train_loss"][0]) for run in (first, on))
    assert went_on < began  # its first epoch starts where the other's ended
    (tmp_path / "on.toml").write_text(recipe_toml(with_init(recipes["on"], "w.safetensors")))
    with pytest.raises(RecipeError, match="on has first weights of its own"):
        run_experiment(tmp_path / "list.toml", at(place, out), Reporter.silent(), accelerator="cpu")
    (tmp_path / "on.toml").write_text(recipe_toml(recipes["on"]))
    (tmp_path / "list.toml").write_text(f'{head}[after]\nfirst = "on"\n')
    with pytest.raises(RecipeError, match="cannot start from on"):
        run_experiment(tmp_path / "list.toml", at(place, out), Reporter.silent(), accelerator="cpu")

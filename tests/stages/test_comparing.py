"""Do run directories and tables end in one folder of figures and plots, each run at its own frozen point?"""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from melascope.config import recipe_toml
from melascope.errors import DataError, RunError
from melascope.evaluation.comparison import Comparison, SeedSpread
from melascope.evaluation.operating_point import OperatingPoint, choose_operating_point
from melascope.stages.comparing import TableReading, compare_paths
from melascope.stages.reporting import Reporter
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory


@pytest.fixture
def runs(finished, recipe, tmp_path):
    """The finished run, and a run of the same recipe whose seed 2 saw the images a little otherwise."""
    table, point = Predictions.read(finished.predictions), OperatingPoint.read(finished.operating_point)
    places = []
    for seed in (1, 2):
        run = RunDirectory(tmp_path / f"tiny-s{seed}")
        run.root.mkdir()
        noise = np.random.default_rng(seed).normal(0, seed - 1, table.logits.shape)
        replace(table, logits=table.logits + noise).write(run.predictions)
        point.write(run.operating_point)
        run.recipe.write_text(recipe_toml(recipe.model_copy(update={"seed": seed})))
        shutil.copy(finished.facts, run.facts)
        places.append(run)
    return places


def test_runs_and_a_table_are_compared_and_written(runs, tmp_path):
    theirs = tmp_path / "theirs.csv"
    Predictions.read(runs[1].predictions).of_split("test").write(theirs)
    out = tmp_path / "out"
    told = compare_paths([runs[0].root, runs[1].root, theirs], out, Reporter.silent(), draws=20)
    assert Comparison.read(out) == told
    assert {path.name for path in out.iterdir()} == {
        *("comparison.json", "comparison.csv"),
        *(f"{name}.{kind}" for name in ("differences", "seed_spread") for kind in ("png", "svg")),
    }
    ours, csv = told.contenders
    assert (ours.name, csv.name) == ("tiny, 2 seeds", "theirs.csv")
    assert [member.name for member in ours.members] == ["tiny-s1", "tiny-s2"]
    assert ours.members[0].operating_point == OperatingPoint.read(runs[0].operating_point)
    assert csv.members[0].operating_point is None and csv.rule == "no threshold, top class only"
    assert isinstance(ours.seed_spread["accuracy"], SeedSpread)
    assert told.source == "phantom" and told.split == "test"


def test_another_split_can_be_judged(runs, tmp_path):
    told = compare_paths([run.root for run in runs], tmp_path / "out", Reporter.silent(), split="val", draws=0)
    n_val = int((Predictions.read(runs[0].predictions).split == "val").sum())
    assert told.split == "val" and told.n_images == n_val


def test_two_paths_that_end_alike_are_told_apart(runs, tmp_path):
    again = tmp_path / "again" / "tiny-s1"
    shutil.copytree(runs[0].root, again)
    told = compare_paths([runs[0].root, again], tmp_path / "out", Reporter.silent(), draws=0)
    assert [one.name for one in told.contenders] == [str(runs[0].root), str(again)]
    assert any("same recipe and seed" in note for note in told.notes)
    with pytest.raises(DataError, match="Given twice"):
        compare_paths([again, again], tmp_path / "out", Reporter.silent())


def test_an_unfinished_run_and_a_missing_table_say_what_to_do(runs, tmp_path):
    runs[1].operating_point.unlink()
    with pytest.raises(RunError, match=r"lacks operating_point\.json(.|\n)*melascope train --resume"):
        compare_paths([run.root for run in runs], tmp_path / "out", Reporter.silent())
    with pytest.raises(DataError, match="no such run or table"):
        compare_paths([runs[0].root, tmp_path / "nothing.csv"], tmp_path / "out", Reporter.silent())
    with pytest.raises(RunError, match="not a run directory"):
        compare_paths([tmp_path], tmp_path / "out", Reporter.silent())
    assert not (tmp_path / "out").exists()


def test_a_table_with_validation_rows_gets_its_own_point_by_the_first_runs_rule(runs, tmp_path):
    theirs = tmp_path / "theirs.csv"
    table = Predictions.read(runs[1].predictions)
    table.subset(np.isin(table.split.astype(str), ("val", "test"))).write(theirs)
    table = Predictions.read(theirs)  # a CSV tells no temperature
    told = compare_paths([runs[0].root, theirs], tmp_path / "out", Reporter.silent(), draws=0)
    ours, other = (one.members[0].operating_point for one in told.contenders)
    assert (other.target, other.rule, other.target_sensitivity) == (ours.target, ours.rule, ours.target_sensitivity)
    own = choose_operating_point(
        table.of_split("val"), target=ours.target, rule=ours.rule, target_sensitivity=ours.target_sensitivity
    )
    assert other.threshold == own.threshold != ours.threshold
    n = int((table.split == "val").sum())
    assert any(
        f"theirs.csv: its threshold for melanoma was chosen from the {n} validation rows" in x for x in told.notes
    )
    assert not any("could not be checked" in note for note in told.notes)


def test_too_few_validation_rows_give_no_threshold_and_say_so(runs, tmp_path):
    theirs = tmp_path / "theirs.csv"
    Predictions.read(runs[1].predictions).write(theirs)
    reading = TableReading(rule="guaranteed", target_sensitivity=0.999)
    told = compare_paths([runs[0].root, theirs], tmp_path / "out", Reporter.silent(), draws=0, reading=reading)
    assert told.contenders[1].members[0].operating_point is None
    assert any("theirs.csv: No threshold was chosen from the" in note for note in told.notes)
    assert any("B has no threshold: its sensitivity, sensitivity per lesion" in note for note in told.notes)


def test_a_table_of_other_names_is_mapped(runs, tmp_path):
    theirs = tmp_path / "theirs.csv"
    Predictions.read(runs[1].predictions).of_split("test").write(theirs)
    theirs.write_text(theirs.read_text().replace('"image_id"', '"file"', 1))
    reading = TableReading(columns={"image_id": "file"})
    told = compare_paths([runs[0].root, theirs], tmp_path / "out", Reporter.silent(), draws=0, reading=reading)
    assert told.contenders[1].rule == "no threshold, top class only"
    assert any("theirs.csv: it brings no validation rows" in note for note in told.notes)


def test_what_would_be_accepted_and_ignored_is_refused(runs, tmp_path):
    theirs = tmp_path / "theirs.csv"
    Predictions.read(runs[1].predictions).of_split("test").write(theirs)
    both, out = [run.root for run in runs], tmp_path / "out"
    for paths, reading, told in (
        (both, TableReading(rule="empirical"), "--rule: these are runs"),
        (both, TableReading(columns={"image_id": "file"}), "--map-columns: these are runs"),
        ([both[0], theirs], TableReading(target=("mel",)), "--target: no table brings validation rows"),
    ):
        with pytest.raises(DataError, match=told):
            compare_paths(paths, out, Reporter.silent(), draws=0, reading=reading)
    assert not out.exists()

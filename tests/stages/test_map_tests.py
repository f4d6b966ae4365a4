"""Do a run's maps get tested from end to end, the same each time, and is a failed gate told by the exit code?"""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from melascope.cli import app
from melascope.errors import ExplainError
from melascope.explain import sanity
from melascope.files import write_json
from melascope.models.classifier import Classifier
from melascope.stages import map_tests
from melascope.stages.data import Dataset
from melascope.stages.map_tests import run_map_tests
from melascope.stages.reporting import Reporter
from melascope.tables.map_scores import MapTests
from melascope.tables.predictions import Predictions
from melascope.tables.results import Estimate
from melascope.tables.runs import RunDirectory


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, value in (("SANITY_IMAGES", 6), ("RANDOMISATIONS", 2), ("HEAD_IMAGES", 30)):
        monkeypatch.setattr(map_tests, name, value)


@pytest.fixture(scope="module")
def tested(finished, tmp_path_factory):
    """A test of few images."""
    with pytest.MonkeyPatch.context() as few:
        for name, value in (("SANITY_IMAGES", 6), ("RANDOMISATIONS", 2), ("HEAD_IMAGES", 30)):
            few.setattr(map_tests, name, value)
        out = tmp_path_factory.mktemp("map_tests")
        return out, run_map_tests(finished, Reporter.silent(), split="val", images=3, out=out, draws=100)


def test_everything_is_written(tested):
    out, tests = tested
    assert MapTests.read(out) == tests
    n = tests.facts["n_images"]
    scores = list(csv.DictReader((out / "scores.csv").open()))
    assert len(scores) == 7 * n and sum(int(row["is_predicted"]) for row in scores) == n
    assert len(list(csv.DictReader((out / "faithfulness.csv").open()))) == 3
    assert tests.facts["masks"] == {"data set": n}
    assert [check.name for check in tests.gate] == ["whole network random", "head fitted to permuted labels"]


def test_figures_agree_with_the_rows_of_the_images(tested):
    out, tests = tested
    rows = [row for row in csv.DictReader((out / "scores.csv").open()) if row["is_predicted"] == "1"]
    for measure in ("share_inside", "peak_inside", "matched_iou"):
        values = [float(row[measure]) for row in rows if row[measure]]
        figure = tests.of("lesion mask", measure)
        assert isinstance(figure, Estimate) and figure.n == len(values)
        assert figure.value == pytest.approx(np.mean(values))
        paired = [float(row[measure]) - float(row[f"gaussian_{measure}"]) for row in rows if row[measure]]
        assert tests.of("lesion mask", measure, against="map - centred Gaussian").value == pytest.approx(
            np.mean(paired)
        )
    empty = tests.of("lesion mask", "no_positive_evidence")
    assert empty.value == pytest.approx(np.mean([row["state"] == "no positive evidence" for row in rows]))


def test_it_goes_on_from_its_parts_and_adds_images(tested, finished, monkeypatch):
    out, tests = tested
    asked = []
    monkeypatch.setattr(map_tests._Tester, "_logits", lambda self, pixels: asked.append(len(pixels)))
    monkeypatch.setattr(map_tests._Tester, "_cascade", lambda *_: pytest.fail("the cascade was made again"))
    again = run_map_tests(finished, Reporter.silent(), split="val", images=3, out=out, draws=100)
    assert again == tests and not asked


def test_the_command_prints_red_and_exits_with_3(finished, tested, tmp_path, monkeypatch):
    """A limit that nothing can keep."""
    out = tmp_path / "out"
    shutil.copytree(tested[0], out)
    command = ["explain", str(finished.root), "--test", "--split", "val", "--images", "3", "--out", str(out)]
    monkeypatch.setattr(sanity.gate, "__defaults__", (2.0,))
    good = CliRunner().invoke(app, command)
    assert good.exit_code == 0, good.output
    assert "Sanity gate passed" in good.output and json.loads((out / "manifest.json").read_text())["passed"] is True
    assert {path.suffix for path in out.glob("map_*")} >= {".png", ".svg"}
    monkeypatch.setattr(sanity.gate, "__defaults__", (0.0,))
    bad = CliRunner().invoke(app, command)
    assert bad.exit_code == 3 and "SANITY GATE FAILED" in bad.output and "melascope gallery" in bad.output


@pytest.mark.parametrize("wrong", [{"split": "train"}, {"images": 0}])
def test_what_is_not_held_out_is_refused(finished, tmp_path, wrong):
    with pytest.raises(ExplainError):
        run_map_tests(finished, Reporter.silent(), out=tmp_path, **wrong)


def test_a_run_of_several_views_is_tested_too(finished, tmp_path):
    """Its table holds the mean of the views, its maps show one: that is no other model."""
    run = RunDirectory(shutil.copytree(finished.root, tmp_path / "run"))
    card = run.card()
    mirrored = card.model_copy(update={"recipe": {**card.recipe, "predict": {"views": "mirrored"}}})
    write_json(run.checkpoints / "best.json", mirrored.model_dump(mode="json"))
    facts, known = run.read_facts(), Predictions.read(run.predictions)
    where = {"source": None, "labels": None, "store_folder": Path(facts["pixel_store"])}
    dataset = Dataset.open(Path(facts["data"]), **where, reporter=Reporter.silent())
    pixels = dataset.pixels(card.input_width, card.input_height, Reporter.silent()).pixels
    logits = Classifier.load(run).logits(pixels[dataset.table.index_of(known.image_id)])
    replace(known, logits=logits.astype(np.float64)).write(run.predictions)
    tests = run_map_tests(run, Reporter.silent(), split="val", images=2, out=tmp_path / "out", draws=50)
    assert tests.facts["run"] == run.name

"""Does a trained run answer for one picture as its predictions table does, and learn once what its images look like?"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from melascope.classes import CLASSES
from melascope.cli import app
from melascope.data.sources import read_dataset
from melascope.errors import MelascopeError, RunError
from melascope.explain.overlay import shared_scale
from melascope.stages import likeness as likeness_stage
from melascope.stages.answering import Answerer
from melascope.stages.exporting import export_run
from melascope.stages.looking import Looker
from melascope.stages.reporting import Reporter
from melascope.stages.scoring import load_image
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory


@pytest.fixture(scope="module")
def run(finished, tmp_path_factory) -> RunDirectory:
    return RunDirectory.open(shutil.copytree(finished.root, tmp_path_factory.mktemp("answered") / "run"))


@pytest.fixture(scope="module")
def answerer(run) -> Answerer:
    return Answerer.open(run, Reporter.silent())


@pytest.fixture(scope="module")
def table(place):
    return read_dataset(place / "phantom")


def of_split(run, split: str) -> Predictions:
    return Predictions.read(run.predictions).of_split(split)


def test_the_answer_is_that_of_the_predictions_table(run, answerer, table):
    rows, alike = of_split(run, "train"), 0
    for at in range(12):
        answer = answerer.answer(load_image(table, table.index_of(rows.image_id[[at]])[0]))
        if answer.classified is None:  # so few validation images set a tight limit
            continue
        alike += 1
        np.testing.assert_allclose(answer.classified.probabilities, rows.probabilities[at], atol=1e-5)
        assert answer.classified.called is bool(answer_point(answerer, rows)[at])
        assert answer.classified.scale == pytest.approx(shared_scale(answer.classified.maps))
    assert alike >= 6


def answer_point(answerer: Answerer, rows: Predictions) -> np.ndarray:
    return answerer.point.is_positive(rows.probabilities)


def test_a_validation_image_is_its_own_nearest_case(run, answerer, table):
    rows = of_split(run, "val")
    answer = answerer.answer(load_image(table, table.index_of(rows.image_id[[0]])[0]))
    if answer.classified is None:
        pytest.fail("the first validation image lies beyond the limit of so few: choose another seed")
    nearest = answer.classified.neighbours[0]
    assert nearest.image_id == rows.image_id[0] and nearest.similarity == pytest.approx(1, abs=2e-3)
    assert nearest.dx == rows.dx[0] and nearest.p_target == pytest.approx(
        float(answerer.point.score(rows.probabilities)[0])
    )
    assert answerer.store.thumbnail(nearest.row)[:2] == b"\xff\xd8"


def test_noise_is_unlike(answerer):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    answer = answerer.answer(noise)
    told = answerer.as_json(answer)
    assert not answer.is_alike and told["classified"] is None and answer.stranger_share == 0
    json.dumps(told, allow_nan=False)


def test_it_is_learned_once_and_again_for_other_weights(run, answerer, monkeypatch):
    before = run.likeness.read_bytes()
    monkeypatch.setattr(likeness_stage, "_images", lambda *_: pytest.fail("learned again"))
    assert Answerer.open(run, Reporter.silent()).store.sha256 == answerer.store.sha256
    assert run.likeness.read_bytes() == before
    assert answerer.store.read_if_of(run.likeness, "b" * 64, answerer.store.rule) is None


def test_what_the_limit_costs_is_told_to_the_report(run, answerer):
    counts, store = json.loads((run.root / "likeness.json").read_text()), answerer.store
    assert counts["checkpoint_sha256"] == store.checkpoint_sha256 and counts["split"] == "val"
    assert counts["n_images"] == len(of_split(run, "val"))
    assert counts["n_images_refused"] == int((store.strangeness > store.limit).sum())
    assert (counts["n_target_images"], counts["n_target_images_refused"]) == (store.n_target, store.n_target_refused)


def test_the_exported_graph_sees_what_torch_sees(run, answerer):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
    through_torch = answerer.looker.look(pixels)
    export_run(run, Reporter.silent(), formats=("onnx",))
    looker = Looker.open(run)
    assert (answerer.looker.engine, looker.engine) == (
        "torch",
        "model.onnx",
    ) and looker.places == answerer.looker.places
    for name in ("logits", "features", "maps"):
        np.testing.assert_allclose(getattr(looker.look(pixels), name), getattr(through_torch, name), atol=1e-4)
    assert looker.features(pixels).shape == through_torch.features.shape
    shutil.rmtree(run.export)


def test_seven_maps_come_with_the_answer(answerer, table):
    answer = answerer.as_json(answerer.answer(load_image(table, 0)))
    if answer["classified"]:
        assert set(answer["classified"]["maps"]["values"]) == set(CLASSES)


def test_what_is_missing_is_told(run, tmp_path):
    copy = RunDirectory.open(shutil.copytree(run.root, tmp_path / "run"))
    copy.likeness.unlink()
    with pytest.raises(RunError, match="are not here"):
        Answerer.open(copy, Reporter.silent(), data=tmp_path / "gone")
    copy.operating_point.unlink()
    with pytest.raises(RunError, match="no frozen operating point"):
        Answerer.open(copy, Reporter.silent())


def test_the_command_starts_the_page_and_says_what_is_missing(run, monkeypatch):
    pytest.importorskip("fastapi")
    from melascope.app import running

    said = {}
    monkeypatch.setattr(running, "run_app", lambda run, _, **options: said.update(options, run=run))
    result = CliRunner().invoke(app, ["app", str(run.root), "--port", "0", "--name", "mine"])
    assert result.exit_code == 0 and said["host"] == "127.0.0.1" and said["names"] == ("mine",)
    monkeypatch.setitem(__import__("sys").modules, "melascope.app.running", None)
    monkeypatch.delitem(__import__("sys").modules, "melascope.app.running")
    result = CliRunner().invoke(app, ["app", "/nowhere"])
    assert isinstance(result.exception, MelascopeError)

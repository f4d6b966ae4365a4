"""Does a run become a graph that says the same, with everything needed inside, and is a worse one refused?"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from melascope.cli import app
from melascope.data.pixels import Rows
from melascope.errors import ExportError, OutputError
from melascope.evaluation.operating_point import OperatingPoint
from melascope.inference.session import Session
from melascope.models import export as model_export
from melascope.models.classifier import Classifier
from melascope.stages import exporting
from melascope.stages.exporting import TOLERANCE, export_run
from melascope.stages.reporting import Reporter
from melascope.tables.runs import RunDirectory


@pytest.fixture(scope="module")
def run(finished, tmp_path_factory) -> RunDirectory:
    """A copy of the finished run, exported in every way."""
    root = tmp_path_factory.mktemp("exported") / "run"
    shutil.copytree(finished.root, root)
    return RunDirectory.open(root)


@pytest.fixture(scope="module")
def files(run):
    files = export_run(run, Reporter.silent(), precisions=("float32", "float16", "int8"))
    return {one.file: one for one in files}


def test_every_file_is_told_and_kept_or_refused(run, files):
    manifest = json.loads((run.export / "manifest.json").read_text())
    assert {one["file"] for one in manifest["exports"]} == set(files)
    exact, halved = {"model.onnx", "model.xml"}, {"model-float16.onnx", "model-float16.xml"}
    assert set(files) == {*exact, *halved, "model-int8.onnx", "model-int8.xml"}
    for name, one in files.items():
        assert (run.export / name).is_file() is not bool(one.refused)
        assert bool(one.refused) is bool(one.cost and one.cost.loses)
    assert manifest["checkpoint_sha256"] == run.checkpoint()[0].weights_sha256
    assert "model.onnx" in manifest["files"]


@pytest.fixture
def written_before(run, files, monkeypatch):
    """The graph is not traced anew: the run's own is taken."""
    monkeypatch.setattr(
        exporting, "write_onnx", lambda _graph, _card, path: shutil.copy(run.export / "model.onnx", path)
    )


@pytest.mark.parametrize("name", ["model.onnx", "model.xml"])
def test_logits_and_maps_agree_with_the_network(run, files, name):
    assert max(files[name].differences[output] for output in ("logits", "maps")) <= TOLERANCE
    session, classifier = Session.open(run.export / name), Classifier.load(run)
    pixels = np.random.default_rng(3).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)
    np.testing.assert_allclose(session.logits(pixels), classifier.logits(pixels), atol=TOLERANCE)


def test_the_card_tells_all_that_is_needed(run, files):
    card = Session.open(run.export / "model.onnx").card
    assert card.checkpoint.temperature == run.checkpoint()[0].temperature
    assert OperatingPoint.from_json(card.operating_point) == OperatingPoint.read(run.operating_point)
    assert (card.run, card.source, card.views, card.precision) == (run.name, "phantom", "one", "float32")
    assert card.maps.method == "gradcam" and card.checkpoint.training_state == ""


def test_a_graph_that_loses_a_melanoma_is_removed(run, written_before, monkeypatch, tmp_path):
    copy = RunDirectory.open(shutil.copytree(run.root, tmp_path / "run"))
    right = exporting.precision_cost

    def spoiled(exact, logits, point):
        return right(exact, np.where(np.arange(7) == 4, -50, logits), point)  # it never says melanoma

    monkeypatch.setattr(exporting, "precision_cost", spoiled)
    (_, rough) = (one for one in export_run(copy, Reporter.silent(), formats=("onnx",), precisions=("int8",)))
    assert "of the target, the run finds" in rough.refused
    assert {path.name for path in copy.export.iterdir()} == {"model.onnx", "manifest.json"}


def test_a_graph_that_differs_is_refused_and_nothing_is_written(finished, monkeypatch, tmp_path):
    run = RunDirectory.open(shutil.copytree(finished.root, tmp_path / "run"))
    right = model_export.normalise
    monkeypatch.setattr(exporting, "write_onnx", lambda graph, card, path: _shifted(graph, card, path, right))
    with pytest.raises(ExportError, match="differs from its network by up to"):
        export_run(run, Reporter.silent(), formats=("onnx",))
    assert not run.export.exists() and not list(run.root.glob(".export*"))


def _shifted(graph, card, path, normalise):
    """A graph whose pixels are a hundredth of their scale too bright."""
    graph.mean = tuple(value - 0.01 for value in graph.mean)
    return model_export.write_onnx(graph, card, path)


def test_what_is_no_export_is_not_replaced(finished, tmp_path):
    run = RunDirectory.open(shutil.copytree(finished.root, tmp_path / "run"))
    run.export.mkdir()
    (run.export / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not a melascope export"):
        export_run(run, Reporter.silent())
    assert (run.export / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"formats": ("coreml",)}, "There is no coreml"),
        ({"precisions": ("int4",)}, "There is no int4"),
    ],
)
def test_unknown_wishes_are_refused(finished, wrong, word):
    with pytest.raises(ExportError, match=word):
        export_run(finished, Reporter.silent(), **wrong)


def test_a_rough_precision_needs_a_threshold(finished, written_before, tmp_path):
    run = RunDirectory.open(shutil.copytree(finished.root, tmp_path / "run"))
    run.operating_point.unlink()
    with pytest.raises(ExportError, match="judged at the frozen threshold"):
        export_run(run, Reporter.silent(), formats=("onnx",), precisions=("int8",))
    assert not run.export.exists()
    assert export_run(run, Reporter.silent(), formats=("onnx",))[0].refused == ""  # float32 needs none


def test_the_command_tells_each_file(finished, tmp_path, files, monkeypatch):
    run = RunDirectory.open(shutil.copytree(finished.root, tmp_path / "run"))
    refused = replace(files["model-int8.onnx"], refused="it finds 1 of 3")
    monkeypatch.setattr(exporting, "export_run", lambda *_, **__: [files["model.onnx"], refused])
    result = CliRunner().invoke(app, ["export", str(run.root), "--precision", "float32, int8"])
    assert result.exit_code == 3
    assert "model.onnx (float32): differs by at most logits" in result.stdout
    assert "REFUSED: it finds 1 of 3" in result.stdout


def test_rows_are_asked_a_batch_at_a_time(run, files):
    session = Session.open(run.export / "model.onnx")
    pixels = np.random.default_rng(5).integers(0, 256, (6, 32, 48, 3), dtype=np.uint8)
    some = Rows(pixels, np.array([4, 0, 5]))
    np.testing.assert_array_equal(session.logits(some, batch_size=2), session.logits(pixels[[4, 0, 5]], batch_size=2))


def test_halved_weights_are_half_as_large_and_tell_nothing_of_the_machine(run, files):
    exact, halved = (run.export / name for name in ("model.onnx", "model-float16.onnx"))
    card = Session.open(halved).card
    assert (card.precision, card.weights_kept) == ("float32", "float16")
    assert Session.open(exact).card.weights_kept == "float32"
    assert 0 < max(files["model-float16.onnx"].differences.values()) < 0.1
    for path in (exact, halved):
        assert b"site-packages" not in path.read_bytes()

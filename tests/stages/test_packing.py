"""Does a packed run answer as the run did, with half the bytes, and does it hold no image and tell no path?"""

from __future__ import annotations

import io
import shutil
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from melascope.app.pages import page_html
from melascope.config import read_recipe, recipe_toml
from melascope.errors import ExportError, OutputError, RunError
from melascope.evaluation.evaluate import Evaluation
from melascope.evaluation.operating_point import OperatingPoint
from melascope.files import read_json, write_json, write_text
from melascope.report.run_record import read_run
from melascope.report.sections import maps as maps_section
from melascope.stages import map_tests, packing
from melascope.stages.answering import Answerer
from melascope.stages.asking import own_images
from melascope.stages.engines import open_engine
from melascope.stages.explained import describe, panel
from melascope.stages.explaining import Explainer, explain_images
from melascope.stages.packing import Packed, pack_run
from melascope.stages.reporting import Reporter
from melascope.stages.scoring import read_images
from melascope.tables.likeness import LikenessStore
from melascope.tables.map_scores import UNTESTED, GateCheck, MapTests
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory


@pytest.fixture(scope="module")
def run(finished, tmp_path_factory) -> RunDirectory:
    """One whose first weights came from a folder of this machine."""
    run = RunDirectory(shutil.copytree(finished.root, tmp_path_factory.mktemp("to_pack") / "run"))
    recipe = read_recipe(run.recipe, init=run.root.parent / "earlier-run")
    write_text(run.recipe, recipe_toml(recipe))
    card = run.card().model_copy(update={"recipe": recipe.model_dump(mode="json")})
    write_json(run.checkpoints / "best.json", card.model_dump(mode="json"))
    with pytest.MonkeyPatch.context() as few:
        for name, value in (("SANITY_IMAGES", 4), ("RANDOMISATIONS", 1), ("HEAD_IMAGES", 30)):
            few.setattr(map_tests, name, value)
        tests = map_tests.run_map_tests(run, Reporter.silent(), split="val", images=2, draws=50)
    replace(tests, gate=(GateCheck("whole network random", "+0.3", "within ± 0.2", False),)).write(run.map_tests)
    return run


@pytest.fixture(scope="module")
def packed(run, tmp_path_factory) -> Packed:
    return pack_run(run, tmp_path_factory.mktemp("packed") / "small-1", Reporter.silent())


def test_it_answers_as_the_run_did(run, packed):
    pixels = np.random.default_rng(3).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)
    before, after = open_engine(run.root, engine="torch"), open_engine(packed.root)
    np.testing.assert_allclose(after.logits(pixels), before.logits(pixels), atol=0.05)
    assert (after.run, after.point) == ("small-1", before.point)
    assert after.card.recipe["model"]["init"] == "earlier-run"
    assert after.card.temperature == before.card.temperature


def test_predictions_and_figures_are_those_of_the_packed_graph(run, packed):
    made = RunDirectory.open(packed.root)
    then, now = Predictions.read(run.predictions), Predictions.read(made.predictions)
    assert list(now.image_id) == list(then.image_id) and now.origin.run == "small-1"
    difference = np.abs(now.logits - then.logits).max()
    assert 0 < difference < 0.1 and packed.cost.largest_logit <= difference
    point, evaluation = OperatingPoint.read(made.operating_point), Evaluation.read(made.evaluation)
    assert point == OperatingPoint.read(run.operating_point) == evaluation.operating_point
    found = point.is_positive(now.of_split("test").probabilities) & (now.of_split("test").dx == "mel")
    assert evaluation.whole.decision("operating_point", "image").tp == found.sum()


def test_it_holds_no_image_no_weights_file_and_tells_no_path(place, run, packed):
    files = {path.relative_to(packed.root).as_posix(): path for path in packed.root.rglob("*") if path.is_file()}
    assert not [name for name in files if name.endswith((".jpg", ".png", ".safetensors"))]
    assert {"run.json", "MODEL_CARD.md", "export/model.onnx", "likeness.npz", "evaluation/figures.csv"} <= set(files)
    for name, path in files.items():
        assert not any(str(path_of).encode() in path.read_bytes() for path_of in (place, run.root.parent)), name
    assert not LikenessStore.read(files["likeness.npz"]).has_thumbnails
    assert packed.bytes == sum(path.stat().st_size for path in files.values())
    facts = read_json(files["run.json"])
    assert facts["packed"]["name"] == "small-1" and facts["data"] == ""
    with pytest.raises(RunError, match="brings no images"):
        own_images(RunDirectory.open(packed.root))


def test_likeness_and_neighbours_are_nearly_the_same(run, packed):
    whole, light = (LikenessStore.read(RunDirectory(root).likeness) for root in (run.root, packed.root))
    assert abs(light.limit / whole.limit - 1) < 0.02 and light.kept == whole.kept
    features = whole.embedding[0].astype(np.float32)
    np.testing.assert_allclose(light.similarity(features), whole.similarity(features), atol=0.01)
    answerer = Answerer.open(RunDirectory.open(packed.root), Reporter.silent())
    assert answerer.as_json(answerer.answer(np.zeros((20, 30, 3), np.uint8)))["run"] == "small-1"


def test_what_the_gate_found_travels_with_the_maps(place, run, packed, tmp_path):
    made = RunDirectory.open(packed.root)
    tests = MapTests.read(made.map_tests)
    assert {one.group for one in tests.figures if one.test != "sanity"} == {"all"} and not tests.passed
    assert "whole network random" in (packed.root / "MODEL_CARD.md").read_text()
    table = read_images(place / "phantom").subset(np.arange(1))
    said = io.StringIO()
    explain_images(made, table, tmp_path, Reporter(Console(file=said)))
    assert tests.headline in said.getvalue()
    (made.map_tests / "map_tests.json").rename(tmp_path / "aside")
    explain_images(made, table, tmp_path / "untested", Reporter(Console(file=said)))
    (tmp_path / "aside").rename(made.map_tests / "map_tests.json")
    with pytest.raises(RunError, match="packed"):
        map_tests.run_map_tests(made, Reporter.silent())
    assert not (made.map_tests / "parts").exists()
    assert UNTESTED.headline in said.getvalue() and "--test" not in said.getvalue(), "a pack cannot be tested"
    assert read_json(tmp_path / "manifest.json")["sanity"]["gate"] == "failed"
    ((one,), _) = next(Explainer(made).explain(table))
    changed = (panel(one) != panel(replace(one, map_warning=""))).any(axis=(0, 2)).reshape(-1)
    third = len(changed) // 3
    assert not changed[:third].any() and changed[third : 2 * third].any() and changed[-third:].any(), "on each map"
    answerer = Answerer.open(made, Reporter.silent())
    page = page_html(answerer, max_bytes=2**20, keeps=False)
    assert page.count("SANITY GATE FAILED") == 2, "in words, and beside each map"
    section = maps_section.section(read_run(packed.root))
    assert not [block.kind for block in section.blocks if block.kind in ("plot", "gap")], "a pack brings no plots"


def test_explaining_warns_of_a_strange_picture_alone(place, packed):
    explainer, table = Explainer(RunDirectory.open(packed.root)), read_images(place / "phantom")
    learned = table.index_of(Predictions.read(explainer.run.predictions).of_split("train").image_id[:1])
    (explained,), _ = next(explainer.explain(table.subset(learned)))
    assert not explained.unlike and not any("UNLIKE" in line for line in describe(explained, None))
    assert any("UNLIKE" in line for line in describe(replace(explained, unlike=True), None))
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    assert explainer._unlike([noise, explained.image]).tolist() == [True, False]


def test_a_second_pack_has_the_same_bytes(run, packed, tmp_path):
    again = pack_run(run, tmp_path / "small-1", Reporter.silent()).root
    told = [read_json(root / "manifest.json")["files"] for root in (packed.root, again)]
    assert told[0] == told[1]


def test_a_graph_that_loses_a_melanoma_is_not_packed(run, packed, tmp_path, monkeypatch):
    right = packing.precision_cost

    def lossy(*arguments):
        cost = right(*arguments)
        found = {unit: replace(count, rough=count.exact - 1) for unit, count in cost.found.items()}
        return replace(cost, found=found)

    monkeypatch.setattr(packing, "precision_cost", lossy)
    with pytest.raises(ExportError, match="fewer images are found, fewer lesions are found"):
        pack_run(run, tmp_path / "bad", Reporter.silent())
    assert not (tmp_path / "bad").exists()


def test_something_else_is_left_alone(run, packed, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("mine")
    with pytest.raises(OutputError, match="not a melascope pack"):
        pack_run(run, tmp_path / "mine", Reporter.silent())

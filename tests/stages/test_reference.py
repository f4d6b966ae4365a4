"""Does the model that melascope ships answer with nothing else at hand: no run, no torch, no training?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from melascope.classes import CLASSES
from melascope.cli import app
from melascope.cli.models import model_and_images
from melascope.data.appearance import RULE
from melascope.errors import ExportError, MelascopeError, RunError
from melascope.evaluation.evaluate import Evaluation
from melascope.evaluation.operating_point import OperatingPoint
from melascope.files import read_json, sha256_file
from melascope.inference.session import Session
from melascope.stages import reference
from melascope.stages.engines import open_engine
from melascope.stages.map_makers import map_maker
from melascope.stages.reference import is_reference, reference_run
from melascope.tables.likeness import LikenessStore
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory

ROOT = Path(__file__).parents[2]
CAT = ROOT / "tests/app/chelsea.jpg"
MOST_BYTES, MOST_BYTES_WITH_TABLES = 10_000_000, 12_000_000


def melascope(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def shipped() -> RunDirectory:
    return reference_run()


def test_it_is_small_whole_and_holds_no_picture_and_no_path(shipped):
    files = [path for path in shipped.root.rglob("*") if path.is_file()]
    assert (shipped.export / "model.onnx").stat().st_size <= MOST_BYTES
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES_WITH_TABLES
    named = read_json(shipped.root / "manifest.json")["files"]
    assert {path.relative_to(shipped.root).as_posix() for path in files} == {*named, "manifest.json"}
    for name, facts in named.items():
        assert sha256_file(shipped.root / name) == facts["sha256"], name
    assert {path.suffix for path in files} == {".json", ".toml", ".csv", ".md", ".onnx", ".npz", ".parquet"}
    for path in files:
        content = path.read_bytes()
        assert not any(place in content for place in (b"/work", b"/home", b"/tmp", b"site-packages")), path


def test_all_its_parts_are_of_one_model(shipped):
    card, store = Session.open(shipped.export / "model.onnx").card, LikenessStore.read(shipped.likeness)
    point, predictions = OperatingPoint.read(shipped.operating_point), Predictions.read(shipped.predictions)
    digests = (card.checkpoint.weights_sha256, shipped.card().weights_sha256, store.checkpoint_sha256)
    assert {*digests, point.checkpoint_sha256, predictions.origin.checkpoint_sha256} == {digests[0]}
    assert OperatingPoint.from_json(card.operating_point) == point and card.run == shipped.name
    assert (card.weights_kept, card.precision, card.checkpoint.class_order) == ("float16", "float32", CLASSES)
    assert "CC BY-NC 4.0" in card.licence and "Research only" in card.intended_use
    assert store.rule == RULE and not store.has_thumbnails and len(store) == 1000
    assert Evaluation.read(shipped.evaluation).operating_point == point


def test_half_precision_was_measured_and_loses_no_melanoma_of_validation(shipped):
    manifest = read_json(shipped.root / "manifest.json")
    cost = manifest["cost"]
    assert cost["passed"] and manifest["n_validation"] == 1000 and manifest["largest_map_difference"] < 0.1
    for unit in ("image", "lesion"):
        assert cost["found"][unit]["rough"] >= cost["found"][unit]["exact"]
    assert 0 < cost["largest_probability"] < 0.01


def test_the_page_on_it_tells_its_figures(shipped):
    """Every figure of the table in docs/reference_model.md is that of the packed evaluation."""
    text, whole = (ROOT / "docs/reference_model.md").read_text(), Evaluation.read(shipped.evaluation).whole
    assert shipped.name in text and "CC BY-NC 4.0" in text
    for unit in ("image", "lesion"):
        decision = whole.decision("operating_point", unit)
        for name in ("sensitivity", "specificity"):
            figure = decision.figures[name]
            assert f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]" in text, (unit, name)
        assert f"({decision.tp}/{decision.tp + decision.fn})" in text
    card = (shipped.root / "MODEL_CARD.md").read_text()
    assert "200×150" in card and "CC BY-NC 4.0" in card and not re.search(r"!\[", card)


def test_it_predicts_explains_and_answers_without_torch(tmp_path):
    """In a fresh process in which importing torch, timm or onnx fails; nothing is written into the package."""
    blocked = tmp_path / "blocked"
    for name in ("torch", "timm", "torchvision", "lightning", "onnx", "safetensors"):
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text(f"raise ModuleNotFoundError('none here', name={name!r})")
    script = """
import sys
import numpy as np
from melascope.cli import app
from melascope.stages.answering import Answerer
from melascope.stages.reference import reference_run
from melascope.stages.reporting import Reporter
for command in ("explain", "predict --out one.csv", "predict --out parts"):
    app([*command.split(), sys.argv[1]], standalone_mode=False)
answerer = Answerer.open(reference_run(), Reporter.silent())
answer = answerer.as_json(answerer.answer(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)))
print(answer["run"], answer["likeness"]["is_alike"])
"""
    before = sorted(reference.WEIGHTS.rglob("*"))
    path = os.pathsep.join([str(blocked), *(one for one in sys.path if one)])
    how = {"capture_output": True, "text": True, "timeout": 200, "cwd": tmp_path}
    command = [sys.executable, "-c", script, str(CAT)]
    done = subprocess.run(command, **how, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr[-2000:]
    name = reference_run().name
    assert f"the reference model that melascope ships ({name})" in done.stderr and f"{name} False" in done.stdout
    assert (
        "UNLIKE THE TRAINING IMAGES" in done.stdout
        and (tmp_path / "maps/chelsea_maps.jpg").is_file()
        and '"chelsea"' in (tmp_path / "one.csv").read_text()
    )
    assert read_json(tmp_path / "maps/manifest.json")["run"] == name and list((tmp_path / "parts").glob("part-*"))
    assert sorted(reference.WEIGHTS.rglob("*")) == before


def test_a_gallery_of_other_images(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = melascope("gallery", place / "phantom", "--tests", "0")
    assert done.exit_code == 0, done.exception
    page = (tmp_path / "gallery" / "index.html").read_text()
    assert reference_run().name in page
    figures = (tmp_path / "gallery" / "FIGURES.md").read_text()
    assert "sensitivity for melanoma, per" not in figures  # those are of other images
    assert not (reference_run().root / "gallery").exists() and not reference_run().maps.exists()


def test_images_that_the_model_learned_from_are_not_shown_as_unseen(shipped, place, tmp_path):
    known = Predictions.read(shipped.predictions)
    learned = known.image_id[known.split == "train"][0]
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(next((place / "phantom").rglob("*.jpg")), folder / f"{learned}.jpg")
    done = melascope("gallery", folder, "--out", tmp_path / "out")
    assert isinstance(done.exception, MelascopeError) and "learned from all 1 images" in str(done.exception)
    done = melascope("explain", folder, "--out", tmp_path / "maps")
    assert done.exit_code == 0 and "TRAINING IMAGE: " in done.output


@pytest.mark.parametrize(
    ("first", "second", "meant"),
    [
        ("photo.jpg", None, (None, "photo.jpg")),
        ("RUN", None, ("RUN", None)),
        ("RUN", "photo.jpg", ("RUN", "photo.jpg")),
        ("model.onnx", "photo.jpg", ("model.onnx", "photo.jpg")),
        ("photos/*.jpg", None, (None, "photos/*.jpg")),
        (None, None, (None, None)),
    ],
)
def test_one_argument_is_the_run_if_it_is_one(first, second, meant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("RUN").mkdir()
    Path("RUN/run.json").write_text("{}")
    assert model_and_images(first, second) == meant


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["explain"], "Either images are explained"),
        (["explain", "--test"], "Either images are explained"),
        (["explain", "runs/typo"], "no such file or folder"),
        (["explain", "photos", "photo.jpg"], "the first is no model"),
        (["predict"], "No image is named"),
        (["predict", "nowhere"], "no such source"),
        (["predict", "photos", "photo.jpg"], "the first is no model"),
        (["gallery"], "brings no images"),
        (["gallery", "nowhere"], "no such file or folder"),
        (["app", "nowhere"], "no such folder"),
        (["serve", "nowhere"], "or leave RUN out"),
    ],
)
def test_what_is_missing_is_told(command, words, tmp_path, monkeypatch):
    pytest.importorskip("fastapi")
    monkeypatch.chdir(tmp_path)
    done = melascope(*command)
    assert isinstance(done.exception, MelascopeError) and words in str(done.exception), done.exception


def test_what_only_torch_can_do_is_refused_with_the_reason(shipped):
    with pytest.raises(ExportError, match="packed run"):
        map_maker(shipped, method="layercam")
    with pytest.raises(ExportError, match="packed run"):
        open_engine(shipped.root, engine="torch")
    assert open_engine(shipped.root).name == "model.onnx, float32, weights kept as float16"


def test_several_or_no_reference_models_are_an_error(tmp_path, monkeypatch, shipped):
    monkeypatch.setattr(reference, "WEIGHTS", tmp_path)
    with pytest.raises(RunError, match="0 reference models"):
        reference_run()
    assert not is_reference(shipped)

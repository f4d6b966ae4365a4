"""Does the main job work from end to end on a small phantom, survive interruption, and refuse what is broken?"""

from __future__ import annotations

import json
import runpy
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from melascope.classes import CLASSES, SPLITS
from melascope.cli import app
from melascope.config import Recipe, read_recipe
from melascope.data.sources.phantom import write_phantom
from melascope.errors import MelascopeError, OperatingPointError
from melascope.evaluation.operating_point import OperatingPoint, choose_operating_point
from melascope.evaluation.temperature import fit_temperature
from melascope.models.classifier import Classifier
from melascope.stages import evaluating
from melascope.stages.explaining import explain_images
from melascope.stages.reporting import Reporter
from melascope.stages.scoring import read_images
from melascope.tables.maps import MapStore
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory

ROOT = Path(__file__).parents[1]
RECIPE = """
name = "tiny"
operating_point_rule = "empirical"
[model]
backbone = "resnet10t"
pretrained = false
[input]
width = 64
height = 48
[train]
epochs = 2
batch_size = 16
learning_rate = 2e-3
"""


def melascope(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Training is exact for one number of threads; other tests may have left another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory, one_thread) -> Path:
    """A phantom of 120 images, its split, and a recipe."""
    folder = tmp_path_factory.mktemp("job")
    write_phantom(folder / "phantom", n_images=120, seed=3, workers=1)
    (folder / "tiny.toml").write_text(RECIPE)
    done = melascope("data", "split", folder / "phantom", "--out", folder / "split.csv", "--seed", 2)
    assert done.exit_code == 0, done.output
    return folder


def train(place: Path, runs: str) -> RunDirectory:
    done = melascope(
        "train",
        place / "tiny.toml",
        "--data",
        place / "phantom",
        "--split",
        place / "split.csv",
        "--runs",
        place / runs,
    )
    assert done.exit_code == 0, (done.output, done.exception)
    (root,) = [path for path in (place / runs).iterdir() if path.name != ".pixels"]
    return RunDirectory.open(root)


@pytest.fixture(scope="module")
def run(place) -> RunDirectory:
    """Trained and judged as a user gets it, plots too."""
    return train(place, "runs")


@pytest.fixture(autouse=True)
def no_more_plots(run, monkeypatch):
    """Once is enough: what is trained or judged after `run` draws none."""
    monkeypatch.setattr(evaluating, "save_evaluation_plots", lambda *_: None)


def test_a_run_directory_holds_what_the_design_names(run):
    assert run.name.endswith("__tiny-s1")
    for name in ("recipe.toml", "split.csv", "results.csv", "predictions.parquet", "operating_point.json"):
        assert (run.root / name).is_file(), name
    assert (run.evaluation / "evaluation.json").is_file() and list(run.evaluation.glob("*.svg"))
    assert run.read_facts()["status"] == "complete"
    listed = json.loads((run.root / "manifest.json").read_text())["files"]
    assert "checkpoints/best.json" in listed
    assert "predictions.parquet" in listed
    assert len(run.results.read_text().splitlines()) == 3
    assert Recipe.model_validate(read_recipe(run.recipe).model_dump()).name == "tiny"


def test_predictions_are_the_best_checkpoints_and_the_threshold_is_from_validation(run):
    predictions, point = Predictions.read(run.predictions), OperatingPoint.read(run.operating_point)
    assert set(predictions.split) <= set(SPLITS)
    assert predictions.origin.source == "phantom"
    card, _ = run.checkpoint()
    assert predictions.origin.checkpoint_sha256 == card.weights_sha256
    validation = predictions.of_split("val")
    called = point.is_positive(validation.probabilities)[validation.dx == "mel"]
    assert called.mean() >= 0.90
    scores = point.score(validation.probabilities)
    assert scores.min() > point.threshold or (scores < point.threshold).any()
    shuffled = replace(predictions, logits=np.where(validation_rows(predictions), predictions.logits, 0.0))
    assert choose_operating_point(shuffled.of_split("val"), rule="empirical").threshold == point.threshold
    with pytest.raises(OperatingPointError):
        choose_operating_point(predictions)


def test_the_temperature_is_fitted_on_validation_and_carried_everywhere(run):
    predictions = Predictions.read(run.predictions)
    fitted = fit_temperature(predictions.of_split("val"))
    assert json.loads(run.temperature.read_text()) == fitted.as_json()
    assert fitted.temperature != 1.0 and fitted.nll_after <= fitted.nll_before
    carried = (predictions.origin, run.checkpoint()[0], OperatingPoint.read(run.operating_point))
    assert {one.temperature for one in carried} == {fitted.temperature}


def validation_rows(predictions: Predictions) -> np.ndarray:
    return (predictions.split == "val")[:, None]


def test_the_door_turns_errors_into_a_message_and_code_1(tmp_path):
    command = [sys.executable, "-c", "from melascope.cli import main; main()", "evaluate", tmp_path / "no-run"]
    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr.startswith("error: There is no such file.\n") and "Traceback" not in ended.stderr


def test_what_a_command_cannot_do_is_an_error_for_the_door(run, tmp_path):
    for arguments in (
        ("gallery", tmp_path / "no-run"),
        ("gallery", run.root, "--cases", "PHANTOM_9999999"),
        ("predict", run.root, tmp_path / "no-image.jpg"),
        ("train", ROOT / "recipes/demo.toml", "--data", tmp_path, "--split", tmp_path / "s.csv", "--runs", tmp_path),
    ):
        done = melascope(*arguments)
        assert isinstance(done.exception, MelascopeError), (arguments, done.exception)
        assert "\n  " in str(done.exception)  # where, what was expected, what to do


@pytest.mark.parametrize("flags", [("--class", "melanoma"), ("--image", "no-such-image.jpg")])
def test_the_seeds_command_refuses_with_a_message(place, run, tmp_path, monkeypatch, capsys, flags):
    image = next((place / "phantom").glob("HAM10000_images_part_*/*.jpg"))
    command = ["gradcam_image.py", "--run-dir", run.root, "--image", image, "--out", tmp_path / "o.png", *flags]
    monkeypatch.setattr(sys, "argv", [str(part) for part in command])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "scripts/gradcam_image.py"), run_name="__main__")
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error:")
    assert not (tmp_path / "o.png").exists()


def test_held_out_lesions_stay_out_of_every_other_side(place, tmp_path):
    metadata = (place / "phantom" / "HAM10000_metadata.csv").read_text().splitlines()
    lesion = metadata[1].split(",")[0]
    (tmp_path / "lesions.txt").write_text(f"# set aside\n{lesion}\n")
    out = tmp_path / "split.csv"
    flags = ("--given", place / "split.csv", "--hold-out-lesions", tmp_path / "lesions.txt")
    done = melascope("data", "split", place / "phantom", "--out", out, *flags)
    assert done.exit_code == 0, (done.output, done.exception)
    held_out = {line.split(",")[0] for line in out.read_text().splitlines() if line.endswith(",held_out")}
    assert held_out == {line.split(",")[1] for line in metadata[1:] if line.startswith(f"{lesion},")}


def test_weights_are_read_back_as_they_were(run):
    store = np.load(next((run.root.parent / ".pixels").glob("*.npy")), mmap_mode="r")
    predictions = Predictions.read(run.predictions)
    logits = Classifier.load(run).logits(store[:20])
    np.testing.assert_allclose(logits, predictions.logits[:20], atol=1e-4)


def interrupted(place: Path, name: str, stop: signal.Signals) -> subprocess.CompletedProcess:
    """Start a training in a process of its own that saves after each step, and stop it in its second epoch."""
    driver = place / f"{name}.py"
    driver.write_text(
        "import os, sys, torch, melascope.models.train as t\n"
        "torch.set_num_threads(1)\n"  # as the undisturbed one: OMP_NUM_THREADS=1 gives other last digits
        "t.SAVE_EVERY_SECONDS = 0.0\n"
        "from melascope.stages.reporting import TrainingBars\n"
        "real = TrainingBars.step\n"
        "def step(self, epoch, step, n_steps, loss):\n"
        "    real(self, epoch, step, n_steps, loss)\n"
        f"    if (epoch, step) == (1, 3): os.kill(os.getpid(), {int(stop)})\n"
        "TrainingBars.step = step\n"
        "from melascope.cli import main\n"
        "main()\n"
    )
    command = [sys.executable, driver, "train", place / "tiny.toml", "--data", place / "phantom"]
    command += ["--split", place / "split.csv", "--runs", place / name]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT, timeout=200)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill-9"])
def test_a_stopped_training_ends_like_an_undisturbed_one(place, run, stop):
    name = f"stopped-{int(stop)}"
    ended = interrupted(place, name, stop)
    (root,) = [path for path in (place / name).iterdir() if path.name != ".pixels"]
    if stop == signal.SIGINT:
        assert ended.returncode == 130
        assert f"melascope train --resume {root}" in ended.stderr
    else:
        assert ended.returncode == -signal.SIGKILL
    card = json.loads((root / "checkpoints" / "last.json").read_text())
    assert card["epoch"] == 1
    assert card["step_in_epoch"] in (2, 3)
    done = melascope("train", "--resume", root)
    assert done.exit_code == 0, (done.output, done.exception)
    assert (root / "results.csv").read_bytes() == run.results.read_bytes()
    for which in ("best", "last"):
        assert RunDirectory(root).checkpoint(which)[0].weights_sha256 == run.checkpoint(which)[0].weights_sha256


def test_the_gallery_chooses_its_cases_and_lies_in_the_run(run):
    done = melascope("gallery", run.root, "--tests", "2")
    assert done.exit_code == 0, (done.output, done.exception)
    missed = Predictions.read(run.predictions).of_split("test")
    missed = missed.subset(missed.dx == "mel")
    missed = missed.image_id[~OperatingPoint.read(run.operating_point).is_positive(missed.probabilities)]
    assert "phantom" in (run.gallery / "index.html").read_text()
    notes = (run.gallery / "FIGURES.md").read_text()
    assert "phantom" in notes and all(f"`images/{image_id}_overlay_" in notes for image_id in missed)


def test_a_fast_gallery_says_so_and_keeps_the_runs_probabilities(run, tmp_path):
    for name, words in (("plain", ()), ("fast", ("--fast",))):
        done = melascope("gallery", run.root, "--tests", "0", "--out", tmp_path / name, *words)
        assert done.exit_code == 0, (done.output, done.exception)
    plain, fast = ((tmp_path / name / "FIGURES.md").read_text() for name in ("plain", "fast"))
    assert "bfloat16" in fast and "bfloat16" in (tmp_path / "fast" / "index.html").read_text()
    assert "bfloat16" not in plain

    def told(notes):
        return [line for line in notes.splitlines() if "Top-3" in line]

    assert told(plain) and told(fast) == told(plain)
    refused = melascope("explain", run.root, "--test", "--fast")
    assert isinstance(refused.exception, MelascopeError) and refused.exception.where == "--fast"
    refused = melascope("explain", run.root, "--test", "--layer", "blocks[1]", "--class", "nv")
    assert isinstance(refused.exception, MelascopeError) and refused.exception.where == "--layer, --class"


def test_predict_explain_and_the_seeds_command(place, run, tmp_path):
    predictions = Predictions.read(run.predictions)
    training = predictions.image_id[predictions.split == "train"][0]
    image = next((place / "phantom").glob(f"HAM10000_images_part_*/{training}.jpg"))

    done = melascope("predict", run.root, image, "--out", tmp_path / "one.csv")
    assert done.exit_code == 0, (done.output, done.exception)
    again = Predictions.read(tmp_path / "one.csv")
    row = np.flatnonzero(predictions.image_id == training)[0]
    np.testing.assert_allclose(again.logits[0], predictions.logits[row], atol=1e-3)
    assert again.split[0] == "train"

    done = melascope("explain", run.root, image, "--out", tmp_path / "maps")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "TRAINING IMAGE" in done.output
    assert (tmp_path / "maps" / f"{training}_maps.jpg").is_file()
    assert MapStore.read(tmp_path / "maps" / "maps.npz").maps.shape[:2] == (1, len(CLASSES))

    command = [sys.executable, "scripts/gradcam_image.py", "--run-dir", run.root, "--image", image]
    command += ["--out", tmp_path / "o.png", "--class", "mel"]
    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert Image.open(tmp_path / "o.png").size == (600, 450)
    assert "Top-3:" in ended.stdout
    assert "P(mel)=" in ended.stdout
    assert "frozen threshold" in ended.stdout


def test_an_id_that_is_a_path_writes_nothing_outside_the_folder(place, run, tmp_path):
    table = read_images(next((place / "phantom").glob("HAM10000_images_part_*/*.jpg")))
    hostile = replace(table, image_id=np.array(["../../escaped"], dtype=object))
    explain_images(run, hostile, tmp_path / "a" / "b", Reporter.silent())
    (picture,) = (tmp_path / "a" / "b").glob("*.jpg")
    assert picture.name.startswith("escaped.")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_loose_images_with_labels_under_other_names_are_predicted_and_judged(place, run, tmp_path):
    images = sorted((place / "phantom").glob("HAM10000_images_part_*/*.jpg"))[:6]
    (tmp_path / "loose").mkdir()
    for image in images:
        shutil.copy(image, tmp_path / "loose" / f"new_{image.name}")
    rows = [f"new_{image.name},{'mel' if index % 2 else 'nv'}" for index, image in enumerate(images)]
    (tmp_path / "truth.csv").write_text("\n".join(["file,answer", *rows]) + "\n")
    flags = ("--labels", tmp_path / "truth.csv", "--map-columns", "image_id=file,dx=answer")
    done = melascope("predict", run.root, tmp_path / "loose", "--out", tmp_path / "p.parquet", *flags)
    assert done.exit_code == 0, (done.output, done.exception)
    predictions = Predictions.read(tmp_path / "p.parquet")
    assert list(predictions.dx) == ["nv", "mel"] * 3
    assert set(predictions.split) == {""}
    point = run.operating_point
    done = melascope("evaluate", tmp_path / "p.parquet", "--operating-point", point, "--out", tmp_path / "out")
    assert done.exit_code == 0, (done.output, done.exception)


def test_a_promise_that_validation_cannot_bear_is_refused_before_training(place, tmp_path):
    (tmp_path / "sure.toml").write_text(RECIPE.replace('operating_point_rule = "empirical"\n', ""))
    flags = ("--data", place / "phantom", "--split", place / "split.csv", "--runs", tmp_path / "runs")
    done = melascope("train", tmp_path / "sure.toml", *flags)
    assert isinstance(done.exception, OperatingPointError)
    for part in ("of melanoma", "at least 29", 'operating_point_rule = "empirical"'):
        assert part in str(done.exception)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [".pixels"]  # no half a run is left behind


def test_train_and_evaluate_print_the_price_of_other_targets(place, run):
    done = melascope("evaluate", run.root)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "What finding melanoma costs" in done.output
    assert OperatingPoint.read(run.operating_point).promise in " ".join(done.output.split())


def test_a_point_of_an_older_version_is_chosen_anew_by_resuming(run, tmp_path):
    old = RunDirectory(tmp_path / run.name)
    shutil.copytree(run.root, old.root)
    shutil.copytree(run.root.parent / ".pixels", tmp_path / ".pixels")
    content = json.loads(old.operating_point.read_text())
    del content["lesion_sensitivity"], content["lesion_sensitivity_lower_bound"]
    old.operating_point.write_text(json.dumps(content | {"schema_version": 1}))
    refused = melascope("evaluate", old.root)
    assert isinstance(refused.exception, OperatingPointError)
    assert "melascope train --resume" in str(refused.exception)
    done = melascope("train", "--resume", old.root)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "What finding melanoma costs" in done.output
    assert OperatingPoint.read(old.operating_point) == OperatingPoint.read(run.operating_point)


def test_an_output_folder_that_cannot_be_written_is_told(run, place, tmp_path):
    (tmp_path / "file").write_text("")
    done = melascope("explain", run.root, place / "phantom", "--out", tmp_path / "file" / "below")
    assert isinstance(done.exception, MelascopeError)
    assert "cannot be written" in str(done.exception)


def test_reading_and_judging_load_no_torch():
    code = (
        "import sys, melascope.evaluation.evaluate, melascope.gallery.render, melascope.report.plots, "
        "melascope.tables.predictions, melascope.data.sources, melascope.stages.evaluating, "
        "melascope.stages.writing_report\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (done.stdout.strip(), done.stderr) == ("False", "")

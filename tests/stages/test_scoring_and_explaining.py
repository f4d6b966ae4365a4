"""Do prediction and explanation refuse what is missing, and keep no more than a batch in memory?"""

from __future__ import annotations

import re
import shutil
import weakref

import numpy as np
import pytest
from typer.testing import CliRunner

from melascope.classes import CLASSES
from melascope.cli import app
from melascope.errors import CheckpointError, ExplainError, MelascopeError, RunError
from melascope.files import MANIFEST, read_json, sha256_file
from melascope.stages import explained, explaining
from melascope.stages.explained import MapRequest
from melascope.stages.explaining import Explainer, check_same_model, explain_images, explain_one
from melascope.stages.reporting import Reporter
from melascope.stages.scoring import predict_images, read_images
from melascope.tables.maps import MapStore
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory


def melascope(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("command", ["predict", "explain"])
@pytest.mark.parametrize("found", ["nothing", "an empty folder", "a text file"])
def test_missing_data_is_told_and_nothing_is_written(finished, tmp_path, command, found):
    data, out = tmp_path / "data.jpg", tmp_path / "out.parquet"
    if found == "an empty folder":
        data.mkdir()
    elif found == "a text file":
        data.write_text("no image")
    done = melascope(command, finished.root, data, "--out", out)
    assert isinstance(done.exception, MelascopeError)
    assert "data.jpg" in str(done.exception)
    left = [path.name for path in tmp_path.rglob("*") if path.is_file() and path != data]
    assert left == []


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_a_run_without_checkpoint_is_told_with_the_way_on(finished, place, tmp_path, command):
    run = shutil.copytree(finished.root, tmp_path / "run")
    shutil.rmtree(run / "checkpoints")
    done = melascope(command, run, place / "phantom", "--out", tmp_path / "out")
    assert isinstance(done.exception, CheckpointError)
    assert "no checkpoint 'best'" in str(done.exception)
    assert f"melascope train --resume {run}" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_what_the_source_left_out_rides_in_the_predictions(finished, place, tmp_path):
    """An ISIC collection of three images, of which the run knows one."""
    known = Predictions.read(finished.predictions).image_id[0]
    folder = tmp_path / "isic" / "images"
    folder.mkdir(parents=True)
    for name in (known, "ISIC_9", "ISIC_10"):
        shutil.copy(next((place / "phantom").rglob("*.jpg")), folder / f"{name}.jpg")
    header = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"
    rows = f"{known},0,0,0,0,0,0,0,1,0\nISIC_9,0,0,0,0,0,0,0,1,0\nISIC_10,1,0,0,0,0,0,0,0,0\n"
    (tmp_path / "isic" / "ISIC_2019_Test_GroundTruth.csv").write_text(header + rows)
    done = melascope("predict", finished.root, tmp_path / "isic", "--out", tmp_path / "p.parquet")
    assert done.exit_code == 0, done.exception
    told = Predictions.read(tmp_path / "p.parquet")
    assert told.left_out == {"SCC": 1}  # the other one the run knew
    first, second = told.notes
    assert f"note: {first}" in done.output.splitlines() and "next: melascope evaluate" in done.output
    of = "Of the 2 images that the run did not know: "
    assert first == f"{of}SCC is no class of the model: dx is left empty in 1 of 2 rows, and no figure counts them"
    assert second.startswith(f"{of}lesion_id is unknown in 2 of 2 rows")


def test_truncated_weights_are_told_as_damaged(finished, place, tmp_path):
    run = RunDirectory(shutil.copytree(finished.root, tmp_path / "run"))
    _, weights = run.checkpoint("best")
    weights.write_bytes(weights.read_bytes()[:1000])
    done = melascope("predict", run.root, place / "phantom", "--out", tmp_path / "out.csv")
    assert isinstance(done.exception, CheckpointError)
    assert "SHA-256" in str(done.exception)


@pytest.fixture(scope="module")
def few(place):
    """Seven images of the phantom: four batches of two."""
    return read_images(place / "phantom").subset(np.arange(7))


def test_predictions_and_maps_of_the_same_images_agree_in_batches_of_any_size(finished, few, tmp_path, monkeypatch):
    monkeypatch.setattr(explaining, "BATCH", 2)
    lines = explain_images(finished, few, tmp_path, Reporter.silent())
    store = MapStore.read(tmp_path / "maps.npz")
    predictions = predict_images(finished, few, Reporter.silent(), batch_size=3)
    assert list(store.image_id) == list(predictions.image_id) == list(few.image_id)
    np.testing.assert_allclose(store.logits, predictions.logits, atol=1e-5)
    whole = Explainer(finished).maps([explaining.load_image(few, row) for row in range(7)], few.image_id)
    np.testing.assert_allclose(store.maps, whole.maps, atol=1e-6)
    assert [line.split(":")[0] for line in lines] == list(few.image_id)
    assert len(list(tmp_path.glob("*_maps.jpg"))) == 7
    known = Predictions.read(finished.predictions)
    check_same_model(
        store, known.logits[[list(known.image_id).index(image_id) for image_id in store.image_id]], finished
    )
    with pytest.raises(RunError, match="differ"):
        check_same_model(store, predictions.logits + 1, finished)


def test_explaining_lets_each_batch_of_maps_go(finished, few, tmp_path, monkeypatch):
    monkeypatch.setattr(explaining, "BATCH", 2)
    monkeypatch.setattr(explaining, "panel", lambda one: one.image)
    alive, highest, real = [], [0], Explainer.maps

    def counted(self, images, image_ids):
        store = real(self, images, image_ids)
        alive.append(weakref.ref(store.maps))
        highest.append(sum(one() is not None for one in alive))
        return store

    monkeypatch.setattr(Explainer, "maps", counted)
    explain_images(finished, few, tmp_path, Reporter.silent())
    assert len(alive) == 4
    assert max(highest) <= 2  # the batch that is made, and the one that is being replaced


def test_explaining_that_fails_leaves_no_map_file(finished, few, tmp_path, monkeypatch):
    monkeypatch.setattr(explaining, "BATCH", 2)
    real = explaining.load_image

    def failing(table, row):
        if row == 5:
            raise RunError("gone")
        return real(table, row)

    monkeypatch.setattr(explaining, "load_image", failing)
    with pytest.raises(RunError, match="gone"):
        explain_images(finished, few, tmp_path, Reporter.silent())
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".jpg"] * 4


def test_the_manifest_names_what_was_written(finished, few, tmp_path):
    explain_images(finished, few, tmp_path, Reporter.silent(), request=MapRequest(ending="webp", fast=True))
    told = read_json(tmp_path / MANIFEST)
    assert {name: sha256_file(tmp_path / name) for name in told["files"]} == {
        name: entry["sha256"] for name, entry in told["files"].items()
    }
    assert sorted(told["files"]) == sorted(path.name for path in tmp_path.iterdir() if path.name != MANIFEST)
    assert len(list(tmp_path.glob("*_maps.webp"))) == 7
    store = MapStore.read(tmp_path / "maps.npz")
    for name in ("method", "layer", "unit", "resolution", "signed", "per_class", "precision"):
        assert told[name] == getattr(store, name)
    assert told["precision"] == "bfloat16, channels last"


@pytest.fixture
def panels(monkeypatch):
    """What each panel was drawn from."""
    drawn, real = [], explained.compose_panel

    def note(image, maps, **options):
        drawn.append((maps, options))
        return real(image, maps, **options)

    monkeypatch.setattr(explained, "compose_panel", note)
    return drawn


def test_one_class_by_another_method(finished, few, tmp_path, panels):
    request = MapRequest(method="occlusion", class_name="nv")
    explain_images(finished, few.subset(np.arange(2)), tmp_path, Reporter.silent(), request=request)
    store = MapStore.read(tmp_path / "maps.npz")
    assert store.classes == CLASSES and store.maps.shape[:2] == (2, 7) and store.logits.shape == (2, 7)
    assert (store.layer, store.unit) == ("input", "logit")
    (maps, options), _ = panels
    assert list(maps) == ["nv"]
    np.testing.assert_array_equal(maps["nv"], store.maps[0, CLASSES.index("nv")])
    assert options["unit"] == "logit" and options["notes"][0] == "occlusion at input"
    assert options["scale"] == max(store.maps[0].max(), 0)  # of all seven: a weak class looks weak


@pytest.mark.parametrize(
    ("class_name", "against", "stored"), [("", "predicted", 7), ("bcc", "predicted", 7), ("", "nv", 2)]
)
def test_contrast_shows_both_sides_of_one_difference(finished, few, tmp_path, panels, class_name, against, stored):
    request = MapRequest(class_name=class_name, against=against)
    explain_images(finished, few.subset(np.arange(3)), tmp_path, Reporter.silent(), request=request)
    store, of = MapStore.read(tmp_path / "maps.npz"), class_name or "mel"
    assert store.maps.shape[1] == stored
    for row, (maps, options) in enumerate(panels):
        others = [name for name in CLASSES if name != of]
        rival = max(others, key=lambda name: store.logits[row, CLASSES.index(name)]) if stored == 7 else against
        both = store.maps[row, store.classes.index(of)] - store.maps[row, store.classes.index(rival)]
        assert list(maps) == [f"{of} rather than {rival}", f"{rival} rather than {of}"]
        np.testing.assert_array_equal(maps[f"{of} rather than {rival}"], both)
        np.testing.assert_array_equal(maps[f"{rival} rather than {of}"], -both)
        assert options["scale"] == np.abs(both).max()


def test_a_method_without_classes_shows_one_map(finished, few, tmp_path, panels):
    one = few.subset(np.arange(1))
    explain_images(finished, one, tmp_path, Reporter.silent(), request=MapRequest(method="eigencam"))
    ((maps, options),) = panels
    assert list(maps) == ["any class"] and "no class" in options["labels"]["any class"]
    assert "the method leaves out evidence against" in options["notes"]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--class", "melanoma"), "melanoma"),
        (("--against", "melanoma"), "melanoma"),
        (("--against", "mel"), "minus itself"),
        (("--format", "gif"), "gif"),
        (("--method", "gradcamm"), "gradcamm"),
        (("--layer", "blocks[99]"), r"blocks\.99"),
        (("--method", "occlusion", "--layer", "bn2"), "no layer"),
        (("--method", "scorecam", "--against", "nv"), "not signed"),
        (("--map-columns", "image_id=file"), "no CSV"),
    ],
)
def test_what_cannot_be_explained_is_told_before_anything_is_written(finished, place, tmp_path, flags, says):
    done = melascope("explain", finished.root, place / "phantom", "--out", tmp_path / "out", *flags)
    assert isinstance(done.exception, MelascopeError)
    assert re.search(says, str(done.exception))
    assert not (tmp_path / "out").exists()


def test_a_stale_manifest_does_not_outlive_a_new_attempt(finished, few, tmp_path, monkeypatch):
    explain_images(finished, few.subset(np.arange(1)), tmp_path, Reporter.silent())
    assert (tmp_path / MANIFEST).is_file()
    monkeypatch.setattr(explaining, "load_image", lambda *_: (_ for _ in ()).throw(RunError("gone")))
    with pytest.raises(RunError, match="gone"):
        explain_images(finished, few.subset(np.arange(1)), tmp_path, Reporter.silent())
    assert not (tmp_path / MANIFEST).exists()


def test_the_seeds_command_takes_one_image(finished, few, tmp_path):
    with pytest.raises(ExplainError, match="7 images"):
        explain_one(finished, few, tmp_path / "overlay.png")


def test_the_seeds_command_names_the_file_that_it_wrote(finished, few, tmp_path):
    lines = explain_one(finished, few.subset(np.array([0])), tmp_path / "overlay")
    assert lines[-1] == f"Overlay: {tmp_path / 'overlay.jpg'}"
    assert (tmp_path / "overlay.jpg").is_file()

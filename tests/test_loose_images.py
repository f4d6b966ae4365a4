"""Can a classifier be trained on loose images, whose truth stands in a CSV with names of its own?"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from melascope.cli import app
from melascope.data.sources.phantom import write_phantom
from melascope.tables.predictions import Predictions

RECIPE = """
name = "tiny"
operating_point_rule = "empirical"
[model]
backbone = "resnet10t"
pretrained = false
[input]
width = 32
height = 32
[train]
epochs = 1
"""
WORDS = {"mel": "melanoma", "nv": "mole"}


def melascope(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """80 loose images in `pictures/`, and `truth.csv` with other column names and other words for two classes."""
    root = tmp_path_factory.mktemp("loose")
    write_phantom(root / "phantom", n_images=80, seed=5, workers=1)
    (root / "pictures").mkdir()
    for path in (root / "phantom").glob("HAM10000_images_part_*/*.jpg"):
        shutil.move(path, root / "pictures" / path.name)
    with open(root / "phantom/HAM10000_metadata.csv") as theirs, open(root / "truth.csv", "w", newline="") as ours:
        rows = csv.writer(ours)
        rows.writerow(["file", "diagnosis", "spot"])
        for row in csv.DictReader(theirs):
            rows.writerow([f"{row['image_id']}.jpg", WORDS.get(row["dx"], row["dx"]), row["lesion_id"]])
    (root / "tiny.toml").write_text(RECIPE)
    return root


def flags(place: Path) -> list[object]:
    columns = "image_id=file, dx=diagnosis,lesion_id=spot"
    words = ",".join(f"{theirs}={ours}" for ours, theirs in WORDS.items())
    return ["--labels", place / "truth.csv", "--map-columns", columns, "--map-labels", words]


def test_from_loose_images_to_a_gallery(place):
    pictures, split = place / "pictures", place / "split.csv"
    said = melascope("data", "validate", pictures, *flags(place))
    assert "80 images" in said and "source image_folder" in said and "--map-labels melanoma=mel,mole=nv" in said
    melascope("data", "split", pictures, "--out", split, *flags(place))
    common = ["--data", pictures, "--split", split, "--runs", place / "runs"]
    melascope("train", place / "tiny.toml", *common, *flags(place))
    (run,) = (place / "runs").glob("*__tiny-s1")
    predictions = Predictions.read(run / "predictions.parquet")
    assert set(predictions.dx) >= {"mel", "nv"} and len(set(predictions.lesion_id)) < 80
    page = melascope("gallery", run, "--tests", "0", "--cases", ",".join(predictions.of_split("test").image_id[:2]))
    assert Path(page.split()[-1]).is_file()


@pytest.mark.parametrize("pairs", ["dx", "dx=", "=a", "dx=a,dx=b"])
def test_a_map_that_is_no_map_is_refused(place, pairs):
    done = CliRunner().invoke(
        app, ["data", "validate", str(place / "pictures"), "--labels", "x.csv", "--map-columns", pairs]
    )
    assert done.exit_code == 1 and "--map-columns" in str(done.exception)
    assert ("'dx' stands twice" if pairs.count("=") == 2 else f"{pairs!r} is no pair") in str(done.exception)


def test_a_map_without_a_csv_is_refused(place):
    done = CliRunner().invoke(app, ["data", "validate", str(place / "pictures"), "--map-columns", "dx=a"])
    assert done.exit_code == 1 and "no CSV" in str(done.exception)

"""Do the figures and notes of one drawn predictions table still read word for word as they were reviewed?"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from melascope.classes import CLASSES
from melascope.evaluation.evaluate import evaluate
from melascope.evaluation.operating_point import choose_operating_point
from melascope.gallery.facts import gallery_facts
from melascope.gallery.gathering import build_cases
from melascope.gallery.render import write_gallery
from melascope.gallery.selection import select_cases
from melascope.tables.lesions import LesionTable
from melascope.tables.maps import MapStore
from melascope.tables.predictions import Predictions, PredictionsOrigin

GOLDEN = Path(__file__).parent / "golden"
N = 240


def objects(values) -> np.ndarray:
    values = list(values)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    rng = np.random.default_rng(20260220)
    labels = rng.choice(7, size=N, p=(0.05, 0.07, 0.12, 0.03, 0.2, 0.48, 0.05))
    logits = np.round(rng.normal(size=(N, 7)) + 2.2 * np.eye(7)[labels], 3)
    return Predictions(
        image_id=objects(f"DRAWN_{row:04d}" for row in range(N)),
        lesion_id=objects(f"LESION_{row // 2:04d}" if row % 5 else f"ALONE_{row:04d}" for row in range(N)),
        split=objects("val" if row < N // 2 else "test" for row in range(N)),
        dx=objects(CLASSES[label] for label in labels),
        age=np.where(np.arange(N) % 11 == 0, np.nan, 30.0 + np.arange(N) % 50),
        sex=objects(("female", "male", "")[row % 3] for row in range(N)),
        localization=objects(("back", "face", "")[row % 3] for row in range(N)),
        dx_type=objects("histo" if row % 2 else "consensus" for row in range(N)),
        logits=logits,
        origin=PredictionsOrigin(source="phantom", run="golden"),
    )


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("MELASCOPE_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{name} changed: review the diff after `make golden`"


def rounded(text: str) -> str:
    """Numbers to ten digits: the last ones hang on the order in which a processor adds."""
    return re.sub(r"\d+\.\d{9,}(e-\d+)?", lambda number: f"{float(number[0]):.10g}", text)


def test_the_evaluation_reads_as_reviewed(predictions, tmp_path):
    point = choose_operating_point(predictions.of_split("val"), rule="empirical")
    evaluation = evaluate(predictions, point, draws=200)
    evaluation.write(tmp_path)
    compare("headline.txt", evaluation.headline() + "\n")
    compare("figures.csv", rounded((tmp_path / "figures.csv").read_text(encoding="utf-8")))


def test_the_notes_read_as_reviewed(predictions, tmp_path):
    point = choose_operating_point(predictions.of_split("val"), rule="empirical")
    table = drawn_images(predictions, tmp_path / "data")
    selections = select_cases(predictions, point, confident_errors=3, near_threshold=2)
    ids = objects(selection.image_id for selection in selections)
    rows = {image_id: row for row, image_id in enumerate(predictions.image_id)}
    logits = predictions.logits[[rows[image_id] for image_id in ids]].astype(np.float32)
    cells = np.linspace(-1, 1, 12).reshape(3, 4)
    maps = np.stack([np.round(cells * row[:, None, None] / 4, 3) for row in logits]).astype(np.float32)
    store = MapStore(ids, logits, maps, "gradcam", "layer4", 64, 48, "")
    cases = build_cases(selections, predictions, point, store, table)
    write_gallery(cases, tmp_path / "gallery", facts=gallery_facts(predictions, point, store, table, run="golden"))
    compare("FIGURES.md", (tmp_path / "gallery" / "FIGURES.md").read_text(encoding="utf-8"))


def drawn_images(predictions: Predictions, root: Path) -> LesionTable:
    """One plain picture with a dark square, and its mask, standing for every image."""
    root.mkdir()
    picture = np.full((48, 64, 3), 200, dtype=np.uint8)
    picture[12:36, 20:44] = (90, 50, 40)
    Image.fromarray(picture).save(root / "picture.png")
    Image.fromarray(np.where(picture[..., 0] < 150, 255, 0).astype(np.uint8)).save(root / "mask.png")
    facts = {
        name: getattr(predictions, name)
        for name in ("image_id", "lesion_id", "dx", "dx_type", "age", "sex", "localization")
    }
    return LesionTable(
        root=root,
        source="phantom",
        **facts,
        path=objects(["picture.png"] * N),
        mask_path=objects(["mask.png"] * N),
        width=np.full(N, 64),
        height=np.full(N, 48),
        sha256=objects([""] * N),
    )

"""What does a finished run look like on disk, drawn without any training?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from melascope.classes import CLASSES
from melascope.evaluation.evaluate import evaluate
from melascope.evaluation.operating_point import OperatingPoint, choose_operating_point
from melascope.evaluation.record import Evaluation
from melascope.files import make_folder, write_json, write_text
from melascope.gallery.facts import gallery_facts
from melascope.gallery.gathering import build_cases
from melascope.gallery.render import write_gallery
from melascope.gallery.selection import select_cases
from melascope.report.class_plots import save_confusion, save_recall
from melascope.tables.lesions import LesionTable
from melascope.tables.maps import MapStore
from melascope.tables.predictions import Predictions, PredictionsOrigin
from melascope.tables.runs import RunDirectory

SHA = "ab" * 32
SIZES = {"train": 28, "val": 84, "test": 84}
"""Lesions of each split, as many of each class; every second one has two images."""

RECIPE = 'name = "drawn"\nseed = 3\n[model]\nbackbone = "resnet10t"\npretrained = false\n'
RESULTS = """epoch,step,learning_rate,train_loss,val_nll,val_accuracy,val_mel_auroc
1,10,0.001,1.9,1.8,0.4,0.7
2,20,0.001,1.5,1.6,0.5,0.75
"""


def objects(values) -> np.ndarray:
    values = list(values)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def drawn_predictions(source: str = "phantom") -> Predictions:
    """Noisy logits for `SIZES` lesions; facts of people vary, so that there are subgroups."""
    rng = np.random.default_rng(7)
    rows = [
        (f"{split}_{lesion}_{image}", f"{split}_{lesion}", split, CLASSES[lesion % 7])
        for split, n in SIZES.items()
        for lesion in range(n)
        for image in range(1 + lesion % 2)
    ]
    ids, lesions, splits, dx = zip(*rows, strict=True)
    logits = rng.normal(0, 1, (len(rows), 7))
    logits[np.arange(len(rows)), [CLASSES.index(name) for name in dx]] += 2.0
    return Predictions(
        image_id=objects(ids),
        lesion_id=objects(lesions),
        split=objects(splits),
        dx=objects(dx),
        age=np.where(rng.random(len(rows)) < 0.1, np.nan, rng.integers(20, 90, len(rows))),
        sex=objects(rng.choice(["female", "male", ""], len(rows))),
        localization=objects(rng.choice(["back", "face", "trunk"], len(rows))),
        dx_type=objects("histo" if name == "mel" or k % 2 else "follow_up" for k, name in enumerate(dx)),
        logits=logits,
        origin=PredictionsOrigin(
            source=source,
            run="drawn",
            checkpoint_sha256=SHA,
            split_sha256="cd" * 32,
            dataset_fingerprint="ef" * 32,
            temperature=1.25,
        ),
    )


def write_run(
    folder: Path,
    *,
    source: str = "phantom",
    plots: bool = False,
    gallery: bool = False,
    change: Callable[[Predictions], Predictions] = lambda predictions: predictions,
) -> Path:
    """A run directory with what training and evaluation leave there, and its gallery if asked for.

    Parameters
    ----------
    change : made to the predictions before anything is computed of them
    """
    run = RunDirectory(make_folder(folder))
    predictions = change(drawn_predictions(source))
    point = choose_operating_point(predictions.of_split("val"), rule="empirical", target_sensitivity=0.8)
    predictions.write(run.predictions)
    write_json(run.operating_point, point.as_json())
    evaluation = evaluate(predictions, point, draws=40)
    evaluation.write(run.evaluation)
    write_text(run.recipe, RECIPE)
    write_text(run.results, RESULTS)
    facts = {"status": "complete", "data": "data/drawn", "source": source, "melascope": "0.1.0", "git_commit": "c0ffee"}
    write_json(run.facts, {**facts, "device": "cpu", "versions": {"numpy": "2.0"}})
    write_json(run.root / "split.json", {"seed": 1, "fractions": [0.8, 0.1, 0.1], "held_out_lesions": []})
    if plots:
        draw_plots(run, evaluation)
    if gallery:
        write_drawn_gallery(run, predictions, point)
    return run.root


def draw_plots(run: RunDirectory, evaluation: Evaluation) -> None:
    """Two plots that are drawn, and under all other names a copy of one: the same ids in every file."""
    save_confusion(evaluation, run.evaluation)
    drawn = save_recall(evaluation, run.evaluation)[1].read_bytes()
    for name in COPIED:
        (run.evaluation / f"{name}.svg").write_bytes(drawn)
    for name in ("training_loss", "training_figures"):
        (run.root / f"{name}.svg").write_bytes(drawn)


COPIED = (
    *("roc", "precision_recall", "thresholds", "reliability", "decision_curve", "risk_coverage", "conformal"),
    "subgroups",
)


def write_drawn_gallery(run: RunDirectory, predictions: Predictions, point: OperatingPoint) -> Path:
    """A gallery of missed melanomas: a plain picture for all, maps of chance."""
    pixels = make_folder(run.root / "pixels")
    Image.new("RGB", (80, 60), (200, 150, 130)).save(pixels / "one.jpg")
    n = len(predictions)
    named = {name: getattr(predictions, name) for name in LesionTable.columns() if hasattr(predictions, name)}
    table = LesionTable(
        root=pixels,
        source=predictions.origin.source,
        path=objects(["one.jpg"] * n),
        mask_path=objects([""] * n),
        width=np.full(n, 80),
        height=np.full(n, 60),
        sha256=objects([""] * n),
        **named,
    )
    selections = select_cases(predictions, point)
    rows = table.index_of(objects(one.image_id for one in selections))
    maps = MapStore(
        image_id=predictions.image_id[rows],
        logits=predictions.logits[rows].astype(np.float32),
        maps=np.random.default_rng(1).normal(size=(len(rows), 7, 3, 4)).astype(np.float32),
        method="gradcam",
        layer="last",
        input_width=64,
        input_height=48,
        checkpoint_sha256=SHA,
    )
    cases = build_cases(selections, predictions, point, maps, table)
    return write_gallery(cases, run.gallery, facts=gallery_facts(predictions, point, maps, table, run=run.root.name))


def hostile(predictions: Predictions, words: list[str]) -> Predictions:
    """The same table with somebody's hostile words wherever a table holds text; ids stay different."""
    n = len(predictions)
    taken = [words[k % len(words)] for k in range(n)]
    return replace(
        predictions,
        image_id=objects(f"{word}{k}" for k, word in enumerate(taken)),
        lesion_id=objects(f"L{word}{lesion}" for word, lesion in zip(taken, predictions.lesion_id, strict=True)),
        sex=objects(taken),
        localization=objects(taken[::-1]),
        dx_type=objects(["histo" if name == "mel" else word for name, word in zip(predictions.dx, taken, strict=True)]),
    )

"""A trained run + images → raw signed maps of all seven classes, from one forward pass each, and their pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from melascope.classes import CLASSES, MEL
from melascope.data.archive import read_member
from melascope.data.decode import decode_mask
from melascope.data.pixels import resize_image
from melascope.errors import ExplainError, RunError
from melascope.evaluation.operating_point import OperatingPoint
from melascope.explain.maps import MapEngine, make_maps
from melascope.explain.overlay import render_overlay, save_image, shared_scale
from melascope.explain.panel import compose_panel
from melascope.files import make_folder
from melascope.gallery.pictures import file_stems
from melascope.models.classifier import Classifier
from melascope.stages.reporting import Reporter
from melascope.stages.scoring import load_image, with_known_facts
from melascope.tables.lesions import LesionTable
from melascope.tables.maps import MapStore, write_map_batches
from melascope.tables.predictions import probabilities_from_logits
from melascope.tables.runs import CheckpointCard, RunDirectory

BATCH = 16


@dataclass(frozen=True)
class Explained:
    """One image, what the model said of it, and its maps.

    Parameters
    ----------
    image : (height, width, 3) uint8, at its own size
    mask : (height, width) bool of the data set's lesion mask, at the image's size; None where there is none
    probabilities : (7,) float64
    maps : (7, map_height, map_width) float32, signed, logit units
    dx, split : truth and split where the run or the data set knows them, else `""`
    """

    image_id: str
    image: np.ndarray
    mask: np.ndarray | None
    probabilities: np.ndarray
    maps: np.ndarray
    dx: str
    split: str

    @property
    def predicted(self) -> int:
        """Column of the top-1 class."""
        return int(self.probabilities.argmax())


class Explainer:
    """A run's best checkpoint with its map engine, ready for any number of images."""

    def __init__(self, run: RunDirectory, *, method: str = "gradcam", layer: str = "auto") -> None:
        self.run = run
        classifier = Classifier.load(run)
        self.card: CheckpointCard = classifier.card
        size = (self.card.input_height, self.card.input_width)
        self.engine = MapEngine(classifier.network, method=method, layer=layer, probe_size=size)
        self.point = OperatingPoint.read(run.operating_point) if run.operating_point.is_file() else None

    def maps(self, images: list[np.ndarray], image_ids: np.ndarray) -> MapStore:
        """Maps of images of any size, each stretched to what the model sees."""
        pixels = np.stack([resize_image(image, self.card.input_width, self.card.input_height) for image in images])
        return make_maps(
            self.engine,
            pixels,
            list(image_ids),
            mean=self.card.mean,
            std=self.card.std,
            checkpoint_sha256=self.card.weights_sha256,
            batch_size=BATCH,
        )

    def explain(self, table: LesionTable) -> Iterator[tuple[list[Explained], MapStore]]:
        """Explain every row of `table`, a batch in memory at a time."""
        table, split = with_known_facts(table, self.run)
        for start in range(0, len(table), BATCH):
            rows = range(start, min(start + BATCH, len(table)))
            images = [load_image(table, row) for row in rows]
            store = self.maps(images, table.image_id[rows])
            probabilities = probabilities_from_logits(store.logits, self.card.temperature)
            yield (
                [
                    Explained(
                        image_id=table.image_id[row],
                        image=images[index],
                        mask=_mask_of(table, row, images[index]),
                        probabilities=probabilities[index],
                        maps=store.maps[index],
                        dx=table.dx[row],
                        split=split[row],
                    )
                    for index, row in enumerate(rows)
                ],
                store,
            )


def _mask_of(table: LesionTable, row: int, image: np.ndarray) -> np.ndarray | None:
    path = table.mask_path[row]
    if not path:
        return None
    mask = decode_mask(read_member(table.root, path), name=path)
    return resize_mask(mask, image.shape[1], image.shape[0])


def resize_mask(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """A mask at another size, each pixel taken from the nearest one."""
    rows = (np.arange(height) * 2 + 1) * mask.shape[0] // (2 * height)
    columns = (np.arange(width) * 2 + 1) * mask.shape[1] // (2 * width)
    return mask[np.ix_(rows, columns)]


def explain_images(
    run: RunDirectory, table: LesionTable, out: Path, reporter: Reporter, *, method: str = "gradcam"
) -> list[str]:
    """Write a panel for each image (original, predicted class, melanoma; one scale) and `maps.npz` with all raw maps.

    Returns
    -------
    lines : one sentence an image, as `describe` gives it
    """
    explainer = Explainer(run, method=method)
    out = make_folder(Path(out))
    stems = file_stems(table.image_id)  # an id from somebody's table may hold `/` or `..`
    lines: list[str] = []

    def drawn() -> Iterator[MapStore]:
        """Draw each batch as it comes, and hand on its maps."""
        for batch, store in explainer.explain(table):
            for one in batch:
                save_image(out / f"{stems[one.image_id]}_maps.jpg", panel(one))
                lines.append(" · ".join(describe(one, explainer.point)))
            advance(len(lines), len(table))
            yield store

    with reporter.bar("explaining") as advance:
        write_map_batches(out / "maps.npz", drawn(), len(table))
    return lines


def panel(one: Explained) -> np.ndarray:
    """The picture beside the maps of the predicted class and of melanoma, on one scale."""
    columns = dict.fromkeys((one.predicted, MEL))
    if len(columns) == 1:  # melanoma is predicted: show what speaks for the runner-up
        columns[int(np.argsort(one.probabilities)[-2])] = None
    maps = {CLASSES[column]: one.maps[column] for column in columns}
    return compose_panel(one.image, maps, predicted=CLASSES[one.predicted], scale=shared_scale(one.maps), mask=one.mask)


def explain_one(
    run: RunDirectory, table: LesionTable, out: Path, *, class_name: str = "", colormap: str = ""
) -> list[str]:
    """The seed's command: one image's overlay at the image's own size, and what the model says of it.

    Parameters
    ----------
    table : one row
    out : picture to write; `.png`, `.jpg` or `.webp`
    class_name : whose map; empty takes the predicted class

    Returns
    -------
    lines : what to print
    """
    if class_name and class_name not in CLASSES:
        raise ExplainError(f"There is no class {class_name!r}.", where="--class", expected=", ".join(CLASSES))
    explainer = Explainer(run)
    ((one,), store) = next(explainer.explain(table))
    column = CLASSES.index(class_name) if class_name else one.predicted
    scale = shared_scale(one.maps)
    look = {"colormap": colormap} if colormap else {}
    make_folder(Path(out).parent)
    picture = save_image(Path(out), render_overlay(one.image, one.maps[column], scale=scale, **look))
    height, width = one.maps.shape[1:]
    evidence = "" if one.maps[column].max() > 0 else "; no positive evidence for it: the overlay shows the bare image"
    return [
        *describe(one, explainer.point),
        f"Map: {store.method} of {CLASSES[column]} at {store.layer}, {width}×{height} cells{evidence}",
        f"Overlay: {picture}",
    ]


def describe(one: Explained, point: OperatingPoint | None) -> list[str]:
    """Truth, prediction, top-3, and P(mel) against the frozen threshold, in the seed's words."""
    order = np.argsort(-one.probabilities, kind="stable")[:3]
    top3 = ", ".join(f"{CLASSES[column]}:{one.probabilities[column]:.4f}" for column in order)
    known = f"{one.dx or 'unknown'}" + (f" (split: {one.split})" if one.split else "")
    warning = "TRAINING IMAGE: this says nothing about unseen lesions" if one.split == "train" else ""
    lines = [
        f"{one.image_id}: truth {known}",
        *([warning] if warning else []),
        f"Prediction (top-1): {CLASSES[one.predicted]} ({one.probabilities[one.predicted]:.4f})",
        f"Top-3: {top3}",
    ]
    return [*lines, _against_threshold(one, point)]


def _against_threshold(one: Explained, point: OperatingPoint | None) -> str:
    if point is None:
        return f"P(mel)={one.probabilities[MEL]:.4f}; no operating point is frozen in this run"
    score = float(point.score(one.probabilities[None])[0])
    side = "at or above" if point.is_positive(one.probabilities[None])[0] else "below"
    return f"P({'+'.join(point.target)})={score:.4f}, {side} the frozen threshold {point.threshold:.4f}"


def check_same_model(store: MapStore, expected_logits: np.ndarray, run: RunDirectory) -> None:
    """Maps and predictions must come from the same pixels and weights: their logits agree, or the data has changed."""
    difference = float(np.abs(store.logits - expected_logits).max())
    if difference > 1e-2:
        raise RunError(
            f"The logits of the maps differ from the run's predictions by up to {difference:.3g}.",
            where=run.predictions,
            expected="the same images as at training",
            fix="melascope data validate DATA; if the images were replaced on purpose, train again",
        )

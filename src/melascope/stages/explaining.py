"""A trained run + images → raw maps of all seven classes, from one forward pass each where it can be, and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from melascope.classes import CLASSES, MEL
from melascope.data.archive import read_member
from melascope.data.decode import decode_mask
from melascope.data.pixels import resize_image
from melascope.errors import ExplainError, RunError
from melascope.evaluation.operating_point import OperatingPoint
from melascope.explain.contrast import highest_other
from melascope.explain.maps import MapEngine, make_maps
from melascope.explain.overlay import render_overlay, save_image, shared_scale
from melascope.explain.panel import compose_panel
from melascope.files import MANIFEST, make_folder, sha256_file, write_json
from melascope.gallery.pictures import file_stems
from melascope.models.classifier import Classifier
from melascope.stages.reporting import Reporter
from melascope.stages.scoring import load_image, with_known_facts
from melascope.tables.cell_places import UNKNOWN, CellPlaces
from melascope.tables.lesions import LesionTable
from melascope.tables.maps import MapStore, write_map_batches
from melascope.tables.predictions import probabilities_from_logits
from melascope.tables.runs import CheckpointCard, RunDirectory

BATCH = 16
PREDICTED = "predicted"
ENDINGS = ("jpg", "webp", "png")


@dataclass(frozen=True)
class MapRequest:
    """What is wanted of `melascope explain`.

    Parameters
    ----------
    method : row of `explain.methods.METHODS`
    layer : "auto", or a layer's name, also as `blocks[4]`
    class_name : whose map alone; empty makes all seven, and shows the predicted class and melanoma
    against : subtract the map of this class, or of the class that is `PREDICTED`: why `class_name` (melanoma if empty)
        and not that one?
    ending : jpg, webp or png
    fast : bfloat16, for pictures only
    """

    method: str = "gradcam"
    layer: str = "auto"
    class_name: str = ""
    against: str = ""
    ending: str = "jpg"
    fast: bool = False

    def __post_init__(self) -> None:
        for flag, value, known in (
            ("--class", self.class_name, ("", *CLASSES)),
            ("--against", self.against, ("", PREDICTED, *CLASSES)),
            ("--format", self.ending, ENDINGS),
        ):
            if value not in known:
                wanted = ", ".join(one for one in known if one)
                raise ExplainError(f"There is no {value!r}.", where=flag, expected=f"one of {wanted}")
        if self.against and self.against == self.of:
            raise ExplainError(f"The map of {self.of} minus itself is nothing.", where="--against")

    @property
    def of(self) -> str:
        """The class of a contrastive map."""
        return self.class_name or CLASSES[MEL]

    @property
    def columns(self) -> list[int] | None:
        """Classes whose maps must be made; None for all seven."""
        if self.against == PREDICTED or not (self.class_name or self.against):
            return None
        return [CLASSES.index(name) for name in dict.fromkeys((self.of, self.against)) if name]


@dataclass(frozen=True)
class Explained:
    """One image, what the model said of it, and its maps.

    Parameters
    ----------
    image : (height, width, 3) uint8, at its own size
    mask : (height, width) bool of the data set's lesion mask, at the image's size; None where there is none
    probabilities : (7,) float64
    maps : (len(classes), map_height, map_width) float32, raw, in the method's unit
    dx, split : truth and split where the run or the data set knows them, else `""`
    logits : (7,) float32
    classes : whose maps these are
    places : where their cells lie on the picture
    """

    image_id: str
    image: np.ndarray
    mask: np.ndarray | None
    probabilities: np.ndarray
    maps: np.ndarray
    dx: str
    split: str
    logits: np.ndarray = field(default_factory=lambda: np.zeros(len(CLASSES), np.float32))
    classes: tuple[str, ...] = CLASSES
    places: CellPlaces = UNKNOWN

    def map_of(self, name: str) -> np.ndarray:
        """(map_height, map_width) of one class."""
        return self.maps[self.classes.index(name)]

    @property
    def predicted(self) -> int:
        """Column of the top-1 class."""
        return int(self.probabilities.argmax())


class Explainer:
    """A run's best checkpoint with its map engine, ready for any number of images."""

    def __init__(
        self,
        run: RunDirectory,
        *,
        method: str = "gradcam",
        layer: str = "auto",
        fast: bool = False,
        columns: Sequence[int] | None = None,
    ) -> None:
        self.run, self.columns = run, columns
        classifier = Classifier.load(run)
        self.card: CheckpointCard = classifier.card
        size = (self.card.input_height, self.card.input_width)
        self.engine = MapEngine(classifier.network, method=method, layer=layer, probe_size=size, fast=fast)
        self.point = OperatingPoint.read(run.operating_point) if run.operating_point.is_file() else None

    @property
    def places(self) -> CellPlaces:
        """Where the maps' cells lie on a picture."""
        return self.engine.places(self.card.input_height, self.card.input_width)

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
            classes=self.columns,
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
                        logits=store.logits[index],
                        classes=store.classes,
                        places=store.places,
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
    run: RunDirectory,
    table: LesionTable,
    out: Path,
    reporter: Reporter,
    *,
    method: str = "gradcam",
    request: MapRequest | None = None,
) -> list[str]:
    """Write a panel for each image, `maps.npz` with all raw maps, and last a manifest of what was written.

    Parameters
    ----------
    request : what is wanted; None takes `method` with everything else as it comes

    Returns
    -------
    lines : one sentence an image, as `describe` gives it
    """
    request = request or MapRequest(method=method)
    explainer = Explainer(run, method=request.method, layer=request.layer, fast=request.fast, columns=request.columns)
    if request.against and not explainer.engine.rule.signed:
        raise ExplainError(
            f"{request.method} is not signed: a difference of its maps has no meaning.",
            where="--against",
            fix="use gradcam, hirescam, integrated_gradients, smoothgrad or occlusion",
        )
    out = make_folder(Path(out))
    (out / MANIFEST).unlink(missing_ok=True)  # it would speak of the files before
    stems = file_stems(table.image_id)  # an id from somebody's table may hold `/` or `..`
    lines: list[str] = []
    written: list[Path] = []

    def drawn() -> Iterator[MapStore]:
        """Draw each batch as it comes, and hand on its maps."""
        for batch, store in explainer.explain(table):
            for one in batch:
                picture = panel(one) if _is_usual(request) else requested_panel(one, store, request)
                written.append(save_image(out / f"{stems[one.image_id]}_maps.{request.ending}", picture))
                lines.append(" · ".join(describe(one, explainer.point)))
            advance(len(lines), len(table))
            yield store

    with reporter.bar("explaining") as advance:
        written.append(write_map_batches(out / "maps.npz", drawn(), len(table)))
    write_map_manifest(out, written, run, explainer.engine, explainer.places)
    return lines


def _is_usual(request: MapRequest) -> bool:
    """Whether the picture is the usual one: the predicted class beside melanoma, by Grad-CAM."""
    return request.method == "gradcam" and not (request.class_name or request.against)


def write_map_manifest(
    out: Path, written: list[Path], run: RunDirectory, engine: MapEngine, places: CellPlaces
) -> Path:
    """What the maps are and which files hold them, with size and SHA-256; it marks that all is there."""
    rule = engine.rule
    return write_json(
        out / MANIFEST,
        {
            "run": run.name,
            "method": engine.method,
            "paper": rule.paper,
            "layer": engine.layer,
            "path": engine.path,
            "unit": rule.unit,
            "resolution": rule.resolution,
            "signed": rule.signed,
            "per_class": rule.per_class,
            "precision": engine.precision,
            "cells": places.as_json(),
            "files": {
                path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in sorted(written)
            },
        },
    )


def panel(one: Explained) -> np.ndarray:
    """The picture beside the maps of the predicted class and of melanoma, on one scale."""
    maps = {name: one.map_of(name) for name in _shown(one)}
    return compose_panel(
        one.image,
        maps,
        predicted=CLASSES[one.predicted],
        scale=shared_scale(one.maps),
        places=one.places,
        mask=one.mask,
    )


def _shown(one: Explained) -> list[str]:
    """The predicted class and melanoma; where melanoma is predicted, the runner-up beside it."""
    columns = dict.fromkeys((one.predicted, MEL))
    if len(columns) == 1:
        columns[int(np.argsort(one.probabilities)[-2])] = None
    return [CLASSES[column] for column in columns]


def requested_panel(one: Explained, store: MapStore, request: MapRequest) -> np.ndarray:
    """The picture beside what was asked for: one class, two sides of a contrast, or a method's one map for all."""
    maps, labels = _requested_maps(one, store, request)
    scale = shared_scale(np.stack(list(maps.values())) if request.against or not store.per_class else one.maps)
    notes = [f"{store.method} at {store.layer}"]
    notes += [] if store.signed else ["the method leaves out evidence against"]
    notes += [] if store.precision == "float32" else [f"{store.precision}: for pictures only"]
    return compose_panel(
        one.image,
        maps,
        predicted=CLASSES[one.predicted],
        scale=scale,
        places=store.places,
        mask=one.mask,
        labels=labels,
        unit=store.unit,
        notes=notes,
    )


def _requested_maps(
    one: Explained, store: MapStore, request: MapRequest
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Maps to show by name, and titles for those that are no class's evidence."""
    if not store.per_class:
        return {"any class": one.maps[0]}, {"any class": "strongest pattern of the layer; no class"}
    if not request.against:
        names = [request.class_name] if request.class_name else _shown(one)
        return {name: one.map_of(name) for name in names}, {}
    of = request.of
    rival = request.against
    if rival == PREDICTED:  # or the runner-up, where `of` is predicted itself
        rival = CLASSES[int(highest_other(one.logits[None], CLASSES.index(of))[0])]
    contrast = one.map_of(of) - one.map_of(rival)
    return (
        {f"{of} rather than {rival}": contrast, f"{rival} rather than {of}": -contrast},
        {},
    )


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
    if len(table) != 1:
        raise ExplainError(
            f"There are {len(table)} images.", where=table.root, expected="one", fix="melascope explain RUN FOLDER"
        )
    explainer = Explainer(run)
    ((one,), store) = next(explainer.explain(table))
    column = CLASSES.index(class_name) if class_name else one.predicted
    scale = shared_scale(one.maps)
    look = {"colormap": colormap} if colormap else {}
    make_folder(Path(out).parent)
    picture = save_image(Path(out), render_overlay(one.image, one.maps[column], scale=scale, places=one.places, **look))
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
    if difference > store.logit_tolerance:
        raise RunError(
            f"The logits of the maps differ from the run's predictions by up to {difference:.3g}.",
            where=run.predictions,
            expected="the same images as at training",
            fix="melascope data validate DATA; if the images were replaced on purpose, train again",
        )

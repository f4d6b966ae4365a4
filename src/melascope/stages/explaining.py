"""A trained run + images → raw maps of all seven classes, from one forward pass each where it can be, and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from melascope.classes import CLASSES
from melascope.data.appearance import RULE, appearance
from melascope.data.pixels import resize_image
from melascope.errors import ExplainError, RunError
from melascope.evaluation.likeness import Likeness
from melascope.evaluation.operating_point import OperatingPoint
from melascope.explain.overlay import render_overlay, save_image, shared_scale
from melascope.explain.segment import SEGMENTER
from melascope.files import MANIFEST, make_folder, sha256_file, write_json
from melascope.gallery.pictures import file_stems
from melascope.stages.asking import lesion_of
from melascope.stages.explained import Explained, MapRequest, describe, panel, requested_panel
from melascope.stages.map_makers import BATCH, MapMaker, map_maker
from melascope.stages.reporting import Reporter
from melascope.stages.scoring import load_image, with_known_facts
from melascope.tables.lesions import LesionTable
from melascope.tables.likeness import LikenessStore
from melascope.tables.maps import MapStore, write_map_batches
from melascope.tables.probabilities import probabilities_from_logits
from melascope.tables.runs import CheckpointCard, RunDirectory


class Explainer:
    """A run's best weights with what makes their maps, ready for any number of images; see `map_maker`."""

    def __init__(
        self,
        run: RunDirectory,
        *,
        method: str = "gradcam",
        layer: str = "auto",
        fast: bool = False,
        columns: Sequence[int] | None = None,
        engine: str = "auto",
        segmenter: str = SEGMENTER,
    ) -> None:
        self.run, self.segmenter = run, segmenter
        self.maker = map_maker(run, method=method, layer=layer, fast=fast, columns=columns, engine=engine)
        self.card: CheckpointCard = self.maker.card
        self.point = OperatingPoint.read(run.operating_point) if run.operating_point.is_file() else None
        store = LikenessStore.read_if_of(run.likeness, self.card.weights_sha256, RULE)
        self.likeness = Likeness.of(store) if store else None

    def maps(self, images: list[np.ndarray], image_ids: np.ndarray) -> MapStore:
        """Maps of images of any size, each stretched to what the model sees."""
        pixels = np.stack([resize_image(image, self.card.input_width, self.card.input_height) for image in images])
        return self.maker.make(pixels, list(image_ids))

    def _unlike(self, images: list[np.ndarray]) -> np.ndarray:
        """(n,) bool: further from the training images than the run's limit; none where the run has no such test."""
        if self.likeness is None:
            return np.zeros(len(images), dtype=bool)
        size = (self.card.input_width, self.card.input_height)
        looks = appearance(np.stack([resize_image(image, *size) for image in images]))
        return self.likeness.strangeness(looks) > self.likeness.limit

    def explain(self, table: LesionTable) -> Iterator[tuple[list[Explained], MapStore]]:
        """Explain every row of `table`, a batch in memory at a time."""
        table, split = with_known_facts(table, self.run)
        for start in range(0, len(table), BATCH):
            rows = range(start, min(start + BATCH, len(table)))
            images = [load_image(table, row) for row in rows]
            lesions = [lesion_of(table, row, image, self.segmenter) for row, image in zip(rows, images, strict=True)]
            store, unlike = self.maps(images, table.image_id[rows]), self._unlike(images)
            probabilities = probabilities_from_logits(store.logits, self.card.temperature)
            yield (
                [
                    Explained(
                        image_id=table.image_id[row],
                        image=images[index],
                        mask=lesions[index][0],
                        mask_source=lesions[index][1],
                        probabilities=probabilities[index],
                        maps=store.maps[index],
                        dx=table.dx[row],
                        split=split[row],
                        logits=store.logits[index],
                        classes=store.classes,
                        places=store.places,
                        unlike=bool(unlike[index]),
                        map_warning=self.maker.sanity.warning,
                    )
                    for index, row in enumerate(rows)
                ],
                store,
            )


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
    wanted = {"method": request.method, "layer": request.layer, "fast": request.fast, "columns": request.columns}
    explainer = Explainer(run, **wanted, engine=request.engine, segmenter=request.segmenter)
    if request.against and not explainer.maker.about["signed"]:
        raise ExplainError(
            f"{request.method} is not signed: a difference of its maps has no meaning.",
            where="--against",
            fix="use gradcam, hirescam, integrated_gradients, smoothgrad or occlusion",
        )
    reporter.say(_sanity_in_a_line(explainer, request.method))
    out = make_folder(Path(out))
    (out / MANIFEST).unlink(missing_ok=True)  # it would speak of the files before
    stems = file_stems(table.image_id)  # an id from somebody's table may hold `/` or `..`
    lines: list[str] = []
    written: list[Path] = []

    def drawn() -> Iterator[MapStore]:
        """Draw each batch as it comes, and hand on its maps."""
        for batch, store in explainer.explain(table):
            for one in batch:
                picture = panel(one) if request.is_usual else requested_panel(one, store, request)
                written.append(save_image(out / f"{stems[one.image_id]}_maps.{request.ending}", picture))
                lines.append(" · ".join(describe(one, explainer.point)))
            advance(len(lines), len(table))
            yield store

    with reporter.bar("explaining") as advance:
        written.append(write_map_batches(out / "maps.npz", drawn(), len(table)))
    write_map_manifest(out, written, run, explainer.maker)
    return lines


def _sanity_in_a_line(explainer: Explainer, method: str) -> str:
    """What the sanity gate said, or how it is asked; of a pack it cannot be: it has no weights to make random."""
    sanity, run = explainer.maker.sanity, explainer.run
    if sanity.passed is not None or not run.has_weights():
        return sanity.headline
    return f"{sanity.headline} Ask it: melascope explain {run.root} --test --method {method}"


def write_map_manifest(out: Path, written: list[Path], run: RunDirectory, maker: MapMaker) -> Path:
    """What the maps are and which files hold them, with size and SHA-256; it marks that all is there."""
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in sorted(written)}
    facts = {"run": run.name, "engine": maker.engine, **maker.about, "sanity": maker.sanity.as_json()}
    facts |= {"cells": maker.places.as_json(), "files": files}
    return write_json(out / MANIFEST, facts)


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
        explainer.maker.sanity.headline,
        f"Overlay: {picture}",
    ]


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

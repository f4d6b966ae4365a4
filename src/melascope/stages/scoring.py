"""A trained run + images → predictions table: somebody else's data set, a folder, or one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from melascope.data.archive import read_member
from melascope.data.decode import decode_image
from melascope.data.pixels import resize_image
from melascope.data.sources import read_dataset, recognised, source_left_out, source_notes
from melascope.data.sources.image_folder import Labels, read_image_folder
from melascope.errors import DataError
from melascope.stages.engines import open_engine
from melascope.stages.reporting import Reporter
from melascope.tables.lesions import LesionTable
from melascope.tables.predictions import Predictions, PredictionsOrigin
from melascope.tables.runs import CheckpointCard, RunDirectory

FACT_COLUMNS = ("image_id", "lesion_id", "dx", "age", "sex", "localization", "dx_type", "dataset")


def read_images(place: Path, labels: Labels | None = None) -> LesionTable:
    """The dataset table of a release, of a folder of loose images (with their truth, if given), or of one image."""
    place = Path(place)
    if place.is_dir():
        return read_dataset(place, labels=labels) if labels or recognised(place) else read_image_folder(place)
    if labels is not None:
        raise DataError("Labels belong to a folder of loose images.", where=place, expected="a folder")
    if not place.is_file():
        raise DataError("There is no such file or folder.", where=place, expected="an image, or a folder of images")
    return _one_image(place)


def _one_image(file: Path) -> LesionTable:
    def column(value: str) -> np.ndarray:
        return np.array([value], dtype=object)

    zero = np.zeros(1, dtype=np.int64)
    unknown = {
        name: column("") for name in ("lesion_id", "dx", "dx_type", "sex", "localization", "mask_path", "sha256")
    }
    return LesionTable(
        root=file.parent,
        source="image_folder",
        image_id=column(file.stem),
        path=column(file.name),
        age=np.full(1, np.nan),
        width=zero,
        height=zero,
        **unknown,
    )


def with_known_facts(table: LesionTable, run: RunDirectory) -> tuple[LesionTable, np.ndarray]:
    """Fill what `table` does not know of an image from the run's own predictions, and tell each image's split.

    An image is known by its id alone; so a training image that comes back as a loose file is still flagged as one.
    A data set that brings its own truth keeps it as it is, also where it leaves a class out on purpose.

    Returns
    -------
    table : with lesion, truth and facts filled in where they were unknown
    split : (n_images,) object, `""` for an image that the run has never seen
    """
    split = np.full(len(table), "", dtype=object)
    if not run.predictions.is_file():
        return table, split
    known = Predictions.read(run.predictions)
    row_of = {image_id: row for row, image_id in enumerate(known.image_id)}
    columns = {name: getattr(table, name).copy() for name in FACT_COLUMNS}
    for index, image_id in enumerate(table.image_id):
        if (row := row_of.get(image_id)) is None:
            continue
        split[index] = known.split[row]
        for name, column in columns.items() if table.source == "image_folder" else ():
            if column[index] == "" or column[index] != column[index]:  # unknown text, or NaN
                column[index] = getattr(known, name)[row]
    return replace(table, **columns), split


def predict_images(
    model: RunDirectory | Path, table: LesionTable, reporter: Reporter, *, batch_size: int = 64, engine: str = "auto"
) -> Predictions:
    """Score every image of `table`, a batch in memory at a time.

    Parameters
    ----------
    model : a run, whose best checkpoint is asked, or an exported graph
    engine : as in `open_engine`
    """
    run = model if isinstance(model, RunDirectory) else None
    asked = open_engine(run.root if run else model, engine=engine, reporter=reporter)
    card, split = asked.card, np.full(len(table), "", dtype=object)
    if run:
        table, split = with_known_facts(table, run)
    pieces = []
    with reporter.bar("predicting") as advance:
        for start in range(0, len(table), batch_size):
            rows = range(start, min(start + batch_size, len(table)))
            images = [resize_image(load_image(table, row), card.input_width, card.input_height) for row in rows]
            pieces.append(asked.logits(np.stack(images), batch_size=batch_size))
            advance(rows.stop, len(table))
    origin = origin_of(asked.run, card, table)
    facts = {name: getattr(table, name) for name in FACT_COLUMNS}
    logits = np.concatenate(pieces).astype(np.float64)
    told = {"notes": notes_on(table, split), "left_out": source_left_out(_new(table, split))}
    return Predictions(**facts, split=split, logits=logits, origin=origin, **told)


def notes_on(table: LesionTable, split: np.ndarray) -> tuple[str, ...]:
    """What the source did with classes that are not ours, counted over the images that the run did not know before."""
    new = split == ""
    if new.all() or not new.any():
        return source_notes(table)
    notes = source_notes(_new(table, split))
    return tuple(f"Of the {new.sum():,} images that the run did not know: {note}" for note in notes)


def _new(table: LesionTable, split: np.ndarray) -> LesionTable:
    """The images that the run did not know before; all, if it knew all."""
    new = split == ""
    return table.subset(new) if new.any() else table


def origin_of(run: str, card: CheckpointCard, table: LesionTable) -> PredictionsOrigin:
    """What rides in a predictions table: which run, weights, split and images it comes from."""
    return PredictionsOrigin(
        source=table.source,
        run=run,
        checkpoint_sha256=card.weights_sha256,
        split_sha256=card.split_sha256,
        dataset_fingerprint=table.fingerprint,
        temperature=card.temperature,
    )


def load_image(table: LesionTable, row: int) -> np.ndarray:
    """(height, width, 3) uint8 of one row, through the safe door."""
    path = table.path[row]
    return decode_image(read_member(table.root, path), name=str(table.root / path))

"""A trained run + its data set → what the local page needs: a test of likeness, and validation cases to show."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from melascope.data.appearance import RULE, appearance
from melascope.data.pixels import Rows, gather
from melascope.data.split import read_split
from melascope.errors import RunError
from melascope.evaluation.likeness import Likeness
from melascope.evaluation.operating_point import OperatingPoint, is_target
from melascope.files import make_folder, write_json
from melascope.stages.data import Dataset, folder_of, labels_of
from melascope.stages.looking import Looker
from melascope.stages.reporting import Advance, Reporter
from melascope.stages.scoring import load_image
from melascope.tables.lesions import LesionTable
from melascope.tables.likeness import LikenessStore
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory

MOST_SHOWN = 5000
"""Validation images that can turn up as neighbours; of more, an even sample can."""

THUMBNAIL_SIDE = 200
_BATCH = 64


def build_likeness(
    run: RunDirectory, looker: Looker, point: OperatingPoint, reporter: Reporter, *, data: Path | None = None
) -> LikenessStore:
    """Fit on training rows, choose the limit on validation rows, keep both in `RUN/likeness.npz`.

    What that costs, counted on validation images, is kept beside it in `RUN/likeness.json` for the report.

    Parameters
    ----------
    data : the data set's folder, if it is no longer where the run was trained on it

    Raises
    ------
    RunError : the data set is not there, or the run has no training or no validation images of it.
    """
    table, pixels = _images(run, looker, reporter, data)
    sides = read_split(run.split, table).of(table)
    known = Predictions.read(run.predictions).of_split("val")
    train, shown = np.flatnonzero(sides == "train"), _sample(len(known), MOST_SHOWN)
    validation = table.index_of(known.image_id)
    if len(train) == 0 or len(validation) == 0:
        raise RunError("The run has no training or no validation images.", where=run.split)
    with reporter.bar("measuring how pictures look") as advance:
        looks = _appearance(pixels, np.concatenate([train, validation]), advance)
    fitted = Likeness.fit(looks[: len(train)], looks[len(train) :], is_target=np.isin(table.dx[train], point.target))
    strange_targets = fitted.strangeness(looks[len(train) :][is_target(known.labels, point.target)])
    known = known.subset(shown)
    with reporter.bar("looking at validation images") as advance:
        features = looker.features(Rows(pixels, validation[shown]), advance)
    with reporter.bar("small pictures of them") as advance:
        thumbnails = _thumbnails(table, validation[shown], advance)
    store = LikenessStore(
        appearance_mean=fitted.mean,
        appearance_scale=fitted.scale,
        points=fitted.points,
        group=fitted.group,
        unit=fitted.unit,
        limit=fitted.limit,
        kept=fitted.kept,
        n_train=len(train),
        n_train_lesions=len(np.unique(table.lesion_key[train].astype(str))),
        n_target=len(strange_targets),
        n_target_refused=int((strange_targets > fitted.limit).sum()),
        rule=RULE,
        checkpoint_sha256=looker.card.weights_sha256,
        image_id=known.image_id,
        lesion_id=known.lesion_id,
        dx=known.dx,
        dx_type=known.dx_type,
        strangeness=fitted.ascending,
        probabilities=known.probabilities,
        embedding=_of_length_one(features).astype(np.float16),
        thumbnail_end=np.cumsum([len(one) for one in thumbnails]),
        thumbnails=np.frombuffer(b"".join(thumbnails), np.uint8),
    )
    make_folder(run.likeness.parent)
    store.write(run.likeness)
    write_json(run.likeness.with_suffix(".json"), counted(store))
    return store


def counted(store: LikenessStore) -> dict[str, Any]:
    """How many validation images the limit refuses: it was chosen on them, so other images may fare worse."""
    return {
        "checkpoint_sha256": store.checkpoint_sha256,
        "split": "val",
        "n_images": len(store.strangeness),
        "n_images_refused": int((store.strangeness > store.limit).sum()),
        "n_target_images": store.n_target,
        "n_target_images_refused": store.n_target_refused,
        "n_training_images": store.n_train,
        "n_training_lesions": store.n_train_lesions,
    }


def _images(run: RunDirectory, looker: Looker, reporter: Reporter, data: Path | None) -> tuple[LesionTable, np.ndarray]:
    """The run's data set and its decoded pixels at the model's size."""
    facts = run.read_facts()
    place = folder_of(facts, data)
    if not place.exists():
        raise RunError(
            "The images that the run was trained on are not here: likeness to them cannot be learned.",
            where=place,
            fix=f"melascope app {run.root} --data FOLDER (needed once)",
        )
    reporter.say("Learning once what the run's images look like; kept in the run.")
    dataset = Dataset.open(
        place,
        source=facts["source"],
        labels=labels_of(facts),
        store_folder=Path(facts["pixel_store"]),
        reporter=reporter,
    )
    return dataset.table, dataset.pixels(looker.card.input_width, looker.card.input_height, reporter).pixels


def _appearance(pixels: np.ndarray, rows: np.ndarray, advance: Advance) -> np.ndarray:
    found = []
    for start in range(0, len(rows), _BATCH):
        found.append(appearance(gather(pixels, rows[start : start + _BATCH])))
        advance(min(start + _BATCH, len(rows)), len(rows))
    return np.concatenate(found)


def _thumbnails(table: LesionTable, rows: np.ndarray, advance: Advance) -> list[bytes]:
    """JPEG files without metadata, the longer side `THUMBNAIL_SIDE` pixels at most."""
    made = []
    for done, row in enumerate(rows, start=1):
        small = Image.fromarray(load_image(table, int(row)))
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=80)
        made.append(stream.getvalue())
        advance(done, len(rows))
    return made


def _of_length_one(features: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1)


def _sample(n: int, most: int) -> np.ndarray:
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(int)

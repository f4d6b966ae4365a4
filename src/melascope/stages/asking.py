"""How is a run's model asked about pictures with their lesions, those of its own data or others?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from melascope.data.lesion_masks import read_lesion_mask
from melascope.data.pixels import resize_image, resize_mask
from melascope.data.sources import read_dataset
from melascope.evaluation.operating_point import OperatingPoint
from melascope.explain.answers import Asker
from melascope.explain.artefacts import Specimen
from melascope.explain.segment import FROM_DATA_SET, SEGMENTER, find_lesion
from melascope.stages.data import folder_of, labels_of
from melascope.stages.engines import AsksLogits
from melascope.stages.scoring import load_image
from melascope.tables.lesions import LesionTable
from melascope.tables.runs import CheckpointCard, RunDirectory

WORKING_WIDTH = 600
"""Pictures wider than this are edited at this width: what a network of 128 to 380 pixels sees stays the same."""


class AnswersImages(Protocol):
    """A run's model, however it computes: an `Engine`, or a `Classifier`."""

    @property
    def card(self) -> CheckpointCard: ...

    @property
    def logits(self) -> AsksLogits: ...


def asker_of(run: RunDirectory, model: AnswersImages) -> Asker:
    """A run's model with its temperature and, where one is frozen, its operating point."""
    card = model.card
    if not run.operating_point.is_file():
        return Asker(model.logits, card.input_width, card.input_height, card.temperature)
    point = OperatingPoint.read(run.operating_point)
    return Asker(model.logits, card.input_width, card.input_height, card.temperature, point.target, point.threshold)


def specimens_of(
    table: LesionTable, *, widest: int = WORKING_WIDTH, segmenter: str = SEGMENTER
) -> Callable[[int], Specimen]:
    """A function row -> picture and lesion, at the picture's own size or at `widest` pixels.

    The lesion is the data set's mask; where it has none, `segmenter` finds it (`mask_source` says which).
    """

    def load(row: int) -> Specimen:
        image = load_image(table, row)
        height, width = image.shape[:2]
        if width > widest:
            image = resize_image(image, widest, round(height * widest / width))
        lesion, source = lesion_of(table, row, image, segmenter)
        return Specimen(table.image_id[row], table.lesion_key[row], image, lesion, source)

    return load


def lesion_of(table: LesionTable, row: int, image: np.ndarray, segmenter: str = SEGMENTER) -> tuple[np.ndarray, str]:
    """(height, width) bool at the size of `image`, and where it comes from: the data set, else as `find_lesion` says.

    Parameters
    ----------
    segmenter : row of `explain.segment.SEGMENTERS`, for a picture without a mask
    """
    if not table.mask_path[row]:
        return find_lesion(image, segmenter)
    return resize_mask(read_lesion_mask(table, row), image.shape[1], image.shape[0]), FROM_DATA_SET


def own_images(run: RunDirectory, data: Path | None = None) -> LesionTable:
    """The data set that a run was trained on, or where it lies now."""
    facts = run.read_facts()
    return read_dataset(folder_of(facts, data), facts.get("source"), labels_of(facts))

"""A trained run + images → what its answers hang on: parts hidden or kept, backgrounds changed, artefacts added."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from melascope.data.archive import read_member
from melascope.data.decode import decode_mask
from melascope.data.pixels import resize_image
from melascope.evaluation.operating_point import OperatingPoint
from melascope.explain.answers import Asker
from melascope.explain.artefacts import Specimen
from melascope.models.classifier import Classifier
from melascope.stages.scoring import load_image
from melascope.tables.lesions import LesionTable
from melascope.tables.runs import RunDirectory

WORKING_WIDTH = 600
"""Pictures wider than this are edited at this width: what a network of 128 to 380 pixels sees stays the same."""


def asker_of(run: RunDirectory, classifier: Classifier) -> Asker:
    """A run's model with its temperature and, where one is frozen, its operating point."""
    card = classifier.card
    if not run.operating_point.is_file():
        return Asker(classifier.logits, card.input_width, card.input_height, card.temperature)
    point = OperatingPoint.read(run.operating_point)
    return Asker(
        classifier.logits, card.input_width, card.input_height, card.temperature, point.target, point.threshold
    )


def specimens_of(table: LesionTable, *, widest: int = WORKING_WIDTH) -> Callable[[int], Specimen]:
    """A function row -> picture and lesion, at the picture's own size or at `widest` pixels.

    The lesion is the data set's mask; where it has none, the lesion is segmented (`mask_source` says which).
    """

    def load(row: int) -> Specimen:
        image = load_image(table, row)
        height, width = image.shape[:2]
        if width > widest:
            image = resize_image(image, widest, round(height * widest / width))
        lesion, source = lesion_of(table, row, image)
        return Specimen(table.image_id[row], table.lesion_key[row], image, lesion, source)

    return load


def lesion_of(table: LesionTable, row: int, image: np.ndarray) -> tuple[np.ndarray, str]:
    """(height, width) bool at the size of `image`, and where it comes from."""
    path = table.mask_path[row]
    if not path:
        from melascope.explain.segment import segment_lesion

        return segment_lesion(image), "segmented"
    mask = decode_mask(read_member(table.root, path), name=path)
    height, width = image.shape[:2]
    rows = (np.arange(height) * 2 + 1) * mask.shape[0] // (2 * height)
    columns = (np.arange(width) * 2 + 1) * mask.shape[1] // (2 * width)
    return mask[np.ix_(rows, columns)], "data set"

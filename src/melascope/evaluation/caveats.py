"""What must a reader know before believing a figure?"""

from __future__ import annotations

import numpy as np

from melascope.classes import CLASSES
from melascope.evaluation.counting import lesion_numbers
from melascope.evaluation.intervals import MIN_LESIONS
from melascope.evaluation.lesion_level import conflicting_lesions
from melascope.evaluation.operating_point import OperatingPoint, is_target, target_name
from melascope.tables.predictions import Predictions

_SEEN = {
    "train": "These are training images: the model has seen them, and the figures are far too good.",
    "val": "These validation images chose checkpoint and threshold: the figures are optimistic.",
}


def caveats_of(
    predictions: Predictions,
    rows: Predictions,
    target: tuple[str, ...],
    operating_point: OperatingPoint | None,
    split: str,
) -> tuple[str, ...]:
    """Sentences that belong beside the figures of `rows`, the judged part of `predictions`; gravest first."""
    caveats = _about_data(predictions, rows, split) + list(predictions.notes)
    caveats += _about_classes(rows, target)
    if operating_point is None:
        caveats.append("No operating point was given: only the top class (argmax) is judged.")
    prevalence = is_target(rows.labels, target).mean()
    caveats.append(
        f"PPV and NPV hold for this collection, where {prevalence:.1%} of the images are {target_name(target)}; "
        "elsewhere they differ."
    )
    caveats.append("Lesions count as independent: two lesions of one person cannot be told from those of two.")
    return tuple(caveats)


def _about_data(predictions: Predictions, rows: Predictions, split: str) -> list[str]:
    caveats = []
    has_splits = (predictions.split != "").any()
    if predictions.origin.source == "phantom":
        caveats.append("Phantom: synthetic images drawn by a computer; these are not real results.")
    if has_splits and split in _SEEN:
        caveats.append(_SEEN[split])
    if not has_splits:
        caveats.append("The table names no splits: all rows are judged, whether the model was trained on them or not.")
    if predictions.origin.source == "":
        caveats.append("The table does not say which data set it is from.")
    unsaid = int((predictions.split == "").sum())
    if has_splits and unsaid:
        caveats.append(f"{unsaid:,} rows of the table name no split and are not judged.")
    considered = len(predictions.of_split(split)) if has_splits else len(predictions)
    if considered > len(rows):
        caveats.append(f"{considered - len(rows)} of {considered} rows have no known truth (dx) and are left out.")
    without_lesion = int((rows.lesion_id == "").sum())
    if without_lesion:
        caveats.append(
            f"{without_lesion} of {len(rows)} images name no lesion and count as one lesion each: "
            "if some show the same lesion, the intervals are too short."
        )
    return caveats


def _about_classes(rows: Predictions, target: tuple[str, ...]) -> list[str]:
    caveats = []
    lesion = lesion_numbers(rows.lesion_key)
    conflicts = conflicting_lesions(rows.labels, lesion)
    if conflicts:
        caveats.append(
            f"Lesions whose images carry different labels: {conflicts}. One target image makes such a lesion a target."
        )
    absent = [name for column, name in enumerate(CLASSES) if not (rows.labels == column).any()]
    if absent:
        caveats.append(
            f"No image of {', '.join(absent)}: balanced accuracy and macro-F1 are means over the other classes."
        )
    n_target = len(np.unique(lesion[is_target(rows.labels, target)]))
    if 0 < n_target < MIN_LESIONS:
        caveats.append(
            f"Only {n_target} lesion{'s' if n_target > 1 else ''} of {target_name(target)}: too few to judge by."
        )
    return caveats

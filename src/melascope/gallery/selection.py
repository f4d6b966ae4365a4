"""Which images should a person look at first?"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from melascope.classes import CLASSES, MEL
from melascope.errors import DataError, OperatingPointError
from melascope.evaluation.operating_point import OperatingPoint
from melascope.gallery.outcomes import HELD_OUT, ORDER, outcome_of, section_of
from melascope.tables.predictions import Predictions

CONFIDENT = 0.90
"""From this probability of its most probable class on, a model is called confident."""

REASONS: dict[str, str] = {
    "missed_melanoma": "a melanoma below the frozen threshold (all are shown)",
    "missed_at_argmax": "a melanoma that top-1 misses and the threshold finds (all are shown)",
    "confident_error": f"one of the most confident errors on other lesions (probability {CONFIDENT:.2f} or more)",
    "near_below": "one of the nearest below the threshold",
    "near_above": "one of the nearest at or above the threshold",
    "reference": "the most confident correct image of its class",
    "asked_for": "asked for by its id",
    "tagged": "tagged by a reader",
    "held_out": "every held-out image is shown",
}
"""Why an image is in a gallery."""

EVERY = "held_out"
"""The reason that tells nothing of the image itself."""


@dataclass(frozen=True)
class Selection:
    """An image to show, and the keys of `REASONS` for which it was chosen."""

    image_id: str
    reasons: tuple[str, ...]


def select_cases(
    predictions: Predictions,
    operating_point: OperatingPoint,
    *,
    image_ids: Sequence[str] = (),
    tagged: Collection[str] = (),
    every: bool = False,
    confident_errors: int = 12,
    near_threshold: int = 6,
) -> list[Selection]:
    """Choose cases from the held-out images, or exactly the images asked for.

    Every missed melanoma and every melanoma that only the threshold finds; the most confident errors of other classes;
    the nearest to the threshold on either side; the most confident correct image of each class.

    Parameters
    ----------
    predictions : of all splits; without `image_ids` only `test` and `held_out` rows are looked at
    operating_point : the frozen threshold
    image_ids : show exactly these (of any split) instead
    tagged : images that a reader tagged, of any split: shown besides
    every : show every held-out image besides
    confident_errors, near_threshold : how many of the former, and of the latter on each side, at most

    Returns
    -------
    selections : missed melanomas first and images not held out last, images of one lesion together, then the
        farthest from the threshold first. The same table gives the same order, whatever the order of its rows.

    Raises
    ------
    DataError : an id is unknown (the nearest are named), or no row is held out.
    OperatingPointError : the threshold is not one for melanoma, or belongs to another model.
    """
    refuse_other_point(operating_point, predictions)
    if image_ids:
        reasons = {row: ["asked_for"] for row in _rows_of(predictions, image_ids)}
    else:
        reasons = _reasons(predictions, operating_point, confident_errors, near_threshold)
        if every:
            for row in np.flatnonzero(np.isin(predictions.split.astype(str), HELD_OUT)):
                reasons.setdefault(int(row), []).append(EVERY)
    for row in _rows_of(predictions, list(tagged)):
        reasons.setdefault(row, []).append("tagged")
    rows = _ordered(predictions, operating_point, reasons)
    return [
        Selection(predictions.image_id[row], tuple(name for name in REASONS if name in reasons[row])) for row in rows
    ]


def refuse_other_point(operating_point: OperatingPoint, predictions: Predictions) -> None:
    """A gallery speaks of P(mel) and of melanomas: a threshold of another target or model has no place in it."""
    if operating_point.target != (CLASSES[MEL],):
        raise OperatingPointError(
            f"The operating point is one for {operating_point.target_name}.",
            expected="one for melanoma alone",
            fix="choose one with the target mel from the validation rows",
        )
    operating_point.check_fits(predictions)


def _rows_of(predictions: Predictions, image_ids: Sequence[str]) -> list[int]:
    rows = {image_id: row for row, image_id in enumerate(predictions.image_id)}
    unknown = [image_id for image_id in image_ids if image_id not in rows]
    if unknown:
        hints = []
        for image_id in unknown[:5]:
            nearest = difflib.get_close_matches(image_id, rows, n=3, cutoff=0.6)
            hints.append(f"{image_id!r}" + (f" (nearest: {', '.join(nearest)})" if nearest else ""))
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise DataError(
            f"{len(unknown)} of {len(image_ids)} image ids are not in the predictions: {'; '.join(hints)}{more}.",
            expected="ids of the column image_id of the predictions table",
        )
    return [rows[image_id] for image_id in dict.fromkeys(image_ids)]


def _reasons(
    predictions: Predictions, operating_point: OperatingPoint, confident_errors: int, near_threshold: int
) -> dict[int, list[str]]:
    """Row -> reasons, over the held-out rows."""
    held_out = np.isin(predictions.split.astype(str), HELD_OUT)
    if not held_out.any():
        splits = ", ".join(sorted({str(split) or "(empty)" for split in predictions.split}))
        raise DataError(
            "No image of the predictions table is held out, so there is nothing fair to show.",
            expected=f"rows whose split is {' or '.join(HELD_OUT)}; found {splits}",
            fix="name the images yourself (their split is stated on the page), or predict a held-out split",
        )
    probabilities = predictions.probabilities
    score, above = operating_point.score(probabilities), operating_point.is_positive(probabilities)
    top1, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    melanoma, wrong = predictions.labels == MEL, (predictions.labels != top1) & (predictions.labels >= 0)

    def first(rows: np.ndarray, key: np.ndarray, count: int) -> list[int]:
        return sorted(np.flatnonzero(held_out & rows), key=lambda row: (key[row], predictions.image_id[row]))[:count]

    everything = len(predictions)
    chosen = {
        "missed_melanoma": first(melanoma & ~above, score, everything),
        "missed_at_argmax": first(melanoma & above & wrong, score, everything),
        "confident_error": first(wrong & ~melanoma & (sure >= CONFIDENT), -sure, confident_errors),
        "near_below": first(~above, -score, near_threshold),
        "near_above": first(above, score, near_threshold),
        "reference": [
            row
            for column in range(len(CLASSES))
            for row in first((predictions.labels == column) & (top1 == column), -sure, 1)
        ],
    }
    reasons: dict[int, list[str]] = {}
    for reason, rows in chosen.items():
        for row in rows:
            reasons.setdefault(int(row), []).append(reason)
    return reasons


def _ordered(predictions: Predictions, operating_point: OperatingPoint, rows: Iterable[int]) -> list[int]:
    """The rows, lesion by lesion: a lesion stands where its worst image belongs."""
    rows = np.array(list(rows), dtype=np.int64)
    shown = predictions.subset(rows)
    probabilities = shown.probabilities
    above, top1 = operating_point.is_positive(probabilities), probabilities.argmax(axis=1)
    distance = np.abs(operating_point.score(probabilities) - operating_point.threshold)
    keys = []
    for i, image_id in enumerate(shown.image_id):
        outcome = outcome_of(shown.dx[i], int(top1[i]), bool(above[i]))
        section = section_of(shown.split[i], outcome)
        keys.append((ORDER[section], ORDER[outcome], -float(distance[i]), image_id))
    worst: dict[str, tuple] = {}
    for lesion, key in zip(shown.lesion_key, keys, strict=True):
        worst[lesion] = min(worst.get(lesion, key), key)
    order = sorted(range(len(shown)), key=lambda i: (worst[shown.lesion_key[i]], shown.lesion_key[i], keys[i]))
    return [int(rows[i]) for i in order]

"""How is what predictions, maps, masks and operating point tell of each selected image put together?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from melascope.classes import CLASSES, MEL
from melascope.errors import DataError, RunError
from melascope.evaluation.operating_point import OperatingPoint
from melascope.explain.mask_scores import score_map
from melascope.explain.overlay import shared_scale
from melascope.explain.segment import CLASSICAL, FROM_DATA_SET, SEGMENTER
from melascope.gallery.case import Case, Price, SameLesion, outlined_mask
from melascope.gallery.outcomes import HELD_OUT
from melascope.gallery.outlines import outline_path, sized_mask
from melascope.gallery.selection import Selection, refuse_other_point
from melascope.tables.cell_places import CellPlaces
from melascope.tables.lesions import LesionTable
from melascope.tables.maps import MapStore
from melascope.tables.predictions import Predictions
from melascope.tables.results import NotApplicable
from melascope.workers import cores, in_order

MASK_ORIGINS = {
    FROM_DATA_SET: "the data set's lesion mask",
    SEGMENTER: "found by the segmenter that melascope ships, not drawn by a person",
    CLASSICAL: "found by the classical segmenter, not drawn by a person",
}
"""What a page says of an outline."""

NO_MASK = NotApplicable("the data set has no lesion mask for this image, and no lesion was found in it")

MANY = 300
"""Cases from which on several processes are quicker than one."""


def build_cases(
    selections: Sequence[Selection],
    predictions: Predictions,
    operating_point: OperatingPoint,
    maps: MapStore,
    table: LesionTable,
    *,
    workers: int = 1,
    segmenter: str = SEGMENTER,
) -> list[Case]:
    """Gather what is known of each selected image, in the order of `selections`.

    Parameters
    ----------
    workers : processes that read masks and trace them; see `workers_for`
    segmenter : row of `explain.segment.SEGMENTERS`, for images without a mask

    Raises
    ------
    RunError : an image has no map, or the maps are of another model than the predictions.
    DataError : an image is not in the data set, its truth there is another one, or its mask cannot be read.
    OperatingPointError : the threshold is not one for melanoma, or belongs to another model.
    """
    refuse_other_point(operating_point, predictions)
    scored = _scored(predictions, operating_point)
    ids = np.array([selection.image_id for selection in selections], dtype=object)
    row_of = {image_id: row for row, image_id in enumerate(predictions.image_id)}
    rows = np.array([row_of[image_id] for image_id in ids], dtype=np.int64)
    maps = _maps_of(ids, maps, predictions, rows)
    table = table.subset(table.index_of(ids))
    _refuse_other_truth(predictions.subset(rows), table)

    looks = [
        _Look(kept, maps.places, scored.probabilities[row], table.root, path, mask_path, segmenter)
        for kept, row, path, mask_path in zip(maps.maps, rows, table.path, table.mask_path, strict=True)
    ]
    shown = in_order(_shown, looks, workers=workers)
    return [
        Case(
            **_said(scored, int(row)),
            **seen,
            maps=look.maps,
            places=look.places,
            reasons=selection.reasons,
            threshold=operating_point.threshold,
            root=table.root,
            path=path,
            mask_path=look.mask_path,
        )
        for selection, row, look, seen, path in zip(selections, rows, looks, shown, table.path, strict=True)
    ]


def workers_for(n_cases: int) -> int:
    """Processes that pay for `n_cases`: each takes a second or two to start, a case about 10 ms of one core."""
    return cores() if n_cases >= MANY else 1


@dataclass(frozen=True)
class _Scored:
    """The predictions, and what the operating point makes of them, worked out once for all cases.

    Parameters
    ----------
    probabilities : (n_images, 7)
    score, above : (n_images,)
    others : scores of the held-out images whose truth is known and not melanoma
    lesions : lesion_id -> rows; an unknown lesion is not among them
    """

    predictions: Predictions
    probabilities: np.ndarray
    score: np.ndarray
    above: np.ndarray
    others: np.ndarray
    lesions: dict[str, list[int]]
    threshold: float


def _scored(predictions: Predictions, operating_point: OperatingPoint) -> _Scored:
    probabilities, labels = predictions.probabilities, predictions.labels
    score = operating_point.score(probabilities)
    held_out = np.isin(predictions.split.astype(str), HELD_OUT)
    lesions: dict[str, list[int]] = {}
    for row in np.argsort(predictions.image_id.astype(str), kind="stable"):
        if predictions.lesion_id[row]:
            lesions.setdefault(predictions.lesion_id[row], []).append(int(row))
    return _Scored(
        predictions=predictions,
        probabilities=probabilities,
        score=score,
        above=operating_point.is_positive(probabilities),
        others=score[held_out & (labels >= 0) & (labels != MEL)],
        lesions=lesions,
        threshold=operating_point.threshold,
    )


def _maps_of(ids: np.ndarray, maps: MapStore, predictions: Predictions, rows: np.ndarray) -> MapStore:
    """The maps of these images, in their order, once it is sure that they are of the predictions' model."""
    ours, theirs = predictions.origin.checkpoint_sha256, maps.checkpoint_sha256
    if ours and theirs and ours != theirs:
        raise RunError(
            f"The maps were made by the checkpoint {theirs[:12]}, the predictions by {ours[:12]}.",
            fix="make the maps again with `melascope explain`",
        )
    place = {image_id: index for index, image_id in enumerate(maps.image_id)}
    missing = [image_id for image_id in ids if image_id not in place]
    if missing:
        raise RunError(
            f"{len(missing)} of {len(ids)} images have no map, for example {', '.join(missing[:5])}.",
            expected="a map for each image of the gallery",
            fix="make them with `melascope explain`",
        )
    kept = maps.subset(np.array([place[image_id] for image_id in ids], dtype=np.int64))
    apart = np.abs(kept.logits - predictions.logits[rows]).max(axis=1)
    if (apart > kept.logit_tolerance).any():
        worst = int(apart.argmax())
        raise RunError(
            f"The logits beside the map of {ids[worst]} lie {apart[worst]:.3g} away from those of the predictions.",
            expected=f"the same model on the same pixels (within {kept.logit_tolerance:g})",
            fix="make both again with the same checkpoint and data",
        )
    return kept


def _refuse_other_truth(shown: Predictions, table: LesionTable) -> None:
    other = np.flatnonzero((shown.dx != table.dx) & (shown.dx != "") & (table.dx != ""))
    if len(other):
        row = other[0]
        raise DataError(
            f"{len(other)} images have another truth in the data set than in the predictions, for example "
            f"{table.image_id[row]}: {table.dx[row]} there, {shown.dx[row]} here.",
            where=table.root,
            fix="give the data set that the predictions were made on",
        )


def _said(scored: _Scored, row: int) -> dict:
    """What the predictions table says of one image and of its lesion."""
    table = scored.predictions
    age = float(table.age[row])
    names = ("image_id", "lesion_id", "split", "dx", "sex", "localization", "dx_type")
    return {
        **{name: getattr(table, name)[row] for name in names},
        "age": None if np.isnan(age) else age,
        "probabilities": scored.probabilities[row],
        "p_mel": float(scored.score[row]),
        "above": bool(scored.above[row]),
        "same_lesion": tuple(
            SameLesion(
                image_id=table.image_id[other],
                split=table.split[other],
                predicted=CLASSES[int(scored.probabilities[other].argmax())],
                p_mel=float(scored.score[other]),
                above=bool(scored.above[other]),
            )
            for other in scored.lesions.get(table.lesion_id[row], [])
            if other != row
        ),
        "price": _price(scored, row),
    }


def _price(scored: _Scored, row: int) -> Price | None:
    """Only of a missed melanoma: what is not called needs no price."""
    if len(scored.others) == 0 or scored.above[row] or scored.predictions.labels[row] != MEL:
        return None
    count = [int((scored.others >= at).sum()) for at in (scored.threshold, scored.score[row])]
    return Price(count[0], count[1], len(scored.others))


@dataclass(frozen=True)
class _Look:
    """What must be known to see how an image's maps lie to its lesion."""

    maps: np.ndarray
    places: CellPlaces
    probabilities: np.ndarray
    root: Path
    path: str
    mask_path: str
    segmenter: str


def _shown(look: _Look) -> dict:
    """Which two maps are shown, on what scale, and how they lie to the lesion."""
    order = [CLASSES[column] for column in np.argsort(-look.probabilities, kind="stable")]
    mel = CLASSES[MEL]
    shown = (order[0], mel if order[0] != mel else order[1])
    mask, source = outlined_mask(look.root, look.path, look.mask_path, look.segmenter)
    small = None if mask is None else sized_mask(mask)  # a map has few cells: a share of it needs no more pixels
    cells = (look.maps[CLASSES.index(name)] for name in shown)
    return {
        "scale": shared_scale(look.maps),
        "shown": shown,
        "map_scores": tuple(NO_MASK if small is None else score_map(one, small, look.places) for one in cells),
        "mask_origin": "" if mask is None else _origin(source),
        "mask_source": "" if mask is None else source,
        "outline": "" if small is None else outline_path(small),
    }


def _origin(source: str) -> str:
    """What the page says of a mask from there; why the segmenter was passed over follows the comma."""
    name, _, why = source.partition(" (")
    return MASK_ORIGINS[name] + (f" ({why}" if why else "")

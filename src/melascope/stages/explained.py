"""What is wanted of an explanation, and what is then shown and said of one image?"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from melascope.classes import CLASSES, MEL
from melascope.errors import ExplainError
from melascope.evaluation.operating_point import OperatingPoint
from melascope.explain.contrast import highest_other
from melascope.explain.overlay import shared_scale
from melascope.explain.panel import compose_panel
from melascope.explain.segment import FROM_DATA_SET, SEGMENTER, SEGMENTERS
from melascope.tables.cell_places import UNKNOWN, CellPlaces
from melascope.tables.maps import MapStore

PREDICTED = "predicted"
ENDINGS = ("jpg", "webp", "png")


@dataclass(frozen=True)
class MapRequest:
    """What is wanted of `melascope explain`.

    Parameters
    ----------
    method : row of `explain.methods.METHODS`
    layer : "auto", or a layer's name, also as `blocks[4]`
    class_name : whose map alone is shown; empty shows the predicted class and melanoma. All seven are made: one scale
    against : subtract the map of this class, or of the class that is `PREDICTED`: why `class_name` (melanoma if empty)
        and not that one?
    ending : jpg, webp or png
    fast : bfloat16, for pictures only
    engine : "auto" takes the run's exported graph where it holds these maps, else torch
    segmenter : row of `explain.segment.SEGMENTERS`, for a picture without a mask
    """

    method: str = "gradcam"
    layer: str = "auto"
    class_name: str = ""
    against: str = ""
    ending: str = "jpg"
    fast: bool = False
    engine: str = "auto"
    segmenter: str = SEGMENTER

    def __post_init__(self) -> None:
        for flag, value, known in (
            ("--class", self.class_name, ("", *CLASSES)),
            ("--against", self.against, ("", PREDICTED, *CLASSES)),
            ("--format", self.ending, ENDINGS),
            ("--segmenter", self.segmenter, tuple(SEGMENTERS)),
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
        """Classes whose maps must be made; None for all seven, as one class alone needs the others' scale."""
        if self.against in ("", PREDICTED):
            return None
        return [CLASSES.index(name) for name in dict.fromkeys((self.of, self.against)) if name]

    @property
    def is_usual(self) -> bool:
        """Whether the usual picture is wanted: the predicted class beside melanoma, by Grad-CAM."""
        return self.method == "gradcam" and not (self.class_name or self.against)


@dataclass(frozen=True)
class Explained:
    """One image, what the model said of it, and its maps.

    Parameters
    ----------
    image : (height, width, 3) uint8, at its own size
    mask : (height, width) bool of the lesion, at the image's size; all False where none was found
    probabilities : (7,) float64
    maps : (len(classes), map_height, map_width) float32, raw, in the method's unit
    dx, split : truth and split where the run or the data set knows them, else `""`
    logits : (7,) float32
    classes : whose maps these are
    places : where their cells lie on the picture
    mask_source : where the mask comes from, see `explain.segment`
    unlike : whether the picture lies beyond the run's limit of likeness
    map_warning : what must stand on the maps themselves, where the sanity gate failed
    """

    image_id: str
    image: np.ndarray
    mask: np.ndarray
    probabilities: np.ndarray
    maps: np.ndarray
    dx: str
    split: str
    logits: np.ndarray = field(default_factory=lambda: np.zeros(len(CLASSES), np.float32))
    classes: tuple[str, ...] = CLASSES
    places: CellPlaces = UNKNOWN
    mask_source: str = FROM_DATA_SET
    unlike: bool = False
    map_warning: str = ""

    def map_of(self, name: str) -> np.ndarray:
        """(map_height, map_width) of one class."""
        return self.maps[self.classes.index(name)]

    @property
    def predicted(self) -> int:
        """Column of the top-1 class."""
        return int(self.probabilities.argmax())


def panel(one: Explained) -> np.ndarray:
    """The picture beside the maps of the predicted class and of melanoma, on one scale."""
    maps = {name: one.map_of(name) for name in _shown(one)}
    return compose_panel(
        one.image,
        maps,
        predicted=CLASSES[one.predicted],
        scale=shared_scale(one.maps),
        places=one.places,
        mask=one.mask if one.mask.any() else None,
        mask_source=_outline(one),
        warning=one.map_warning,
    )


def _outline(one: Explained) -> str:
    return "lesion mask of the data set" if one.mask_source == FROM_DATA_SET else f"lesion mask by {one.mask_source}"


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
        mask=one.mask if one.mask.any() else None,
        mask_source=_outline(one),
        labels=labels,
        unit=store.unit,
        notes=notes,
        warning=one.map_warning,
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


def describe(one: Explained, point: OperatingPoint | None) -> list[str]:
    """Truth, prediction, top-3, and P(mel) against the frozen threshold, in the seed's words."""
    order = np.argsort(-one.probabilities, kind="stable")[:3]
    top3 = ", ".join(f"{CLASSES[column]}:{one.probabilities[column]:.4f}" for column in order)
    known = f"{one.dx or 'unknown'}" + (f" (split: {one.split})" if one.split else "")
    warnings = ["TRAINING IMAGE: this says nothing about unseen lesions"] if one.split == "train" else []
    warnings += ["UNLIKE THE TRAINING IMAGES: the answer means nothing"] if one.unlike else []
    lines = [
        f"{one.image_id}: truth {known}",
        *warnings,
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

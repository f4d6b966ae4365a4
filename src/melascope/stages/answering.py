"""One picture → what a run says of it, or that it is unlike what the run learned from; page and service share it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from melascope.classes import CLASSES, MEL, RESEARCH_ONLY
from melascope.data.appearance import RULE, appearance
from melascope.data.pixels import resize_image
from melascope.errors import RunError
from melascope.evaluation.likeness import Likeness
from melascope.evaluation.operating_point import OperatingPoint
from melascope.explain.overlay import shared_scale
from melascope.stages.likeness import build_likeness
from melascope.stages.looking import Looker, Seen
from melascope.stages.reporting import Reporter
from melascope.tables.cell_places import CellPlaces
from melascope.tables.likeness import LikenessStore
from melascope.tables.map_scores import Sanity
from melascope.tables.probabilities import probabilities_from_logits, steady
from melascope.tables.runs import RunDirectory

TOP, NEIGHBOURS = 3, 6


@dataclass(frozen=True)
class Neighbour:
    """A validation image that looks much the same to the network.

    Parameters
    ----------
    row : of the run's likeness file, whose thumbnail shows it
    similarity : cosine of the two pooled feature vectors, -1 … 1
    p_target : what the model said of it, calibrated
    called : whether that reaches the frozen threshold
    """

    row: int
    image_id: str
    lesion_id: str
    dx: str
    dx_type: str
    predicted_class: str
    p_target: float
    called: bool
    similarity: float


@dataclass(frozen=True)
class Classified:
    """What the model says of a picture that is like those it learned from.

    Parameters
    ----------
    probabilities : (7,) float64, calibrated
    p_target : of the operating point's target, as a rule melanoma
    called : whether it reaches the frozen threshold
    maps : (7, h, w) float32, raw and signed
    scale : evidence at the top of the one scale of all seven maps
    neighbours : nearest first
    """

    probabilities: np.ndarray
    p_target: float
    called: bool
    maps: np.ndarray
    scale: float
    neighbours: tuple[Neighbour, ...]

    @property
    def predicted_class(self) -> str:
        return CLASSES[int(self.probabilities.argmax())]

    @property
    def contrasted_class(self) -> str:
        """Beside which melanoma is looked at: the first answer, or the next one where that is melanoma itself."""
        order = np.argsort(-self.probabilities, kind="stable")
        return CLASSES[int(order[0] if order[0] != MEL else order[1])]

    @property
    def top(self) -> tuple[tuple[str, float], ...]:
        """The `TOP` most probable classes."""
        order = np.argsort(-self.probabilities, kind="stable")[:TOP]
        return tuple((CLASSES[column], float(self.probabilities[column])) for column in order)


@dataclass(frozen=True)
class ImageAnswer:
    """What becomes of one picture.

    Parameters
    ----------
    width, height : of the picture, upright, in pixels
    strangeness : how far the picture lies from those of training, in the unit of `Likeness`
    limit : above it a picture is unlike them
    stranger_share : share of the run's validation images that lie as far or further
    classified : None where the picture is unlike; then the model's answer is told to nobody
    """

    width: int
    height: int
    strangeness: float
    limit: float
    stranger_share: float
    classified: Classified | None

    @property
    def is_alike(self) -> bool:
        return self.classified is not None


@dataclass(frozen=True)
class Prepared:
    """A picture, ready for the network.

    Parameters
    ----------
    width, height : of the picture, upright, in pixels
    pixels : (input_height, input_width, 3) uint8, resized
    strangeness, is_alike : how far it lies from the training pictures, and whether that is near enough
    """

    width: int
    height: int
    pixels: np.ndarray
    strangeness: float
    is_alike: bool


@dataclass(frozen=True)
class Answerer:
    """A run that answers for one picture at a time, from any thread.

    Parameters
    ----------
    source : row of `data.sources.SOURCES` that the run learned from
    sanity : what the sanity gate said of its maps
    """

    run: RunDirectory
    source: str
    looker: Looker
    sanity: Sanity
    point: OperatingPoint
    store: LikenessStore
    likeness: Likeness
    _alone: threading.Lock

    @classmethod
    def open(cls, run: RunDirectory, reporter: Reporter, *, data: Path | None = None) -> Answerer:
        """Load everything; the likeness test is fitted now if the run has none of its present weights.

        Parameters
        ----------
        data : the data set's folder, if it has moved; needed only where the likeness test must be fitted

        Raises
        ------
        RunError : no frozen operating point.
        """
        if not run.operating_point.is_file():
            raise RunError(
                "The run has no frozen operating point: nobody could say on which side of it a picture lies.",
                where=run.root,
                fix=f"melascope train --resume {run.root}",
            )
        with reporter.working("loading the model"):
            looker = Looker.open(run)
        point = OperatingPoint.read(run.operating_point)
        store = LikenessStore.read_if_of(run.likeness, looker.card.weights_sha256, RULE)
        if store is None:
            store = build_likeness(run, looker, point, reporter, data=data)
        source = run.read_facts()["source"]
        sanity = Sanity.of(run, looker.card.weights_sha256, method=looker.method, layer=looker.layer)
        answerer = cls(run, source, looker, sanity, point, store, Likeness.of(store), threading.Lock())
        answerer.answer(np.full((32, 32, 3), 128, np.uint8))  # the first pass of an engine takes longer
        return answerer

    def answer(self, rgb: np.ndarray) -> ImageAnswer:
        """Answer for a decoded picture (height, width, 3) uint8, of any size."""
        picture = self.prepared(rgb)
        with self._alone:
            seen = self.looker.look(picture.pixels[None])
        return self.told(picture, seen, 0)

    def prepared(self, rgb: np.ndarray) -> Prepared:
        """What must be known of a decoded picture before the network sees it; from any thread, side by side."""
        card = self.looker.card
        pixels = resize_image(rgb, card.input_width, card.input_height)
        strangeness = float(self.likeness.strangeness(appearance(pixels[None]))[0])
        return Prepared(rgb.shape[1], rgb.shape[0], pixels, strangeness, strangeness <= self.likeness.limit)

    def told(self, picture: Prepared, seen: Seen | None, row: int, *, neighbours: int = NEIGHBOURS) -> ImageAnswer:
        """The answer for a picture, where the network saw it in this row of a batch; an unlike one needs no network."""
        classified = None
        if picture.is_alike:
            assert seen is not None, "a picture that is alike was not shown to the network"
            classified = self._classified(seen.logits[row], seen.features[row], seen.maps[row], neighbours)
        return ImageAnswer(
            width=picture.width,
            height=picture.height,
            strangeness=picture.strangeness,
            limit=self.likeness.limit,
            stranger_share=self.likeness.stranger_share(picture.strangeness),
            classified=classified,
        )

    def _classified(self, logits: np.ndarray, features: np.ndarray, maps: np.ndarray, neighbours: int) -> Classified:
        probabilities = probabilities_from_logits(logits[None].astype(np.float64), self.looker.card.temperature)
        return Classified(
            probabilities=probabilities[0],
            p_target=float(self.point.score(probabilities)[0]),
            called=bool(self.point.is_positive(probabilities)[0]),
            maps=maps,
            scale=shared_scale(maps),
            neighbours=tuple(self._neighbours(features, neighbours)) if neighbours else (),
        )

    def _neighbours(self, features: np.ndarray, n: int) -> list[Neighbour]:
        store, similarity = self.store, self.store.similarity(features)
        rows = np.argsort(-similarity, kind="stable")[:n]
        return [
            Neighbour(
                row=int(row),
                image_id=store.image_id[row],
                lesion_id=store.lesion_id[row],
                dx=store.dx[row],
                dx_type=store.dx_type[row],
                predicted_class=CLASSES[int(store.probabilities[row].argmax())],
                p_target=float(self.point.score(store.probabilities[row][None])[0]),
                called=bool(self.point.is_positive(steady(store.probabilities[row][None]))[0]),
                similarity=float(similarity[row]),
            )
            for row in rows
        ]

    def as_json(self, answer: ImageAnswer) -> dict[str, Any]:
        """The answer and what it rests on: what a service sends, and a page draws."""
        return {
            "schema_version": 1,
            "run": self.run.name,
            "source": self.source,
            "checkpoint_sha256": self.looker.card.weights_sha256,
            "operating_point_sha256": self.point.sha256,
            "likeness_sha256": self.store.sha256,
            "notice": RESEARCH_ONLY,
            "image": {"width": answer.width, "height": answer.height},
            "likeness": {
                "is_alike": answer.is_alike,
                "strangeness": answer.strangeness,
                "limit": answer.limit,
                "stranger_share": answer.stranger_share,
            },
            "classified": None if answer.classified is None else self._classified_json(answer.classified),
        }

    def _classified_json(self, found: Classified) -> dict[str, Any]:
        places: CellPlaces = self.looker.places
        return {
            "target": list(self.point.target),
            "p_target": found.p_target,
            "threshold": self.point.threshold,
            "called": found.called,
            "predicted_class": found.predicted_class,
            "probabilities": {name: float(value) for name, value in zip(CLASSES, found.probabilities, strict=True)},
            "top": [{"class": name, "probability": value} for name, value in found.top],
            "maps": {
                "method": self.looker.method,
                "layer": self.looker.layer,
                "unit": self.looker.unit,
                "scale": found.scale,
                "cells": places.as_json(),
                "contrasted_class": found.contrasted_class,
                "values": {name: _rounded(values) for name, values in zip(CLASSES, found.maps, strict=True)},
            },
            "neighbours": [vars(one) for one in found.neighbours],
        }


def _rounded(values: np.ndarray) -> list[list[float]]:
    """Rows of a map with six significant digits."""
    return [[float(f"{cell:.6g}") for cell in row] for row in values]

"""What must stand over a gallery, so that nobody takes its cases for more than they are?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from melascope.classes import MEL
from melascope.evaluation.operating_point import OperatingPoint
from melascope.gallery.outcomes import HELD_OUT
from melascope.tables.lesions import LesionTable
from melascope.tables.map_scores import UNTESTED, Sanity
from melascope.tables.maps import REFERENCE, MapStore
from melascope.tables.predictions import Predictions
from melascope.tables.results import Figure

PHANTOM = "phantom (synthetic images)"
"""Stands in the title, in a banner and in `FIGURES.md` wherever the images are drawn, not photographed."""


@dataclass(frozen=True)
class MelanomaCount:
    """Melanomas of one split at the frozen threshold; a lesion is missed if every picture of it is."""

    split: str
    images: int
    missed_images: int
    lesions: int
    missed_lesions: int


@dataclass(frozen=True)
class GalleryFacts:
    """What holds for every case of a gallery.

    Parameters
    ----------
    run, data : names for the reader
    source : row of `data.sources.SOURCES` that the images come from
    backbone : name of the network
    checkpoint_sha256 : of the weights; empty if unknown
    headline : (label, figure) pairs for the top of the page, with n and interval
    melanomas : counted for `test` and `held_out`, where they hold any
    method, layer : of the maps
    map_width, map_height : their true resolution, in cells
    input_width, input_height : pixels that the model saw
    sanity : what the sanity gate said of these maps
    caveats : sentences that a reader must know first: what could not be checked, what failed
    """

    run: str
    data: str
    source: str
    backbone: str
    checkpoint_sha256: str
    operating_point: OperatingPoint
    headline: tuple[tuple[str, Figure], ...]
    melanomas: tuple[MelanomaCount, ...]
    method: str
    layer: str
    map_width: int
    map_height: int
    input_width: int
    input_height: int
    sanity: Sanity
    caveats: tuple[str, ...] = ()

    @property
    def is_phantom(self) -> bool:
        return self.source == "phantom"


def gallery_facts(
    predictions: Predictions,
    operating_point: OperatingPoint,
    maps: MapStore,
    table: LesionTable,
    *,
    run: str,
    sanity: Sanity = UNTESTED,
    backbone: str = "",
    headline: Sequence[tuple[str, Figure]] = (),
) -> GalleryFacts:
    """Gather what holds for every case, from the tables themselves.

    Raises
    ------
    OperatingPointError : the threshold belongs to another model than the predictions.
    """
    return GalleryFacts(
        run=run,
        data=table.root.name,
        source="phantom" if predictions.origin.source == "phantom" else table.source,
        backbone=backbone,
        checkpoint_sha256=predictions.origin.checkpoint_sha256,
        operating_point=operating_point,
        headline=tuple(headline),
        melanomas=_melanomas(predictions, operating_point),
        method=maps.method,
        layer=maps.layer,
        map_width=maps.maps.shape[3],
        map_height=maps.maps.shape[2],
        input_width=maps.input_width,
        input_height=maps.input_height,
        sanity=sanity,
        caveats=(*operating_point.check_fits(predictions), *_rounding(maps), *_gate_failed(sanity)),
    )


def _gate_failed(sanity: Sanity) -> tuple[str, ...]:
    return (sanity.warning,) if sanity.warning else ()


def _rounding(maps: MapStore) -> tuple[str, ...]:
    """That maps are not of reference precision, where they are not."""
    if maps.precision == REFERENCE:
        return ()
    return (
        f"The maps were made in {maps.precision} (`--fast`): they are for looking, and figures that are read off them, "
        "such as the share inside the lesion, are rounded by it. Probabilities and decisions are the run's own.",
    )


def _melanomas(predictions: Predictions, operating_point: OperatingPoint) -> tuple[MelanomaCount, ...]:
    counts = []
    for split in HELD_OUT:
        melanomas = predictions.subset((predictions.labels == MEL) & (predictions.split == split))
        if len(melanomas):
            missed = ~operating_point.is_positive(melanomas.probabilities)
            lesions, found = np.unique(melanomas.lesion_key.astype(str)), melanomas.lesion_key[~missed].astype(str)
            counts.append(
                MelanomaCount(split, len(melanomas), int(missed.sum()), len(lesions), len(np.setdiff1d(lesions, found)))
            )
    return tuple(counts)

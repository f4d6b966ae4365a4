"""What travels inside an exported graph, so that nobody needs the run it came from?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from melascope.classes import CLASSES
from melascope.config import Strict, validated
from melascope.errors import ExportError, RecipeError
from melascope.files import parsed_json
from melascope.tables.runs import CheckpointCard

SCHEMA_VERSION = 1
KEY = "melascope"
"""Under which the card lies in a graph's own metadata."""


MAX_CARD_CHARACTERS = 2**20


class MapsCard(Strict):
    """Which maps come out of the graph beside the logits; `places` is a `CellPlaces` as JSON."""

    method: str
    layer: str
    unit: str
    resolution: str
    path: str
    places: dict[str, Any]


class ExportCard(Strict):
    """Everything beside the weights that is needed to use an exported graph.

    The graph takes `pixels` (n, input_height, input_width, 3) uint8, RGB, resized by the checkpoint's rule; mean and
    std are in the graph. It gives `logits` (n, 7) float32, raw; `features` (n, c), what the last linear layer reads;
    and `maps` (n, 7, h, w), signed, where `maps` says which.
    """

    schema_version: int = SCHEMA_VERSION
    melascope: str
    run: str
    source: str
    intended_use: str = "Research only: which melanomas does a classifier miss, and why? No diagnosis, no triage."
    licence: str = ""  # of the data that the weights were made from, where it is known
    checkpoint: CheckpointCard
    views: str
    precision: str = "float32"  # in which the graph computes
    weights_kept: str = "float32"  # float16: rounded, and widened when the graph is loaded
    maps: MapsCard | None
    operating_point: dict[str, Any] | None

    def as_text(self) -> str:
        """JSON on one line, the same for the same card."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=True)

    @classmethod
    def from_text(cls, text: str | None, *, where: Path) -> ExportCard:
        """Read what `as_text` wrote; a graph without it is none of ours."""
        if not text:
            raise ExportError(
                "The graph carries no card: it was not exported by melascope.",
                where=where,
                expected=f"metadata {KEY!r} with input size, class order, temperature and operating point",
                fix="melascope export RUN",
            )
        try:
            if len(text) > MAX_CARD_CHARACTERS:
                raise ValueError(f"it has {len(text):,} characters")
            card = validated(cls, parsed_json(text), where=where)
        except (ValueError, RecipeError) as error:
            found = error.found if isinstance(error, RecipeError) else str(error)
            raise ExportError(f"The graph's card cannot be used: {found}", where=where, fix="export it anew") from error
        if card.schema_version != SCHEMA_VERSION or card.checkpoint.class_order != CLASSES:
            raise ExportError(
                f"The graph has schema {card.schema_version} and the classes {', '.join(card.checkpoint.class_order)}.",
                where=where,
                expected=f"schema {SCHEMA_VERSION}; {', '.join(CLASSES)}",
                fix="export it anew",
            )
        return card

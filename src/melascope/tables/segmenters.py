"""What travels inside a segmenter's graph: what it was trained on, how well it did, and what may be done with it?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from melascope.config import Strict, validated
from melascope.errors import ExportError, RecipeError
from melascope.files import parsed_json
from melascope.tables.exports import MAX_CARD_CHARACTERS

SCHEMA_VERSION = 1
KEY = "melascope_segmenter"
"""Under which the card lies in a graph's own metadata."""


class SegmenterCard(Strict):
    """Everything beside the weights that is needed to use a lesion segmenter.

    The graph takes `pixels` (n, input_height, input_width, 3) uint8, RGB, stretched to that size; mean and std are in
    the graph. It gives `lesion` (n, input_height, input_width) float32, the probability that a pixel is lesion.
    """

    schema_version: int = SCHEMA_VERSION
    melascope: str
    intended_use: str = "Research only: an outline for maps and interventions, no measurement of a patient's lesion."
    recipe: dict[str, Any]
    input_width: int = Field(ge=8)
    input_height: int = Field(ge=8)
    threshold: float = Field(gt=0, lt=1)  # chosen on validation
    precision: str = "float32"
    epoch: int
    epochs: int
    weights_sha256: str
    source: str
    licence: str
    dataset_fingerprint: str
    split_sha256: str
    n_train: int
    figures: dict[str, Any] = {}  # of validation and test, each with n and interval

    def as_text(self) -> str:
        """JSON on one line, the same for the same card."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=True)

    @classmethod
    def from_text(cls, text: str | None, *, where: Path) -> SegmenterCard:
        """Read what `as_text` wrote; a graph without it is none of ours."""
        if not text:
            raise ExportError(
                "The graph carries no segmenter's card.",
                where=where,
                expected=f"metadata {KEY!r}, as `melascope segmenter train` writes it",
            )
        try:
            if len(text) > MAX_CARD_CHARACTERS:
                raise ValueError(f"it has {len(text):,} characters")
            card = validated(cls, parsed_json(text), where=where)
        except (ValueError, RecipeError) as error:
            found = error.found if isinstance(error, RecipeError) else str(error)
            raise ExportError(f"The segmenter's card cannot be used: {found}", where=where) from error
        if card.schema_version != SCHEMA_VERSION:
            raise ExportError(
                f"The segmenter has schema {card.schema_version}.", where=where, expected=f"schema {SCHEMA_VERSION}"
            )
        return card

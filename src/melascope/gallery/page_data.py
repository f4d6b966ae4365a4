"""What does the page know of its cases, packed so that 10,000 of them open at once?

Two kinds of blocks, each JSON, stand in the page as text that nothing executes. `facts` holds what filters, sorting and
thumbnails need of every case, column by column. The `details` (sentences, maps, outline) come `DETAILS` cases a block
and are read when one of them is looked at; all blocks but the first are gzipped and in base64. What the first cards
need is plain, and the script stands right behind it: they are drawn before the browser reads on.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from melascope.classes import CLASS_NAMES, CLASSES
from melascope.gallery import outlines
from melascope.gallery.card import Card
from melascope.gallery.case import MAP_PLACES
from melascope.gallery.outcomes import OUTCOMES
from melascope.gallery.pictures import page_palettes
from melascope.gallery.tags import SUGGESTED, Tagged
from melascope.gallery.wording import DX_TYPES, apart, probability

DETAILS = 50
"""Cases in a block of details."""

MAP_LEVELS = 127
"""A signed map travels in one byte a cell: whole numbers from -127 to 127, times the image's largest cell / 127."""


def facts_of(cards: Sequence[Card]) -> dict[str, list]:
    """Columns over all cases, in the page's order; `templates/gallery_1_data.js` calls them `facts`."""
    return {
        "id": [card.case.image_id for card in cards],
        "stem": [card.stem for card in cards],
        "lesion": [card.case.lesion_id for card in cards],
        "split": [card.case.split for card in cards],
        "section": [_key(card.case.section) for card in cards],
        "outcome": [_key(card.case.outcome) for card in cards],
        "dx": [card.case.dx for card in cards],
        "predicted": [card.case.predicted for card in cards],
        "p_mel": [float(f"{card.case.p_mel:.12g}") for card in cards],
        "above": [int(card.case.above) for card in cards],
        "confidence": [float(f"{card.case.confidence:.6g}") for card in cards],
        "age": [card.case.age for card in cards],
        "sex": [card.case.sex for card in cards],
        "site": [card.case.localization for card in cards],
        "dx_type": [card.case.dx_type for card in cards],
        "map_place": [card.case.map_place("mel") for card in cards],
        "map_share": [_rounded(card.case.map_share("mel")) for card in cards],
        "flips": [list(card.case.flips) if card.case.tests else None for card in cards],
        "width": [card.pictures.width for card in cards],
        "height": [card.pictures.height for card in cards],
    }


def _key(name: str) -> int:
    """Place of a row among `OUTCOMES`."""
    return list(OUTCOMES).index(name)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def details_of(card: Card) -> dict[str, Any]:
    """What a single case shows beside its facts; sentences keep their Markdown of `code` and **strong**."""
    case, note = card.case, card.note
    p_mel, threshold = apart(case.p_mel, case.threshold)
    top, cells = _packed_maps(case.maps)
    return {
        "p_mel": p_mel,
        "threshold": threshold,
        "place": round(card.place, 4),
        "confidence": probability(case.confidence),
        "probabilities": [probability(value) for value in case.probabilities],
        "person": list(card.person),
        "shown": list(case.shown),
        "captions": list(card.captions),
        "scale": float(f"{case.scale:.6g}"),
        "map_top": top,
        "maps": cells,
        "outline": case.outline,
        "mask_origin": case.mask_origin,
        "own": [card.pictures.own_width, card.pictures.own_height],
        "meaning": note.meaning,
        "conclusion": note.conclusion,
        "split_says": note.split,
        "lesion_says": note.lesion,
        "maps_say": list(note.maps),
        "tested": list(note.tested),
        "but": list(note.contradictions),
        "known": note.known,
        "chosen": note.chosen,
        "others": [
            [other.image_id, other.split, other.predicted, probability(other.p_mel), int(other.above)]
            for other in case.same_lesion
        ],
    }


def _packed_maps(maps: np.ndarray) -> tuple[float, str]:
    """The largest cell of maps (7, h, w), and all cells as shares of it, one byte each, in base64."""
    top = float(np.abs(maps).max())
    levels = np.rint(maps / top * MAP_LEVELS) if top else np.zeros_like(maps)
    return float(f"{top:.6g}"), base64.b64encode(levels.astype(np.int8).tobytes()).decode()


def packed(value: Any) -> str:
    """Any JSON value, gzipped without a time, in base64: the same value gives the same text."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("utf-8"), compresslevel=6, mtime=0)).decode()


def detail_blocks(cards: Sequence[Card]) -> Iterator[str]:
    """The details, `DETAILS` cases a block; the first is plain JSON, the others are packed."""
    for start in range(0, len(cards), DETAILS):
        block = [details_of(card) for card in cards[start : start + DETAILS]]
        yield packed(block) if start else as_script_text(block)


def about_of(cards: Sequence[Card], tags: Mapping[str, Tagged], gallery_id: str, *, images: str) -> dict[str, Any]:
    """What the page's script must know beside the cases.

    Parameters
    ----------
    tags : image id -> a reader's words
    gallery_id : under which the browser keeps the reader's tags
    images : folder of the pictures, beside the page
    """
    height, width = cards[0].case.maps.shape[1:]
    return {
        "gallery": gallery_id,
        "images": images,
        "classes": list(CLASSES),
        "class_names": CLASS_NAMES,
        "dx_types": DX_TYPES,
        "outcomes": [{"key": key, **asdict(outcome)} for key, outcome in OUTCOMES.items()],
        "map_places": MAP_PLACES,
        "map_height": height,
        "map_width": width,
        "map_cells": cards[0].case.places.as_json(),
        "map_levels": MAP_LEVELS,
        "outline_size": [outlines.WIDTH, outlines.HEIGHT],
        "details": DETAILS,
        "palettes": {name: base64.b64encode(colours).decode() for name, colours in page_palettes().items()},
        "suggested_tags": SUGGESTED,
        "tags": {image_id: [list(words.tags), words.comment] for image_id, words in tags.items()},
    }


def as_script_text(value: Any) -> str:
    """JSON that may stand inside a `<script>` element: no `<` in it can end the element or begin a comment."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")

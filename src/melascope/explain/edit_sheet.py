"""How do the edits of a picture look beside it, each with what the model said of it?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from melascope.classes import RESEARCH_ONLY
from melascope.errors import ExplainError
from melascope.explain.edits import grown
from melascope.explain.interventions import Outcome
from melascope.explain.overlay import draw_outline
from melascope.tables.results import NotApplicable

_INK, _QUIET, _PAPER = (24, 24, 24), (96, 96, 96), (255, 255, 255)
_TILE = 240  # pixels wide
_LINE = 15
_COLUMNS = 5


def edit_sheet(title: str, image: np.ndarray, lesion: np.ndarray, outcomes: Sequence[Outcome]) -> np.ndarray:
    """The picture (lesion outlined) and every edit of it, in rows; below each its name, P(target) and the top class.

    Parameters
    ----------
    image : (height, width, 3) uint8
    lesion : (height, width) bool

    Returns
    -------
    sheet : (sheet_height, sheet_width, 3) uint8
    """
    if not outcomes:
        raise ExplainError("There is no edit to show.", expected="at least one outcome")
    tile_height = round(_TILE * image.shape[0] / image.shape[1])
    first = outcomes[0]
    thin = draw_outline(image, lesion) if lesion.any() and not grown(lesion, 1).all() else image
    tiles = [(thin, ("original, lesion outlined", _answer(first, before=True)))]
    tiles += [(one.picture, (_name(one), _answer(one))) for one in outcomes]
    n_rows = -(-len(tiles) // _COLUMNS)
    gap, head, foot = 10, 34, 24
    cell_height = tile_height + 3 * _LINE + gap
    size = (_COLUMNS * (_TILE + gap) + gap, head + n_rows * cell_height + foot)
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((gap, 9), title, _INK, _font(14))
    pen.text((gap, size[1] - 19), f"{RESEARCH_ONLY} Edited pictures: no camera took them.", _QUIET, _font(11))
    for place, (picture, lines) in enumerate(tiles):
        x = gap + place % _COLUMNS * (_TILE + gap)
        y = head + place // _COLUMNS * cell_height
        sheet.paste(Image.fromarray(picture).resize((_TILE, tile_height), Image.Resampling.BILINEAR), (x, y))
        written = [*_wrapped(lines[0]), lines[1]]
        for row, text in enumerate(written):
            pen.text(
                (x, y + tile_height + 2 + row * _LINE), text, _QUIET if row < len(written) - 1 else _INK, _font(11)
            )
    return np.asarray(sheet)


def _name(one: Outcome) -> str:
    return one.name + (f", {one.fill}" if one.fill else "")


def _answer(one: Outcome, *, before: bool = False) -> str:
    change, predicted = one.of("target"), one.predicted
    shown = "+".join(one.target)
    if before:
        return f"P({shown})={change.before:.3f}  top {predicted[0]}"
    p_value = "" if isinstance(change.p_value, NotApplicable) else f"  p={change.p_value:.2f}"
    return f"P({shown})={change.after:.3f} ({change.change:+.3f})  top {predicted[1]}{p_value}"


def _wrapped(text: str) -> list[str]:
    """At most two lines that fit a tile."""
    font, words, lines = _font(11), text.split(), [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= _TILE or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines[:2]


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)

"""How are numbers and other people's words written, so that a note is exact and harmless in Markdown and HTML?

Notes are Markdown of two marks only: `code` and **strong**; `templates/gallery_3_dom.js` makes elements of them. What
comes from a file of somebody else stands in code.
"""

from __future__ import annotations

from collections.abc import Sequence

from melascope.classes import CLASS_NAMES

DX_TYPES: dict[str, str] = {
    "histo": "histopathology",
    "follow_up": "follow-up",
    "consensus": "expert consensus",
    "confocal": "confocal microscopy",
}
"""How HAM10000 knows its truth (Tschandl et al. 2018)."""


def code(text: str) -> str:
    """Foreign text as one line of Markdown code, whatever is in it."""
    printable = "".join(letter if letter.isprintable() else " " for letter in str(text))
    return f"`{printable.replace('`', chr(39)).strip() or '?'}`"


def class_name(name: str) -> str:
    """A class as `mel` (melanoma); an unknown one says so."""
    return f"{code(name)} ({CLASS_NAMES[name]})" if name else "unknown"


def probability(value: float) -> str:
    """Four decimals, as in the seed's notes."""
    return f"{value:.4f}"


def apart(value: float, threshold: float) -> tuple[str, str]:
    """Both numbers with four decimals, or as many as it takes to see which is larger."""
    for decimals in range(4, 13):
        texts = f"{value:.{decimals}f}", f"{threshold:.{decimals}f}"
        if texts[0] != texts[1] or value == threshold:
            break
    return texts


def percent(share: float) -> str:
    """A share in whole percent; only a true 0 or 1 is written as 0 % or 100 %."""
    if 0 < share < 0.01:
        return "under 1 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{100 * share:.0f} %"


def count(number: int, one: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def listed(items: Sequence[str], most: int = 6) -> str:
    """`a, b and c`; beyond `most` the rest is counted."""
    if len(items) > most:
        items = [*items[:most], f"{len(items) - most} more"]
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)

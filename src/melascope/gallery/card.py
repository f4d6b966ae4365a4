"""What stands on the card of a case: its sentences, its pictures, and where P(mel) lies on the card's scale?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from melascope.gallery.case import Case
from melascope.gallery.notes import Note
from melascope.gallery.phrases import map_caption
from melascope.gallery.pictures import Pictures


@dataclass(frozen=True)
class Card:
    """A case, its sentences and its pictures; `stem` begins their names and is the case's name in an address."""

    case: Case
    note: Note
    pictures: Pictures
    stem: str

    @property
    def captions(self) -> tuple[str, str]:
        """Where each of the two maps lies, in a few words for its caption."""
        return tuple(map_caption(self.case, name) for name in self.case.shown)

    @property
    def person(self) -> tuple[str, ...]:
        """What is known of whom the lesion belongs to, for the card's head."""
        case = self.case
        age = () if case.age is None else (f"{case.age:g} years",)
        return age + tuple(fact for fact in (case.sex, case.localization) if fact)

    @property
    def place(self) -> float:
        """Where P(mel) stands on the card's scale, 0 … 1."""
        return place_of(self.case.p_mel, self.case.threshold, self.case.above)


def place_of(value: float, threshold: float, above: bool) -> float:
    """Where a probability stands on a scale from 0 to 1 that is stretched so that the threshold is its middle.

    A threshold is often near 0, where on an even scale nobody could see on which side of it an image lies.
    The power p ** (log 0.5 / log threshold) keeps 0, 1 and every order.
    """
    kept = min(max(threshold, 1e-12), 1 - 1e-12)
    place = value ** (math.log(0.5) / math.log(kept))
    return max(place, 0.5) if above else min(place, 0.5)

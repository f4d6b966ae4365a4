"""How did a case end (missed, found, false alarm, wrong, correct), and under which heading does it stand?"""

from __future__ import annotations

from dataclasses import dataclass

from melascope.classes import CLASSES, MEL

HELD_OUT = ("test", "held_out")
"""Splits whose lesions the model has never seen: only these say anything about a new lesion."""

NOT_HELD_OUT = "not_held_out"
"""Section of every other image."""


@dataclass(frozen=True)
class Outcome:
    """What a reader sees of an outcome.

    `chip` stands on the card, `short` in the list of groups, `heading` and `explanation` over the section.
    `mark` repeats the chip's colour as a sign, for who cannot see the colour; `tone` names the colour.
    """

    chip: str
    short: str
    heading: str
    explanation: str
    mark: str
    tone: str


OUTCOMES: dict[str, Outcome] = {
    "missed": Outcome(
        "MISSED melanoma",
        "Missed",
        "Missed melanomas",
        "Melanomas whose P(mel) lies below the frozen threshold: the model gives no warning.",
        "✕",
        "missed",
    ),
    "found_by_threshold": Outcome(
        "Found by the threshold only",
        "Found by threshold",
        "Melanomas found by the threshold only",
        "The most probable class is another one, yet P(mel) reaches the frozen threshold: top-1 alone misses them.",
        "◐",
        "rescued",
    ),
    "found": Outcome(
        "Found melanoma",
        "Found",
        "Melanomas found",
        "Melanomas at or above the frozen threshold, and the most probable class as well.",
        "✓",
        "good",
    ),
    "false_alarm": Outcome(
        "False alarm",
        "False alarms",
        "False alarms",
        "Other lesions at or above the frozen threshold: the price of finding melanomas.",
        "!",
        "alarm",
    ),
    "wrong_class": Outcome(
        "Wrong class",
        "Wrong class",
        "Wrong class, no alarm",
        "Other lesions below the threshold whose most probable class is not the truth.",
        "≠",
        "wrong",
    ),
    "correct": Outcome(
        "Correct",
        "Correct",
        "Correct, for reference",
        "Other lesions below the threshold whose most probable class is the truth.",
        "✓",
        "good",
    ),
    "unknown": Outcome(
        "Truth unknown",
        "Truth unknown",
        "Truth unknown",
        "No label is known, so nothing here is right or wrong.",
        "?",
        "unknown",
    ),
    NOT_HELD_OUT: Outcome(
        "Not held out",
        "Not held out",
        "Not held out: no evidence about new lesions",
        "Images that the model was trained on, that chose its threshold, or whose split is unknown.",
        "⚠",
        "seen",
    ),
}
"""Every outcome, in the order of the page's sections."""

ORDER: dict[str, int] = {name: rank for rank, name in enumerate(OUTCOMES)}


def outcome_of(dx: str, predicted: int, above: bool) -> str:
    """Key of `OUTCOMES` (never `NOT_HELD_OUT`) for one image.

    Parameters
    ----------
    dx : truth, `""` where unknown
    predicted : column of the most probable class in `CLASSES`
    above : whether the operating point calls the image positive
    """
    if dx == "":
        return "unknown"
    if dx == CLASSES[MEL]:
        if not above:
            return "missed"
        return "found" if predicted == MEL else "found_by_threshold"
    if above:
        return "false_alarm"
    return "correct" if CLASSES[predicted] == dx else "wrong_class"


def section_of(split: str, outcome: str) -> str:
    """Section of the page that an image of this split and outcome would open alone."""
    return outcome if split in HELD_OUT else NOT_HELD_OUT

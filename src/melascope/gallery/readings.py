"""What does a case mean, and what follows from it? One row for every situation that reads differently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from melascope.gallery.case import Case
from melascope.gallery.selection import CONFIDENT

CANCERS = ("akiec", "bcc")
"""Classes beside melanoma that are skin cancer or its precursor, and are treated."""

NEAR = 2.0
"""Within this factor of the threshold, P(mel) is called near it."""


@dataclass(frozen=True)
class Reading:
    """A situation: when it applies, and the seed's two sentences as templates over `phrases_of`."""

    applies: Callable[[Case], bool]
    meaning: str
    conclusion: str


def _is(outcome: str, predicted: str = "") -> Callable[[Case], bool]:
    return lambda case: case.outcome == outcome and predicted in ("", case.predicted)


def _sure(outcome: str) -> Callable[[Case], bool]:
    return lambda case: case.outcome == outcome and case.confidence >= CONFIDENT


def _near(outcome: str) -> Callable[[Case], bool]:
    return lambda case: case.outcome == outcome and case.threshold / NEAR <= case.p_mel < case.threshold * NEAR


READINGS: dict[str, Reading] = {
    "missed, though the first answer is melanoma": Reading(
        _is("missed", predicted="mel"),
        "**Missed melanoma** at the frozen threshold, although melanoma is the first answer: {below}.",
        "Here the threshold is stricter than top-1. {price}",
    ),
    "missed, sure of another class": Reading(
        _sure("missed"),
        "**Missed melanoma**, with very high confidence in a wrong class: {answer}. {below}.",
        "A sure answer is not a right one: a second look at unsure images alone would not have found this one. {price}",
    ),
    "missed narrowly": Reading(
        _near("missed"),
        "**Missed melanoma**, narrowly: {below}; the first answer is {answer}.",
        "P(mel) is within a factor of two of the threshold: who reads the number, not only the verdict, is warned. "
        "{price}",
    ),
    "missed": Reading(
        _is("missed"),
        "**Missed melanoma** (false negative), by top-1 and by the threshold: {below}; the first answer is {answer}.",
        "Even a threshold that was chosen for sensitivity does not reach it. {price}",
    ),
    "found by the threshold only, against a sure answer": Reading(
        _sure("found_by_threshold"),
        "**Melanoma found by the threshold only**, against a confident first answer: {answer}. {reaches}.",
        "Top-1 misses it, and so would a rule that trusts confident answers; the threshold does not.",
    ),
    "found by the threshold only": Reading(
        _is("found_by_threshold"),
        "**Melanoma found by the threshold only**: the first answer is {answer}, but {reaches}.",
        "Accuracy counts it as an error, yet the reader is warned: this is what the threshold is for.",
    ),
    "found, surely": Reading(
        _sure("found"),
        "Melanoma found with high confidence: {answer}.",
        "Its maps show what a sure success looks like: compare them with those of the missed melanomas.",
    ),
    "found narrowly": Reading(
        _near("found"),
        "Melanoma found by both rules, narrowly: {reaches}.",
        "Any threshold above {p_mel} would miss it.",
    ),
    "found": Reading(
        _is("found"),
        "Melanoma found by both rules: {reaches}.",
        "The first answer leads by {margin} over the runner-up, {second}.",
    ),
    "another skin cancer, called": Reading(
        lambda case: case.outcome == "false_alarm" and case.dx in CANCERS,
        "Counted as a **false alarm for melanoma**, yet the lesion is {truth}, which is treated too: {reaches}.",
        "In the figures this is a price of the threshold; for the patient the second look need not be wasted.",
    ),
    "false alarm under both rules": Reading(
        _is("false_alarm", predicted="mel"),
        "**False alarm** by both rules: {truth} taken for melanoma with {confidence}.",
        "To spare it the threshold would have to rise above {p_mel}, and top-1 would still say melanoma.",
    ),
    "false alarm, though top-1 is right": Reading(
        lambda case: case.outcome == "false_alarm" and case.predicted == case.dx,
        "**False alarm** by the threshold; top-1 is right: {answer}. {reaches}.",
        "The price of sensitivity: accuracy counts this image as correct, the threshold asks for a second look.",
    ),
    "false alarm, and the first answer wrong too": Reading(
        _is("false_alarm"),
        "**False alarm**, and the first answer is wrong too: {answer} instead of {truth}. {reaches}.",
        "Neither rule is right here: the truth has probability {truth_probability}.",
    ),
    "first answer melanoma, not called": Reading(
        _is("wrong_class", predicted="mel"),
        "The first answer takes {truth} for melanoma, but it is not called: {below}.",
        "Here the threshold is stricter than top-1, and spares a false alarm.",
    ),
    "another skin cancer taken for benign": Reading(
        lambda case: case.outcome == "wrong_class" and case.dx in CANCERS and case.predicted not in CANCERS,
        "**Skin cancer or its precursor taken for benign**: {truth} called {answer}.",
        "A harm that sensitivity for melanoma does not count: only a target that includes {truth_code} would.",
    ),
    "benign taken for another skin cancer": Reading(
        lambda case: case.outcome == "wrong_class" and case.dx not in CANCERS and case.predicted in CANCERS,
        "Benign {truth} taken for {predicted_name}, with {confidence}.",
        "An error on the careful side: it may cost a biopsy, it does not cost a cancer.",
    ),
    "confident error": Reading(
        _sure("wrong_class"),
        "**Confident error** without alarm: {truth} called {answer}.",
        "No melanoma is at stake, but the model is far too sure: the truth has probability {truth_probability}.",
    ),
    "wrong class": Reading(
        _is("wrong_class"),
        "Wrong class without alarm: {truth} called {answer}.",
        "An unsure error, and no melanoma is at stake; the truth has probability {truth_probability}.",
    ),
    "correct, yet melanoma-like": Reading(
        _near("correct"),
        "Correct, with {answer}, but melanoma-like to the model: {below}.",
        "Lesions like this one are the next false alarms: any threshold of {p_mel} or less would call it.",
    ),
    "correct, surely": Reading(
        _sure("correct"),
        "Very confident correct prediction: {answer}.",
        "Its maps show what a sure {predicted} looks like to the model: compare them with those of the errors.",
    ),
    "correct": Reading(
        _is("correct"),
        "Correct, with room for doubt: {answer}.",
        "Right by a margin of {margin} over the runner-up, {second}.",
    ),
    "truth unknown, called": Reading(
        lambda case: case.outcome == "unknown" and case.above,
        "The truth is unknown; the threshold calls this image: {reaches}.",
        "Whether the warning is right cannot be judged here.",
    ),
    "truth unknown, not called": Reading(
        lambda case: case.outcome == "unknown" and not case.above,
        "The truth is unknown; the threshold does not call this image: {below}.",
        "Whether a melanoma is missed cannot be judged here.",
    ),
}
"""Every situation; the first row that applies speaks, and one always does."""

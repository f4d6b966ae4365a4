"""What does a case mean, and what follows from it? One row for every situation that reads differently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from melascope.gallery.case import Case
from melascope.gallery.selection import CONFIDENT
from melascope.gallery.wording import apart, class_name, code, probability, times

CANCERS = ("akiec", "bcc")
"""Classes beside melanoma that are skin cancer or its precursor, and are treated."""

NEAR = 2.0
"""Within this factor of the threshold, a probability is called near it."""


@dataclass(frozen=True)
class Reading:
    """A situation: when it applies, and the two sentences of the seed's notes."""

    applies: Callable[[Case], bool]
    meaning: Callable[[Case], str]
    conclusion: Callable[[Case], str]


def _sure(case: Case) -> bool:
    return case.confidence >= CONFIDENT


def _near(case: Case) -> bool:
    return case.threshold / NEAR <= case.p_mel < case.threshold * NEAR


def _is(outcome: str, *, predicted: str = "", near: bool | None = None, sure: bool | None = None) -> Callable:
    def applies(case: Case) -> bool:
        return (
            case.outcome == outcome
            and predicted in ("", case.predicted)
            and near in (None, _near(case))
            and sure in (None, _sure(case))
        )

    return applies


def _answer(case: Case) -> str:
    return f"{code(case.predicted)} ({probability(case.confidence)})"


def _below(case: Case) -> str:
    p_mel, threshold = apart(case.p_mel, case.threshold)
    how = f", {times(case.threshold / case.p_mel)} too low" if case.p_mel > 0 else ""
    return f"P(mel) is {p_mel}, the frozen threshold {threshold}{how}"


def _over(case: Case) -> str:
    p_mel, threshold = apart(case.p_mel, case.threshold)
    return f"P(mel) is {p_mel}, the frozen threshold {threshold}"


def _price(case: Case) -> str:
    if case.price is None:
        return "What finding it would have cost cannot be counted: no held-out image is known to be something else."
    now, then, others = case.price.called_now, case.price.called_then, case.price.n_others
    return (
        f"To find it the threshold would have to fall to {apart(case.p_mel, case.threshold)[0]}; then {then} instead "
        f"of {now} of the {others} held-out images without melanoma would be called. Counted afterwards: the frozen "
        "threshold is not chosen by it."
    )


READINGS: dict[str, Reading] = {
    "missed, though top-1 says melanoma": Reading(
        _is("missed", predicted="mel"),
        lambda c: (
            f"**Missed melanoma** at the frozen threshold, although melanoma is the most probable class: {_below(c)}."
        ),
        lambda c: f"Here the threshold is stricter than top-1, which would have found it. {_price(c)}",
    ),
    "missed, sure of another class": Reading(
        _is("missed", sure=True),
        lambda c: f"**Missed melanoma**, with very high confidence in a wrong class: {_answer(c)}. {_below(c)}.",
        lambda c: (
            f"High confidence does not make an answer right: no rule that trusts sure answers would catch this. {_price(c)}"
        ),
    ),
    "missed narrowly": Reading(
        _is("missed", near=True),
        lambda c: f"**Missed melanoma**, but narrowly: {_below(c)}.",
        lambda c: (
            f"A case for a second look rather than for a verdict: it lies within a factor of {NEAR:g} of the threshold. {_price(c)}"
        ),
    ),
    "missed": Reading(
        _is("missed"),
        lambda c: f"**Missed melanoma** (false negative), under top-1 as well as at the threshold: {_below(c)}.",
        lambda c: f"A threshold chosen for sensitivity does not reach this image. {_price(c)}",
    ),
    "found by the threshold only, against a sure answer": Reading(
        _is("found_by_threshold", sure=True),
        lambda c: f"**Melanoma found by the threshold** although the model is confident of {_answer(c)}: {_over(c)}.",
        lambda _: (
            "A sure wrong answer hid a melanoma that the threshold still caught: top-1 and its confidence are no safe rule for melanoma."
        ),
    ),
    "found by the threshold only": Reading(
        _is("found_by_threshold"),
        lambda c: f"**Melanoma found by the threshold, missed by top-1**, which says {_answer(c)}: {_over(c)}.",
        lambda _: (
            "Accuracy counts this image as an error, yet the reader would have been warned: this is what the threshold is for."
        ),
    ),
    "found narrowly": Reading(
        _is("found", near=True),
        lambda c: f"Melanoma found by both rules, but not by far: {_over(c)}.",
        lambda _: "A slightly higher threshold would have missed it.",
    ),
    "found, surely": Reading(
        _is("found", sure=True),
        lambda c: f"Melanoma found with high confidence: {_answer(c)}.",
        lambda _: "A reference: what the maps of a clear success look like.",
    ),
    "found": Reading(
        _is("found"),
        lambda c: f"Melanoma found by both rules: {_over(c)}.",
        lambda c: f"Found, though the model leaves {probability(1 - c.confidence)} to other classes.",
    ),
    "another skin cancer, called": Reading(
        lambda c: c.outcome == "false_alarm" and c.dx in CANCERS,
        lambda c: (
            f"Counted as a **false alarm for melanoma**, but the lesion is {class_name(c.dx)}, which is treated too: {_over(c)}."
        ),
        lambda _: "The figures count it as a cost of the threshold; for the patient the warning was not in vain.",
    ),
    "false alarm under both rules": Reading(
        _is("false_alarm", predicted="mel"),
        lambda c: (
            f"**False alarm**: {class_name(c.dx)} that the model takes for melanoma, with {probability(c.confidence)}."
        ),
        lambda _: (
            "No threshold that finds fewer melanomas by a little would spare it: melanoma is the model's first answer."
        ),
    ),
    "false alarm, though top-1 is right": Reading(
        lambda c: c.outcome == "false_alarm" and c.predicted == c.dx,
        lambda c: f"**False alarm** at the threshold, although top-1 is right: {_answer(c)}. {_over(c)}.",
        lambda _: (
            "The price of sensitivity: accuracy counts this image as correct, the threshold sends it to a second look."
        ),
    ),
    "false alarm, and top-1 wrong as well": Reading(
        _is("false_alarm"),
        lambda c: (
            f"**False alarm**, and top-1 is wrong in another way: {_answer(c)} instead of {class_name(c.dx)}. {_over(c)}."
        ),
        lambda _: "Neither answer of the model is right here; only the warning can be checked at the bedside.",
    ),
    "top-1 says melanoma, the threshold does not": Reading(
        _is("wrong_class", predicted="mel"),
        lambda c: f"Top-1 takes {class_name(c.dx)} for melanoma, but the threshold asks for more: {_below(c)}.",
        lambda _: "Here the frozen threshold is stricter than top-1 and spares a false alarm.",
    ),
    "another skin cancer taken for benign": Reading(
        lambda c: c.outcome == "wrong_class" and c.dx in CANCERS and c.predicted not in CANCERS,
        lambda c: f"**Another skin cancer or its precursor taken for benign**: {class_name(c.dx)} called {_answer(c)}.",
        lambda _: (
            "A harm that melanoma's threshold neither sees nor prevents, and that melanoma's sensitivity does not count."
        ),
    ),
    "confident error": Reading(
        _is("wrong_class", sure=True),
        lambda c: f"**Confident error**: {class_name(c.dx)} called {_answer(c)}.",
        lambda _: "Without consequence for melanoma, but it shows that the model's probabilities can be far too sure.",
    ),
    "benign taken for another skin cancer": Reading(
        lambda c: c.outcome == "wrong_class" and c.dx not in CANCERS and c.predicted in CANCERS,
        lambda c: f"Benign {class_name(c.dx)} taken for {class_name(c.predicted)}, with {probability(c.confidence)}.",
        lambda _: "An error on the careful side: a biopsy too many, not a cancer too few.",
    ),
    "wrong class": Reading(
        _is("wrong_class"),
        lambda c: f"Wrong class: {class_name(c.dx)} called {_answer(c)}; no alarm, and none was due.",
        lambda c: (
            f"The truth has probability {probability(c.truth_probability)}: an unsure confusion rather than a blind spot."
        ),
    ),
    "correct, yet melanoma-like": Reading(
        _is("correct", near=True),
        lambda c: f"Correct, but with a melanoma probability near the threshold: {_below(c)}.",
        lambda _: (
            "Looks melanoma-like to the model: lesions like this one become false alarms when the threshold is lowered."
        ),
    ),
    "correct, surely": Reading(
        _is("correct", sure=True),
        lambda c: f"Very confident correct prediction: {_answer(c)}.",
        lambda c: f"A reference for {class_name(c.dx)}: compare its maps with those of the errors.",
    ),
    "correct": Reading(
        _is("correct"),
        lambda c: f"Correct, with room for doubt: {_answer(c)}.",
        lambda c: (
            f"The runner-up {code(c.top3[1][0])} has {probability(c.top3[1][1])}: right, but not by a clear margin."
        ),
    ),
    "truth unknown, called": Reading(
        lambda c: c.outcome == "unknown" and c.above,
        lambda c: f"The truth is unknown; the frozen threshold calls this image: {_over(c)}.",
        lambda _: "Whether the warning is right cannot be judged here.",
    ),
    "truth unknown, not called": Reading(
        lambda c: c.outcome == "unknown" and not c.above,
        lambda c: f"The truth is unknown; the frozen threshold does not call this image: {_below(c)}.",
        lambda _: "Whether a melanoma is missed cannot be judged here.",
    ),
}
"""Every situation; the first row that applies speaks, and one always does."""


def reading_of(case: Case) -> str:
    """Key of `READINGS`."""
    return next(name for name, reading in READINGS.items() if reading.applies(case))

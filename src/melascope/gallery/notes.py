"""What can be said of a case in sentences, every number computed and nothing claimed that was not tested?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from melascope.gallery.case import Case
from melascope.gallery.phrases import map_phrases, phrases_of
from melascope.gallery.readings import READINGS
from melascope.gallery.remarks import CONTRADICTIONS, LESION_REMARKS, MAP_REMARKS, SPLIT_REMARKS
from melascope.gallery.selection import REASONS
from melascope.gallery.tested import sentence_of, told_tests
from melascope.gallery.wording import DX_TYPES, apart, class_name, code, listed, probability

SITUATIONS = {
    "reading": READINGS,
    "split": SPLIT_REMARKS,
    "lesion": LESION_REMARKS,
    "map": MAP_REMARKS,
    "contradiction": CONTRADICTIONS,
}
"""Every situation that has a sentence of its own. One parametrised test covers each row."""


@dataclass(frozen=True)
class Note:
    """The sentences of one case, in Markdown of `code` and **strong** only.

    Parameters
    ----------
    truth, prediction, top3, meaning, conclusion : the lines of the seed's notes
    split, lesion : which split, and how the lesion's other pictures fared
    maps : one sentence for each of the two maps shown
    tested : what hiding or adding parts of the picture changed, the telling ones; empty where that was not tried
    contradictions : where the evidence and the obvious story part
    known : age, sex, site, and how the truth is known
    chosen : why the image is here
    spoken : keys of `SITUATIONS` and of their rows that spoke
    """

    truth: str
    prediction: str
    top3: str
    meaning: str
    conclusion: str
    split: str
    lesion: str
    maps: tuple[str, ...]
    tested: tuple[str, ...]
    contradictions: tuple[str, ...]
    known: str
    chosen: str
    spoken: tuple[tuple[str, str], ...]


def note_of(case: Case) -> Note:
    """Say what is known of a case."""
    phrases = phrases_of(case)
    reading, split, lesion = (_first(rows, case) for rows in (READINGS, SPLIT_REMARKS, LESION_REMARKS))
    maps = [_first(MAP_REMARKS, case, name) for name in case.shown]
    contradictions = [key for key, remark in CONTRADICTIONS.items() if remark.applies(case)]
    return Note(
        truth=class_name(case.dx),
        prediction=_prediction(case),
        top3=", ".join(code(f"{name}:{probability(value)}") for name, value in case.top3),
        meaning=_said(READINGS[reading].meaning, phrases),
        conclusion=_said(READINGS[reading].conclusion, phrases),
        split=_said(SPLIT_REMARKS[split].says, phrases),
        lesion=_said(LESION_REMARKS[lesion].says, phrases),
        maps=tuple(
            _said(MAP_REMARKS[key].says, map_phrases(case, name)) for key, name in zip(maps, case.shown, strict=True)
        ),
        tested=tuple(sentence_of(test) for test in told_tests(case.tests)),
        contradictions=tuple(_said(CONTRADICTIONS[key].says, phrases) for key in contradictions),
        known=_known(case),
        chosen=listed([REASONS[reason] for reason in case.reasons]),
        spoken=(
            ("reading", reading),
            ("split", split),
            ("lesion", lesion),
            *(("map", key) for key in maps),
            *(("contradiction", key) for key in contradictions),
        ),
    )


def _first(rows: dict[str, Any], *about: Any) -> str:
    """Key of the first row that applies."""
    return next(key for key, row in rows.items() if row.applies(*about))


def _said(template: str, phrases: dict[str, str]) -> str:
    return template.format_map(phrases)


def _prediction(case: Case) -> str:
    p_mel, threshold = apart(case.p_mel, case.threshold)
    side = "at or above" if case.above else "below"
    return (
        f"{code(case.predicted)} ({probability(case.confidence)}); {code(f'P(mel)={p_mel}')}, "
        f"{side} the frozen threshold {code(threshold)}"
    )


def _known(case: Case) -> str:
    facts = [
        f"{case.age:g} years" if case.age is not None else "age unknown",
        code(case.sex) if case.sex else "sex unknown",
        code(case.localization) if case.localization else "site unknown",
        f"truth by {DX_TYPES.get(case.dx_type, code(case.dx_type))}" if case.dx_type else "basis of the truth unknown",
    ]
    return "; ".join(facts)

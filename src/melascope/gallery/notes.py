"""What can be said of a case in sentences, every number computed and nothing claimed that was not tested?"""

from __future__ import annotations

from dataclasses import dataclass

from melascope.gallery.case import Case
from melascope.gallery.readings import READINGS, reading_of
from melascope.gallery.remarks import CONTRADICTIONS, LESION_REMARKS, MAP_REMARKS, SPLIT_REMARKS
from melascope.gallery.selection import REASONS
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
    contradictions: tuple[str, ...]
    known: str
    chosen: str
    spoken: tuple[tuple[str, str], ...]


def note_of(case: Case) -> Note:
    """Say what is known of a case."""
    reading = reading_of(case)
    split = next(name for name, remark in SPLIT_REMARKS.items() if remark.applies(case))
    lesion = next(name for name, remark in LESION_REMARKS.items() if remark.applies(case))
    maps = [next(key for key, remark in MAP_REMARKS.items() if remark.applies(case, name)) for name in case.shown]
    against = [name for name, remark in CONTRADICTIONS.items() if remark.applies(case)]
    return Note(
        truth=class_name(case.dx),
        prediction=_prediction(case),
        top3=", ".join(code(f"{name}:{probability(value)}") for name, value in case.top3),
        meaning=READINGS[reading].meaning(case),
        conclusion=READINGS[reading].conclusion(case),
        split=SPLIT_REMARKS[split].says(case),
        lesion=LESION_REMARKS[lesion].says(case),
        maps=tuple(MAP_REMARKS[key].says(case, name) for key, name in zip(maps, case.shown, strict=True)),
        contradictions=tuple(CONTRADICTIONS[name].says(case) for name in against),
        known=_known(case),
        chosen=listed([REASONS[reason] for reason in case.reasons]),
        spoken=(
            ("reading", reading),
            ("split", split),
            ("lesion", lesion),
            *(("map", key) for key in maps),
            *(("contradiction", name) for name in against),
        ),
    )


def _prediction(case: Case) -> str:
    p_mel, threshold = apart(case.p_mel, case.threshold)
    side = "at or above" if case.above else "below"
    return (
        f"{code(case.predicted)} ({probability(case.confidence)}); {code(f'P(mel)={p_mel}')}, "
        f"{side} the frozen threshold {code(threshold)}"
    )


def _known(case: Case) -> str:
    facts = [
        f"age {case.age:g}" if case.age is not None else "age unknown",
        code(case.sex) if case.sex else "sex unknown",
        code(case.localization) if case.localization else "site unknown",
        f"truth by {DX_TYPES.get(case.dx_type, code(case.dx_type))}" if case.dx_type else "basis of the truth unknown",
    ]
    return "; ".join(facts)

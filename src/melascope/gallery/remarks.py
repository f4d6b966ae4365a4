"""What must a reader know beside the answer: the split, the lesion's other pictures, and where the maps lie?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from melascope.gallery.case import Case, SameLesion
from melascope.gallery.wording import class_name, code, count, listed, percent, probability
from melascope.tables.results import NotApplicable

FULL = 0.8
"""From this share of the picture on, a lesion fills it."""


@dataclass(frozen=True)
class Remark:
    """A situation: when it applies, and the sentence for it."""

    applies: Callable[[Case], bool]
    says: Callable[[Case], str]


SPLIT_REMARKS: dict[str, Remark] = {
    "train": Remark(
        lambda c: c.split == "train",
        lambda _: "**This image was in the training set: it says nothing about unseen lesions.**",
    ),
    "val": Remark(
        lambda c: c.split == "val",
        lambda _: (
            "**This image was in the validation set, which chose the checkpoint and the threshold**: it says little about unseen lesions."
        ),
    ),
    "test": Remark(
        lambda c: c.split == "test",
        lambda _: "Test image: no picture of its lesion was trained on or used to choose the threshold.",
    ),
    "held_out": Remark(
        lambda c: c.split == "held_out",
        lambda _: "Held out by hand: no picture of its lesion was trained on or used to choose the threshold.",
    ),
    "unknown": Remark(
        lambda c: c.split == "",
        lambda _: "**The split of this image is unknown: the model may have been trained on it.**",
    ),
    "foreign": Remark(
        lambda _: True,
        lambda c: f"**The split {code(c.split)} is none of ours: the model may have been trained on it.**",
    ),
}
"""The first row that applies speaks."""


def _agree(case: Case, *, melanoma: bool, above: bool) -> Callable | bool:
    return (case.dx == "mel") is melanoma and case.above is above and all(o.above is above for o in case.same_lesion)


def _pictures(case: Case) -> str:
    return count(len(case.same_lesion) + 1, "picture")


def _fared(others: tuple[SameLesion, ...]) -> str:
    return listed(
        [
            f"{code(o.image_id)} ({o.split or 'split unknown'}, P(mel)={probability(o.p_mel)}, "
            f"{'called' if o.above else 'not called'})"
            for o in others
        ]
    )


def _counts(case: Case) -> str:
    called = sum(o.above for o in case.same_lesion) + case.above
    return f"{called} of {len(case.same_lesion) + 1} called"


LESION_REMARKS: dict[str, Remark] = {
    "no lesion id": Remark(
        lambda c: c.lesion_id == "",
        lambda _: "The lesion is not known, so other pictures of it may be in the data, even in training.",
    ),
    "only picture": Remark(
        lambda c: not c.same_lesion,
        lambda c: f"The only picture of lesion {code(c.lesion_id)} in the predictions.",
    ),
    "melanoma, every picture missed": Remark(
        lambda c: _agree(c, melanoma=True, above=False),
        lambda c: (
            f"**{_pictures(c)} of ONE lesion ({code(c.lesion_id)}), not {len(c.same_lesion) + 1} missed melanomas**; also missed: {_fared(c.same_lesion)}."
        ),
    ),
    "melanoma, this picture missed, another found": Remark(
        lambda c: c.dx == "mel" and not c.above,
        lambda c: (
            f"**{_pictures(c)} of ONE lesion ({code(c.lesion_id)}), {_counts(c)}**: this picture is missed, yet the same melanoma is found in another. The others: {_fared(c.same_lesion)}."
        ),
    ),
    "melanoma, every picture found": Remark(
        lambda c: _agree(c, melanoma=True, above=True),
        lambda c: (
            f"{_pictures(c)} of one lesion ({code(c.lesion_id)}), all found; the others: {_fared(c.same_lesion)}."
        ),
    ),
    "melanoma, this picture found, another missed": Remark(
        lambda c: c.dx == "mel",
        lambda c: (
            f"**{_pictures(c)} of ONE lesion ({code(c.lesion_id)}), {_counts(c)}**: this picture is found, another of the same melanoma is missed. The others: {_fared(c.same_lesion)}."
        ),
    ),
    "no truth, several pictures": Remark(
        lambda c: c.dx == "",
        lambda c: (
            f"{_pictures(c)} of one lesion ({code(c.lesion_id)}) of unknown truth, {_counts(c)}; the others: {_fared(c.same_lesion)}."
        ),
    ),
    "another lesion, every picture called": Remark(
        lambda c: _agree(c, melanoma=False, above=True),
        lambda c: (
            f"**{_pictures(c)} of ONE lesion ({code(c.lesion_id)}), not {len(c.same_lesion) + 1} false alarms**; also called: {_fared(c.same_lesion)}."
        ),
    ),
    "another lesion, no picture called": Remark(
        lambda c: _agree(c, melanoma=False, above=False),
        lambda c: (
            f"{_pictures(c)} of one lesion ({code(c.lesion_id)}), none called; the others: {_fared(c.same_lesion)}."
        ),
    ),
    "another lesion, verdicts differ": Remark(
        lambda _: True,
        lambda c: (
            f"{_pictures(c)} of one lesion ({code(c.lesion_id)}), {_counts(c)}: the alarm depends on the picture, not on the lesion alone. The others: {_fared(c.same_lesion)}."
        ),
    ),
}
"""The first row that applies speaks."""


@dataclass(frozen=True)
class MapRemark:
    """As `Remark`, for the map of one of the two classes shown."""

    applies: Callable[[Case, str], bool]
    says: Callable[[Case, str], str]


def _score(case: Case, name: str):
    return case.map_scores[case.shown.index(name)]


def _placed(case: Case, name: str) -> bool:
    """Whether it is defined how much of the map lies inside the lesion."""
    score = _score(case, name)
    return not isinstance(score, NotApplicable) and not isinstance(score.share_inside, NotApplicable)


def _inside(case: Case, name: str) -> bool:
    """The peak is inside, and so is more of the map than of a map that ignores the picture."""
    score = _score(case, name)
    return _placed(case, name) and score.peak_inside is True and score.share_inside > score.area_share


def _outside(case: Case, name: str) -> bool:
    """The peak is outside, or less of the map is inside than of a map that ignores the picture."""
    score = _score(case, name)
    return _placed(case, name) and (score.peak_share == 0 or score.share_inside < score.area_share)


def _where(case: Case, name: str) -> str:
    score = _score(case, name)
    peak = {1: "its peak is inside", 0: "its peak is outside"}.get(score.peak_share, "its peak lies on the outline")
    return (
        f"{percent(score.share_inside)} of the {code(name)} map lies inside the lesion, "
        f"which covers {percent(score.area_share)} of the picture; {peak}"
    )


def map_place(case: Case, name: str) -> str:
    """Where a map lies, in a few words for a caption."""
    if not case.has_evidence(name):
        return "no positive evidence"
    if not _placed(case, name):
        return f"inside the lesion: not known, {_reason(case, name)}"
    score = _score(case, name)
    peak = {1: "inside", 0: "outside"}.get(score.peak_share, "on the outline")
    return f"{percent(score.share_inside)} inside the lesion ({percent(score.area_share)} of the area), peak {peak}"


def _reason(case: Case, name: str) -> str:
    score = _score(case, name)
    return score.reason if isinstance(score, NotApplicable) else score.share_inside.reason


MAP_REMARKS: dict[str, MapRemark] = {
    "no positive evidence": MapRemark(
        lambda c, name: not c.has_evidence(name),
        lambda c, name: f"**No positive evidence**: no cell of the {code(name)} map speaks for {class_name(name)}.",
    ),
    "not scored": MapRemark(
        lambda c, name: not _placed(c, name),
        lambda c, name: f"How much of the {code(name)} map lies inside the lesion is not known: {_reason(c, name)}.",
    ),
    "on the lesion": MapRemark(
        _inside,
        lambda c, name: f"{_where(c, name)}: it is drawn to the lesion.",
    ),
    "peak inside, but spread out": MapRemark(
        lambda c, name: _score(c, name).peak_share == 1,
        lambda c, name: (
            f"{_where(c, name)}; over the whole picture it favours the lesion no more than an even map would."
        ),
    ),
    "beside the lesion": MapRemark(
        lambda c, name: _outside(c, name) and _score(c, name).share_inside < _score(c, name).area_share,
        lambda c, name: f"{_where(c, name)}: less than an even map would put there.",
    ),
    "peak outside, but most weight inside": MapRemark(
        lambda _case, _name: True,
        lambda c, name: f"{_where(c, name)}: drawn to the lesion, but not at its strongest.",
    ),
}
"""The first row that applies speaks, for each of the two maps."""


def _peak_cell(case: Case, name: str) -> int:
    return int(np.argmax(case.cells(name)))


def _wrong(case: Case) -> bool:
    return case.dx not in ("", case.predicted)


CONTRADICTIONS: dict[str, Remark] = {
    "missed, though the melanoma map is on the lesion": Remark(
        lambda c: c.outcome == "missed" and _inside(c, "mel"),
        lambda _: (
            "Missed **although** the `mel` map is drawn to the lesion: the map gives no sign that the model looked elsewhere; what it saw there did not count enough."
        ),
    ),
    "missed, with the melanoma map beside the lesion": Remark(
        lambda c: c.outcome == "missed" and _outside(c, "mel"),
        lambda _: (
            "What speaks for melanoma here does not lie on the lesion, so even a higher P(mel) would not show that the lesion was recognised."
        ),
    ),
    "missed without any evidence for melanoma": Remark(
        lambda c: c.outcome == "missed" and not c.has_evidence("mel"),
        lambda _: (
            "Nothing in the picture spoke for melanoma at this layer: this is no near miss of the map, whatever the probability."
        ),
    ),
    "wrong answer from beside the lesion": Remark(
        lambda c: _wrong(c) and c.predicted != "mel" and _outside(c, c.predicted),
        lambda c: (
            f"The wrong answer {code(c.predicted)} does not rest on the lesion by its map: something beside it may matter. Not tested by hiding it."
        ),
    ),
    "right answer from beside the lesion": Remark(
        lambda c: c.dx == c.predicted and _outside(c, c.predicted),
        lambda c: (
            f"Right, **but** the {code(c.predicted)} map does not rest on the lesion: the answer may be right for another reason. Not tested by hiding it."
        ),
    ),
    "alarm from beside the lesion": Remark(
        lambda c: c.outcome == "false_alarm" and _outside(c, "mel"),
        lambda _: (
            "The alarm's map does not rest on the lesion: hair, skin or an artefact may have raised it. Not tested by hiding them."
        ),
    ),
    "both maps peak in one cell": Remark(
        lambda c: all(c.has_evidence(n) for n in c.shown) and _peak_cell(c, c.shown[0]) == _peak_cell(c, c.shown[1]),
        lambda c: (
            f"Both maps peak in the same cell: they do not show what tells {code(c.shown[0])} from {code(c.shown[1])} here."
        ),
    ),
    "the losing class has the hotter spot": Remark(
        lambda c: c.predicted != "mel" and 0 < c.cells(c.predicted).max() < c.cells("mel").max(),
        lambda c: (
            f"The single strongest cell speaks for `mel`, not for the answer {code(c.predicted)}, whose evidence is spread wider."
        ),
    ),
    "lesion fills the picture": Remark(
        lambda c: any(_placed(c, n) and _score(c, n).area_share >= FULL for n in c.shown),
        lambda c: (
            f"The lesion covers {percent(c.map_scores[0].area_share)} of the picture, so lying inside it says little."
        ),
    ),
}
"""Where the evidence and the obvious story part; every row that applies speaks."""

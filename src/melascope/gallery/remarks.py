"""What must a reader know beside the answer: the split, the lesion's other pictures, and where the maps lie?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from melascope.gallery.case import Case
from melascope.gallery.tested import Test, is_of_map
from melascope.tables.results import NotApplicable

FULL = 0.8
"""From this share of the picture on, a lesion fills it."""


@dataclass(frozen=True)
class Remark:
    """A situation: when it applies, and its sentence as a template over `phrases_of`."""

    applies: Callable[[Case], bool]
    says: str


@dataclass(frozen=True)
class MapRemark:
    """As `Remark`, for the map of one of the two classes shown, over `map_phrases`."""

    applies: Callable[[Case, str], bool]
    says: str


SPLIT_REMARKS: dict[str, Remark] = {
    "train": Remark(
        lambda case: case.split == "train",
        "**This image was in the training set: it says nothing about unseen lesions.**",
    ),
    "val": Remark(
        lambda case: case.split == "val",
        "**This image was in the validation set, which chose the checkpoint and the threshold: "
        "it says little about unseen lesions.**",
    ),
    "test": Remark(
        lambda case: case.split == "test",
        "Test image: neither it nor, by its lesion id, another picture of its lesion was trained on "
        "or chose the threshold.",
    ),
    "held_out": Remark(
        lambda case: case.split == "held_out",
        "Held out by hand: neither it nor, by its lesion id, another picture of its lesion was trained on "
        "or chose the threshold.",
    ),
    "unknown": Remark(
        lambda case: case.split == "",
        "**The split of this image is unknown: the model may have been trained on it.**",
    ),
    "foreign": Remark(
        lambda _: True,
        "**The split {split} is none of ours: the model may have been trained on this image.**",
    ),
}
"""The first row that applies speaks."""


def _all_alike(*, melanoma: bool, above: bool) -> Callable[[Case], bool]:
    def applies(case: Case) -> bool:
        return (case.dx == "mel") is melanoma and {case.above, *(o.above for o in case.same_lesion)} == {above}

    return applies


LESION_REMARKS: dict[str, Remark] = {
    "no lesion id": Remark(
        lambda case: case.lesion_id == "",
        "The lesion is not known, so other pictures of it may be in the data, even in training.",
    ),
    "only picture": Remark(
        lambda case: not case.same_lesion,
        "The only picture of lesion {lesion} in the predictions.",
    ),
    "truth unknown, several pictures": Remark(
        lambda case: case.dx == "",
        "{pictures} of one lesion ({lesion}) of unknown truth, {called}; beside this one: {others}.",
    ),
    "melanoma, every picture missed": Remark(
        _all_alike(melanoma=True, above=False),
        "**{pictures} of ONE lesion ({lesion}), not {n_pictures} missed melanomas**; also missed: {others}.",
    ),
    "melanoma, every picture found": Remark(
        _all_alike(melanoma=True, above=True),
        "{pictures} of one lesion ({lesion}), all found; beside this one: {others}.",
    ),
    "melanoma, this picture missed, another found": Remark(
        lambda case: case.dx == "mel" and not case.above,
        "**{pictures} of ONE lesion ({lesion}), {called}**: missed in this picture, found in another. "
        "Beside this one: {others}.",
    ),
    "melanoma, this picture found, another missed": Remark(
        lambda case: case.dx == "mel",
        "**{pictures} of ONE lesion ({lesion}), {called}**: found in this picture, missed in another. "
        "Beside this one: {others}.",
    ),
    "not melanoma, every picture called": Remark(
        _all_alike(melanoma=False, above=True),
        "**{pictures} of ONE lesion ({lesion}), not {n_pictures} false alarms**; also called: {others}.",
    ),
    "not melanoma, no picture called": Remark(
        _all_alike(melanoma=False, above=False),
        "{pictures} of one lesion ({lesion}), none called; beside this one: {others}.",
    ),
    "not melanoma, verdicts differ": Remark(
        lambda _: True,
        "**{pictures} of ONE lesion ({lesion}), {called}**: the same lesion is called in one picture "
        "and not in another. Beside this one: {others}.",
    ),
}
"""The first row that applies speaks."""


def _placed(case: Case, name: str) -> bool:
    """Whether it is defined how much of the map lies inside the lesion."""
    score = case.score_of(name)
    return not isinstance(score, NotApplicable) and not isinstance(score.share_inside, NotApplicable)


def _more_than_even(case: Case, name: str) -> bool:
    """Whether more of the map lies inside than of a map that ignores the picture."""
    score = case.score_of(name)
    return _placed(case, name) and score.share_inside > score.area_share


def _readable(case: Case, name: str) -> bool:
    return _placed(case, name) and not case.is_faint(name)


def _on(case: Case, name: str) -> bool:
    """A map that can be read, with its peak and more than its share inside the lesion."""
    return _readable(case, name) and _more_than_even(case, name) and case.score_of(name).peak_share == 1


def _off(case: Case, name: str) -> bool:
    """A map that can be read, with its peak outside the lesion or no more than its share inside."""
    return _readable(case, name) and (not _more_than_even(case, name) or case.score_of(name).peak_share == 0)


MAP_REMARKS: dict[str, MapRemark] = {
    "no positive evidence": MapRemark(
        lambda case, name: not case.has_evidence(name),
        "**No positive evidence**: no cell of the {map} map speaks for {class_name}.",
    ),
    "not scored": MapRemark(
        lambda case, name: not _placed(case, name),
        "How much of the {map} map lies inside the lesion is not known: {reason}.",
    ),
    "faint": MapRemark(
        lambda case, name: case.is_faint(name),
        "The {map} map is faint, so where it lies says little: its strongest cell has {strength} of the strongest "
        "evidence for any class; {where}.",
    ),
    "on the lesion": MapRemark(
        _on,
        "The {map} map is drawn to the lesion: {where}.",
    ),
    "peak inside, but spread out": MapRemark(
        lambda case, name: case.score_of(name).peak_share == 1,
        "The {map} map peaks on the lesion but is spread out, no more inside than an even map: {where}.",
    ),
    "beside the lesion": MapRemark(
        lambda case, name: not _more_than_even(case, name),
        "The {map} map lies mostly beside the lesion, no more inside than an even map: {where}.",
    ),
    "on the lesion, but peak outside": MapRemark(
        lambda _case, _name: True,
        "The {map} map leans to the lesion, but not at its strongest: {where}.",
    ),
}
"""The first row that applies speaks, for each of the two maps."""


def _same_peak(case: Case) -> bool:
    legible = all(case.has_evidence(name) and not case.is_faint(name) for name in case.shown)
    return legible and len({int(np.argmax(case.cells(name))) for name in case.shown}) == 1


def _melanoma_hotter(case: Case) -> bool:
    return case.predicted != "mel" and 0 < case.cells(case.predicted).max() < case.cells("mel").max()


def _hottest_is_idle(case: Case) -> bool:
    hidden = [test for test in case.tests if is_of_map(test, "mel") and test.name.startswith("hottest")]
    return bool(hidden) and not any(test.beyond_chance for test in hidden)


def _hidden_beside(case: Case) -> list[Test]:
    """Tests that hid something beside the lesion: a hot spot of a map, a coloured spot, hair, a ruler."""
    inside = ("lesion", "hottest")
    return [test for test in case.tests if test.name.endswith("removed") and not test.name.startswith(inside)]


def _idle_beside(case: Case) -> bool:
    """A map points beside the lesion, what it points at was hidden, and nothing came of it."""
    spots = [test for test in _hidden_beside(case) if test.name.startswith("hot spot")]
    return any(_off(case, name) for name in case.shown) and bool(spots) and not any(one.beyond_chance for one in spots)


def _hangs_on_beside(case: Case) -> bool:
    """The map of melanoma is drawn to the lesion, and yet something beside it changes P(mel)."""
    return _on(case, "mel") and any(test.beyond_chance for test in _hidden_beside(case))


def _called_without_lesion(case: Case) -> bool:
    removed = [test for test in case.tests if test.name == "lesion removed"]
    return bool(removed) and all(test.above == (True, True) for test in removed)


CONTRADICTIONS: dict[str, Remark] = {
    "missed, though the melanoma map is on the lesion": Remark(
        lambda case: case.outcome == "missed" and _on(case, "mel"),
        "Missed **although** the `mel` map is drawn to the lesion: by this map the model did not look past it. "
        "Why that evidence was not enough, the map cannot say.",
    ),
    "missed, with the melanoma map beside the lesion": Remark(
        lambda case: case.outcome == "missed" and _off(case, "mel"),
        "By its map, what speaks for melanoma {mel_off}.",
    ),
    "missed with faint evidence for melanoma": Remark(
        lambda case: case.outcome == "missed" and case.is_faint("mel"),
        "What speaks for melanoma is faint: its strongest cell has {mel_strength} of the strongest evidence "
        "for any class.",
    ),
    "missed without any evidence for melanoma": Remark(
        lambda case: case.outcome == "missed" and not case.has_evidence("mel"),
        "By its map this is no near miss: no cell speaks for melanoma.",
    ),
    "found by the threshold from beside the lesion": Remark(
        lambda case: case.outcome == "found_by_threshold" and _off(case, "mel"),
        "Found, **but** by its map what speaks for melanoma {mel_off}.",
    ),
    "answer without evidence": Remark(
        lambda case: not case.has_evidence(case.predicted),
        "No cell speaks for the answer {predicted}: by the maps it is only the class with the least against it.",
    ),
    "wrong answer from beside the lesion": Remark(
        lambda case: case.dx not in ("", case.predicted) and case.predicted != "mel" and _off(case, case.predicted),
        "By its map, what speaks for the wrong answer {predicted} {predicted_off}: something beside the lesion may "
        "matter.{untested}",
    ),
    "right answer from beside the lesion": Remark(
        lambda case: case.dx == case.predicted and _off(case, case.predicted),
        "Right, **but** by its map what speaks for {predicted} {predicted_off}: something beside the lesion may "
        "matter.{untested}",
    ),
    "alarm from beside the lesion": Remark(
        lambda case: case.outcome == "false_alarm" and _off(case, "mel"),
        "By its map, what speaks for the alarm {mel_off}: skin, hair or an artefact may matter.{untested}",
    ),
    "hiding where the melanoma map is hottest changes nothing": Remark(
        _hottest_is_idle,
        "Hiding the hottest part of the `mel` map changes P(mel) no more than hiding the same form elsewhere: "
        "the answer does not hang on that part alone.",
    ),
    "the map points beside the lesion, but hiding that changes nothing": Remark(
        _idle_beside,
        "A map points beside the lesion, **but** hiding its hot spots there changes P(mel) no more than hiding the "
        "same form elsewhere: the map alone does not make them a cause.",
    ),
    "the map is on the lesion, but what lies beside it matters": Remark(
        _hangs_on_beside,
        "**Although** the `mel` map is drawn to the lesion, hiding something beside it changes P(mel) beyond chance: "
        "the map does not show all that the answer hangs on.",
    ),
    "called without its lesion": Remark(
        _called_without_lesion,
        "With the lesion removed and skin in its place it is **still called**: what lies around it is enough for that.",
    ),
    "both maps peak in one cell": Remark(
        _same_peak,
        "Both maps peak in the same cell: they do not show what tells {shown} here.",
    ),
    "melanoma has the hottest cell": Remark(
        _melanoma_hotter,
        "The strongest single cell speaks for `mel`, not for the answer {predicted}, whose evidence is spread wider.",
    ),
    "lesion fills the picture": Remark(
        lambda case: any(_placed(case, name) and case.score_of(name).area_share >= FULL for name in case.shown),
        "The lesion covers {area} of the picture, so lying inside it says little.",
    ),
}
"""Where the evidence and the obvious story part; every row that applies speaks."""

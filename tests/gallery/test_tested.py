"""Are the telling interventions told, in sentences that the numbers bear?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from hiding_a_spot import SPOT
from melascope.gallery.notes import note_of
from melascope.gallery.tested import TOLD, flips_of, sentence_of, told_tests
from melascope.tables.results import NotApplicable


def test_the_sentence_of_the_seeds_pair():
    assert sentence_of(SPOT) == (
        "Coloured spot 1 beside it removed (in-painted): this raises P(mel) from 0.0700 to 0.3100, above the "
        "threshold; the first answer becomes `mel`; the same form placed at random changes it by +0.0100 on average "
        "(n=99, p=0.01)."
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"after": 0.07, "above": (False, False), "predicted": ("vasc", "vasc")}, "leaves P(mel) at 0.0700; the same"),
        ({"after": 0.01, "above": (False, False)}, "lowers P(mel) from 0.0700 to 0.0100; the first"),
        ({"above": (True, False)}, ", below the threshold"),
        ({"p_value": 0.3}, "p=0.30): no more than chance would."),
        (
            {"p_value": NotApplicable("no room for a control"), "control_mean": NotApplicable("no room for a control")},
            "becomes `mel`. No room for a control, so chance is not excluded.",
        ),
    ],
)
def test_a_sentence_says_no_more_than_its_numbers(change, said):
    assert said in sentence_of(replace(SPOT, **change))


def test_only_flips_beyond_chance_count():
    by_chance = replace(SPOT, name="hair removed", p_value=0.4)
    unknown = replace(SPOT, name="ruler removed", p_value=NotApplicable("no room for a control"))
    steady = replace(SPOT, name="lesion removed", above=(False, False))
    assert flips_of((by_chance, steady, SPOT, replace(SPOT, fill="blurred"), unknown)) == (SPOT.name,)


def test_flips_beyond_chance_are_told_first_and_each_part_once():
    tests = tuple(replace(SPOT, name=f"part {n} removed", above=(False, False)) for n in range(6))
    told = told_tests((*tests, SPOT, replace(SPOT, fill="blurred")))
    assert told[0] == SPOT and len(told) == TOLD
    assert len({test.name for test in told}) == TOLD


def test_what_chance_explains_is_told_only_of_the_melanoma_map():
    idle = replace(SPOT, above=(False, False), p_value=0.5)
    hottest = replace(idle, name="hottest 5 % of the mel map removed")
    assert told_tests((idle, hottest, replace(idle, name="hottest 5 % of the nv map removed"))) == [hottest]


def test_a_note_tells_them(make_case):
    assert note_of(make_case(tests=(SPOT,))).tested == (sentence_of(SPOT),)
    assert note_of(make_case()).tested == ()

"""Are numbers exact, and are other people's words harmless?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melascope.gallery.wording import apart, code, listed, percent


@given(st.text())
def test_foreign_text_stays_one_piece_of_code_in_a_note(text):
    note = f"**Missed**: {code(text)}."
    assert note.count("`") == 2 and "\n" not in note and "``" not in note


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.005, "under 1 %"), (0.01, "1 %"), (0.254, "25 %"), (0.996, "over 99 %"), (1, "100 %")],
)
def test_percent_keeps_0_and_100_for_what_is_truly_so(share, text):
    assert percent(share) == text


@given(st.floats(0, 1), st.floats(0, 1))
def test_two_numbers_are_told_apart_if_twelve_decimals_can(a, b):
    texts = apart(a, b)
    assert (texts[0] == texts[1]) == (f"{a:.12f}" == f"{b:.12f}") or a == b
    assert all(len(text.split(".")[1]) >= 4 for text in texts)


def test_lists_are_counted_beyond_six():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"

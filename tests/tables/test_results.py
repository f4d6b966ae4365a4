"""Does a figure say its n and interval, or the reason why there is none, on paper and in JSON alike?"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melascope.tables.results import Estimate, NotApplicable, figure_from_json

number = st.floats(allow_nan=False, allow_infinity=False)
count, unit = st.integers(0), st.sampled_from(["image", "lesion"])
figures = st.one_of(
    st.builds(NotApplicable, st.text()),
    st.builds(Estimate, number, st.none() | number, st.none() | number, count, count, unit),
)


@given(figures)
def test_json_gives_back_the_figure(figure):
    assert figure_from_json(json.loads(json.dumps(figure.as_json(), allow_nan=False))) == figure


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (Estimate(0.75, 0.5, 0.875, 8, 6), "0.750 [0.500, 0.875] (n=8 images of 6 lesions)"),
        (Estimate(1.0, None, None, 1, 1, "lesion"), "1.000 (n=1 lesion)"),
        (NotApplicable("n=0 melanoma images"), "not applicable (n=0 melanoma images)"),
    ],
)
def test_a_figure_reads_as_it_should(figure, text):
    assert str(figure) == text

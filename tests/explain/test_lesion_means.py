"""Do means and their differences have the interval that independent formulas give, and leave undefined images out?"""

import numpy as np
import pytest
from scipy import stats

from melascope.explain.lesion_means import Difference, Mean, figures_by_lesion
from melascope.tables.results import NotApplicable

N = 200
RNG = np.random.default_rng(0)
VALUES = RNG.beta(4, 3, N)
ALL = np.ones(N, dtype=bool)
OWN = np.arange(N).astype(str).astype(object)


def test_one_image_a_lesion_is_students_t():
    figure = figures_by_lesion({("m",): Mean(VALUES - 0.5, ALL, "difference")}, OWN)[("m",)]
    expected = stats.t.interval(0.95, N - 1, VALUES.mean() - 0.5, stats.sem(VALUES))
    assert (figure.low, figure.high) == pytest.approx(expected, abs=0.004)
    assert (figure.n, figure.n_lesions, figure.value) == (N, N, pytest.approx(VALUES.mean() - 0.5))


def test_images_of_one_lesion_are_no_new_witnesses():
    twice, lesion = np.tile(VALUES, 2), np.tile(OWN, 2)
    one = figures_by_lesion({("m",): Mean(VALUES, ALL)}, OWN)[("m",)]
    both = figures_by_lesion({("m",): Mean(twice, np.ones(2 * N, bool))}, lesion)[("m",)]
    assert both.n == 2 * N and both.n_lesions == N
    assert (both.low, both.high) == pytest.approx((one.low, one.high), abs=1e-6)


def test_undefined_images_are_left_out_and_not_zero():
    values = VALUES.copy()
    values[:50] = np.nan
    figure = figures_by_lesion({("m",): Mean(values, ALL)}, OWN)[("m",)]
    assert figure.n == 150 and figure.value == pytest.approx(VALUES[50:].mean())
    nothing = figures_by_lesion({("m",): Mean(values, np.arange(N) < 50, reason="no evidence")}, OWN)[("m",)]
    assert nothing == NotApplicable("no evidence")


def test_difference_of_two_groups_is_welchs():
    first = np.arange(N) < 80
    figure = figures_by_lesion({("d",): Difference(Mean(VALUES, first), Mean(VALUES, ~first))}, OWN)[("d",)]
    expected = stats.ttest_ind(VALUES[first], VALUES[~first], equal_var=False).confidence_interval()
    assert figure.value == pytest.approx(VALUES[first].mean() - VALUES[~first].mean())
    assert (figure.low, figure.high) == pytest.approx(tuple(expected), abs=0.008)
    assert figure.n == figure.n_lesions == N


def test_few_lesions_have_no_interval_and_a_share_never_degenerates():
    few = figures_by_lesion({("m",): Mean(VALUES[:8], ALL[:8])}, OWN[:8])[("m",)]
    assert few.low is None
    share = figures_by_lesion({("s",): Mean(np.ones(40), np.ones(40, bool), "share")}, OWN[:40])[("s",)]
    assert share.value == 1 and 0.8 < share.low < 1 == share.high


def test_difference_of_shares_keeps_its_width_where_one_is_0():
    """Method 10 of Newcombe 1998 from Wilson's intervals: 0 of 10 against 10 of 20."""
    values = np.repeat([0.0, 1.0, 0.0], 10)
    first = np.arange(30) < 10
    asked = {("d",): Difference(Mean(values, first, "share"), Mean(values, ~first, "share"))}
    figure = figures_by_lesion(asked, OWN[:30])[("d",)]
    wilson_0_10, wilson_10_20 = (0.0, 0.2775), (0.2993, 0.7007)
    low = -0.5 - (0.5 - wilson_10_20[0])
    high = -0.5 + ((wilson_0_10[1]) ** 2 + (0.5 - wilson_10_20[0]) ** 2) ** 0.5
    assert (figure.low, figure.high) == pytest.approx((low, high), abs=0.06)  # Student's t widens ours a little
    assert figure.low < low and figure.high > high

"""Does the rule find what is there, report absence where nothing is, and stay undecided in between?"""

import numpy as np
import pytest
from scipy import stats

from melascope.explain.paired import ABSENT, FLOOR, FOUND, UNDECIDED, Side, paired_effect, verdict_of
from melascope.tables.results import Estimate, NotApplicable


def side(log_odds, threshold=0.5):
    p_target = 1 / (1 + np.exp(-log_odds))
    return Side(log_odds, p_target, p_target >= threshold)


def lesions(n):
    return np.array([f"L{k // 2}" for k in range(n)], dtype=object)


def effect(change, inert=0.0, n=200, spread=0.3, seed=0, **options):
    rng = np.random.default_rng(seed)
    before = rng.normal(0, 1, n)
    after, control = (before + rng.normal(mean, spread, n) for mean in (change, inert))
    return paired_effect("ruler", side(before), side(after), side(control), lesions(n), **options)


@pytest.mark.parametrize(
    ("change", "inert", "verdict"),
    [
        (1.5, 0.0, FOUND),
        (-1.5, 0.0, FOUND),
        (0.0, 0.0, ABSENT),
        (0.3, 0.0, ABSENT),  # real, but below the floor
        (1.5, 1.5, UNDECIDED),  # the control does it too
        (1.5, 2.5, UNDECIDED),
        (0.7, 0.0, UNDECIDED),  # the interval holds the floor
    ],
)
def test_the_rule(change, inert, verdict):
    assert effect(change, inert).verdict == verdict


def test_the_level_is_corrected_for_what_was_looked_at():
    one, six = effect(0.5), effect(0.5, looked_at=6)
    assert six.level == pytest.approx(1 - 0.05 / 6)
    assert six.change.high - six.change.low > 1.2 * (one.change.high - one.change.low)
    assert six.change.value == one.change.value


def test_the_interval_of_a_mean_is_students_where_every_image_is_a_lesion():
    rng = np.random.default_rng(3)
    before, moved = rng.normal(0, 1, 150), rng.normal(0.4, 0.8, 150)
    found = paired_effect("x", side(before), side(before + moved), None, np.arange(150).astype(str), draws=4000)
    expected = stats.t.interval(0.95, 149, moved.mean(), stats.sem(moved))
    assert (found.change.low, found.change.high) == pytest.approx(expected, abs=0.01)


def test_images_of_one_lesion_are_no_independent_witnesses():
    """The same values, in lesions of two that agree, or each a lesion of its own."""
    rng = np.random.default_rng(1)
    moved = np.repeat(rng.normal(0.5, 1, 60), 2)
    before = np.zeros(120)
    together = paired_effect("x", side(before), side(moved), None, lesions(120))
    alone = paired_effect("x", side(before), side(moved), None, np.arange(120).astype(str))
    ratio = (together.change.high - together.change.low) / (alone.change.high - alone.change.low)
    assert ratio == pytest.approx(np.sqrt(2), rel=0.1)


def test_decisions_are_counted_as_they_are():
    before = np.array([-1.0, -1, 1, 1, 1] * 8)
    after = np.array([1.0, -1, -1, -1, 1] * 8)
    found = paired_effect("x", side(before), side(after), None, np.arange(40).astype(str))
    assert (found.switched_on, found.switched_off) == (8, 16)
    assert found.flipped.value == pytest.approx(0.6)
    assert found.called.value == pytest.approx(-0.2)
    assert found.called.low < -0.2 < found.called.high
    assert found.moved.value == pytest.approx(1.2)


def test_without_a_threshold_no_decision_is_claimed():
    bare = Side(np.zeros(20), np.full(20, 0.5), None)
    found = paired_effect("x", bare, bare, None, np.arange(20).astype(str))
    assert isinstance(found.flipped, NotApplicable) and found.switched_on == -1


def test_few_lesions_give_no_interval_and_no_verdict():
    found = effect(3.0, n=10)
    assert isinstance(found.change, NotApplicable) and found.verdict == UNDECIDED


def test_without_a_control_nothing_is_found():
    large = Estimate(3.0, 2.0, 4.0, 50, 50)
    assert verdict_of(large, None, None) == UNDECIDED
    assert verdict_of(large, Estimate(0.0, -0.1, 0.1, 50, 50), large) == FOUND
    assert verdict_of(Estimate(0.0, -FLOOR, 0.1, 50, 50), None, None) == UNDECIDED


def test_absence_is_claimed_falsely_at_most_as_often_as_stated():
    """An effect exactly at the floor is called absent in at most 2.5 % of samples (one side of a 95 % interval)."""
    false = [effect(FLOOR, n=60, seed=seed, draws=300).verdict == ABSENT for seed in range(200)]
    assert np.mean(false) < 0.06

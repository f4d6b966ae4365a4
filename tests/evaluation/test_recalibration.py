"""Do slope and in-the-large agree with scikit-learn and scipy, under weights, ties, extremes and separation?"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from melascope.evaluation import recalibration
from melascope.evaluation.intervals import lesion_draws
from melascope.evaluation.recalibration import EXACT_UP_TO, Recalibration


def drawn(seed, n, slope=0.7, shift=0.4, levels=None, spread=2.0):
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(-1, spread, n)
    if levels:
        log_odds = np.round(log_odds * levels) / levels
    truth = rng.random(n) < expit(shift + slope * log_odds)
    lesion = rng.integers(0, max(1, n * 3 // 4), n)
    return Recalibration(log_odds, truth, lesion, int(lesion.max()) + 1), rng


def reference(subject, weight):
    """Intercept and slope by scikit-learn, and in-the-large by a root of its score, under image weights (n,)."""
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    model.fit(subject.log_odds[:, None], subject.truth, sample_weight=weight)
    alone = brentq(lambda a: (weight * (subject.truth - expit(a + subject.log_odds))).sum(), -500, 500, xtol=1e-12)
    return model.intercept_[0], model.coef_[0, 0], alone


def by_rule(subject, weight):
    """Whether the free fit has a finite maximum, by the definition of separation."""
    seen = weight > 0
    positive, negative = subject.log_odds[seen & subject.truth], subject.log_odds[seen & ~subject.truth]
    if len(positive) == 0 or len(negative) == 0:
        return False
    return max(negative) > min(positive) and max(positive) > min(negative)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(4, 80),
    levels=st.sampled_from([None, 1, 4]),
    spread=st.sampled_from([0.3, 2.0, 12.0]),
)
def test_each_draw_agrees_with_scikit_learn(seed, n, levels, spread):
    subject, rng = drawn(seed, n, levels=levels, spread=spread)
    weights = rng.integers(0, 4, (3, subject.n_lesions)).astype(float)
    found = subject.fit(weights)
    for row, intercept, slope, alone in zip(weights, found.intercept, found.slope, found.in_the_large, strict=True):
        weight = row[subject.lesion]
        finite = by_rule(subject, weight)
        assert np.isnan(slope) == np.isnan(intercept) == (not finite)
        assert np.isnan(alone) == (len(np.unique(subject.truth[weight > 0])) < 2)
        if finite and abs(slope) < 50:
            expected = reference(subject, weight)
            assert (intercept, slope, alone) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), slope=st.sampled_from([0.2, 1.0, 3.0]), spread=st.sampled_from([0.3, 2.0, 8.0]))
def test_rows_brought_together_in_cells_change_nothing_that_counts(seed, slope, spread):
    subject, _ = drawn(seed, 6000, slope=slope, spread=spread)
    assert len(np.unique(subject.log_odds)) > EXACT_UP_TO
    weights = np.concatenate(list(lesion_draws(subject.n_lesions, 3, seed)))
    found = subject.fit(weights)
    for draw, row in enumerate(weights):
        assume(by_rule(subject, row[subject.lesion]))
        expected = reference(subject, row[subject.lesion])
        ours = (found.intercept[draw], found.slope[draw], found.in_the_large[draw])
        assert ours == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_perfect_probabilities_have_slope_one_and_nothing_in_the_large():
    subject, _ = drawn(5, 400_000, slope=1.0, shift=0.0)
    assert subject.whole.slope[0] == pytest.approx(1, abs=0.02)
    assert subject.whole.in_the_large[0] == pytest.approx(0, abs=0.02)


@given(seed=st.integers(0, 10_000), factor=st.floats(0.3, 3), shift=st.floats(-3, 3))
@settings(max_examples=20, deadline=None)
def test_stretched_and_shifted_log_odds_shrink_the_slope_and_move_the_intercept(seed, factor, shift):
    subject, _ = drawn(seed, 200)
    moved = Recalibration(factor * subject.log_odds + shift, subject.truth, subject.lesion, subject.n_lesions)
    slope = subject.whole.slope[0]
    assert moved.whole.slope[0] == pytest.approx(slope / factor, rel=1e-6)
    assert moved.whole.intercept[0] == pytest.approx(subject.whole.intercept[0] - slope * shift / factor, abs=1e-6)


def test_draws_do_not_depend_on_their_blocks(monkeypatch):
    subject, _ = drawn(1, 300)
    weights = np.concatenate(list(lesion_draws(subject.n_lesions, 40, seed=2)))
    whole = subject.fit(weights)
    monkeypatch.setattr(recalibration, "_BLOCK_CELLS", 1000)
    blocks = subject.fit(weights)
    for name in ("in_the_large", "intercept", "slope"):
        np.testing.assert_allclose(getattr(blocks, name), getattr(whole, name), rtol=0, atol=1e-9)


def test_chances_that_a_float_cannot_tell_from_0_and_1_are_fitted():
    rng = np.random.default_rng(4)
    log_odds = rng.choice([-300.0, 300.0], 200) + rng.normal(0, 1, 200)
    truth = (log_odds > 0) ^ (rng.random(200) < 0.2)
    subject = Recalibration(log_odds, truth, np.arange(200), 200)
    slope = subject.whole.slope[0]
    intercept, expected, alone = reference(Recalibration(log_odds / 300, truth, np.arange(200), 200), np.ones(200))
    assert (subject.whole.intercept[0], slope * 300) == pytest.approx((intercept, expected), abs=1e-5)
    assert np.isfinite(subject.whole.in_the_large[0]) and np.isfinite(alone)


@pytest.mark.parametrize("flipped", [False, True])
def test_separated_truth_has_no_slope_but_an_in_the_large(flipped):
    log_odds = np.array([-2.0, -1, -1, 0.5, 1, 2])
    truth = (log_odds > 0) ^ flipped
    found = Recalibration(log_odds, truth, np.arange(6), 6).whole
    assert np.isnan(found.slope[0]) and np.isnan(found.intercept[0])
    assert np.isfinite(found.in_the_large[0])
    touching = Recalibration(np.array([-1.0, 0, 0, 1]), np.array([False, False, True, True]), np.arange(4), 4).whole
    assert np.isnan(touching.slope[0])  # quasi-separation: the slope would still grow for ever
    constant = Recalibration(np.zeros(4), np.array([False, False, True, True]), np.arange(4), 4).whole
    assert np.isnan(constant.slope[0]) and constant.in_the_large[0] == pytest.approx(0, abs=1e-9)


def test_truth_of_one_kind_has_neither():
    found = Recalibration(np.array([-1.0, 2.0]), np.array([True, True]), np.arange(2), 2).whole
    assert np.isnan([found.slope[0], found.intercept[0], found.in_the_large[0]]).all()

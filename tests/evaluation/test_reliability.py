"""Are bins, calibration error and its value under perfect calibration right, whatever ties and lesions there are?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from melascope.evaluation import reliability
from melascope.evaluation.counting import each_once
from melascope.evaluation.intervals import interval, lesion_draws
from melascope.evaluation.reliability import (
    BINS,
    Reliability,
    ReliabilityBin,
    calibration_error_interval,
    equal_mass_bins,
    reliability_curve,
)


@st.composite
def forecasts(draw):
    """Scores with ties, truth and lesions, and two draws of lesion weights."""
    n, levels = draw(st.integers(1, 120)), draw(st.sampled_from([1, 3, 20, 10_000]))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    scores = rng.integers(0, levels + 1, n) / levels
    lesion = rng.integers(0, max(1, n // 2), n)
    n_lesions = int(lesion.max()) + 1
    return Reliability(scores, rng.random(n) < scores, lesion, n_lesions), rng.integers(0, 4, (2, n_lesions)) * 1.0


def naive_bin(scores, one, bins):
    """The bin of a score: where the middle of its ranks (the first is 1/2) lies in [0, n)."""
    below, equal = sum(s < one for s in scores), sum(s == one for s in scores)
    return int((below + equal / 2) * bins / len(scores))


def naive_error(subject, weight):
    total, error = 0.0, 0.0
    places = [naive_bin(subject.scores, one, subject.bins) for one in subject.scores]
    for number in range(subject.bins):
        inside = [i for i, place in enumerate(places) if place == number]
        mass = sum(weight[i] for i in inside)
        if mass:
            score = sum(weight[i] * subject.scores[i] for i in inside) / mass
            share = sum(weight[i] * subject.truth[i] for i in inside) / mass
            error += mass * abs(score - share)
        total += mass
    return error / total if total else np.nan


@settings(max_examples=60, deadline=None)
@given(forecasts())
def test_calibration_error_is_that_of_a_plain_loop(drawn):
    subject, weights = drawn
    naive = [naive_error(subject, row[subject.lesion]) for row in weights]
    np.testing.assert_allclose(subject.calibration_error(weights), naive, rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(forecasts(), st.integers(0, 1000))
def test_bins_are_of_equal_mass_and_equal_scores_share_one(drawn, seed):
    scores = drawn[0].scores
    bins = equal_mass_bins(scores)
    assert bins.min() >= 0 and bins.max() < BINS
    for one in np.unique(scores):
        assert len(np.unique(bins[scores == one])) == 1
    assert (np.diff(bins[np.argsort(scores, kind="stable")]) >= 0).all()
    order = np.random.default_rng(seed).permutation(len(scores))
    np.testing.assert_array_equal(equal_mass_bins(scores[order]), bins[order])


@pytest.mark.parametrize("n", [15, 100, 1003])
def test_distinct_scores_fill_all_bins_alike(n):
    sizes = np.bincount(equal_mass_bins(np.random.default_rng(n).permutation(n) / n), minlength=BINS)
    assert sizes.max() - sizes.min() <= 1


def test_error_of_a_perfect_model_is_the_mean_deviation_of_a_binomial():
    """One bin of n independent images with chance p: E|X - np| / n, by summing over the binomial distribution."""
    n, p = 30, 0.2
    subject = Reliability(np.full(n, p), np.zeros(n, dtype=bool), np.arange(n), n)
    x = np.arange(n + 1)
    exact = (stats.binom.pmf(x, n, p) * np.abs(x - n * p)).sum() / n
    simulated = subject.calibration_error_if_perfect(seed=1)
    assert simulated.mean() == pytest.approx(exact, abs=4 * simulated.std() / np.sqrt(len(simulated)))
    assert (simulated == subject.calibration_error_if_perfect(seed=1)).all()
    assert (simulated != subject.calibration_error_if_perfect(seed=2)).any()


def test_images_of_one_lesion_scatter_together():
    """A lesion of twenty images, all true or none, beside ten lesions of one image: exact by summing over both."""
    p, lesion = 0.2, np.r_[np.zeros(5, dtype=int), np.arange(1, 11), np.zeros(15, dtype=int)]
    subject = Reliability(np.full(30, p), np.zeros(30, dtype=bool), lesion, 11)
    x = np.arange(11)
    given = [(stats.binom.pmf(x, 10, p) * np.abs(20 * big + x - 30 * p)).sum() / 30 for big in (0, 1)]
    simulated = subject.calibration_error_if_perfect(seed=4)
    exact = (1 - p) * given[0] + p * given[1]
    assert simulated.mean() == pytest.approx(exact, abs=4 * simulated.std() / np.sqrt(len(simulated)))
    alone = Reliability(np.full(30, p), np.zeros(30, dtype=bool), np.arange(30), 30)
    assert simulated.mean() > 2 * alone.calibration_error_if_perfect(seed=4).mean()


def test_random_numbers_are_not_those_of_the_bootstrap():
    """A trailing zero in a key would give the very same stream (numpy's SeedSequence pads with zeros)."""
    luck = np.random.default_rng([5, 3, reliability._PERFECT_STREAM]).random(4)
    assert (luck != np.random.default_rng([5, 3]).random(4)).all()


def clustered(n_lesions, factor, rng):
    """Images whose log-odds are off by a factor; the images of a lesion have one truth."""
    images = rng.choice([1, 2, 3], n_lesions, p=[0.74, 0.2, 0.06])
    lesion = np.repeat(np.arange(n_lesions), images)
    log_odds = rng.normal(-2.5, 2, n_lesions)[lesion] + rng.normal(0, 0.7, len(lesion))
    truth = rng.random(n_lesions)[lesion] < 1 / (1 + np.exp(-log_odds))
    return Reliability(1 / (1 + np.exp(-factor * log_odds)), truth, lesion, n_lesions)


@pytest.mark.parametrize("factor", [1.0, 1.3])
def test_its_interval_covers_where_percentiles_fail(factor):
    rng = np.random.default_rng([3, int(factor * 10)])
    whole = clustered(300_000, factor, rng)
    true = whole.calibration_error(each_once(whole.n_lesions))[0]
    n_lesions, covered, percentiles = 300, 0, 0
    weights = np.concatenate(list(lesion_draws(n_lesions, 150, seed=1)))
    for simulation in range(100):
        subject = clustered(n_lesions, factor, rng)
        error, drawn = subject.calibration_error(np.ones((1, n_lesions)))[0], subject.calibration_error(weights)
        perfect = subject.calibration_error_if_perfect(simulation)
        low, high = calibration_error_interval(error, drawn, perfect, n_lesions)
        covered += low <= true <= high
        percentiles += np.quantile(drawn, 0.025) <= true
    assert covered / 100 >= 0.89  # 0.95 less the sampling error of 100 simulations
    if factor == 1.0:
        assert percentiles == 0


def test_a_calibration_error_of_few_lesions_or_draws_has_no_interval():
    drawn, perfect = np.linspace(0.1, 0.2, 100), np.linspace(0, 0.05, 100)
    assert calibration_error_interval(0.12, drawn, perfect, 9) is None
    assert calibration_error_interval(0.12, np.empty(0), perfect, 100) is None
    low, high = calibration_error_interval(0.12, drawn, perfect, 100)
    assert 0 < low < 0.12 < high
    assert calibration_error_interval(0.04, drawn, perfect, 100)[0] == 0


def test_a_curve_has_n_truth_and_intervals_of_each_bin():
    rng = np.random.default_rng(2)
    scores, lesion = rng.random(200), np.arange(200) // 2
    truth = rng.random(200) < scores
    curve = reliability_curve(scores, truth, lesion, 4, draws=300, seed=1)
    assert [one.n_images for one in curve] == [50] * 4
    order = np.argsort(scores)
    weights = np.concatenate(list(lesion_draws(100, 300, seed=1))).astype(np.float64)
    for number, one in enumerate(curve):
        rows = order[50 * number : 50 * number + 50]
        assert one.predicted == pytest.approx(scores[rows].mean(), abs=1e-12)
        assert one.n_true == truth[rows].sum() and one.observed == one.n_true / 50
        assert one.n_lesions == len(np.unique(lesion[rows]))
        image_weights = weights[:, lesion[rows]]
        shares = (image_weights * truth[rows]).sum(axis=1) / image_weights.sum(axis=1)
        expected = interval(one.observed, shares, one.n_lesions, is_share=True, n=50)
        assert (one.low, one.high) == pytest.approx(expected, abs=1e-9)
        assert ReliabilityBin.from_json(one.as_json()) == one
    assert all(one.low is None for one in reliability_curve(scores, truth, lesion, draws=0))


def test_equal_scores_make_one_point():
    (one,) = reliability_curve(np.full(40, 0.25), np.arange(40) < 10, np.arange(40), draws=50)
    assert (one.predicted, one.observed, one.n_images) == (0.25, 0.25, 40)

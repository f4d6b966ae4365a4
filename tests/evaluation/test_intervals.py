"""Are the intervals the right ones, and do they cover what they claim to?"""

import numpy as np
import pytest
from scipy import stats

from melascope.evaluation import intervals
from melascope.evaluation.intervals import clopper_pearson, interval, lesion_draws, percentile_interval


def test_a_draw_holds_as_many_lesions_as_there_are():
    weights = np.concatenate(list(lesion_draws(50, 200, seed=1)))
    assert weights.shape == (200, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(50), abs=0.4)
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.05)  # multinomial


def test_draws_depend_on_the_seed_and_not_on_the_block_size(monkeypatch):
    whole = np.concatenate(list(lesion_draws(30, 20, seed=1)))
    monkeypatch.setattr(intervals, "_BLOCK_CELLS", 100)
    blocks = list(lesion_draws(30, 20, seed=1))
    assert len(blocks) == 7
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    assert (whole != np.concatenate(list(lesion_draws(30, 20, seed=2)))).any()
    assert list(lesion_draws(30, 0, seed=1)) == []


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (1, 1), (7, 10), (103, 124), (472, 473)])
def test_clopper_pearson_is_scipys_exact_interval(successes, n):
    exact = stats.binomtest(successes, n).proportion_ci(0.95, method="exact")
    assert clopper_pearson(successes, n) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_fractions_of_a_lesion_lie_between_the_whole_ones():
    assert clopper_pearson(3, 10)[0] < clopper_pearson(3.5, 10)[0] < clopper_pearson(4, 10)[0]


def test_percentiles_need_variation_and_mostly_defined_draws():
    values = np.arange(1001) / 1000
    assert percentile_interval(values) == pytest.approx((0.025, 0.975))
    assert percentile_interval(np.ones(100)) is None
    assert percentile_interval(np.full(100, np.nan)) is None
    assert percentile_interval(np.r_[values, np.full(30, np.nan)]) is not None
    assert percentile_interval(np.r_[values, np.full(90, np.nan)]) is None
    assert percentile_interval(np.empty(0)) is None


def test_a_share_with_few_misses_gets_the_exact_interval():
    draws = np.linspace(0.9, 1, 100)
    assert interval(71 / 72, draws, 72, is_share=True) == pytest.approx(clopper_pearson(71, 72))
    assert interval(1.0, np.ones(100), 20, is_share=True) == pytest.approx((0.8316, 1), abs=1e-4)
    assert interval(0.0, np.zeros(100), 1, is_share=True) == pytest.approx((0, 0.975))
    assert interval(0.9, draws, 72, is_share=True) == percentile_interval(draws)


def test_other_figures_of_few_lesions_have_no_interval():
    draws = np.linspace(0.5, 1, 100)
    assert interval(0.8, draws, 9, is_share=False) is None
    assert interval(0.8, draws, 10, is_share=False) == percentile_interval(draws)
    assert interval(0.8, np.empty(0), 100, is_share=True) is None


def clustered(n_lesions, share, n_simulations, rng):
    """Images found, and images, of each lesion: a lesion's images mostly agree (intraclass correlation 0.5)."""
    images = rng.choice([1, 2, 3], (n_lesions, n_simulations), p=[0.5, 0.35, 0.15])
    return rng.binomial(images, rng.beta(share, 1 - share, images.shape)), images


@pytest.mark.parametrize(("n_lesions", "share"), [(12, 0.83), (72, 0.83), (72, 0.97), (300, 0.6)])
def test_95_percent_intervals_of_clustered_shares_cover(n_lesions, share):
    found, images = clustered(n_lesions, share, 800, np.random.default_rng([7, n_lesions]))
    weights = np.concatenate(list(lesion_draws(n_lesions, 400, seed=3)))
    drawn = (weights @ found) / (weights @ images)
    values = found.sum(axis=0) / images.sum(axis=0)
    ends = [interval(value, draw, n_lesions, is_share=True) for value, draw in zip(values, drawn.T, strict=True)]
    coverage = np.mean([low <= share <= high for low, high in ends])
    assert coverage >= 0.92  # 0.95 less the sampling error of 800 simulations; too wide is allowed where n is small
    assert coverage <= 0.97 or n_lesions * (1 - share) < 10


def test_intervals_by_image_would_be_too_short():
    """The reason for drawing lesions: drawing images of correlated lesions covers far less than 95 %."""
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(200):
        truth = rng.random(40) < 0.6
        images = np.repeat(truth, 6)  # six images of each lesion that always agree
        drawn = images[rng.integers(0, 240, (300, 240))].mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        covered += low <= 0.6 <= high
    assert covered / 200 < 0.75

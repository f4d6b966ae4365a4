"""Do intervals of a paired difference hold the truth as often as they claim, also where hardly anything differs?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import norm

from melascope.evaluation.differences import difference_interval, paired_share_interval, score_interval
from melascope.evaluation.intervals import lesion_draws
from melascope.evaluation.ranking import Ranking, auroc

N_SIMULATIONS = 800
CHANCE = 3 * np.sqrt(0.95 * 0.05 / N_SIMULATIONS)  # of the simulation itself, three standard errors


def restricted(gained: int, lost: int, n: int, shift: float) -> float:
    """Tango's statistic with the nuisance share found by maximising the likelihood on a fine grid, not by a formula."""
    share = np.linspace(max(0, -shift), min(1, (1 - shift) / 2), 400_001)[1:-1]
    likelihood = gained * np.log(share + shift) + lost * np.log(share)
    likelihood += (n - gained - lost) * np.log(1 - 2 * share - shift)
    best = share[likelihood.argmax()]
    return (gained - lost - n * shift) / np.sqrt(n * (2 * best + shift * (1 - shift)))


@pytest.mark.parametrize(("gained", "lost", "n"), [(5, 3, 40), (9, 2, 60), (12, 12, 60), (20, 1, 72), (1, 6, 30)])
def test_the_ends_solve_tangos_equation(gained, lost, n):
    low, high = score_interval(gained, lost, n)
    z = norm.ppf(0.975)
    assert restricted(gained, lost, n, low) == pytest.approx(z, abs=1e-4)
    assert restricted(gained, lost, n, high) == pytest.approx(-z, abs=1e-4)


@pytest.mark.parametrize("n", [1, 12, 72, 10_000])
def test_models_that_never_differ_have_the_known_width(n):
    z = norm.ppf(0.975)
    assert score_interval(0, 0, n) == pytest.approx((-(z**2) / (n + z**2), z**2 / (n + z**2)))


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 200), st.floats(0.05, 3))
def test_the_ends_hold_the_difference_and_turn_with_the_order(gained, lost, alike, scale):
    n = (gained + lost + alike + 1) * scale
    gained, lost = gained * scale, lost * scale
    low, high = score_interval(gained, lost, n)
    assert -1 <= low < (gained - lost) / n < high <= 1
    assert score_interval(lost, gained, n) == pytest.approx((-high, -low), abs=1e-7)


def test_all_gained_or_all_lost_reaches_the_edge():
    low, high = score_interval(30, 0, 30)
    assert high == 1 and 0.7 < low < 1
    assert score_interval(0, 30, 30) == pytest.approx((-1, -low))


def test_the_draws_say_how_many_independent_pairs_the_images_are_worth():
    """As many as make the variance of one pair, divided by their number, the draws' variance."""
    gains = np.repeat([1.0, -1.0, 0.0], [14, 6, 70])
    values = np.random.default_rng(0).normal(8 / 90, 0.08, 500)
    effective = gains.var() / (values.var() * 30 / 29)
    expected = score_interval(14 / 90 * effective, 6 / 90 * effective, effective)
    assert paired_share_interval(gains, values, 30) == pytest.approx(expected)


def test_where_hardly_anything_differs_images_of_a_lesion_count_as_one():
    gains = np.repeat([1.0, 0.0], [2, 58])
    values = np.random.default_rng(0).normal(2 / 60, 1e-4, 500)  # draws that claim to be sure
    assert paired_share_interval(gains, values, 20) == pytest.approx(score_interval(2 / 60 * 20, 0, 20))


def two_models(n_lesions, first, other, together, alike, rng, n_seeds=1):
    """Whether each model finds each image: (3, n_lesions, simulations), the mean over seeds; and images a lesion.

    `together` is how much of an image's difficulty both share, `alike` how much the images of a lesion share.
    """
    size = (n_lesions, N_SIMULATIONS)
    images = rng.choice([1, 2, 3], size, p=[0.5, 0.35, 0.15])
    there = np.arange(3)[:, None, None] < images
    both = np.sqrt(alike) * rng.normal(size=size) + np.sqrt(1 - alike) * rng.normal(size=(3, *size))
    found = []
    for share in (first, other):
        total = np.zeros((3, *size))
        for _ in range(n_seeds):
            own = np.sqrt(alike) * rng.normal(size=size) + np.sqrt(1 - alike) * rng.normal(size=(3, *size))
            total += np.sqrt(together) * both + np.sqrt(1 - together) * own < ndtri(share)
        found.append(np.where(there, total / n_seeds, 0))
    return found, there


def coverage(n_lesions, first, other, together, alike, n_seeds=1):
    """Share of the simulations whose interval holds the truth, by our rule, and by t × standard deviation."""
    rng = np.random.default_rng([n_lesions, round(100 * first), round(100 * other), n_seeds])
    (here, beyond), there = two_models(n_lesions, first, other, together, alike, rng, n_seeds)
    gains, weights = beyond - here, np.concatenate(list(lesion_draws(n_lesions, 400, seed=3)))
    drawn = (weights @ gains.sum(axis=0)) / (weights @ there.sum(axis=0))
    truth, ours, plain = other - first, 0, 0
    for one in range(N_SIMULATIONS):
        gain = gains[:, :, one][there[:, :, one]]
        low, high = paired_share_interval(gain, drawn[:, one], n_lesions)
        ours += low <= truth <= high
        low, high = difference_interval(float(gain.mean()), drawn[:, one], n_lesions) or (0, 0)
        plain += low <= truth <= high
    return ours / N_SIMULATIONS, plain / N_SIMULATIONS


@pytest.mark.parametrize("n_seeds", [1, 3])
@pytest.mark.parametrize(("together", "alike"), [(0.3, 0.5), (0.8, 0.05), (0.8, 0.95)])
@pytest.mark.parametrize(("n_lesions", "first", "other"), [(72, 0.83, 0.83), (72, 0.83, 0.9), (300, 0.62, 0.68)])
def test_intervals_of_paired_shares_cover_what_they_claim(n_lesions, first, other, together, alike, n_seeds):
    """Nominal 95 % lies in 93 to 97 %."""
    assert 0.93 - CHANCE <= coverage(n_lesions, first, other, together, alike, n_seeds)[0] <= 0.97 + CHANCE


def test_the_plain_rule_would_cover_too_little_where_few_images_differ():
    """The reason for the score interval: deviations of the draws cannot show what the sample lacks."""
    ours, plain = coverage(40, 0.9, 0.97, 0.8, 0.95)
    assert plain < 0.93 - CHANCE < ours


def test_intervals_of_a_difference_of_auroc_cover_what_they_claim():
    """Two models on 20 lesions of the target and 160 others; the truth from 40,000 lesions."""
    rng = np.random.default_rng(5)

    def scores(n_target, n_others):
        truth = np.arange(n_target + n_others) < n_target
        lesion = np.repeat(np.arange(len(truth)), rng.choice([1, 2], len(truth), p=[0.7, 0.3]))
        shared = rng.normal(size=len(truth))[lesion]
        both = [
            skill * truth[lesion]
            + shared
            + 0.7 * rng.normal(size=len(truth))[lesion]
            + 0.5 * rng.normal(size=len(lesion))
            for skill in (1.2, 1.8)
        ]
        return truth[lesion], lesion, len(truth), both

    def difference(truth, lesion, n_lesions, both, weights):
        first, other = (auroc(*Ranking.of(truth, one, lesion, n_lesions).weighted(weights)) for one in both)
        return other - first

    large = scores(20_000, 20_000)
    true, covered, n = float(difference(*large, np.ones((1, large[2])))[0]), 0, 400
    weights = np.concatenate([np.ones((1, 180)), *lesion_draws(180, 300, seed=1)])
    for _ in range(n):
        values = difference(*scores(20, 160), weights)
        low, high = difference_interval(float(values[0]), values[1:], 20)
        covered += low <= true <= high
    assert 0.93 - 3 * np.sqrt(0.95 * 0.05 / n) <= covered / n <= 0.97 + 3 * np.sqrt(0.95 * 0.05 / n)


def test_a_difference_stays_within_what_is_possible():
    values = np.random.default_rng(0).normal(0.9, 0.1, 2000)
    low, high = difference_interval(0.9, values, 20)
    assert high == 1 and low < 0.75
    assert difference_interval(0.19, values - 0.71, 20, top=0.2)[1] == 0.2
    assert difference_interval(0.9, values, 20, top=None) == pytest.approx(np.quantile(values, [0.025, 0.975]))


def test_too_little_gives_no_interval():
    values, gains = np.random.default_rng(0).normal(0, 0.1, 200), np.array([1.0, 0.0, -1.0])
    assert difference_interval(0.0, values, 9) is None
    assert difference_interval(0.0, np.zeros(200), 50) is None
    gaps = np.where(np.arange(200) % 10 == 0, np.nan, values)
    assert difference_interval(0.0, gaps, 50) is None and paired_share_interval(gains, gaps, 50) is None
    assert difference_interval(0.0, np.empty(0), 50) is None and paired_share_interval(gains, np.empty(0), 50) is None
    assert paired_share_interval(gains, values, 1) is None
    assert paired_share_interval(np.zeros(30), np.zeros(200), 20) is not None

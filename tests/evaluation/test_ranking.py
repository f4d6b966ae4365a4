"""Are the areas scikit-learn's, under ties and weights, whatever the steps are merged to?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from melascope.evaluation.intervals import interval, lesion_draws
from melascope.evaluation.ranking import AREAS, Ranking


def partial_auroc(truth, scores, weight):
    """scikit-learn knows the area up to a false positive rate, scaled: turn the sides round, and undo the scaling."""
    scaled = sk.roc_auc_score(~truth, -scores, max_fpr=0.2, sample_weight=weight)
    lowest, highest = 0.2**2 / 2, 0.2
    return lowest + (2 * scaled - 1) * (highest - lowest)


REFERENCES = {
    "auroc": lambda truth, scores, weight: sk.roc_auc_score(truth, scores, sample_weight=weight),
    "average_precision": lambda truth, scores, weight: sk.average_precision_score(truth, scores, sample_weight=weight),
    "partial_auroc": partial_auroc,
}


@pytest.mark.parametrize("name", AREAS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 60), levels=st.sampled_from([2, 5, 10_000]))
def test_every_area_agrees_with_scikit_learn_under_weights(name, seed, n, levels):
    rng = np.random.default_rng(seed)
    truth, scores = rng.random(n) < 0.4, rng.integers(0, levels, n) / levels
    truth[:2] = [True, False]
    lesion = rng.integers(0, n, n)
    weights = rng.integers(0, 3, (3, n)).astype(float)
    weights[:, lesion[:2]] += 1  # every draw has an image of each kind
    ours = AREAS[name].function(*Ranking.of(truth, scores, lesion, n).weighted(weights))
    theirs = [REFERENCES[name](truth, scores, row[lesion]) for row in weights]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    assert (ours <= AREAS[name].top + 1e-12).all()


@pytest.mark.parametrize("name", AREAS)
def test_an_area_of_one_side_alone_is_undefined(name):
    for truth in (np.ones(4, bool), np.zeros(4, bool)):
        ranked = Ranking.of(truth, np.arange(4.0), np.arange(4), 4)
        assert np.isnan(AREAS[name].function(*ranked.weighted(np.ones((1, 4))))).all()


@pytest.mark.parametrize("name", AREAS)
def test_chance_and_perfection(name):
    truth = np.arange(200) % 4 == 0
    perfect = Ranking.of(truth, truth.astype(float), np.arange(200), 200).weighted(np.ones((1, 200)))
    chance = Ranking.of(truth, np.zeros(200), np.arange(200), 200).weighted(np.ones((1, 200)))
    at_chance = {"auroc": 0.5, "average_precision": 0.25, "partial_auroc": 0.02}[name]
    assert AREAS[name].function(*perfect)[0] == pytest.approx(AREAS[name].top)
    assert AREAS[name].function(*chance)[0] == pytest.approx(at_chance)


def test_negatives_in_a_row_share_a_step_and_change_nothing():
    rng = np.random.default_rng(3)
    truth, scores = rng.random(5000) < 0.02, rng.random(5000)
    assert Ranking.of(truth, scores, np.arange(5000), 5000).n_steps <= 2 * truth.sum() + 1


@pytest.mark.parametrize("name", AREAS)
def test_merged_steps_move_an_area_far_less_than_chance_does(name):
    rng = np.random.default_rng(4)
    truth = rng.random(20_000) < 0.3
    scores, lesion = rng.normal(truth, 1.0), np.arange(20_000)
    weights = rng.poisson(1.0, (40, 20_000)).astype(float)
    exact, merged = (
        AREAS[name].function(*Ranking.of(truth, scores, lesion, 20_000, max_steps=steps).weighted(weights))
        for steps in (None, 2048)
    )
    assert Ranking.of(truth, scores, lesion, 20_000, max_steps=2048).n_steps == 2048
    assert np.abs(exact - merged).max() < 0.05 * exact.std()


def test_the_part_of_a_curve_rests_on_the_lesions_it_looks_at():
    assert AREAS["auroc"].rests_on(20, 200) == 20 and AREAS["auroc"].rests_on(20, 5) == 5
    assert AREAS["partial_auroc"].rests_on(20, 200) == 4 == AREAS["partial_auroc"].least
    assert AREAS["partial_auroc"].rests_on(200, 5) == 5


@pytest.mark.parametrize(("name", "n_sought"), [("auroc", 20), ("partial_auroc", 20), ("partial_auroc", 50)])
def test_intervals_of_an_area_cover_what_they_claim(name, n_sought):
    """Nominal 95 % lies in 93 to 97 %; 200 other lesions, of one to three images that share half of their variance."""
    rng, area, n = np.random.default_rng([7, n_sought]), AREAS[name], 300

    def images(n_sought, n_others):
        n_lesions = n_sought + n_others
        lesion = np.repeat(np.arange(n_lesions), rng.choice([1, 2, 3], n_lesions, p=[0.7, 0.2, 0.1]))
        shared, own = rng.normal(size=n_lesions)[lesion], rng.normal(size=len(lesion))
        truth = lesion < n_sought
        return truth, (shared + own) / np.sqrt(2) + 1.5 * truth, lesion, n_lesions

    large = [images(20_000, 20_000) for _ in range(4)]
    true = np.mean([area.function(*Ranking.of(*one).weighted(np.ones((1, 40_000)))) for one in large])
    weights = np.concatenate([np.ones((1, n_sought + 200)), *lesion_draws(n_sought + 200, 200, seed=1)])
    covered = 0
    for _ in range(n):
        values = area.function(*Ranking.of(*images(n_sought, 200)).weighted(weights))
        rests_on = area.rests_on(n_sought, 200)
        low, high = interval(values[0], values[1:], rests_on, is_share=False, top=area.top, least=area.least)
        covered += low <= true <= high
    chance = 3 * np.sqrt(0.95 * 0.05 / n)
    assert 0.93 - chance <= covered / n <= 0.97 + chance

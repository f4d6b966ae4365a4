"""Are the areas scikit-learn's, under ties and weights, whatever the steps are merged to?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

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

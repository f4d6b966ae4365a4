"""Are the figures of a yes/no rule, and its curve over all thresholds, the textbook ones?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from melascope.evaluation.decisions import (
    DECISION_FIGURES,
    Calls,
    predictive_interval,
    predictive_values,
    threshold_steps,
)
from melascope.evaluation.intervals import wilson

REFERENCES = {
    "sensitivity": lambda truth, called, w: sk.recall_score(truth, called, sample_weight=w, zero_division=np.nan),
    "specificity": lambda truth, called, w: sk.recall_score(~truth, ~called, sample_weight=w, zero_division=np.nan),
    "ppv": lambda truth, called, w: sk.precision_score(truth, called, sample_weight=w, zero_division=np.nan),
    "npv": lambda truth, called, w: sk.precision_score(~truth, ~called, sample_weight=w, zero_division=np.nan),
    "false_alarms_per_found": lambda truth, called, w: (
        w[~truth & called].sum() / found if (found := w[truth & called].sum()) else np.nan
    ),
}


@pytest.mark.parametrize("name", DECISION_FIGURES)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 30))
def test_every_figure_agrees_with_scikit_learn_under_weights(name, seed, n):
    rng = np.random.default_rng(seed)
    truth, called = rng.random(n) < 0.4, rng.random(n) < 0.5
    lesion = rng.integers(0, n, n)
    weights = rng.integers(0, 3, (4, n)).astype(float)
    weights[:, lesion[0]] += 1
    ours = Calls(truth, called, lesion, n).figures(weights)[name]
    theirs = [REFERENCES[name](truth, called, row[lesion]) for row in weights]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


def test_counts_and_denominators():
    calls = Calls(np.array([1, 1, 0, 0, 0], bool), np.array([1, 0, 1, 1, 0], bool), np.arange(5), 5)
    assert calls.counts() == {"tp": 1, "fn": 1, "fp": 2, "tn": 1}
    assert calls.under(DECISION_FIGURES["ppv"]).tolist() == [True, False, True, True, False]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 60), levels=st.sampled_from([2, 5, 10_000]))
def test_the_curve_is_scikit_learns_roc(seed, n, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, n) / levels
    truth = rng.random(n) < 0.5
    truth[:2] = [True, False]
    thresholds, sensitivity, specificity = threshold_steps(scores, truth)
    false_alarms, found, at = sk.roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(thresholds, at)
    np.testing.assert_allclose(sensitivity, found, atol=1e-12)
    np.testing.assert_allclose(specificity, 1 - false_alarms, atol=1e-12)


@pytest.mark.parametrize("name", ["ppv", "npv"])
@pytest.mark.parametrize(("sensitivity", "n"), [(0.9, 40), (0.8, 12), (0.97, 15)])
def test_intervals_at_another_prevalence_cover_what_they_claim(name, sensitivity, n):
    """Nominal 95 % lies in 93 to 97 %, or above where hardly any melanoma is missed; found all, it has width too."""
    rng, specificity, n_others, prevalence = np.random.default_rng(3), 0.9, 200, 0.05
    true = dict(
        zip(("ppv", "npv"), predictive_values(*map(np.array, (sensitivity, specificity)), prevalence), strict=True)
    )[name]
    found, spared = rng.binomial(n, sensitivity, 1000), rng.binomial(n_others, specificity, 1000)
    covered = 0
    for one, other in zip(found / n, spared / n_others, strict=True):
        low, high = predictive_interval(name, (one, *wilson(one, n)), (other, *wilson(other, n_others)), prevalence)
        value = dict(zip(("ppv", "npv"), predictive_values(*map(np.array, (one, other)), prevalence), strict=True))[
            name
        ]
        assert 0 <= low <= value <= high <= 1 and low < high
        covered += low <= true <= high
    assert covered / 1000 >= 0.93 - 3 * np.sqrt(0.95 * 0.05 / 1000)
    assert predictive_interval(name, (0.9, None, None), (0.9, 0.8, 0.95), 0.05) is None

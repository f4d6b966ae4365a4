"""Is net benefit what Vickers & Elkin count, and do its intervals hold what they claim?"""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melascope.errors import DataError
from melascope.evaluation import intervals
from melascope.evaluation.intervals import lesion_draws, wilson
from melascope.evaluation.utility import THRESHOLDS, BenefitTally, DecisionCurve, decision_curve
from melascope.tables.results import NotApplicable

SCORES = np.array([0.9, 0.6, 0.05, 0.8, 0.3, 0.2, 0.1, 0.1, 0.02, 0.01])
TRUTH = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], dtype=bool)


def naive(scores, truth, threshold, prevalence=None):
    """Net benefit of the model and of treating everybody, image by image."""
    odds = threshold / (1 - threshold)
    positive = [score >= threshold for score in scores]
    found = sum(1 for p, t in zip(positive, truth, strict=True) if p and t)
    alarms = sum(1 for p, t in zip(positive, truth, strict=True) if p and not t)
    n, n_target = len(scores), sum(truth)
    share = n_target / n if prevalence is None else prevalence
    model = share * found / n_target - (1 - share) * alarms / (n - n_target) * odds
    return model, share - (1 - share) * odds


def clustered(n_lesions, rng, share=0.15):
    """One to three images a lesion, which share most of their score; scores tie on hundredths."""
    lesion = np.repeat(np.arange(n_lesions), rng.choice([1, 2, 3], n_lesions, p=[0.74, 0.2, 0.06]))
    truth = (rng.random(n_lesions) < share)[lesion]
    logit = (rng.normal(-3, 1.2, n_lesions))[lesion] + 3 * truth + rng.normal(0, 0.6, len(lesion))
    return np.round(1 / (1 + np.exp(-logit)), 2), truth, lesion


def test_net_benefit_counted_by_hand():
    curve = decision_curve(SCORES, TRUTH, np.arange(10), draws=0, seed=0, thresholds=[0.2])
    (point,) = curve.points
    assert (point.found, point.alarms) == (2, 3)  # 0.2 is reached by the score 0.2
    assert point.net_benefit.value == pytest.approx(2 / 10 - 3 / 10 * 0.25)
    assert point.treat_all == pytest.approx(0.3 - 0.7 * 0.25)
    assert point.over_treat_all.value == pytest.approx(0.125 - 0.125)
    assert (curve.n_images, curve.n_target_images, curve.prevalence, curve.is_stated) == (10, 3, 0.3, False)
    assert point.net_benefit.low is None and point.over_treat_all.high is None  # without draws no interval


def test_a_stated_prevalence_weighs_sensitivity_and_specificity():
    (point,) = decision_curve(SCORES, TRUTH, np.arange(10), draws=0, seed=0, prevalence=0.02, thresholds=[0.2]).points
    assert point.net_benefit.value == pytest.approx(0.02 * 2 / 3 - 0.98 * 3 / 7 * 0.25)
    assert point.treat_all == pytest.approx(0.02 - 0.98 * 0.25)


def test_the_own_prevalence_stated_changes_no_value():
    own = decision_curve(SCORES, TRUTH, np.arange(10), draws=0, seed=0)
    stated = decision_curve(SCORES, TRUTH, np.arange(10), draws=0, seed=0, prevalence=0.3)
    assert len(own.points) == len(THRESHOLDS) == 50
    for a, b in zip(own.points, stated.points, strict=True):
        assert a.net_benefit.value == pytest.approx(b.net_benefit.value, abs=1e-12)
        assert a.over_treat_all.value == pytest.approx(b.over_treat_all.value, abs=1e-12)
    assert any("not a clinic's" in note for note in own.notes)
    assert any("not recalibrated" in note for note in stated.notes)


def test_calling_everybody_is_treating_everybody():
    points = decision_curve(np.full(10, 0.7), TRUTH, np.arange(10), draws=50, seed=0).points
    for point in points:
        assert point.net_benefit.value == pytest.approx(point.treat_all, abs=1e-12)
        assert point.over_treat_all.value == pytest.approx(0, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n_lesions=st.integers(4, 40), stated=st.sampled_from([None, 0.02, 0.4]))
def test_values_and_draws_agree_with_a_plain_loop(seed, n_lesions, stated):
    scores, truth, lesion = clustered(n_lesions, np.random.default_rng(seed), share=0.4)
    thresholds = (0.01, 0.05, 0.2, 0.5)
    if truth.all() or not truth.any():
        return
    weights = np.concatenate(list(lesion_draws(n_lesions, 5, seed)))
    tally = BenefitTally.of(scores, truth, lesion, n_lesions, thresholds)
    curve = tally.curve({}, stated)
    for point in curve.points:
        model, everybody = naive(scores, truth, point.threshold, stated)
        assert point.net_benefit.value == pytest.approx(model, abs=1e-9)
        assert point.treat_all == pytest.approx(everybody, abs=1e-9)
        assert point.over_treat_all.value == pytest.approx(model - everybody, abs=1e-9)
    for draw, counted in zip(weights, tally.values(weights)["positive"], strict=True):
        again = np.repeat(np.arange(len(lesion)), draw[lesion].astype(int))  # the very images of this draw
        for column, threshold in enumerate((0.0, *thresholds)):
            for kind in (0, 1):
                assert counted[kind, column] == ((scores[again] >= threshold) & (truth[again] == kind)).sum()


def test_with_many_of_each_kind_intervals_are_the_percentiles_of_paired_draws():
    """To a tenth of their width: the shares' intervals and their correlation say what the draws show."""
    scores, truth, lesion = clustered(1500, np.random.default_rng(3), share=0.4)
    curve = decision_curve(scores, truth, lesion, draws=1000, seed=7, thresholds=[0.25, 0.35])
    weights = np.concatenate(list(lesion_draws(1500, 1000, 7)))
    counted = BenefitTally.of(scores, truth, lesion, 1500, [0.25, 0.35]).values(weights)["positive"]
    n = counted[:, :, 0].sum(axis=1)
    for column, point in enumerate(curve.points, start=1):
        odds = point.threshold / (1 - point.threshold)
        alarms, found = counted[:, :, column].T
        others, target = counted[:, :, 0].T
        model, everybody = (found - odds * alarms) / n, (target - odds * others) / n
        for figure, drawn in ((point.net_benefit, model), (point.over_treat_all, model - everybody)):
            ends = np.quantile(drawn, [0.025, 0.975])
            assert (figure.low, figure.high) == pytest.approx(tuple(ends), abs=0.1 * np.diff(ends)[0])


def test_no_melanoma_missed_is_not_taken_for_certainty():
    truth = np.arange(400) < 30
    scores = np.where(truth, 0.9, np.where(np.arange(400) % 2, 0.3, 0.01))
    (point,) = decision_curve(
        scores, truth, np.arange(400), draws=500, seed=0, prevalence=0.05, thresholds=[0.1]
    ).points
    spared, weight = 185 / 370, 0.95 / 9
    missed_high = wilson(0, 30)[1]  # at least so many might be missed
    assert point.over_treat_all.value == pytest.approx(weight * spared)
    assert point.over_treat_all.low < weight * spared - 0.05 * missed_high
    assert point.over_treat_all.high < weight * 0.56  # nothing to gain on the side of the melanomas
    pooled = decision_curve(scores, truth, np.arange(400), draws=500, seed=0, thresholds=[0.1]).points[0]
    assert wilson(0, 400)[1] < pooled.over_treat_all.value - pooled.over_treat_all.low < 2 * wilson(0, 400)[1]


@pytest.mark.parametrize("prevalence", [None, 0.05])
def test_intervals_of_the_claim_cover_the_truth(prevalence):
    """Nominal 95 % lies in 93 to 97 %, with some 30 target lesions in 200."""
    thresholds, n_simulations = (0.02, 0.1, 0.3), 400
    rng = np.random.default_rng(11)
    shape = {"prevalence": prevalence, "thresholds": thresholds}
    everything = decision_curve(*clustered(300_000, rng), draws=0, seed=0, **shape)
    truth = [(point.net_benefit.value, point.over_treat_all.value) for point in everything.points]
    held = np.zeros((len(thresholds), 2))
    for simulation in range(n_simulations):
        curve = decision_curve(*clustered(200, rng), draws=200, seed=simulation, **shape)
        for row, point in enumerate(curve.points):
            for column, figure in enumerate((point.net_benefit, point.over_treat_all)):
                held[row, column] += figure.low <= truth[row][column] <= figure.high
    chance = 3 * np.sqrt(0.95 * 0.05 / n_simulations)
    assert (held / n_simulations >= 0.93 - chance).all()
    assert (held / n_simulations <= 0.97 + chance).all()


def test_useful_ranges_are_unbroken():
    scores, truth, lesion = clustered(1500, np.random.default_rng(0))
    curve = decision_curve(scores, truth, lesion, draws=200, seed=0)
    inside = {point.threshold for point in curve.points if point.is_useful}
    assert len(inside) > 0 and curve.useful_ranges()
    for low, high in curve.useful_ranges():
        assert {threshold for threshold in THRESHOLDS if low <= threshold <= high} <= inside
    constant = decision_curve(np.full(len(scores), 0.3), truth, lesion, draws=200, seed=0)
    assert all(high > 0.3 - 1e-12 or low > truth.mean() for low, high in constant.useful_ranges())
    assert decision_curve(1 - scores, truth, lesion, draws=200, seed=0).useful_ranges() == ()


def test_the_same_seed_gives_the_same_curve_however_the_draws_are_cut(monkeypatch):
    table = clustered(60, np.random.default_rng(1))
    whole = decision_curve(*table, draws=50, seed=4)
    monkeypatch.setattr(intervals, "_BLOCK_CELLS", 500)
    assert decision_curve(*table, draws=50, seed=4) == whole
    assert decision_curve(*table, draws=50, seed=5) != whole


def test_a_subgroup_of_the_lesions_has_its_own_size():
    scores, truth, lesion = clustered(60, np.random.default_rng(1))
    some = lesion < 40
    curve = BenefitTally.of(scores[some], truth[some], lesion[some], 60).curve({})
    assert (curve.n_images, curve.n_lesions) == (some.sum(), 40)
    assert curve.n_target_lesions == len(np.unique(lesion[some & truth]))


@pytest.mark.parametrize(
    ("truth", "reason"), [(0, "n=0 images of the target"), (1, "n=0 images other than the target")]
)
def test_one_sided_truth_has_no_curve(truth, reason):
    images = np.full(10, bool(truth))
    assert decision_curve(SCORES, images, np.arange(10), draws=10, seed=0) == NotApplicable(reason)


def test_no_image_has_no_curve():
    nothing = np.empty(0)
    curve = decision_curve(nothing, nothing.astype(bool), nothing.astype(int), draws=0, seed=0)
    assert curve == NotApplicable("n=0 images of the target")


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, float("nan")])
def test_an_impossible_prevalence_is_refused(prevalence):
    with pytest.raises(DataError, match="prevalence"):
        decision_curve(SCORES, TRUTH, np.arange(10), draws=0, seed=0, prevalence=prevalence)


@pytest.mark.parametrize("thresholds", [(), (0, 0.5), (0.5, 1.0), (0.3, 0.2), (0.2, 0.2)])
def test_impossible_thresholds_are_refused(thresholds):
    with pytest.raises(DataError, match="threshold"):
        decision_curve(SCORES, TRUTH, np.arange(10), draws=0, seed=0, thresholds=thresholds)


@pytest.mark.parametrize("prevalence", [None, 0.02])
def test_json_gives_the_curve_back(prevalence):
    curve = decision_curve(*clustered(60, np.random.default_rng(1)), draws=50, seed=4, prevalence=prevalence)
    text = json.dumps(curve.as_json(), allow_nan=False)
    assert DecisionCurve.from_json(json.loads(text)) == curve
    assert json.loads(text)["notes"] == list(curve.notes)

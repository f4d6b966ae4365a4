"""Do the figures of calibration agree with scikit-learn, under lesion weights, and do they say where there are none?"""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from melascope.classes import CLASSES
from melascope.errors import DataError
from melascope.evaluation.calibration import (
    CALIBRATION_FIGURES,
    Calibration,
    Forecasts,
    measure_calibration,
    student_interval,
)
from melascope.evaluation.intervals import lesion_draws
from melascope.evaluation.recalibration import Recalibration
from melascope.evaluation.reliability import reliability_curve
from melascope.evaluation.temperature import log_probabilities
from melascope.tables.predictions import PredictionsOrigin
from melascope.tables.results import Estimate, NotApplicable

TARGETS = [("mel",), ("akiec", "bcc", "mel")]


@st.composite
def weighted_forecasts(draw):
    """Images of a few lesions, and three draws of lesion weights (zeros included)."""
    n = draw(st.integers(2, 60))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    logits = rng.normal(0, draw(st.sampled_from([0.5, 3.0])), (n, 7))
    lesion = rng.integers(0, max(1, n // 2), n)
    n_lesions = int(lesion.max()) + 1
    weights = rng.integers(0, 4, (3, n_lesions)).astype(float)
    weights[:, lesion[0]] += 1
    target = draw(st.sampled_from(TARGETS))
    return Forecasts(log_probabilities(logits), rng.integers(0, 7, n), target, lesion, n_lesions), weights


@settings(max_examples=60, deadline=None)
@given(weighted_forecasts())
def test_losses_agree_with_scikit_learn_under_weights(drawn):
    forecasts, weights = drawn
    values, probabilities = forecasts.values(weights), np.exp(forecasts.log_probability)
    columns = [CLASSES.index(name) for name in forecasts.target]
    truth, score = np.isin(forecasts.labels, columns), probabilities[:, columns].sum(axis=1)
    for draw, row in enumerate(weights):
        w = row[forecasts.lesion]
        reference = {
            "nll": log_loss(forecasts.labels, probabilities, labels=range(7), sample_weight=w),
            "brier_score": brier_score_loss(
                forecasts.labels, probabilities, labels=range(7), sample_weight=w, scale_by_half=False
            ),
            "target_brier_score": brier_score_loss(truth, score, sample_weight=w, scale_by_half=True),
            "target_observed_to_expected": (w * truth).sum() / (w * score).sum(),
        }
        assert {name: values[name][draw] for name in reference} == pytest.approx(reference, rel=0, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(weighted_forecasts())
def test_a_lesion_drawn_twice_counts_like_two_copies_of_its_images(drawn):
    """All figures but the calibration errors, whose bins are cut once, from the images as they are."""
    forecasts, weights = drawn
    times = weights[0][forecasts.lesion].astype(int)
    copied = Forecasts(
        np.repeat(forecasts.log_probability, times, axis=0),
        np.repeat(forecasts.labels, times),
        forecasts.target,
        np.repeat(forecasts.lesion, times),
        forecasts.n_lesions,
    )
    ours, theirs = forecasts.values(weights[:1]), copied.values(np.ones((1, forecasts.n_lesions)))
    for name, figure in CALIBRATION_FIGURES.items():
        if not figure.bins_of:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-6, err_msg=name)


def test_top_class_and_target_have_their_own_scores_and_truth():
    logits = np.zeros((3, 7))
    logits[:, CLASSES.index("nv")] = [2.0, 2.0, 0.0]
    logits[2, CLASSES.index("mel")] = 1.0
    labels = np.array([CLASSES.index(name) for name in ("nv", "mel", "mel")])
    forecasts = Forecasts(log_probabilities(logits), labels, ("mel",), np.arange(3), 3)
    top, target = forecasts.reliability["top_class"], forecasts.reliability["target"]
    sure, some = np.exp(2) / (np.exp(2) + 6), np.e / (np.e + 6)
    assert top.scores == pytest.approx([sure, sure, some]) and top.truth.tolist() == [True, False, True]
    assert target.scores == pytest.approx([1 / (np.exp(2) + 6)] * 2 + [some]) and target.truth.tolist() == [0, 1, 1]
    assert forecasts.log_odds == pytest.approx(np.log(target.scores / (1 - target.scores)))
    error = forecasts.values(np.ones((1, 3)))["expected_calibration_error"][0]
    assert error == pytest.approx((abs(2 * sure - 1) + 1 - some) / 3)


def test_a_model_beyond_the_range_of_floats_has_finite_figures():
    logits = np.zeros((4, 7))
    logits[:, CLASSES.index("mel")] = [3000.0, 3000, -3000, -3000]
    labels = np.array([CLASSES.index(name) for name in ("mel", "nv", "nv", "bcc")])
    values = Forecasts(log_probabilities(logits), labels, ("mel",), np.arange(4), 4).values(np.ones((1, 4)))
    assert values["nll"][0] == pytest.approx((3000 + 2 * np.log(6)) / 4)
    assert np.isfinite(values["brier_score"][0]) and np.isfinite(values["target_brier_score"][0])


def test_every_figure_has_n_and_an_interval_around_it(draw_table):
    table = draw_table(600, seed=4)
    measured = measure_calibration(table, draws=200, seed=3)
    assert list(measured.figures) == list(CALIBRATION_FIGURES)
    for figure in measured.figures.values():
        assert (figure.n, figure.n_lesions) == (len(table), 600)
        assert figure.low < figure.value < figure.high
    assert list(measured.if_perfect) == ["expected_calibration_error", "target_expected_calibration_error"]
    assert all(0 < one.low < one.value < one.high for one in measured.if_perfect.values())
    is_mel = table.dx == "mel"
    assert (measured.n_target_images, measured.n_target_lesions) == (is_mel.sum(), len(set(table.lesion_id[is_mel])))
    assert np.sum(measured.histogram, axis=0).tolist() == [len(table), is_mel.sum()]
    lesion = np.unique(table.lesion_id.astype(str), return_inverse=True)[1]
    score = table.probabilities[:, CLASSES.index("mel")]
    expected = reliability_curve(score, is_mel, lesion, draws=200, seed=3)
    for one, other in zip(measured.reliability, expected, strict=True):
        assert one.as_json() == pytest.approx(other.as_json(), abs=1e-9)


def test_the_temperature_of_the_table_is_used(draw_table):
    table = draw_table(300)
    hot = replace(table, origin=PredictionsOrigin(temperature=2.0))
    halved = replace(table, logits=table.logits / 2)
    assert measure_calibration(hot, draws=20).figures == measure_calibration(halved, draws=20).figures
    assert measure_calibration(hot, draws=0).temperature == 2.0
    slopes = [measure_calibration(one, draws=0).figures["target_calibration_slope"].value for one in (table, hot)]
    assert slopes[1] > 1.5 * slopes[0]  # halved logits are less extreme


def test_it_is_read_back_as_it_was_and_depends_on_the_seed(draw_table):
    measured = measure_calibration(draw_table(200, dx=["mel", "nv", "bcc"] * 20), TARGETS[1], draws=30, seed=5)
    assert Calibration.from_json(json.loads(json.dumps(measured.as_json(), allow_nan=False))) == measured
    assert measure_calibration(draw_table(200, dx=["mel", "nv", "bcc"] * 20), TARGETS[1], draws=30, seed=5) == measured
    other = measure_calibration(draw_table(200, dx=["mel", "nv", "bcc"] * 20), TARGETS[1], draws=30, seed=6)
    assert other.figures != measured.figures


def test_without_melanoma_the_comparisons_are_not_applicable(draw_table):
    measured = measure_calibration(draw_table(dx=["nv", "bcc"] * 30), draws=50)
    reason = NotApplicable("n=0 images of melanoma")
    assert {name for name, figure in measured.figures.items() if figure == reason} == {
        *("target_calibration_slope", "target_calibration_intercept", "target_calibration_in_the_large")
    }
    assert measured.figures["target_brier_score"].value > 0
    assert measured.figures["target_observed_to_expected"].value == 0
    everything = measure_calibration(draw_table(dx=["mel"] * 30), draws=50)
    assert everything.figures["target_calibration_slope"] == NotApplicable("n=0 images other than melanoma")
    json.dumps(measured.as_json(), allow_nan=False)


def test_a_perfect_ranking_has_no_slope_and_says_why(draw_table):
    measured = measure_calibration(draw_table(dx=["mel", "nv"] * 20, skill=40.0), draws=50)
    slope = measured.figures["target_calibration_slope"]
    assert isinstance(slope, NotApplicable) and "no finite fit" in slope.reason and "n=" in slope.reason


def test_figures_of_few_melanomas_have_no_interval(draw_table):
    measured = measure_calibration(draw_table(dx=["mel"] * 9 + ["nv"] * 90, skill=0.5), draws=100)
    for name, figure in measured.figures.items():
        assert (figure.low is None) == CALIBRATION_FIGURES[name].compares
    without = measure_calibration(draw_table(100), draws=0)
    assert all(figure.low is None for figure in without.figures.values() if isinstance(figure, Estimate))


def test_a_brier_score_above_one_has_an_interval_too(draw_table):
    worst = measure_calibration(draw_table(100, skill=-6.0), draws=100).figures["brier_score"]
    assert 1 < worst.low < worst.value < worst.high < 2


def test_rows_without_truth_do_not_count(draw_table):
    table = draw_table(100)
    blank = replace(table, dx=np.where(np.arange(len(table)) < 20, "", table.dx).astype(object))
    assert measure_calibration(blank, draws=0).n_images == len(table) - 20
    with pytest.raises(DataError, match="none of 0 rows"):
        measure_calibration(table.subset(np.zeros(len(table), dtype=bool)))


def test_an_interval_without_bounds_is_students_around_the_figure():
    values = np.random.default_rng(1).normal(1, 0.1, 4000)
    low, high = student_interval(1.0, values, 1000, log=False)
    assert (low, high) == pytest.approx((0.804, 1.196), abs=0.01)
    assert student_interval(1.0, values, 12, log=False)[1] > high  # fewer lesions, more doubt
    assert student_interval(1.0, values, 9, log=False) is None
    low, high = student_interval(1.0, values, 1000, log=True)
    assert low * high == pytest.approx(1)
    assert student_interval(0.0, values, 1000, log=True) is None
    assert student_interval(1.0, np.r_[values, np.full(400, np.nan)], 1000, log=False) is None
    assert student_interval(1.0, np.r_[values, np.zeros(400)], 1000, log=True) is None  # zero has no logarithm
    assert student_interval(1.0, np.empty(0), 1000, log=False) is None


def test_intervals_of_slope_and_intercept_cover():
    """Lesions whose truth is drawn from their probabilities, seen at twice the logits: the slope is one half."""
    rng = np.random.default_rng(8)
    n_lesions, covered = 250, np.zeros(2)
    weights = np.concatenate(list(lesion_draws(n_lesions, 200, seed=1)))
    for _ in range(150):
        lesion = np.repeat(np.arange(n_lesions), rng.choice([1, 2, 3], n_lesions, p=[0.74, 0.2, 0.06]))
        log_odds = rng.normal(-1.5, 1.5, n_lesions)[lesion] + rng.normal(0, 0.5, len(lesion))
        truth = rng.random(n_lesions)[lesion] < 1 / (1 + np.exp(-log_odds))
        subject = Recalibration(2 * log_odds, truth, lesion, n_lesions)
        rarer = len(np.unique(lesion[truth]))
        point, spread = subject.whole, subject.fit(weights)
        for place, (name, true) in enumerate((("slope", 0.5), ("intercept", 0.0))):
            low, high = student_interval(getattr(point, name)[0], getattr(spread, name), rarer, log=False)
            covered[place] += low <= true <= high
    assert (covered / 150 >= 0.90).all() and (covered / 150 <= 0.995).all()

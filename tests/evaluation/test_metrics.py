"""Do the metrics agree with scikit-learn, under ties, weights and absent classes?"""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from melascope.evaluation.counting import each_once
from melascope.evaluation.metrics import METRICS, Sample, Tally

CLASS_IDS = np.arange(7)


@st.composite
def weighted_samples(draw):
    """Images of a few lesions with tied probabilities, and three draws of lesion weights (zeros included)."""
    n = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    labels = rng.integers(0, draw(st.integers(1, 7)), n)
    raw = rng.integers(1, draw(st.sampled_from([3, 1000])), (n, 7)).astype(float)
    lesion = rng.integers(0, max(1, n // 2), n)
    n_lesions = int(lesion.max()) + 1
    weights = rng.integers(0, 4, (3, n_lesions)).astype(float)
    weights[:, 0] += 1
    return Sample(labels, raw / raw.sum(axis=1, keepdims=True), lesion, n_lesions), weights


def reference(name, sample, weight):
    """What scikit-learn says under image weights (n,), NaN where it has no answer."""
    truth, predicted, present = sample.labels, sample.probabilities.argmax(axis=1), np.unique(sample.labels[weight > 0])
    if weight.sum() == 0:
        return np.full(7, np.nan) if METRICS[name].per_class else np.array(np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "accuracy":
            return np.array(sk.accuracy_score(truth, predicted, sample_weight=weight))
        if name == "balanced_accuracy":
            recalls = sk.recall_score(truth, predicted, labels=present, average="macro", sample_weight=weight)
            return np.array(recalls)
        if name == "macro_f1":
            return np.array(sk.f1_score(truth, predicted, labels=present, average="macro", sample_weight=weight))
        per_class = []
        for column in CLASS_IDS:
            is_class, is_called = truth == column, predicted == column
            both = len(np.unique(is_class[weight > 0])) == 2
            if name == "recall":
                value = sk.recall_score(is_class, is_called, sample_weight=weight, zero_division=np.nan)
            elif name == "specificity":
                value = sk.recall_score(~is_class, ~is_called, sample_weight=weight, zero_division=np.nan)
            elif name == "auroc":
                scores = sample.probabilities[:, column]
                value = sk.roc_auc_score(is_class, scores, sample_weight=weight) if both else np.nan
            elif name == "ppv":
                value = sk.precision_score(is_class, is_called, sample_weight=weight, zero_division=np.nan)
            elif name == "average_precision":
                scores = sample.probabilities[:, column]
                value = sk.average_precision_score(is_class, scores, sample_weight=weight) if both else np.nan
            per_class.append(value)
    return np.array(per_class)


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=40, deadline=None)
@given(weighted_samples())
def test_every_metric_agrees_with_scikit_learn_under_weights(name, drawn):
    sample, weights = drawn
    ours = METRICS[name].function(Tally(sample, weights))
    theirs = np.stack([reference(name, sample, row[sample.lesion]) for row in weights])
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


@given(weighted_samples())
@settings(max_examples=20, deadline=None)
def test_a_lesion_drawn_twice_counts_like_two_copies_of_its_images(drawn):
    sample, weights = drawn
    times = weights[0][sample.lesion].astype(int)
    copied = Sample(
        np.repeat(sample.labels, times),
        np.repeat(sample.probabilities, times, axis=0),
        np.repeat(sample.lesion, times),
        sample.n_lesions,
    )
    for metric in METRICS.values():
        weighted = metric.function(Tally(sample, weights[:1]))
        plain = metric.function(Tally(copied, np.ones((1, sample.n_lesions))))
        np.testing.assert_allclose(weighted, plain, rtol=0, atol=1e-12)


def test_the_confusion_matrix_has_truth_in_rows():
    probabilities = np.eye(7)[[4, 5, 5, 0]]
    sample = Sample(np.array([4, 4, 5, 5]), probabilities, np.array([0, 0, 1, 2]), 3)
    confusion = Tally(sample, np.array([[1.0, 1, 1], [2, 0, 1]])).confusion
    assert confusion[0, 4, 4] == 1 and confusion[0, 4, 5] == 1 and confusion[0, 5, 5] == 1 and confusion[0, 5, 0] == 1
    assert confusion[1, 4, 5] == 2 and confusion[1, 5, 5] == 0 and confusion[1].sum() == 5


def test_means_run_over_the_classes_in_the_truth_only():
    sample = Sample(np.array([4, 4, 5, 5]), np.eye(7)[[4, 0, 5, 5]], np.arange(4), 4)  # akiec is called, never true
    tally = Tally(sample, np.ones((1, 4)))
    assert METRICS["balanced_accuracy"].function(tally)[0] == pytest.approx((0.5 + 1) / 2)
    assert METRICS["macro_f1"].function(tally)[0] == pytest.approx((2 / 3 + 1) / 2)


def test_auroc_of_many_rows_has_no_quadratic_step():
    rng = np.random.default_rng(0)
    n = 300_000
    sample = Sample(rng.integers(0, 7, n), rng.dirichlet(np.ones(7), n), np.arange(n), n)
    values = METRICS["auroc"].function(Tally(sample, each_once(n)))
    assert np.abs(values - 0.5).max() < 0.01


def test_of_no_image_every_metric_is_nan_and_nothing_raises():
    nobody = Sample(np.zeros(0, dtype=np.int64), np.zeros((0, 7)), np.zeros(0, dtype=np.int64), 2)
    for metric in METRICS.values():
        assert np.isnan(metric.function(Tally(nobody, np.ones((1, 2))))).all()

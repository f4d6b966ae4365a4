"""Is the temperature the one of least NLL, from validation rows only, and is it said where it had to be bounded?"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from melascope.errors import DataError
from melascope.evaluation.temperature import (
    COLDEST,
    HOTTEST,
    Temperature,
    best_temperature,
    fit_temperature,
    log_probabilities,
    nll,
    nll_slope,
)
from melascope.tables.predictions import PredictionsOrigin
from melascope.tables.probabilities import probabilities_from_logits


@pytest.fixture
def validation(draw_table):
    return draw_table(n_lesions=300, seed=1, split="val")


def noisy(seed, n, scale=1.0):
    """Logits and labels drawn from softmax(logits): the best temperature is near 1, times `scale`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 7))
    luck = rng.random((n, 1))
    labels = (probabilities_from_logits(logits).cumsum(axis=1) < luck).sum(axis=1).clip(max=6)
    return logits * scale, labels


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(60, 300), scale=st.floats(0.3, 4))
def test_it_is_where_scikit_learns_log_loss_is_least(seed, n, scale):
    logits, labels = noisy(seed, n, scale)

    def loss(log_t):
        return log_loss(labels, probabilities_from_logits(logits, np.exp(log_t)), labels=range(7))

    reference = minimize_scalar(loss, bounds=np.log([COLDEST, HOTTEST]), method="bounded", options={"xatol": 1e-10})
    temperature, note = best_temperature(logits, labels)
    assert note == ""
    assert temperature == pytest.approx(np.exp(reference.x), rel=1e-6)
    assert nll(logits, labels, temperature) == pytest.approx(loss(np.log(temperature)), abs=1e-9)
    assert nll_slope(logits, labels, 1 / temperature) == pytest.approx(0, abs=1e-9)


def test_the_temperature_that_made_the_logits_is_found_again():
    logits, labels = noisy(3, 40_000, scale=2.5)
    assert best_temperature(logits, labels)[0] == pytest.approx(2.5, rel=0.03)


@given(seed=st.integers(0, 10_000), scale=st.floats(0.5, 2))
@settings(max_examples=20, deadline=None)
def test_logits_times_a_factor_want_the_temperature_times_it(seed, scale):
    logits, labels = noisy(seed, 150)
    once, scaled = best_temperature(logits, labels)[0], best_temperature(logits * scale, labels)[0]
    assert scaled == pytest.approx(once * scale, rel=1e-9)


def test_fit_counts_what_it_rests_on_and_never_raises_the_nll(validation):
    fitted = fit_temperature(validation)
    assert (fitted.n_images, fitted.n_lesions) == (len(validation), 300)
    assert fitted.nll_before == pytest.approx(
        log_loss(validation.labels, probabilities_from_logits(validation.logits), labels=range(7)), abs=1e-9
    )
    assert fitted.nll_after < fitted.nll_before
    assert Temperature.from_json(fitted.as_json()) == fitted
    hot = replace(validation, origin=PredictionsOrigin(temperature=3.0))
    assert fit_temperature(hot) == fitted  # the raw logits are fitted, whatever the table carries
    unknown = replace(validation, dx=np.where(np.arange(len(validation)) < 50, "", validation.dx).astype(object))
    assert fit_temperature(unknown).n_images == len(validation) - 50


def test_rows_of_other_splits_are_refused(draw_table, validation):
    with pytest.raises(DataError, match=r"other splits: test\b"):
        fit_temperature(draw_table(50))
    with pytest.raises(DataError, match=r"\(none\)"):
        fit_temperature(draw_table(50, split=""))


def test_nothing_to_fit_is_said(validation):
    for table, message in (
        (validation.subset(np.zeros(len(validation), dtype=bool)), "n=0 validation images"),
        (validation.subset(validation.dx == "mel"), "images are of mel"),
        (replace(validation, logits=np.full_like(validation.logits, 2.0)), "seven equal logits"),
    ):
        with pytest.raises(DataError, match=message):
            fit_temperature(table)


def test_separable_and_worthless_logits_are_bounded_and_say_so():
    labels = np.arange(70) % 7
    right = np.eye(7)[labels]
    temperature, note = best_temperature(right, labels)
    assert temperature == COLDEST and "100.0% of 70" in note
    temperature, note = best_temperature(-right, labels)
    assert temperature == HOTTEST and "70 validation images" in note
    temperature, _ = best_temperature(np.r_[right[1:], -right[:1]], np.r_[labels[1:], labels[:1]])
    assert COLDEST < temperature < HOTTEST  # one error is enough


def test_log_probabilities_stay_finite_where_probabilities_vanish():
    logits = np.array([[0.0, 5000, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7]])
    found = log_probabilities(logits, 2.0)
    assert np.isfinite(found).all() and found[0, 0] == -2500
    np.testing.assert_allclose(found[1], np.log(probabilities_from_logits(logits[1:], 2.0)[0]), atol=1e-12)

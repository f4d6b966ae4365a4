"""Are probabilities that somebody rounded still ties, when they come back from their logarithms?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from melascope.classes import MEL
from melascope.evaluation.operating_point import choose_operating_point
from melascope.tables.predictions import Predictions
from melascope.tables.probabilities import probabilities_from_logits, steady


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_number_hardly_moves_and_none_passes_another(numbers):
    numbers = np.sort(numbers)
    rounded = steady(numbers)
    np.testing.assert_allclose(rounded, numbers, rtol=5.1e-12, atol=0)
    assert (np.diff(rounded) >= 0).all()
    np.testing.assert_array_equal(steady(rounded), rounded)


def test_two_digits_survive_their_logarithm():
    tenths = np.random.default_rng(0).multinomial(100, [0.1, 0.1, 0.2, 0.05, 0.25, 0.25, 0.05], 2000) / 100
    raw = np.exp(np.log(np.maximum(tenths, 1e-15)))
    assert len(np.unique(raw / raw.sum(axis=1, keepdims=True))) > 100  # what floats alone make of it
    found = probabilities_from_logits(np.log(np.maximum(tenths, 1e-15)))
    np.testing.assert_array_equal(found[tenths > 0], tenths[tenths > 0])


def test_a_threshold_calls_every_image_of_a_rounded_table_that_shows_it(tmp_path):
    """One of the ties chooses the threshold; all of them stand at it, whatever else is in their rows."""
    rng = np.random.default_rng(2)
    mel = rng.choice([0.1, 0.3, 0.5], 200)
    rest = np.array([rng.multinomial(round(1000 * (1 - one)), np.full(6, 1 / 6)) for one in mel]) / 1000
    shares = np.insert(rest, MEL, mel, axis=1)
    names = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    lines = [",".join(["image_id", "split", "dx", *(f"p_{name}" for name in names)])]
    for row, values in enumerate(shares):
        lines.append(f"i{row},val,{'mel' if row % 3 else 'nv'}," + ",".join(f"{one:.3f}" for one in values))
    (tmp_path / "theirs.csv").write_text("\n".join(lines))
    table = Predictions.read(tmp_path / "theirs.csv")
    point = choose_operating_point(table, rule="empirical", target_sensitivity=0.5)
    assert 0 < point.threshold <= 0.5
    called = point.is_positive(table.probabilities)
    assert called.tolist() == (mel >= point.threshold).tolist()
    assert point.sensitivity == pytest.approx((mel >= point.threshold)[np.arange(200) % 3 > 0].mean())

"""Are images counted exactly, and are very many lesions drawn in groups that tell the same spread?"""

import numpy as np
import pytest

from melascope.evaluation import counting
from melascope.evaluation.counting import counts_by_lesion, each_once, sums_by_lesion, totals_by_lesion, weighted
from melascope.evaluation.intervals import lesion_draws


def test_few_lesions_are_each_a_unit_of_their_own():
    lesion = np.array([2, 0, 2, 1])
    assert counting.n_units(3) == 3 and (counting.unit_of(lesion, 3) == lesion).all()
    assert each_once(3).tolist() == [[1, 1, 1]]


def test_counts_and_sums_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    cell, lesion, values = rng.integers(0, 5, 300), rng.integers(0, 40, 300), rng.normal(size=300)
    weights = np.concatenate(list(lesion_draws(40, 7, seed=3)))
    of_image = weights[:, lesion].astype(np.float64)
    counted, summed = (
        weighted(counts_by_lesion(cell, lesion, 5, 40), weights),
        weights @ totals_by_lesion(values, lesion, 40),
    )
    assert counted.dtype == np.float64
    assert (counted == np.stack([of_image[:, cell == one].sum(axis=1) for one in range(5)])).all()
    by_cell = weighted(sums_by_lesion(values, cell, lesion, 5, 40), weights)
    expected = np.stack([(of_image * values)[:, cell == one].sum(axis=1) for one in range(5)])
    np.testing.assert_allclose(by_cell, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(summed, expected.sum(axis=0), rtol=0, atol=1e-12)


def test_counts_stay_exact_up_to_sixteen_million():
    """float32 holds whole numbers to 2^24; a draw of five million images must not lose one."""
    n = 5_000_001
    counts = counts_by_lesion(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), 1, 1)
    assert weighted(counts, np.array([[3.0]], dtype=np.float32))[0, 0] == 3 * n


@pytest.fixture
def few_units(monkeypatch):
    monkeypatch.setattr(counting, "MAX_UNITS", 1_000)
    counting._grouping.cache_clear()
    yield
    counting._grouping.cache_clear()


def test_groups_are_even_and_hold_every_lesion_once(few_units):
    lesion = np.arange(25_300)
    groups = counting.unit_of(lesion, 25_300)
    sizes = np.bincount(groups)
    assert len(sizes) == 1_000 and sizes.min() == 25 and sizes.max() == 26
    assert (counting.unit_of(lesion[::-1], 25_300) == groups[::-1]).all()
    assert np.corrcoef(lesion, groups)[0, 1] == pytest.approx(0, abs=0.02)  # neighbours by name are no group


def test_groups_tell_the_spread_of_their_lesions(few_units):
    """Of a share with lesions of one to three images that always agree: the standard error is known."""
    rng = np.random.default_rng(1)
    size = rng.integers(1, 4, 25_300)
    hit = rng.random(25_300) < 0.2
    lesion = np.repeat(np.arange(25_300), size)
    counts = counts_by_lesion(hit[lesion].astype(np.int64), lesion, 2, 25_300)
    misses, hits = (
        np.concatenate(one) for one in zip(*(weighted(counts, w) for w in lesion_draws(25_300, 4_000, 0)), strict=True)
    )
    share = (hit * size).sum() / size.sum()
    known = np.sqrt(((size * (hit - share)) ** 2).sum()) / size.sum()  # linearised, lesions independent
    assert weighted(counts, each_once(25_300))[:, 0].sum() == size.sum()
    # 1,000 groups and 4,000 draws leave 2.5 % to chance
    assert (hits / (hits + misses)).std() == pytest.approx(known, rel=0.08)

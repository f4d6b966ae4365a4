"""Is likeness the distance that it says, is its limit the promised one, and are rare images not the ones that pay?"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from melascope.errors import DataError
from melascope.evaluation.likeness import NEIGHBOURS, Likeness, conformal_limit, neighbour_distance


def normal(n: int, seed: int, centre: float = 0, dimensions: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(centre, 1, (n, dimensions))


@pytest.mark.parametrize("rank", [1, 10, 300])
def test_distance_is_that_of_scikit_learn(rank):
    points, asked = normal(300, 1).astype(np.float32), normal(40, 2).astype(np.float32)
    expected = NearestNeighbors(n_neighbors=rank).fit(points).kneighbors(asked)[0][:, -1]
    np.testing.assert_allclose(neighbour_distance(points, asked, rank), expected, rtol=1e-3)


def test_strangeness_does_not_hang_on_units_of_the_numbers():
    train, validation, asked = normal(200, 1), normal(50, 2), normal(20, 3)
    factor, shift = np.array([1, 10, 100, 1000, 0.1, 0.01]), np.arange(6)
    one = Likeness.fit(train, validation)
    other = Likeness.fit(train * factor + shift, validation * factor + shift)
    np.testing.assert_allclose(other.strangeness(asked * factor + shift), one.strangeness(asked), rtol=1e-3)


def test_about_the_promised_share_of_new_pictures_passes():
    kept = []
    for seed in range(60):
        fitted = Likeness.fit(normal(150, 3 * seed), normal(59, 3 * seed + 1), kept=0.9)
        kept.append((fitted.strangeness(normal(100, 3 * seed + 2)) <= fitted.limit).mean())
    assert np.mean(kept) == pytest.approx(0.9, abs=0.02)


def test_what_lies_elsewhere_is_refused():
    fitted = Likeness.fit(normal(300, 1), normal(100, 2))
    assert (fitted.strangeness(normal(100, 3, centre=8)) > fitted.limit).all()
    assert fitted.stranger_share(0.0) == 1 and fitted.stranger_share(1e9) == 0


def test_the_rare_group_does_not_pay_for_being_rare():
    """Forty targets, elsewhere than 1,000 others: one limit for all refuses many of them, one unit a group does not."""
    others, targets = normal(1000, 1), normal(40, 2, centre=4)
    new_others, new_targets = normal(500, 3), normal(60, 4, centre=4)
    train, validation = np.concatenate([others, targets]), np.concatenate([new_others, new_targets])
    held = normal(400, 5, centre=4)
    is_target = np.arange(len(train)) >= len(others)
    lost = {}
    for name, group in (("together", None), ("apart", is_target)):
        fitted = Likeness.fit(train, validation, is_target=group)
        lost[name] = (fitted.strangeness(held) > fitted.limit).mean()
    assert lost["together"] > 0.25 and lost["apart"] < 0.12


def test_few_targets_make_no_group():
    train = normal(50, 1)
    fitted = Likeness.fit(train, normal(20, 2), is_target=np.arange(50) < NEIGHBOURS)
    assert len(fitted.unit) == 1 and not fitted.group.any()


@pytest.mark.parametrize(
    ("n", "kept", "limit", "promised"),
    [(19, 0.95, 18.0, 0.95), (99, 0.95, 94.0, 0.95), (9, 0.95, 8.0, 0.9), (1, 0.5, 0, 0.5)],
)
def test_the_limit_is_the_conformal_quantile(n, kept, limit, promised):
    assert conformal_limit(np.arange(n, dtype=float), kept) == (limit, pytest.approx(promised))


def test_nothing_is_learned_from_nothing():
    with pytest.raises(DataError, match="0 training"):
        Likeness.fit(np.zeros((0, 3)), np.zeros((2, 3)))
    with pytest.raises(DataError, match="0 validation"):
        Likeness.fit(np.zeros((2, 3)), np.zeros((0, 3)))


def test_images_that_are_all_alike_do_not_divide_by_zero():
    fitted = Likeness.fit(np.ones((30, 3)), np.ones((5, 3)))
    assert fitted.limit == 0 and fitted.strangeness(np.zeros((1, 3)))[0] > 0

"""Is a map that names what a known model looks at faithful, and one that names something else not?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from melascope.errors import ExplainError
from melascope.explain.faithfulness import (
    FILLS,
    HIGHER_IS_BETTER,
    RANKED_BY,
    Case,
    curves,
    figures,
    random_twin,
    removal_rank,
)
from melascope.tables.cell_places import CellPlaces

H, W = 24, 32
SPOT = (slice(3, 9), slice(4, 12))  # in a corner, where neither a Gaussian nor chance looks first


def _spot_scorer(pixels: np.ndarray) -> np.ndarray:
    """Its logit 4 is the darkness of the spot: the model that knows exactly what it looks at."""
    logits = np.zeros((len(pixels), 7))
    logits[:, 4] = (200 - pixels[(slice(None), *SPOT)].mean(axis=(1, 2, 3))) / 20
    return logits


def _case(values: np.ndarray, seed: int = 0) -> Case:
    pixels = np.full((H, W, 3), 200, np.uint8)
    pixels[SPOT] = 40
    lesion = np.zeros((H, W), bool)
    lesion[SPOT] = True
    return Case(pixels, values, lesion, 4, [seed])


def _true_map() -> np.ndarray:
    values = np.zeros((H, W), np.float32)
    values[SPOT] = 1
    return values


def test_the_map_of_what_the_model_sees_beats_both_controls():
    found = figures(curves(_spot_scorer, [_case(_true_map(), seed) for seed in range(6)]))
    for name, higher in HIGHER_IS_BETTER.items():
        of_map, others = found[name][:, 0], found[name][:, 1:]
        assert ((of_map[:, None] > others) if higher else (of_map[:, None] < others)).all(), name


def test_a_map_of_the_opposite_loses_against_chance():
    found = figures(curves(_spot_scorer, [_case(-_true_map(), seed) for seed in range(6)]))
    for name, higher in HIGHER_IS_BETTER.items():
        of_map, by_chance = found[name][:, 0].mean(), found[name][:, 1].mean()
        assert (of_map < by_chance) if higher else (of_map > by_chance), name


def test_known_areas():
    """The scorer counts the pixels that are left, so every curve falls in a straight line from 0.9 to 0.1."""
    pixels = np.random.default_rng(3).integers(0, 256, (H, W, 3), dtype=np.uint8)

    def scorer(pictures: np.ndarray) -> np.ndarray:
        p = 0.1 + 0.8 * (pictures == pixels).all(axis=-1).mean(axis=(1, 2))
        return np.log(np.concatenate([p[:, None], np.repeat((1 - p)[:, None] / 6, 6, axis=1)], axis=1))

    case = Case(pixels, np.random.default_rng(0).normal(size=(3, 4)), np.zeros((H, W), bool), 0, [1])
    p = curves(scorer, [case], steps=8)
    straight = np.broadcast_to(np.linspace(0.9, 0.1, 9), (*p.shape[:-1], 9))
    np.testing.assert_allclose(p[np.isfinite(p)], straight[np.isfinite(p)], atol=0.002)
    found = figures(p)
    assert found["deletion_skin"] == pytest.approx(0.5, abs=0.002) == found["insertion_blur"]
    assert found["road"] == pytest.approx(0, abs=0.002)


def test_it_is_the_same_each_time_and_in_any_company():
    one, other = _case(_true_map(), 1), _case(-_true_map(), 2)
    together, alone = curves(_spot_scorer, [other, one])[1], curves(_spot_scorer, [one])[0]
    np.testing.assert_array_equal(together, alone)


def test_a_map_without_order_is_undefined():
    p = curves(_spot_scorer, [_case(np.zeros((3, 4))), _case(_true_map())])
    assert np.isnan(p[0]).all()
    for values in figures(p).values():
        assert np.isnan(values[0]).all() and np.isfinite(values[1]).all()


@given(arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(-5, 5, width=16)))
def test_the_random_twin_has_the_same_values(values):
    twin = random_twin(values, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(twin, axis=None), np.sort(values, axis=None))


def test_the_random_twin_is_as_smooth_and_elsewhere():
    row, column = np.mgrid[:32, :32]
    smooth = np.exp(-((row - 8) ** 2 + (column - 8) ** 2) / 30).astype(np.float32)

    def roughness(values: np.ndarray) -> float:
        return float(np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean())

    twins = [random_twin(smooth, np.random.default_rng(seed)) for seed in range(30)]
    permuted = np.random.default_rng(0).permutation(smooth.ravel()).reshape(smooth.shape)
    assert np.mean([roughness(twin) for twin in twins]) < 0.5 * roughness(permuted)
    assert abs(np.mean([np.corrcoef(twin.ravel(), smooth.ravel())[0, 1] for twin in twins])) < 0.1


def test_ties_are_broken_at_random():
    rank = removal_rank(np.zeros((2, 2)), 40, 40, np.random.default_rng(0))
    assert sorted(rank.ravel()) == list(range(1600))
    assert abs(rank[:20].mean() - rank[20:].mean()) < 100  # by place it would be 800


def test_rows_are_named_as_they_come():
    p = curves(_spot_scorer, [_case(_true_map())], steps=4)
    assert p.shape == (1, len(RANKED_BY), len(FILLS), 2, 5)
    assert np.isnan(p[:, :, 2, :, -1]).all() and np.isfinite(p[:, :, :2]).all()
    with pytest.raises(ExplainError):
        curves(_spot_scorer, [_case(_true_map())], steps=1)


def test_pixels_are_removed_where_the_cells_lie():
    """The only cell with evidence lies at (0, 0), half a cell of 10 px up and left of its even place."""
    values = np.array([[1.0, 0.0], [0.0, 0.0]])
    even, moved = (
        removal_rank(values, 20, 20, np.random.default_rng(0), *places) < 40
        for places in ((), (CellPlaces((-0.5, -0.5)),))
    )
    assert moved[:4, :4].all() and moved.sum() == 40 and not moved[5:8, 5:8].any()
    assert even[:5, :5].all() and not np.array_equal(even, moved)

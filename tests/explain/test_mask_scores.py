"""Is a map's share inside the lesion counted as defined, and is an undefined figure said to be so?"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from melascope.errors import ExplainError
from melascope.explain.mask_scores import centred_gaussian, random_map_score, score_map
from melascope.explain.overlay import upsample_map
from melascope.tables.cell_places import CellPlaces
from melascope.tables.results import NotApplicable

LEFT = np.zeros((8, 12), dtype=bool)
LEFT[:, :6] = True


def test_known_answer_at_the_maps_own_size():
    values = np.array([[1.0, -5.0], [2.0, 1.0]])
    score = score_map(values, np.array([[True, True], [True, False]]))
    assert score.share_inside == pytest.approx(0.75)  # 1 + 2 of 1 + 2 + 1; the negative cell counts as nothing
    assert score.area_share == 0.75
    assert score.peak_inside is True and score.peak_xy == (0, 1)


def test_an_even_map_has_the_areas_share():
    mask = np.zeros((30, 40), dtype=bool)
    mask[5:15, 7:29] = True
    score = score_map(np.full((5, 7), 0.3), mask)
    assert score.share_inside == pytest.approx(score.area_share) == pytest.approx(220 / 1200)


def test_a_map_on_one_side():
    inside, outside = score_map(np.array([[1.0, 0, 0, 0]]), LEFT), score_map(np.array([[0, 0, 0, 1.0]]), LEFT)
    assert inside.share_inside > 0.99 and inside.peak_inside is True
    assert outside.share_inside < 0.01 and outside.peak_inside is False
    assert outside.peak_xy[0] > 6


def test_a_cell_counts_where_it_lies():
    """Drawn evenly the middle of the only cell with evidence lies outside, at column 7; three quarters up, inside."""
    values = np.array([[0.0, 0.0, 1.0, 0.0]])
    assert score_map(values, LEFT).peak_inside is False
    moved = score_map(values, LEFT, CellPlaces((0.0, -0.75)))
    assert moved.peak_inside is True and moved.share_inside > score_map(values, LEFT).share_inside + 0.3


def test_tied_peaks_are_inside_only_if_all_are():
    score = score_map(np.array([[1.0, 0, 0, 1.0]]), LEFT)
    assert score.peak_inside is False and score.peak_share == pytest.approx(0.5)
    assert score_map(np.array([[1.0, 1.0, 0, 0]]), LEFT).peak_inside is True


def test_the_peak_is_itself_among_the_highest():
    """Two tied corners: the middle between them has no evidence, so it must not be named."""
    x, _ = score_map(np.array([[1.0, 0, 0, 1.0]]), LEFT).peak_xy
    assert x in (0, 1, 10, 11)


@pytest.mark.parametrize("values", [np.zeros((3, 3)), -np.ones((3, 3))])
def test_no_positive_evidence_has_no_share(values):
    score = score_map(values, LEFT)
    nothing = NotApplicable("no positive evidence")
    assert (score.share_inside, score.peak_inside, score.peak_share, score.peak_xy) == (nothing, nothing, nothing, None)
    assert score.area_share == 0.5


@pytest.mark.parametrize(("fill", "reason"), [(False, "empty"), (True, "whole")])
def test_masks_without_two_sides_have_no_share(fill, reason):
    score = score_map(np.eye(3), np.full((9, 9), fill))
    for figure in (score.share_inside, score.peak_inside, score.peak_share):
        assert isinstance(figure, NotApplicable) and reason in figure.reason
    assert score.area_share == float(fill) and score.peak_xy is not None


maps = arrays(np.float32, (5, 7), elements=st.floats(-3, 3, width=16))
masks = arrays(bool, (20, 30)).filter(lambda mask: mask.any() and not mask.all())


@given(maps, masks)
def test_inside_and_outside_add_up(values, mask):
    score, other = score_map(values, mask), score_map(values, ~mask)
    if isinstance(score.share_inside, NotApplicable):
        assert values.max() <= 0
        return
    assert score.share_inside + other.share_inside == pytest.approx(1)
    assert score.peak_share + other.peak_share == pytest.approx(1)
    assert not (score.peak_inside and other.peak_inside)


@given(maps, masks, st.sampled_from([0.001, 3.0, 1e4]))
def test_the_unit_does_not_matter(values, mask, factor):
    score, scaled = score_map(values, mask), score_map(values * factor, mask)
    if isinstance(score.share_inside, float):
        assert scaled.share_inside == pytest.approx(score.share_inside, rel=1e-4)


@given(maps, masks)
def test_share_equals_torch(values, mask):
    """Energy-based pointing game, written with torch: ReLU, bilinear, sum inside over sum."""
    picture = torch.nn.functional.interpolate(
        torch.from_numpy(values).clamp(min=0)[None, None], (20, 30), mode="bilinear"
    )
    picture = picture[0, 0].double()
    score = score_map(values, mask)
    if picture.max() > 0:
        assert score.share_inside == pytest.approx(
            (picture[torch.from_numpy(mask)].sum() / picture.sum()).item(), rel=1e-4, abs=1e-7
        )


@pytest.mark.parametrize(
    ("values", "mask"),
    [
        (np.ones((2, 2)), np.ones((8, 8), np.uint8)),
        (np.ones((2, 2)), np.ones((8, 8, 1), bool)),
        (np.ones((2, 2)), np.ones((0, 8), bool)),
        (np.ones(4), LEFT),
        (np.array([[np.nan]]), LEFT),
        (np.array([[-np.inf]]), LEFT),
    ],
)
def test_unusable_arguments_are_refused(values, mask):
    with pytest.raises(ExplainError):
        score_map(values, mask)


def test_matched_iou_known_answers():
    evidence = np.arange(96, dtype=np.float32).reshape(8, 12) + 1
    highest = evidence > 96 - 24
    assert score_map(evidence, highest).matched_iou == 1
    assert score_map(evidence, ~highest & (evidence > 96 - 48)).matched_iou == 0
    shifted = (evidence > 96 - 36) & (evidence <= 96 - 12)  # 24 pixels, 12 of them among the highest 24
    assert score_map(evidence, shifted).matched_iou == pytest.approx(12 / 36)


def test_matched_iou_of_a_flat_map_is_that_of_a_random_region():
    score = score_map(np.full((5, 7), 0.3), LEFT)
    assert score.matched_iou == pytest.approx(random_map_score(0.5)[2]) == pytest.approx(1 / 3)


def test_a_small_peak_beside_nothing_shares_the_rest_at_random():
    """2 of 48 pixels are chosen by the map, the other 46 lie anywhere among the 94 that tie at 0."""
    values = np.zeros((8, 12))
    values[0, :2] = 1
    both = 2 + 46 * 46 / 94
    assert score_map(values, LEFT).matched_iou == pytest.approx(both / (96 - both))


@given(maps, masks)
def test_matched_iou_equals_the_mean_over_random_tie_breaks(values, mask):
    score = score_map(values, mask)
    if isinstance(score.matched_iou, NotApplicable):
        return
    assert 0 <= score.matched_iou <= 1
    evidence = upsample_map(np.maximum(values, 0), mask.shape[1], mask.shape[0]).ravel()
    if len(np.unique(np.round(evidence / evidence.max(), 4))) == evidence.size:  # no ties: one order
        chosen = np.zeros(evidence.size, bool)
        chosen[np.argsort(-evidence)[: mask.sum()]] = True
        expected = (chosen & mask.ravel()).sum() / (chosen | mask.ravel()).sum()
        assert score.matched_iou == pytest.approx(expected, abs=0.02)


def test_centred_gaussian_prefers_the_middle():
    gaussian = centred_gaussian(90, 120)
    middle = np.zeros((90, 120), bool)
    middle[30:60, 40:80] = True
    inside, corner = score_map(gaussian, middle), score_map(gaussian, np.roll(middle, (45, 60), (0, 1)))
    assert gaussian == pytest.approx(gaussian[::-1, ::-1])
    assert inside.peak_inside and inside.share_inside > 2 * inside.area_share
    assert not corner.peak_inside and corner.share_inside < corner.area_share

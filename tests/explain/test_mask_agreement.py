"""Are Dice and IoU of known masks what they should be, and their means with intervals by lesion?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score, jaccard_score

from melascope.errors import ExplainError
from melascope.explain.mask_agreement import Agreement, agreement_figures, agreement_of


@given(arrays(bool, (5, 6)), arrays(bool, (5, 6)))
def test_as_scikit_learn_has_it(found, mask):
    agreement = agreement_of(found, mask)
    assert agreement.dice == pytest.approx(f1_score(mask.ravel(), found.ravel(), zero_division=1))
    assert agreement.iou == pytest.approx(
        jaccard_score(mask.ravel(), found.ravel(), zero_division=1) if (found | mask).any() else 1
    )
    assert agreement.area_share == found.mean()


def test_masks_of_two_sizes_are_refused():
    with pytest.raises(ExplainError):
        agreement_of(np.zeros((2, 2), bool), np.zeros((2, 3), bool))


@given(st.integers(0, 5))
def test_means_by_class_with_their_n(seed):
    rng = np.random.default_rng(seed)
    dice = rng.uniform(0.3, 1, 60)
    dx = np.array(["mel", "nv"] * 30, dtype=object)
    lesion = np.array([f"L{row // 3}" for row in range(60)], dtype=object)
    figures = agreement_figures([Agreement(d, d / (2 - d), 0.3) for d in dice], lesion, dx, draws=200)
    assert figures["all", "dice"].value == pytest.approx(dice.mean()) and figures["all", "dice"].n == 60
    assert figures["mel", "dice"].value == pytest.approx(dice[::2].mean()) and figures["mel", "dice"].n == 30
    assert figures["all", "poor"].value == pytest.approx((dice < 0.5).mean())
    assert figures["all", "dice"].low < dice.mean() < figures["all", "dice"].high
    assert ("bcc", "dice") not in figures

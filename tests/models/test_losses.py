"""Is each loss what an independent computation says?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.utils import compute_class_weight

from melascope.classes import CLASSES, MEL
from melascope.errors import RecipeError
from melascope.models.losses import LOSSES, build_loss, class_weights

COUNTS = np.array([12, 20, 40, 5, 44, 260, 6])
FACTOR = 3.0


def balanced_with_melanoma() -> np.ndarray:
    """(7,) weights by scikit-learn, melanoma's times FACTOR."""
    weights = compute_class_weight("balanced", classes=np.arange(7), y=np.repeat(np.arange(7), COUNTS))
    weights[MEL] *= FACTOR
    return weights


REFERENCES = {  # row of LOSSES -> (its settings, the weights of the classes)
    "weighted_cross_entropy": ({"melanoma_factor": FACTOR}, balanced_with_melanoma()),
    "cross_entropy": ({}, np.ones(7)),
}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_the_weighted_mean_of_log_losses(recipe_of, name, smoothing):
    settings, weights = REFERENCES[name]
    recipe = recipe_of(loss={"name": name, "label_smoothing": smoothing, **settings}).loss
    rng = np.random.default_rng(0)
    logits, labels = 3 * rng.standard_normal((30, 7)), rng.integers(0, 7, 30)
    logs = log_softmax(logits, axis=1)
    truth = np.eye(7)[labels] * (1 - smoothing) + smoothing / 7
    expected = -(truth * weights * logs).sum() / weights[labels].sum()
    found = build_loss(recipe, COUNTS)(torch.from_numpy(logits).float(), torch.from_numpy(labels))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_class_without_training_image_weighs_nothing_and_the_others_are_scikit_learns():
    counts = COUNTS.copy()
    counts[[3, MEL]] = 0
    present = np.flatnonzero(counts)
    expected = compute_class_weight("balanced", classes=present, y=np.repeat(np.arange(7), counts))
    weights = class_weights(counts, FACTOR)
    np.testing.assert_allclose(weights[present], expected)
    assert weights[3] == weights[MEL] == 0


def test_a_loss_that_would_ignore_a_setting_or_is_unknown_is_refused(recipe_of):
    with pytest.raises(RecipeError, match="melanoma_factor"):
        build_loss(recipe_of(loss={"name": "cross_entropy", "melanoma_factor": 3}).loss, COUNTS)
    with pytest.raises(RecipeError, match="unknown") as caught:
        build_loss(recipe_of(loss={"name": "focal"}).loss, COUNTS)
    assert set(LOSSES) == set(caught.value.expected.split(", "))
    with pytest.raises(ValueError, match=str(len(CLASSES))):
        build_loss(recipe_of().loss, COUNTS[:6])

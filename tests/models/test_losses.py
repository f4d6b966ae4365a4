"""Is each loss what an independent computation says?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.utils import compute_class_weight
from torch.nn import functional

from melascope.classes import CLASSES, MEL
from melascope.errors import RecipeError
from melascope.models.losses import LOSSES, as_truth, build_loss, class_weights, mean_loss

COUNTS = np.array([12, 20, 40, 5, 44, 260, 6])
FACTOR = 3.0


def balanced_with_melanoma() -> np.ndarray:
    """(7,) weights by scikit-learn, melanoma's times FACTOR."""
    weights = compute_class_weight("balanced", classes=np.arange(7), y=np.repeat(np.arange(7), COUNTS))
    weights[MEL] *= FACTOR
    return weights


LOG_PRIOR = np.log(COUNTS / COUNTS.sum())
MELANOMA_ONLY = np.where(np.arange(7) == MEL, FACTOR, 1.0)

REFERENCES = {  # row of LOSSES -> (its settings, weights of the classes, added to logits, power of 1 - p)
    "weighted_cross_entropy": ({"melanoma_factor": FACTOR}, balanced_with_melanoma(), 0, 0),
    "cross_entropy": ({}, np.ones(7), 0, 0),
    "focal": ({"melanoma_factor": FACTOR, "focal_gamma": 1.5}, balanced_with_melanoma(), 0, 1.5),
    "logit_adjusted": ({"melanoma_factor": FACTOR, "logit_adjustment": 0.8}, MELANOMA_ONLY, 0.8 * LOG_PRIOR, 0),
}


def soft_truth(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """(n, 7): each label mixed with another one, as mixup and cutmix do."""
    share = rng.uniform(0, 1, len(labels))[:, None]
    return share * np.eye(7)[labels] + (1 - share) * np.eye(7)[rng.permutation(labels)]


@pytest.mark.parametrize("mixed", [False, True], ids=["labels", "mixtures"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_the_weighted_mean_of_log_losses(recipe_of, name, smoothing, mixed):
    settings, weights, added, power = REFERENCES[name]
    recipe = recipe_of(loss={"name": name, "label_smoothing": smoothing, **settings}).loss
    rng = np.random.default_rng(0)
    logits, labels = 3 * rng.standard_normal((30, 7)), rng.integers(0, 7, 30)
    given = soft_truth(rng, labels) if mixed else np.eye(7)[labels]
    logs = log_softmax(logits + added, axis=1)
    truth = given * (1 - smoothing) + smoothing / 7
    expected = -(truth * weights * (1 - np.exp(logs)) ** power * logs).sum() / (given * weights).sum()
    found = mean_loss(build_loss(recipe, COUNTS), torch.from_numpy(logits).float(), torch.from_numpy(given).float())
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropies_of_labels_are_torchs(recipe_of, smoothing):
    rng = np.random.default_rng(1)
    logits = torch.from_numpy(3 * rng.standard_normal((30, 7))).float()
    labels = torch.from_numpy(rng.integers(0, 7, 30))
    for name, weight in {"weighted_cross_entropy": class_weights(COUNTS), "cross_entropy": np.ones(7)}.items():
        loss = build_loss(recipe_of(loss={"name": name, "label_smoothing": smoothing}).loss, COUNTS)
        weight = torch.from_numpy(weight).float()
        expected = functional.cross_entropy(logits, labels, weight=weight, label_smoothing=smoothing)
        torch.testing.assert_close(mean_loss(loss, logits, as_truth(labels)), expected)


def test_logit_adjustment_learns_the_balanced_answer_where_plain_cross_entropy_learns_the_common_one(recipe_of):
    """Two classes that look alike, nine to one: adjusted logits end equal, plain ones at log 9 (Menon 2021, sec. 5)."""
    counts = np.array([90, 10, 0, 0, 0, 0, 0])
    truth = torch.eye(7)[[0] * 90 + [1] * 10]
    ends = {}
    for name in ("cross_entropy", "logit_adjusted"):
        loss = build_loss(recipe_of(loss={"name": name}).loss, counts)
        logits = torch.zeros(7, requires_grad=True)
        optimizer = torch.optim.LBFGS([logits], max_iter=200)

        def closure(loss=loss, logits=logits, optimizer=optimizer):
            optimizer.zero_grad()
            value = mean_loss(loss, logits.expand(100, 7), truth)
            value.backward()
            return value

        optimizer.step(closure)
        ends[name] = float((logits[0] - logits[1]).detach())
    assert ends["cross_entropy"] == pytest.approx(np.log(9), abs=0.01)
    assert ends["logit_adjusted"] == pytest.approx(0, abs=0.01)


def test_parts_of_a_batch_add_up_to_the_loss_of_all_of_it(recipe_of):
    loss = build_loss(recipe_of().loss, COUNTS)
    rng = np.random.default_rng(2)
    logits, truth = torch.from_numpy(rng.standard_normal((9, 7))).float(), torch.eye(7)[rng.integers(0, 7, 9)]
    terms, weights = zip(*(loss(logits[part], truth[part]) for part in (slice(0, 4), slice(4, 9))), strict=True)
    torch.testing.assert_close(
        sum(one.sum() for one in terms) / sum(one.sum() for one in weights), mean_loss(loss, logits, truth)
    )


def test_a_class_without_training_image_weighs_nothing_and_the_others_are_scikit_learns():
    counts = COUNTS.copy()
    counts[[3, MEL]] = 0
    present = np.flatnonzero(counts)
    expected = compute_class_weight("balanced", classes=present, y=np.repeat(np.arange(7), counts))
    weights = class_weights(counts, FACTOR)
    np.testing.assert_allclose(weights[present], expected)
    assert weights[3] == weights[MEL] == 0


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("cross_entropy", "melanoma_factor"),
        ("weighted_cross_entropy", "focal_gamma"),
        ("focal", "logit_adjustment"),
        ("logit_adjusted", "focal_gamma"),
    ],
)
def test_a_loss_that_would_ignore_a_setting_is_refused(recipe_of, name, setting):
    with pytest.raises(RecipeError, match=setting) as caught:
        build_loss(recipe_of(loss={"name": name, setting: 3}).loss, COUNTS)
    heeding = [other for other, (_, settings) in LOSSES.items() if setting in settings]
    assert all(other in caught.value.fix for other in heeding)


def test_an_unknown_loss_is_refused(recipe_of):
    with pytest.raises(RecipeError, match="unknown") as caught:
        build_loss(recipe_of(loss={"name": "hinge"}).loss, COUNTS)
    assert set(LOSSES) == set(caught.value.expected.split(", "))
    with pytest.raises(ValueError, match=str(len(CLASSES))):
        build_loss(recipe_of().loss, COUNTS[:6])

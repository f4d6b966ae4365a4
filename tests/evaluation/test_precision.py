"""Is a rougher model let through only where it loses no melanoma?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from melascope.classes import MEL
from melascope.evaluation.operating_point import choose_operating_point
from melascope.evaluation.precision import precision_cost
from melascope.tables.results import NotApplicable


@pytest.fixture(scope="module")
def validation(draw_table):
    return draw_table(300, seed=4, split="val")


@pytest.fixture(scope="module")
def point(validation):
    return choose_operating_point(validation, rule="empirical")


def found_lesions(predictions, point) -> tuple[int, int]:
    """Melanoma lesions that are called, and how many there are, counted one by one."""
    called, probabilities = 0, predictions.probabilities
    lesions = sorted(set(predictions.lesion_id[predictions.dx == "mel"]))
    for lesion in lesions:
        called += probabilities[predictions.lesion_id == lesion, MEL].mean() >= point.threshold
    return called, len(lesions)


def test_the_same_numbers_pass(validation, point):
    cost = precision_cost(validation, validation.logits, point)
    assert cost.loses == [] and cost.called == (0, 0) and cost.top_class == 0
    assert cost.largest_logit == 0 == cost.largest_probability
    assert (cost.found["lesion"].exact, cost.found["lesion"].n) == found_lesions(validation, point)
    assert cost.as_json()["passed"] is True


def test_every_figure_by_hand(validation, point):
    rough = validation.logits + np.random.default_rng(0).normal(0, 0.6, validation.logits.shape)
    cost, other = precision_cost(validation, rough, point), replace(validation, logits=rough)
    assert (cost.found["lesion"].rough, cost.found["lesion"].n) == found_lesions(other, point)
    before, after = (one.probabilities[:, MEL] >= point.threshold for one in (validation, other))
    melanoma = validation.dx == "mel"
    image = cost.found["image"]
    assert (image.exact, image.rough, image.n) == (
        (before & melanoma).sum(),
        (after & melanoma).sum(),
        melanoma.sum(),
    )
    alarms = cost.alarms["image"]
    assert (alarms.exact, alarms.rough, alarms.n) == (
        (before & ~melanoma).sum(),
        (after & ~melanoma).sum(),
        (~melanoma).sum(),
    )
    assert cost.called == ((after & ~before).sum(), (before & ~after).sum())
    assert cost.top_class == (rough.argmax(1) != validation.logits.argmax(1)).sum() > 0
    assert cost.largest_logit == np.abs(rough - validation.logits).max()


def test_one_melanoma_less_is_one_too_many(validation, point):
    rough = validation.logits.copy()
    found = np.flatnonzero((validation.dx == "mel") & (validation.probabilities[:, MEL] >= point.threshold))
    rough[validation.lesion_id == validation.lesion_id[found[0]], MEL] = -50
    cost = precision_cost(validation, rough, point)
    assert cost.found["lesion"].rough == cost.found["lesion"].exact - 1
    assert cost.loses == ["image", "lesion"] and cost.as_json()["passed"] is False


def test_only_validation_may_judge(validation, point, draw_table):
    test = draw_table(50, split="test")
    with pytest.raises(ValueError, match="validation"):
        precision_cost(test, test.logits, point)
    healthy = validation.subset(validation.dx != "mel")
    assert isinstance(precision_cost(healthy, healthy.logits, point), NotApplicable)

"""Does the menu say what each target sensitivity really costs, on validation, lesion by lesion?"""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from melascope.classes import CLASSES
from melascope.errors import OperatingPointError
from melascope.evaluation.operating_point import choose_operating_point
from melascope.evaluation.price import TARGETS, price_menu
from melascope.evaluation.rules import RULES
from melascope.tables.results import NotApplicable


@pytest.fixture(scope="module")
def validation(draw_table):
    return draw_table(n_lesions=900, seed=1, split="val")


def lesions_by_hand(table, target):
    """(truth, mean P(target)) of each lesion, by a plain loop."""
    columns = [CLASSES.index(name) for name in target]
    truth, scores = [], []
    for lesion in sorted(set(table.lesion_id)):
        rows = table.lesion_id == lesion
        truth.append(bool(np.isin(table.dx[rows], target).any()))
        scores.append(table.probabilities[rows][:, columns].sum(axis=1).mean())
    return np.array(truth), np.array(scores)


@pytest.mark.parametrize("target", [("mel",), ("mel", "bcc", "akiec")])
@pytest.mark.parametrize("rule", RULES)
def test_each_row_is_what_scikit_learn_counts(validation, rule, target):
    truth, scores = lesions_by_hand(validation, target)
    menu = price_menu(validation, target=target, rule=rule, prevalence=0.03)
    assert tuple(row.target_sensitivity for row in menu) == TARGETS
    for row in menu:
        tn, fp, fn, tp = confusion_matrix(truth, scores >= row.threshold - 1e-12).ravel()
        assert row.sensitivity == pytest.approx(tp / (tp + fn), abs=1e-12)
        assert row.specificity == pytest.approx(tn / (tn + fp), abs=1e-12)
        assert row.false_alarms_per_found == pytest.approx(fp / tp, abs=1e-12)
        called = 0.03 * tp / (tp + fn) + 0.97 * fp / (tn + fp)  # share of all lesions, where 3 % are of the target
        assert row.biopsies_per_found == pytest.approx(called / (0.03 * tp / (tp + fn)), abs=1e-9)
        assert row.prevalence == 0.03


@pytest.mark.parametrize("rule", RULES)
def test_a_row_is_the_point_that_would_be_frozen_and_more_sensitivity_costs_more(validation, rule):
    menu = price_menu(validation, rule=rule)
    for row in menu:
        point = choose_operating_point(validation, rule=rule, target_sensitivity=row.target_sensitivity)
        assert (row.threshold, row.sensitivity) == (point.threshold, point.lesion_sensitivity)
    for name in ("threshold", "specificity"):
        values = [getattr(row, name) for row in menu]
        assert values == sorted(values, reverse=True)


def test_at_the_prevalence_of_validation_itself_biopsies_are_false_alarms_and_one(validation):
    truth, _ = lesions_by_hand(validation, ("mel",))
    for row in price_menu(validation, prevalence=float(truth.mean())):
        assert row.biopsies_per_found == pytest.approx(1 + row.false_alarms_per_found, abs=1e-9)


def test_a_target_out_of_reach_says_how_many_lesions_it_needs(draw_table):
    few = draw_table(split="val", dx=["mel"] * 30 + ["nv"] * 90)
    *reached, last = price_menu(few)
    assert all(isinstance(row.threshold, float) for row in reached)
    for name in ("threshold", "sensitivity", "specificity", "false_alarms_per_found", "biopsies_per_found"):
        assert getattr(last, name) == NotApplicable("n=30 lesions of melanoma, 59 needed")


def test_rows_of_another_split_and_impossible_arguments_raise(validation, draw_table):
    with pytest.raises(OperatingPointError, match="other splits"):
        price_menu(draw_table(100, split="test"))
    for arguments in ({"rule": "grid"}, {"targets": (1.2,)}, {"prevalence": 0.0}, {"target": ()}):
        with pytest.raises(OperatingPointError):
            price_menu(validation, **arguments)

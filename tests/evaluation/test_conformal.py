"""Do conformal sets keep their promise class by class, and is it said where they cannot?"""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from melascope.classes import CLASSES, MEL
from melascope.errors import OperatingPointError
from melascope.evaluation.conformal import (
    VOID_IF,
    Conformal,
    LabelledLesions,
    calibrate,
    conformal_sets,
)
from melascope.tables.predictions import Predictions, PredictionsOrigin
from melascope.tables.results import NotApplicable

NV = CLASSES.index("nv")


def lesions(labels, probabilities):
    return LabelledLesions(np.arange(len(labels)).astype(str), np.asarray(labels), probabilities)


def scored(n, rng, labels=(MEL, NV), shift=0.0):
    """Lesions of some classes with continuous scores; `shift` makes their own class less probable than before."""
    truth = rng.choice(labels, n)
    logits = rng.normal(0, 1, (n, 7))
    logits[np.arange(n), truth] += 1.5 - shift
    exponentials = np.exp(logits)
    return lesions(truth, exponentials / exponentials.sum(axis=1, keepdims=True))


def concatenated(*tables: Predictions) -> Predictions:
    names = [name for name in Predictions.__dataclass_fields__ if name not in ("origin", "left_out")]
    return replace(tables[0], **{name: np.concatenate([getattr(each, name) for each in tables]) for name in names})


@pytest.mark.parametrize("alpha", [0.10, 0.05, 0.2, 0.15])  # as a float 0.15 is less than 0.15
def test_the_rank_is_the_least_that_keeps_the_promise(alpha):
    for n in range(1, 301):
        probabilities = np.zeros((n, 7))
        probabilities[:, MEL] = np.arange(n, 0, -1) / n  # the k-th highest is (n + 1 - k) / n
        rule = calibrate(lesions(np.full(n, MEL), probabilities), alpha).classes["mel"]
        promise = 1 - Fraction(str(alpha))
        enough = [k for k in range(1, n + 1) if Fraction(k, n + 1) >= promise]
        assert rule.n_lesions == n
        assert rule.always_included == (not enough) == (n < 1 / Fraction(str(alpha)) - 1)
        assert rule.threshold == (probabilities[enough[0] - 1, MEL] if enough else 0.0)


def test_a_set_holds_the_classes_that_reach_their_threshold():
    probabilities = np.full((9, 7), 0.01)
    probabilities[:, MEL] = np.arange(1, 10) / 10
    rule = calibrate(lesions(np.full(9, MEL), probabilities), 0.10)  # of nine the lowest, 0.1
    new = np.array([[0, 0, 0, 0, 0.1, 0.9, 0], [0, 0, 0, 0, 0.0999, 0.9001, 0]])
    without_mel = [True, True, True, True, False, True, True]
    np.testing.assert_array_equal(rule.sets(new), [[True] * 7, without_mel])  # no lesion calibrated the six others


@pytest.mark.parametrize("alpha", [0.10, 0.05])
def test_coverage_of_exchangeable_lesions_is_kept_class_by_class(alpha):
    rng, n_simulations, n_new = np.random.default_rng(1), 400, 200
    covered = {MEL: [], NV: []}
    n_calibration = {MEL: [], NV: []}
    for _ in range(n_simulations):
        known, new = scored(120, rng), scored(n_new, rng)
        rule = calibrate(known, alpha)
        sets = rule.sets(new.probabilities)
        for label, shares in covered.items():
            shares.append(sets[new.labels == label, label].mean())
            n_calibration[label].append((known.labels == label).sum())
    for label, shares in covered.items():
        error = np.std(shares) / np.sqrt(n_simulations)
        slack = np.mean([1 / (n + 1) for n in n_calibration[label]])
        assert 1 - alpha - 3 * error <= np.mean(shares) <= 1 - alpha + slack + 3 * error


def test_coverage_is_kept_where_images_cluster_in_lesions(draw_table):
    """From images to sets: lesions of one to three like images, calibrated and judged lesion by lesion."""
    covered, n_calibration = [], []
    for seed in range(200):
        val, test = (
            draw_table(0, 2 * seed, "val", dx=["mel"] * 40 + ["nv"] * 40),
            draw_table(0, 2 * seed + 1, dx=["mel"] * 50 + ["nv"] * 50),
        )
        found = conformal_sets(val, test, alphas=[0.10], draws=0, seed=0).figures[0]
        covered.append([found.coverage[name].value for name in ("mel", "nv")])
        n_calibration.append(found.rule.classes["mel"].n_lesions)
    assert set(n_calibration) == {40}  # lesions, not images
    error = np.std(covered, axis=0) / np.sqrt(len(covered))
    assert (np.mean(covered, axis=0) >= 0.9 - 3 * error).all()
    assert (np.mean(covered, axis=0) <= 0.9 + 1 / 41 + 3 * error).all()


def test_whether_the_calibration_rows_were_used_before_is_told(draw_table):
    val, test = draw_table(100, 1, split="val"), draw_table(80, 2)
    found = conformal_sets(val, test, draws=0, seed=0)
    assert "also chose the run's checkpoint, temperature and threshold" in found.notes[0]
    theirs = conformal_sets(replace(val, origin=PredictionsOrigin()), test, draws=0, seed=0)
    assert "Whether the validation rows also trained or tuned the model is not told" in theirs.notes[0]


def test_what_voids_the_promise_has_a_short_form():
    short = [sentence.partition(":")[0] for sentence in VOID_IF]
    assert len(set(short)) == len(VOID_IF) and all(0 < len(one) < 40 for one in short)
    assert short[:2] == ["another collection", "calibration rows used before"]


def test_coverage_is_lost_where_the_new_lesions_are_others():
    rng = np.random.default_rng(2)
    rule = calibrate(scored(2000, rng), 0.10)
    new = scored(2000, rng, shift=1.0)
    assert rule.sets(new.probabilities)[new.labels == MEL, MEL].mean() < 0.85


def test_true_coverage_lies_in_the_range_told_in_95_of_100_calibrations():
    rng, inside = np.random.default_rng(3), []
    judged = scored(40_000, rng, labels=(MEL,)).probabilities[:, MEL]
    for _ in range(500):
        rule = calibrate(scored(60, rng, labels=(MEL,)), 0.10).classes["mel"]
        inside.append(rule.expected[0] <= (judged >= rule.threshold).mean() <= rule.expected[1])
    assert 0.92 <= np.mean(inside) <= 0.98
    assert rule.expected == pytest.approx(stats.beta(55, 6).ppf([0.025, 0.975]))


def test_figures_of_the_sets_are_counted(draw_table):
    val, test = draw_table(400, 1, split="val"), draw_table(400, 2)
    found = conformal_sets(val, test, draws=500, seed=0)
    assert [each.rule.alpha for each in found.figures] == [0.10, 0.05]
    known, new = LabelledLesions.of(val), LabelledLesions.of(test)
    assert (found.n_calibration, found.n_judged) == (len(known), len(new)) == (400, 400)
    for each in found.figures:
        sets = each.rule.sets(new.probabilities)
        size = sets.sum(axis=1)
        assert each.sizes == tuple((size == k).sum() for k in range(8))
        assert each.mean_size.value == pytest.approx(size.mean())
        half = 1.96 * size.std() / 20
        assert (each.mean_size.low, each.mean_size.high) == pytest.approx(
            (size.mean() - half, size.mean() + half), abs=0.3 * half
        )
        assert [each.shares[name].value for name in ("empty", "single", "full")] == pytest.approx(
            [(size == 0).mean(), (size == 1).mean(), (size == 7).mean()]
        )
        of_mel = sets[new.labels == MEL, MEL]
        coverage = each.coverage["mel"]
        exact = stats.binomtest(int(of_mel.sum()), len(of_mel)).proportion_ci(0.95, method="exact")
        assert (coverage.low, coverage.value, coverage.high) == pytest.approx((exact.low, of_mel.mean(), exact.high))
        assert (coverage.n, coverage.unit) == (len(of_mel), "lesion")


def test_further_images_of_a_lesion_weigh_nothing(draw_table):
    val, test = draw_table(200, 1, split="val"), draw_table(200, 2)
    once = conformal_sets(val, test, draws=100, seed=0)
    again = replace(val, image_id=np.array([f"{name}_again" for name in val.image_id], dtype=object))
    assert conformal_sets(concatenated(val, again), test, draws=100, seed=0) == once


def test_a_class_with_too_few_lesions_is_in_every_set_and_it_is_said(draw_table):
    val = draw_table(0, 1, split="val", dx=["nv"] * 100 + ["mel"] * 18 + ["df"] * 8)
    found = conformal_sets(val, draw_table(200, 2), draws=0, seed=0)
    wide, narrow = found.figures
    assert not wide.rule.classes["mel"].always_included  # 18 >= 9
    assert narrow.rule.classes["mel"].always_included  # 18 < 19
    assert narrow.coverage["mel"].value == 1
    assert wide.rule.classes["df"].always_included and wide.rule.classes["bcc"].n_lesions == 0
    assert "fewer than 9 validation lesions" in found.notes[1] and "df (8)" in found.notes[1]
    assert "fewer than 19 validation lesions" in found.notes[2] and "mel (18)" in found.notes[2]
    assert wide.mean_size.low is None  # without draws


def test_all_of_one_class_leaves_the_other_coverages_undefined(draw_table):
    val, test = draw_table(0, 1, split="val", dx=["nv"] * 50), draw_table(0, 2, dx=["nv"] * 40)
    found = conformal_sets(val, test, draws=100, seed=0)
    assert found.figures[0].coverage["mel"] == NotApplicable("n=0 lesions of mel")
    assert 0.6 < found.figures[0].coverage["nv"].value <= 1


def test_rows_of_another_split_may_not_calibrate(draw_table):
    test = draw_table(50, 2)
    with pytest.raises(OperatingPointError, match="test"):
        conformal_sets(test, test, draws=0, seed=0)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, float("nan")])
def test_an_impossible_alpha_is_refused(draw_table, alpha):
    with pytest.raises(OperatingPointError, match="alpha"):
        conformal_sets(draw_table(50, 1, split="val"), draw_table(50, 2), alphas=[alpha], draws=0, seed=0)


def test_lesions_that_calibrate_are_not_judged(draw_table):
    val = draw_table(50, 1, split="val")
    assert conformal_sets(val, val, draws=0, seed=0) == NotApplicable(
        "50 of the 50 judged lesions are among those that calibrate"
    )


def test_without_validation_or_truth_there_are_no_sets(draw_table):
    val, test = draw_table(50, 1, split="val"), draw_table(50, 2)
    none = np.zeros(len(val), dtype=bool)
    assert conformal_sets(val.subset(none), test, draws=0, seed=0) == NotApplicable(
        "n=0 validation lesions to calibrate on"
    )
    blank = np.array([""] * len(test), dtype=object)
    assert conformal_sets(val, replace(test, dx=blank), draws=0, seed=0) == NotApplicable("n=0 lesions to judge")


def test_json_gives_everything_back(draw_table):
    found = conformal_sets(draw_table(100, 1, split="val"), draw_table(80, 2), draws=50, seed=0)
    text = json.dumps(found.as_json(), allow_nan=False)
    assert Conformal.from_json(json.loads(text)) == found
    assert json.loads(text)["void_if"] == list(VOID_IF)

"""Is the threshold chosen from validation rows only, between two exact score steps, and frozen?"""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melascope.classes import MEL
from melascope.errors import OperatingPointError
from melascope.evaluation.evaluate import evaluate
from melascope.evaluation.operating_point import OperatingPoint, choose_operating_point
from melascope.evaluation.rules import (
    RULES,
    Candidates,
    choose_threshold,
    empirical_threshold,
    lower_bound,
    validation_candidates,
)
from melascope.tables.predictions import PredictionsOrigin


@pytest.fixture
def validation(draw_table):
    return draw_table(n_lesions=600, seed=1, split="val")


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 40),
    target=st.floats(0.01, 1.0) | st.sampled_from([0.07, 0.1, 0.3, 0.7, 0.8, 0.9, 0.95, 1.0]),
    levels=st.sampled_from([3, 10, 10_000]),
)
def test_no_higher_threshold_reaches_the_target(seed, n, target, levels):
    rng = np.random.default_rng(seed)
    scores, truth = rng.integers(0, levels, n) / levels, rng.random(n) < 0.4
    truth[:2] = [True, False]
    threshold = empirical_threshold(Candidates(("mel",), scores, truth, scores, truth), target)
    assert threshold in scores
    assert (scores[truth] >= threshold).mean() >= target
    assert (scores[truth] > threshold).mean() < target  # so any higher threshold misses the target


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("target", [0.5, 0.8, 1.0 / 1.2])
def test_the_threshold_lies_between_two_scores(rule, target, validation):
    """So that a network whose scores come out a millionth lower, by another library, decides alike."""
    candidates = validation_candidates(validation, ("mel",))
    step = RULES[rule].threshold(candidates, target)
    threshold = choose_threshold(candidates, rule, target)
    for scores in (candidates.scores, candidates.lesion_scores):
        np.testing.assert_array_equal(scores >= threshold, scores >= step)
    near = np.concatenate([candidates.scores, candidates.lesion_scores])
    assert threshold == pytest.approx((step + near[near < step].max()) / 2, rel=1e-11)
    assert np.abs(near - threshold).min() == pytest.approx(step - threshold, rel=1e-6)


def test_the_lowest_score_has_zero_below_it():
    scores, truth = np.array([0.2, 0.4]), np.array([True, False])
    assert choose_threshold(Candidates(("mel",), scores, truth, scores, truth), "empirical", 1.0) == 0.1


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_gives_a_threshold_that_does_what_it_says(rule, validation):
    point = choose_operating_point(validation, target_sensitivity=0.8, rule=rule)
    assert point.rule == rule
    reached = point.sensitivity if rule == "empirical" else point.lesion_sensitivity_lower_bound
    assert reached >= 0.8
    called, is_mel = point.is_positive(validation.probabilities), validation.dx == "mel"
    assert called[is_mel].mean() == point.sensitivity
    assert (~called)[~is_mel].mean() == point.specificity


@pytest.mark.parametrize("target", [("mel",), ("mel", "bcc", "akiec")])
@pytest.mark.parametrize("rule", RULES)
def test_its_lesions_are_those_that_evaluation_counts(rule, target, validation):
    point = choose_operating_point(validation, target=target, rule=rule)
    judged = evaluate(validation, point, split="val", draws=0).whole.decision("operating_point", "lesion")
    assert point.lesion_sensitivity == judged.tp / (judged.tp + judged.fn)
    assert point.n_target_lesions == judged.tp + judged.fn
    assert point.lesion_sensitivity_lower_bound == lower_bound(judged.tp, judged.tp + judged.fn)


def test_guaranteed_is_the_default_and_one_lesion_fewer_would_not_do(validation):
    point = choose_operating_point(validation)
    assert point.rule == "guaranteed"
    found = round(point.lesion_sensitivity * point.n_target_lesions)
    assert lower_bound(found, point.n_target_lesions) >= 0.9 > lower_bound(found - 1, point.n_target_lesions)


@pytest.mark.parametrize("rule", RULES)
def test_the_promise_is_told_and_never_rounded_up(rule, validation):
    point = choose_operating_point(validation, rule=rule)
    told = float(re.search(r"at least (\d\.\d+) do", point.promise)[1])
    assert 0 <= point.lesion_sensitivity_lower_bound - told < 0.001
    assert ("as asked for" in point.promise) == (point.lesion_sensitivity_lower_bound >= 0.9) == (rule == "guaranteed")


def test_it_counts_what_it_rests_on(validation):
    point = choose_operating_point(validation)
    is_mel = validation.dx == "mel"
    assert (point.n_images, point.n_target_images) == (len(validation), is_mel.sum())
    assert point.n_lesions == len(set(validation.lesion_id)) == 600
    assert point.n_target_lesions == len(set(validation.lesion_id[is_mel]))
    assert point.source == "ham10000" and point.split_sha256 == "d" * 64


def test_the_written_threshold_decides_every_row_alike(validation, tmp_path):
    point = choose_operating_point(validation)
    back = OperatingPoint.read(point.write(tmp_path / "operating_point.json"))
    assert back == point and back.sha256 == point.sha256
    validation.write(tmp_path / "predictions.parquet")
    reread = type(validation).read(tmp_path / "predictions.parquet")
    np.testing.assert_array_equal(back.is_positive(reread.probabilities), point.is_positive(validation.probabilities))
    assert back.is_positive(reread.probabilities)[reread.dx == "mel"].mean() == point.sensitivity


def test_a_rows_decision_does_not_depend_on_the_rows_beside_it(validation):
    point = choose_operating_point(validation, target=("mel", "bcc", "akiec"))
    whole = point.score(validation.probabilities)
    alone = [point.score(validation.subset(np.array([row])).probabilities)[0] for row in range(50)]
    np.testing.assert_array_equal(whole[:50], alone)


def test_a_group_of_classes_can_be_the_target(validation):
    point = choose_operating_point(validation, target=("mel", "bcc", "akiec"))
    assert point.target_name == "melanoma or basal cell carcinoma or actinic keratosis / Bowen's disease"
    np.testing.assert_allclose(
        point.score(validation.probabilities), validation.probabilities[:, [4, 1, 0]].sum(axis=1)
    )


@pytest.mark.parametrize("split", ["test", "train", "held_out", ""])
def test_rows_of_another_split_raise(draw_table, split):
    with pytest.raises(OperatingPointError, match="other splits") as caught:
        choose_operating_point(draw_table(50, split=split))
    assert "of_split" in caught.value.fix


def test_one_test_row_among_thousands_raises(validation):
    split = validation.split.copy()
    split[17] = "test"
    with pytest.raises(OperatingPointError, match="other splits: test"):
        choose_operating_point(replace(validation, split=split))


def test_without_target_or_without_others_it_says_what_is_needed(draw_table):
    with pytest.raises(OperatingPointError, match="none is of melanoma"):
        choose_operating_point(draw_table(split="val", dx=["nv"] * 20))
    with pytest.raises(OperatingPointError, match="none is without melanoma"):
        choose_operating_point(draw_table(split="val", dx=["mel"] * 20))
    nothing = draw_table(split="val", dx=["mel", "nv"])
    with pytest.raises(OperatingPointError, match="among 0 validation images"):
        choose_operating_point(nothing.subset(np.zeros(len(nothing), dtype=bool)))


def test_rows_without_truth_do_not_count(validation):
    dx = validation.dx.copy()
    dx[validation.dx == "vasc"] = ""
    point = choose_operating_point(replace(validation, dx=dx))
    assert point.n_images == (dx != "").sum() < len(validation)


@pytest.mark.parametrize(
    "arguments",
    [
        {"target_sensitivity": 0.0},
        {"target_sensitivity": 1.1},
        {"target_sensitivity": float("nan")},
        {"target": ()},
        {"target": ("mel", "mel")},
        {"target": ("melanoma",)},
        {"rule": "grid"},
    ],
)
def test_impossible_arguments_raise(validation, arguments):
    with pytest.raises(OperatingPointError):
        choose_operating_point(validation, **arguments)


def test_a_changed_file_is_refused(validation, tmp_path):
    path = choose_operating_point(validation).write(tmp_path / "operating_point.json")
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"threshold": content["threshold"] * 0.999}))
    with pytest.raises(OperatingPointError, match="changed after it was frozen"):
        OperatingPoint.read(path)
    for broken in ("[]", "{}", '{"target": 3}', json.dumps(content | {"extra": 1}), "not json", "null"):
        path.write_text(broken)
        with pytest.raises(OperatingPointError):
            OperatingPoint.read(path)
    with pytest.raises(OperatingPointError):
        OperatingPoint.read(tmp_path / "absent.json")


@pytest.mark.parametrize("version", [1, 3])
def test_a_file_of_another_version_is_refused_with_the_way_on(validation, tmp_path, version):
    path = choose_operating_point(validation).write(tmp_path / "operating_point.json")
    content = json.loads(path.read_text()) | {"schema_version": version}
    for name in ("lesion_sensitivity", "lesion_sensitivity_lower_bound"):
        del content[name]
    path.write_text(json.dumps(content))
    with pytest.raises(OperatingPointError, match=f"schema version {version}") as caught:
        OperatingPoint.read(path)
    assert "melascope train --resume" in caught.value.fix and caught.value.where == path


def test_every_field_is_under_the_hash(validation):
    point = choose_operating_point(validation)
    for name, value in vars(point).items():
        other = {str: "x", float: 0.5, int: 1, tuple: ("bcc",)}[type(value)]
        assert replace(point, **{name: other}).sha256 != point.sha256, name


def test_it_fits_only_its_own_model_and_temperature(validation, draw_table):
    point = choose_operating_point(validation)
    assert point.check_fits(draw_table(20)) == ()
    home = draw_table(20).origin
    with pytest.raises(OperatingPointError, match="checkpoint"):
        point.check_fits(draw_table(20, origin=replace(home, checkpoint_sha256="e" * 64)))
    with pytest.raises(OperatingPointError, match="temperature"):
        point.check_fits(draw_table(20, origin=replace(home, temperature=1.3)))
    (caveat,) = point.check_fits(draw_table(20, origin=PredictionsOrigin()))
    assert "could not be checked" in caveat
    (caveat,) = point.check_fits(draw_table(20, origin=replace(home, split_sha256="f" * 64)))
    assert "another split" in caveat


def test_the_temperature_belongs_to_the_point(validation):
    warm = replace(validation, origin=replace(validation.origin, temperature=2.0))
    cold, hot = choose_operating_point(validation), choose_operating_point(warm)
    assert hot.temperature == 2.0 and hot.threshold != cold.threshold
    p_mel = warm.probabilities[:, MEL]
    assert (p_mel < hot.threshold).any() and hot.threshold not in p_mel

"""Are risk, areas and missed melanomas of the accepted images what a plain loop counts?"""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from melascope.classes import CLASSES, MEL
from melascope.evaluation import abstention
from melascope.evaluation.abstention import (
    COVERAGES,
    HEADLINE_COVERAGES,
    STEPS,
    AcceptanceTally,
    RiskCoverage,
    confidence_cuts,
    risk_coverage,
)
from melascope.evaluation.intervals import interval, lesion_draws, wilson
from melascope.tables.results import NotApplicable

NV = CLASSES.index("nv")


def table(n_lesions, seed, decimals=2):
    """Probabilities with ties, truth, calls at P(mel) >= 0.2 and lesions of one to three images."""
    rng = np.random.default_rng([seed, n_lesions])
    lesion = np.repeat(np.arange(n_lesions), rng.choice([1, 2, 3], n_lesions, p=[0.6, 0.3, 0.1]))
    labels = rng.choice([NV, MEL, 0], n_lesions, p=[0.5, 0.3, 0.2])[lesion]
    logits = rng.normal(0, 1, (n_lesions, 7))[lesion] + rng.normal(0, 0.7, (len(lesion), 7))
    logits[np.arange(len(lesion)), labels] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probabilities = np.round(probabilities, decimals)
    return probabilities, labels, probabilities[:, MEL] >= 0.2, lesion


def certain(confidences, predicted):
    """Probabilities (n, 7) whose top class and confidence are given."""
    rest = (1 - np.asarray(confidences)) / 6
    probabilities = np.tile(rest[:, None], (1, 7))
    probabilities[np.arange(len(rest)), predicted] = confidences
    return probabilities


def naive_areas(confidence, wrong):
    """AURC and AUGRC by walking down the distinct confidences."""
    n = len(confidence)
    coverage, risk, joint = [0.0], [None], [0.0]
    for cut in sorted(set(confidence.tolist()), reverse=True):
        accepted = [w for c, w in zip(confidence, wrong, strict=True) if c >= cut]
        coverage.append(len(accepted) / n)
        risk.append(sum(accepted) / len(accepted))
        joint.append(sum(accepted) / n)
    risk[0] = risk[1]
    areas = [0.0, 0.0]
    for i in range(1, len(coverage)):
        width = coverage[i] - coverage[i - 1]
        areas[0] += width * (risk[i] + risk[i - 1]) / 2
        areas[1] += width * (joint[i] + joint[i - 1]) / 2
    return areas


def test_areas_of_four_images_by_hand():
    # rising doubt: right, wrong, right, wrong -> risk 0, 1/2, 1/3, 1/2; generalised risk 0, 1/4, 1/4, 2/4
    probabilities, labels = certain([0.9, 0.8, 0.7, 0.6], [NV] * 4), np.array([NV, 0, NV, 0])
    curve = risk_coverage(probabilities, labels, np.zeros(4, bool), np.arange(4), draws=0, seed=0)
    assert curve.aurc.value == pytest.approx((0 + 0 + 0 + 1 / 2 + 1 / 2 + 1 / 3 + 1 / 3 + 1 / 2) / 8)
    assert curve.augrc.value == pytest.approx((0 + 0 + 0 + 1 / 4 + 1 / 4 + 1 / 4 + 1 / 4 + 1 / 2) / 8)
    assert [curve.at(coverage).risk.value for coverage in (0.25, 0.5, 0.75, 1.0)] == [0, 1 / 2, 1 / 3, 1 / 2]
    assert curve.aurc.low is None


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), n_lesions=st.integers(2, 60), decimals=st.integers(1, 6))
def test_areas_agree_with_a_plain_loop_and_with_auroc(seed, n_lesions, decimals):
    probabilities, labels, called, lesion = table(n_lesions, seed, decimals)
    curve = risk_coverage(probabilities, labels, called, lesion, draws=0, seed=0)
    confidence, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != labels
    assert (curve.aurc.value, curve.augrc.value) == pytest.approx(naive_areas(confidence, wrong), abs=1e-9)
    if wrong.any() and not wrong.all():  # Traub et al. 2024: AUGRC from accuracy and the AUROC of the failures
        ranked, right = roc_auc_score(~wrong, confidence), 1 - wrong.mean()
        expected = (1 - ranked) * right * (1 - right) + (1 - right) ** 2 / 2
        assert curve.augrc.value == pytest.approx(expected, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n_lesions=st.integers(3, 40))
def test_each_draw_is_the_figure_of_the_images_drawn(seed, n_lesions):
    probabilities, labels, called, lesion = table(n_lesions, seed)
    tally = AcceptanceTally.of(probabilities, labels, called, lesion, n_lesions)
    confidence, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != labels
    missed = (labels == MEL) & ~called
    weights = np.concatenate(list(lesion_draws(n_lesions, 4, seed)))
    values = tally.values(weights)
    for row, draw in enumerate(weights):
        again = np.repeat(np.arange(len(lesion)), draw[lesion].astype(int))
        expected = naive_areas(confidence[again], wrong[again])
        assert (values["aurc"][row], values["augrc"][row]) == pytest.approx(expected, abs=1e-9)
        for column, cut in enumerate(confidence_cuts(confidence[again], len(COVERAGES))):  # each draw has its own cut
            accepted = again[confidence[again] >= cut]
            melanomas = (labels[accepted] == MEL).sum()
            if len(accepted):
                assert values["risk"][row, column] == pytest.approx(wrong[accepted].mean(), abs=1e-9)
            if melanomas:
                assert values["missed"][row, column] == pytest.approx(missed[accepted].sum() / melanomas, abs=1e-9)
            if (labels[again] == MEL).any():
                expected = missed[accepted].sum() / (labels[again] == MEL).sum()
                assert values["missed_of_all"][row, column] == pytest.approx(expected, abs=1e-9)


def test_intervals_are_those_of_the_draws():
    images = table(300, 1)
    curve = risk_coverage(*images, draws=200, seed=5)
    tally = AcceptanceTally.of(*images, 300)
    drawn = [tally.values(weights) for weights in lesion_draws(300, 200, 5)]
    wrong = images[0].argmax(axis=1) != images[1]
    weakest = min(len(np.unique(images[3][wrong])), len(np.unique(images[3][~wrong])))
    for name, top in (("aurc", 1.0), ("augrc", 0.5)):
        figure = getattr(curve, name)
        values = np.concatenate([block[name] for block in drawn])
        assert (figure.low, figure.high) == interval(figure.value, values, weakest, is_share=False, top=top)
        assert figure.low < figure.value < figure.high
    level = curve.at(1.0)
    risk = np.concatenate([block["risk"] for block in drawn])[:, -1]
    n = len(images[1])
    assert (level.risk.low, level.risk.high) == interval(level.risk.value, risk, 300, is_share=True, n=n)
    assert (level.risk.n, level.risk.n_lesions) == (n, 300)


def test_many_images_are_joined_into_steps_that_move_no_area():
    probabilities, labels, called, lesion = table(4000, 2, decimals=9)
    assert len(lesion) > 2 * STEPS
    tally = AcceptanceTally.of(probabilities, labels, called, lesion, 4000)
    joined = tally.values(np.ones((1, 4000)))
    exact = tally.curve({})
    assert joined["aurc"][0] == pytest.approx(exact.aurc.value, abs=1e-4)
    assert joined["augrc"][0] == pytest.approx(exact.augrc.value, abs=1e-4)
    expected = naive_areas(probabilities.max(axis=1)[:500], (probabilities.argmax(axis=1) != labels)[:500])
    assert expected[0] != pytest.approx(exact.aurc.value, abs=1e-4)  # so near is no matter of course


def test_melanomas_missed_among_the_accepted_by_hand():
    # four melanomas: surely a nevus (missed), surely melanoma, unsure and called, unsure and missed; four nevi
    confidence = [0.99, 0.95, 0.5, 0.45, 0.9, 0.85, 0.8, 0.4]
    predicted = [NV, MEL, NV, NV, NV, NV, NV, NV]
    labels = np.array([MEL] * 4 + [NV] * 4)
    called = np.array([0, 1, 1, 0, 0, 0, 0, 1], dtype=bool)
    curve = risk_coverage(certain(confidence, predicted), labels, called, np.arange(8), draws=100, seed=0)
    half, whole = curve.at(0.5), curve.at(1.0)
    assert (half.n_images, half.n_target, half.n_missed, half.confidence) == (4, 2, 1, 0.85)
    assert (half.missed.value, half.missed.n) == (1 / 2, 2)
    assert (half.missed_of_all.value, half.missed_of_all.n) == (1 / 4, 4)
    assert (whole.n_images, whole.n_target, whole.n_missed) == (8, 4, 2)
    assert whole.missed == whole.missed_of_all
    assert half.missed.low < 0.06 and half.missed.high > 0.94  # of two lesions: hardly anything is known
    assert half.missed_of_all.low < 0.1 and half.missed_of_all.high > 0.6  # of four next to nothing is known


def test_a_group_of_classes_can_be_the_target():
    probabilities, labels, called, lesion = table(100, 3)
    curve = risk_coverage(probabilities, labels, called, lesion, target=("akiec", "mel"), draws=0, seed=0)
    of_either = np.isin(labels, [0, MEL])
    assert curve.n_target_images == of_either.sum()
    assert curve.at(1.0).n_missed == (of_either & ~called).sum()


def test_coverage_is_reached_exactly_where_nothing_ties():
    probabilities = certain(np.linspace(0.3, 0.9, 10), [NV] * 10)
    curve = risk_coverage(probabilities, np.full(10, NV), np.zeros(10, bool), np.arange(10), draws=0, seed=0)
    assert [curve.at(coverage).n_images for coverage in HEADLINE_COVERAGES] == [10, 9, 8, 7, 5]  # 0.7 · 10 is 7, not 8
    assert curve.at(0.05).n_images == 1


def test_equal_confidences_are_accepted_together():
    probabilities = certain([0.9] * 3 + [0.5] * 7, [NV] * 10)
    labels = np.array([NV] * 9 + [0])
    curve = risk_coverage(probabilities, labels, np.zeros(10, bool), np.arange(10), draws=0, seed=0)
    assert [curve.at(coverage).n_images for coverage in (0.05, 0.3, 0.35, 0.5, 1.0)] == [3, 3, 10, 10, 10]
    shuffled = np.random.default_rng(0).permutation(10)
    again = risk_coverage(probabilities[shuffled], labels[shuffled], np.zeros(10, bool), shuffled, draws=0, seed=0)
    assert again == curve


def test_without_melanoma_only_the_melanoma_figures_are_undefined():
    probabilities, labels, called, lesion = table(50, 4)
    curve = risk_coverage(probabilities, np.where(labels == MEL, NV, labels), called, lesion, draws=100, seed=0)
    assert curve.at(0.5).missed == NotApplicable("n=0 images of melanoma")
    assert curve.at(1.0).missed_of_all == NotApplicable("n=0 images of melanoma")
    assert 0 < curve.at(0.5).risk.value < 1


def test_melanomas_that_are_all_passed_on_are_neither_found_nor_missed():
    probabilities, labels = certain([0.9] * 9 + [0.3], [NV] * 10), np.array([NV] * 9 + [MEL])
    curve = risk_coverage(probabilities, labels, np.zeros(10, bool), np.arange(10), draws=100, seed=0)
    assert curve.at(0.5).missed == NotApplicable("n=0 accepted images of melanoma")
    assert curve.at(0.5).missed_of_all.value == 0
    assert curve.at(0.5).missed_of_all.high is None  # one melanoma has no interval


@pytest.mark.parametrize(("label", "area"), [(NV, 0.0), (MEL, 1.0)])
def test_all_of_one_class_all_right_or_all_wrong(label, area):
    probabilities = certain(np.linspace(0.3, 0.9, 30), [NV] * 30)
    curve = risk_coverage(probabilities, np.full(30, label), np.zeros(30, bool), np.arange(30), draws=50, seed=0)
    assert curve.aurc.value == pytest.approx(area)
    assert curve.augrc.value == pytest.approx(area / 2)
    assert curve.aurc.low is None  # nothing varies, so nothing is known of how it may
    low, high = wilson(area, 30)
    assert curve.at(1.0).risk.low <= low and curve.at(1.0).risk.high >= high  # a share never degenerates


def test_an_area_needs_enough_lesions_on_both_sides():
    probabilities = certain(np.linspace(0.3, 0.9, 40), [NV] * 40)
    for n_wrong, has_interval in ((9, False), (10, True)):
        labels = np.where(np.arange(40) < n_wrong, MEL, NV)
        curve = risk_coverage(probabilities, labels, np.zeros(40, bool), np.arange(40), draws=100, seed=0)
        assert (curve.augrc.low is not None) == has_interval


def test_the_headline_coverages_are_among_those_judged():
    assert set(HEADLINE_COVERAGES) <= set(COVERAGES)
    assert abstention.STEPS % len(COVERAGES) == 0  # each coverage is the end of a step


def test_json_gives_the_curve_back():
    probabilities, labels, called, lesion = table(80, 6)
    for truth in (labels, np.where(labels == MEL, NV, labels)):
        curve = risk_coverage(probabilities, truth, called, lesion, draws=50, seed=0)
        assert RiskCoverage.from_json(json.loads(json.dumps(curve.as_json(), allow_nan=False))) == curve

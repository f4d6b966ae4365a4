"""Do calibration, net benefit and abstention stand beside themselves for lesions and for histology alone?"""

import csv
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit

from melascope.classes import CLASSES, MEL
from melascope.evaluation.calibration import Calibration, measure_calibration
from melascope.evaluation.evaluate import Evaluation, evaluate
from melascope.evaluation.forecasts import Forecasts
from melascope.evaluation.headlines import UNMEASURED
from melascope.evaluation.lesion_level import lesion_scores
from melascope.tables.results import NotApplicable


@pytest.fixture(scope="module")
def table(draw_table):
    return draw_table(500, seed=4)


@pytest.fixture(scope="module")
def evaluation(table):
    return evaluate(table, None, draws=60)


def test_the_histology_line_is_what_those_images_alone_give(table, evaluation):
    """Point figures as from a table without the other images; the draws are those of all lesions."""
    line, alone = evaluation.histology_line, evaluate(table.subset(table.dx_type == "histo"), None, draws=0)
    assert (line.n_images, line.n_lesions) == (alone.whole.n_images, alone.whole.n_lesions)
    assert (line.n_target_images, line.n_target_lesions) == alone.whole.size_of(("mel",))
    for name, figure in alone.calibration.figures.items():
        assert line.calibration.figures[name].value == pytest.approx(figure.value, abs=1e-9)
    assert [point.found for point in line.decision_curve.points] == [p.found for p in alone.decision_curve.points]
    assert line.risk_coverage.augrc.value == pytest.approx(alone.risk_coverage.augrc.value)
    assert line.risk_coverage.levels[-1].n_target == line.n_target_images
    slope = line.calibration.figures["target_calibration_slope"]
    assert slope.low < slope.value < slope.high and slope.n_lesions == line.n_lesions


def test_calibration_by_lesion_is_that_of_the_mean_of_its_images(table, evaluation):
    found = evaluation.lesion_calibration
    lesion = np.unique(table.lesion_key.astype(str), return_inverse=True)[1]
    lesions = lesion_scores(table.probabilities, table.labels == MEL, lesion)
    score, truth = lesions.probabilities[:, MEL], lesions.truth
    assert (found.unit, found.n_images, found.n_lesions) == ("lesion", len(score), len(score))
    figures = found.figures
    assert figures["target_brier_score"].value == pytest.approx(((score - truth) ** 2).mean(), abs=1e-9)
    assert figures["target_observed_to_expected"].value == pytest.approx(truth.sum() / score.sum(), abs=1e-9)
    odds = np.log(score / (1 - score))
    large = brentq(lambda shift: (truth - expit(shift + odds)).sum(), -9, 9)
    assert figures["target_calibration_in_the_large"].value == pytest.approx(large, abs=1e-6)
    assert all(one.unit == "lesion" and one.n == len(score) for one in figures.values())
    assert figures["target_calibration_slope"].low is not None


def test_with_one_image_a_lesion_both_units_agree(table):
    first = np.unique(table.lesion_key.astype(str), return_index=True)[1]
    evaluation = evaluate(table.subset(first), None, draws=20)
    for name, figure in evaluation.calibration.figures.items():
        assert evaluation.lesion_calibration.figures[name].value == pytest.approx(figure.value, abs=1e-9)


def test_a_lesion_with_one_target_image_is_a_target_lesion(draw_table):
    table = draw_table(dx=["mel", "nv"] * 30)
    several = np.flatnonzero(table.lesion_id == table.lesion_id[np.flatnonzero(table.dx == "nv")[0]])
    dx = table.dx.copy()
    dx[several[0]] = "mel"
    forecasts = Forecasts.of(replace(table, dx=dx), ("mel",)).by_lesion()
    assert forecasts.truth.sum() == 31


def test_too_few_on_one_side_has_no_line(draw_table):
    table = draw_table(dx=["mel"] * 9 + ["nv"] * 60)
    line = evaluate(table, None, draws=0).histology_line
    reason = NotApplicable("n=9 lesions of melanoma, fewer than 10")
    assert (line.calibration, line.decision_curve, line.risk_coverage) == (reason,) * 3
    assert line.n_target_lesions == 9
    none = evaluate(replace(table, dx_type=np.full(len(table), "", dtype=object)), None, draws=0).histology_line
    assert none.n_images == 0 and none.calibration == NotApplicable("n=0 lesions of melanoma, fewer than 10")


def test_the_lines_are_written_and_read_back(evaluation, tmp_path):
    evaluation.write(tmp_path)
    assert Evaluation.read(tmp_path) == evaluation
    rows = list(csv.DictReader((tmp_path / "figures.csv").open()))
    assert {
        ("calibration", "lesion"),
        ("calibration, histology only", "image"),
        ("abstention, histology only", "image"),
    } <= {(row["group"], row["unit"]) for row in rows}


def test_an_evaluation_written_before_says_that_it_was_not_measured(evaluation):
    content = {k: v for k, v in evaluation.as_json().items() if k not in ("lesion_calibration", "histology_line")}
    content["calibration"].pop("unit")
    old = Evaluation.from_json(content)
    assert (old.lesion_calibration, old.histology_line) == (UNMEASURED, UNMEASURED)
    assert isinstance(old.calibration, Calibration) and old.calibration.unit == "image"


def test_constant_and_extreme_scores_say_why_there_is_no_slope(draw_table):
    table = draw_table(dx=["mel", "nv"] * 30)
    flat = measure_calibration(replace(table, logits=np.zeros((len(table), 7))), draws=0)
    assert "is the same for all n=" in flat.figures["target_calibration_slope"].reason
    far = measure_calibration(replace(table, logits=table.logits * 1e5), draws=0)
    assert "no fit was found: the log-odds" in far.figures["target_calibration_in_the_large"].reason
    assert CLASSES[MEL] == "mel"

"""Is every image in one part of each factor, are sizes told, and is nothing said of parts that are too small?"""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from melascope.evaluation.evaluate import evaluate
from melascope.evaluation.operating_point import choose_operating_point
from melascope.evaluation.record import Evaluation
from melascope.evaluation.subgroups import AGE_BANDS, FACTORS, MIN_SIDE, parts
from melascope.tables.results import Estimate, NotApplicable


@pytest.fixture(scope="module")
def table(draw_table):
    table = draw_table(n_lesions=600, seed=4)
    rng = np.random.default_rng(0)
    of_lesion = np.unique(table.lesion_id.astype(str), return_inverse=True)[1]
    return replace(
        table,
        sex=np.array(["female", "male", ""], dtype=object)[rng.integers(0, 3, 600)[of_lesion]],
        age=np.where(rng.random(600) < 0.1, np.nan, rng.integers(0, 18, 600) * 5.0)[of_lesion],
        dataset=np.array(["rosendahl", "vidir_modern", ""], dtype=object)[rng.integers(0, 3, 600)[of_lesion]],
        localization=np.array(["back", "face", "ear"], dtype=object)[
            rng.choice(3, 600, p=[0.6, 0.39, 0.01])[of_lesion]
        ],
    )


@pytest.fixture(scope="module")
def point(draw_table):
    return choose_operating_point(draw_table(n_lesions=300, seed=1, split="val"), rule="empirical")


@pytest.fixture(scope="module")
def evaluation(table, point):
    return evaluate(table, point, draws=200)


@pytest.mark.parametrize("factor", FACTORS)
def test_every_image_is_in_one_part_of_each_factor(table, factor):
    masks = [mask for name, _, mask in parts(table) if name == factor]
    assert len(masks) >= 2 and (np.sum(masks, axis=0) == 1).all()


def test_parts_come_in_order_with_the_unknown_last(table):
    values = [value for factor, value, _ in parts(table) if factor == "age"]
    assert values == [*(name for _, _, name in AGE_BANDS), "unknown"]
    assert [value for factor, value, _ in parts(table) if factor == "sex"] == ["female", "male", "unknown"]


def test_a_factor_that_parts_nothing_is_left_out(draw_table):
    assert {factor for factor, _, _ in parts(draw_table(n_lesions=80))} == {"dx_type", "images of the lesion"}


def test_figures_are_those_of_the_part_alone(evaluation, table, point):
    (part,) = [part for part in evaluation.subgroups if part.value == "female"]
    rows = table.subset(table.sex == "female")
    truth, scores = rows.dx == "mel", point.score(rows.probabilities)
    assert (part.n_images, part.n_target_images) == (len(rows), truth.sum())
    assert part.n_lesions == len(set(rows.lesion_id))
    assert part.n_target_lesions == len(set(rows.lesion_id[truth]))
    assert part.figures["sensitivity"].value == pytest.approx((scores[truth] >= point.threshold).mean())
    assert part.figures["specificity"].value == pytest.approx((scores[~truth] < point.threshold).mean())
    assert part.figures["auroc"].value == pytest.approx(sk.roc_auc_score(truth, scores), abs=1e-9)
    assert part.figures["lesion_sensitivity"].unit == "lesion"
    assert all(figure.low <= figure.value <= figure.high for figure in part.figures.values())


def test_a_part_that_is_too_small_says_its_n_and_nothing_else(evaluation):
    seen = set()
    for part in evaluation.subgroups:
        enough = part.n_target_lesions >= MIN_SIDE
        seen.add(enough)
        for name in ("sensitivity", "lesion_sensitivity"):
            assert isinstance(part.figures[name], Estimate) == enough
            if not enough:
                reason = f"n={part.n_target_lesions} lesions of melanoma, fewer than 10"
                assert part.figures[name] == NotApplicable(reason)
    assert seen == {True, False}


def test_they_are_written_down(evaluation, tmp_path):
    evaluation.write(tmp_path)
    assert Evaluation.read(tmp_path).subgroups == evaluation.subgroups
    assert "sex: female,sensitivity,mel,operating_point,image," in (tmp_path / "figures.csv").read_text()

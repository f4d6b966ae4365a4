"""Does an evaluation tell the right figures, their n, and what a reader must know, for good tables and odd ones?"""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from melascope.classes import CLASSES
from melascope.errors import DataError, OperatingPointError
from melascope.evaluation.decisions import DECISION_FIGURES, predictive_values
from melascope.evaluation.evaluate import evaluate, evaluated_rows
from melascope.evaluation.intervals import lesion_draws, share_interval
from melascope.evaluation.metrics import METRICS
from melascope.evaluation.operating_point import choose_operating_point
from melascope.tables.predictions import Predictions, PredictionsOrigin
from melascope.tables.results import Estimate, NotApplicable


@pytest.fixture(scope="module")
def table(draw_table):
    return draw_table(n_lesions=400, seed=2)


@pytest.fixture(scope="module")
def point(draw_table):
    return choose_operating_point(draw_table(n_lesions=300, seed=1, split="val"), rule="empirical")


@pytest.fixture(scope="module")
def evaluation(table, point):
    return evaluate(table, point, draws=200)


def test_the_figures_are_scikit_learns(evaluation, table):
    truth, predicted = table.labels, table.probabilities.argmax(axis=1)
    overall = evaluation.whole.image.overall
    assert overall["accuracy"].value == pytest.approx(sk.accuracy_score(truth, predicted), abs=1e-9)
    assert overall["balanced_accuracy"].value == pytest.approx(sk.balanced_accuracy_score(truth, predicted), abs=1e-9)
    assert overall["macro_f1"].value == pytest.approx(sk.f1_score(truth, predicted, average="macro"), abs=1e-9)
    assert np.array_equal(evaluation.whole.image.confusion, sk.confusion_matrix(truth, predicted))
    auroc = sk.roc_auc_score(truth == 4, table.probabilities[:, 4])
    assert evaluation.whole.image.per_class["auroc"]["mel"].value == pytest.approx(auroc, abs=1e-9)


def test_row_shares_are_scikit_learns_in_every_draw_and_recall_stands_on_the_diagonal(evaluation, table):
    truth, predicted = table.labels, table.probabilities.argmax(axis=1)
    level = evaluation.whole.image
    shares = np.array([[figure.value for figure in row] for row in level.row_shares])
    np.testing.assert_allclose(shares, sk.confusion_matrix(truth, predicted, normalize="true"), atol=1e-9)
    assert [row[k] for k, row in enumerate(level.row_shares)] == list(level.per_class["recall"].values())
    lesions, lesion = np.unique(table.lesion_id.astype(str), return_inverse=True)
    drawn = [
        sk.confusion_matrix(truth, predicted, sample_weight=weights[lesion], normalize="true", labels=range(7))[4, 5]
        for weights in np.concatenate(list(lesion_draws(len(lesions), 200, seed=0)))
    ]
    cell = level.row_shares[4][5]
    assert (cell.n, cell.n_lesions) == ((truth == 4).sum(), len(set(lesion[truth == 4])))
    ends = share_interval(cell.value, np.array(drawn), cell.n, cell.n_lesions)
    assert (cell.low, cell.high) == pytest.approx(ends, abs=1e-9)


def test_decisions_are_those_of_the_frozen_point(evaluation, table, point):
    is_mel, called = table.dx == "mel", point.is_positive(table.probabilities)
    image = evaluation.whole.decision("operating_point", "image")
    assert (image.tp, image.fn) == ((is_mel & called).sum(), (is_mel & ~called).sum())
    assert (image.fp, image.tn) == ((~is_mel & called).sum(), (~is_mel & ~called).sum())
    assert image.figures["sensitivity"].value == image.tp / is_mel.sum()
    assert image.figures["false_alarms_per_found"].value == image.fp / image.tp
    assert image.figures["sensitivity"].n == is_mel.sum()
    assert image.figures["sensitivity"].n_lesions == len(set(table.lesion_id[is_mel]))


def test_a_lesion_is_judged_by_its_mean(evaluation, table, point):
    means = {lesion: table.probabilities[table.lesion_id == lesion, 4].mean() for lesion in set(table.lesion_id)}
    is_mel = set(table.lesion_id[table.dx == "mel"])
    lesion = evaluation.whole.decision("operating_point", "lesion")
    assert lesion.tp == sum(means[one] >= point.threshold for one in is_mel)
    assert lesion.fn == sum(means[one] < point.threshold for one in is_mel)
    assert lesion.tp + lesion.fn + lesion.fp + lesion.tn == 400
    assert lesion.figures["ppv"].unit == "lesion"
    assert lesion.figures["ppv"].n == lesion.figures["ppv"].n_lesions == lesion.tp + lesion.fp


def test_the_figures_of_lesions_are_those_of_their_means(evaluation, table):
    lesions, first, row = np.unique(table.lesion_id.astype(str), return_index=True, return_inverse=True)
    means = np.stack([np.bincount(row, column) for column in table.probabilities.T], axis=1)
    means /= np.bincount(row)[:, None]
    truth, level = table.labels[first], evaluation.whole.lesion
    assert level.overall["balanced_accuracy"].value == pytest.approx(
        sk.balanced_accuracy_score(truth, means.argmax(axis=1)), abs=1e-9
    )
    assert level.target["auroc"].value == pytest.approx(sk.roc_auc_score(truth == 4, means[:, 4]), abs=1e-9)
    assert level.target["auroc"].unit == "lesion" and level.target["auroc"].n == len(lesions)
    assert np.array_equal(level.confusion, sk.confusion_matrix(truth, means.argmax(axis=1)))


def test_a_group_of_classes_can_be_the_target(table, draw_table):
    target = ("mel", "bcc", "akiec")
    validation = draw_table(n_lesions=300, seed=1, split="val")
    judged = evaluate(table, choose_operating_point(validation, target=target, rule="empirical"), draws=0)
    columns = [CLASSES.index(name) for name in target]
    truth, score = np.isin(table.labels, columns), table.probabilities[:, columns].sum(axis=1)
    assert judged.whole.image.target["auroc"].value == pytest.approx(sk.roc_auc_score(truth, score), abs=1e-9)
    assert judged.whole.image.target["average_precision"].value == pytest.approx(
        sk.average_precision_score(truth, score), abs=1e-9
    )


def test_predictive_values_elsewhere_follow_bayes(evaluation):
    decision = evaluation.whole.decision("operating_point", "image")
    se, sp = (decision.figures[name].value for name in ("sensitivity", "specificity"))
    own = (decision.tp + decision.fn) / evaluation.whole.n_images
    assert predictive_values(np.array([se]), np.array([sp]), own)[0] == pytest.approx(decision.figures["ppv"].value)
    for prevalence, figures in decision.at_prevalence.items():
        alarms = (1 - sp) * (1 - prevalence)
        assert figures["ppv"].value == pytest.approx(se * prevalence / (se * prevalence + alarms))
        assert figures["npv"].value == pytest.approx(1 - (1 - se) * prevalence / (1 - se * prevalence - alarms))


def test_recall_and_sensitivity_at_argmax_are_one_figure(evaluation):
    recall = evaluation.whole.image.per_class["recall"]["mel"]
    assert recall == evaluation.whole.decision("argmax", "image").figures["sensitivity"]


def test_intervals_hold_the_value_and_follow_the_seed(evaluation, table, point):
    for group in evaluation.groups.values():
        figures = []
        for level in (group.image, group.lesion):
            figures += [*level.overall.values(), *(f for row in level.per_class.values() for f in row.values())]
            figures += level.target.values()
        for decision in group.decisions:
            figures += [
                *decision.figures.values(),
                *(f for two in decision.at_prevalence.values() for f in two.values()),
            ]
        for figure in figures:
            assert isinstance(figure, Estimate)
            if figure.low is not None:
                assert figure.low <= figure.value <= figure.high
    assert evaluate(table, point, draws=200) == evaluation
    other = evaluate(table, point, draws=200, seed=1)
    assert other.whole.image.overall["accuracy"].low != evaluation.whole.image.overall["accuracy"].low
    assert other.whole.image.overall["accuracy"].value == evaluation.whole.image.overall["accuracy"].value


def test_the_interval_of_accuracy_is_the_plain_lesion_bootstrap(table):
    """The same quantiles by a loop that draws lesions with all their images and calls scikit-learn."""
    small = table.subset(np.arange(120))
    rng = np.random.default_rng(5)
    lesions, row = np.unique(small.lesion_id.astype(str), return_inverse=True)
    rows_of = [np.flatnonzero(row == one) for one in range(len(lesions))]
    right = small.labels == small.probabilities.argmax(axis=1)
    drawn = [
        right[np.concatenate([rows_of[one] for one in rng.integers(0, len(lesions), len(lesions))])].mean()
        for _ in range(4000)
    ]
    ours = evaluate(small, None, draws=4000).whole.image.overall["accuracy"]
    assert (ours.low, ours.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)
    assert ours.high - ours.low == pytest.approx(np.ptp(np.quantile(drawn, [0.025, 0.975])), rel=0.05)


def test_the_histology_line_judges_those_rows_only(evaluation, table, point):
    only = evaluate(table.subset(table.dx_type == "histo"), point, draws=0)
    histology = evaluation.groups["histology"]
    assert histology.n_images == (table.dx_type == "histo").sum() < len(table)
    assert histology.image.confusion == only.whole.image.confusion
    assert [d.tp for d in histology.decisions] == [d.tp for d in only.whole.decisions]


def test_every_row_of_the_dicts_is_there(evaluation):
    for name, metric in METRICS.items():
        where = evaluation.whole.image.per_class if metric.per_class else evaluation.whole.image.overall
        assert name in where
    assert {(d.at, d.unit) for d in evaluation.whole.decisions} == {
        (at, unit) for at in ("argmax", "operating_point") for unit in ("image", "lesion")
    }
    assert all(set(d.figures) == set(DECISION_FIGURES) for d in evaluation.whole.decisions)


def test_only_the_named_split_is_judged(table, draw_table):
    val = draw_table(100, split="val", seed=9)
    both = replace(
        table,
        **{
            n: np.concatenate([getattr(table, n), getattr(val, n)])
            for n in vars(table)
            if n not in ("origin", "left_out")
        },
    )
    alone = evaluate(table, None, draws=0)
    assert alone.conformal == NotApplicable("n=0 validation lesions to calibrate on")
    assert replace(evaluate(both, None, draws=0), conformal=alone.conformal) == alone
    judged = evaluate(both, None, split="val", draws=0)
    assert judged.whole.n_images == len(val)
    assert isinstance(judged.conformal, NotApplicable)
    assert any("optimistic" in caveat for caveat in judged.caveats)


def test_a_target_of_several_classes(table, draw_table):
    point = choose_operating_point(draw_table(300, seed=1, split="val"), target=("mel", "bcc", "akiec"))
    judged = evaluate(table, point, draws=0)
    malignant = np.isin(table.dx.astype(str), ["mel", "bcc", "akiec"])
    argmax = np.isin(table.probabilities.argmax(axis=1), [0, 1, 4])
    assert judged.whole.decision("argmax", "image").tp == (malignant & argmax).sum()
    assert f"{malignant.sum()} images" in judged.headline()


def foreign_csv(tmp_path, table, columns=("image_id", "dx")):
    """A CSV as another project would write it: no lesion, no split."""
    names = [*columns, *(f"logit_{c}" for c in ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"))]
    lines = [",".join(names)]
    for row in range(len(table)):
        cells = [getattr(table, name)[row] for name in columns] + [repr(float(v)) for v in table.logits[row]]
        lines.append(",".join(cells))
    path = tmp_path / "theirs.csv"
    path.write_text("\n".join(lines) + "\n")
    return Predictions.read(path)


def test_a_table_of_another_project(table, tmp_path, point):
    theirs = foreign_csv(tmp_path, table)
    judged = evaluate(theirs, point, draws=50)
    assert judged.split == "" and judged.whole.n_images == judged.whole.n_lesions == len(table)
    ours = evaluate(table, point, draws=0)
    assert judged.whole.image.overall["accuracy"].value == ours.whole.image.overall["accuracy"].value
    text = " ".join(judged.caveats)
    for said in ("names no splits", "does not say which data set", "name no lesion", "could not be checked"):
        assert said in text
    assert judged.groups["histology"] == NotApplicable("n=0 images with truth from histology")
    assert "(all rows)" in judged.headline()


def test_one_melanoma_only(draw_table, point):
    judged = evaluate(draw_table(dx=["mel"] + ["nv"] * 30), point, draws=100)
    sensitivity = judged.whole.decision("operating_point", "lesion").figures["sensitivity"]
    assert sensitivity.n == 1
    assert sensitivity.low is None  # one lesion says nothing of the next
    assert judged.whole.image.per_class["auroc"]["mel"].low is None
    assert any("Only 1 lesion of melanoma" in caveat for caveat in judged.caveats)


def test_auroc_of_few_melanoma_lesions_has_no_interval(draw_table):
    for n_lesions in (9, 10):
        judged = evaluate(draw_table(dx=["mel"] * n_lesions + ["nv"] * 40), None, draws=200)
        auroc = judged.whole.image.per_class["auroc"]
        assert (auroc["mel"].low is None) == (auroc["nv"].low is None) == (n_lesions == 9)


def test_no_melanoma(draw_table, point):
    judged = evaluate(draw_table(dx=["nv", "bkl"] * 15), point, draws=100)
    for decision in judged.whole.decisions:
        assert decision.figures["sensitivity"] == NotApplicable(f"n=0 {decision.unit}s of melanoma")
        assert isinstance(decision.figures["specificity"], Estimate)
    assert judged.whole.image.per_class["auroc"]["mel"] == NotApplicable("n=0 images of mel")
    assert "not applicable (n=0 images of melanoma)" in judged.headline()


def test_one_class_only(draw_table):
    judged = evaluate(draw_table(dx=["mel"] * 30), None, draws=100)
    assert judged.whole.image.per_class["specificity"]["mel"] == NotApplicable("n=0 images of classes other than mel")
    assert judged.whole.image.per_class["auroc"]["mel"] == NotApplicable("n=0 images of classes other than mel")
    assert judged.whole.image.overall["balanced_accuracy"].value == judged.whole.image.per_class["recall"]["mel"].value
    assert any("means over the other classes" in caveat for caveat in judged.caveats)


def test_a_perfect_model_still_has_an_interval(draw_table):
    judged = evaluate(draw_table(300, skill=50.0), None, draws=100)
    accuracy = judged.whole.image.overall["accuracy"]
    assert accuracy.value == 1.0 and accuracy.high == 1.0 and 0.98 < accuracy.low < 1.0


def test_a_single_image(draw_table):
    one = draw_table(dx=["mel"]).subset(np.array([0]))
    assert evaluate(one, None, draws=20).whole.n_images == 1


def test_rows_without_truth_are_left_out_and_counted(table):
    dx = table.dx.copy()
    dx[:7] = ""
    judged = evaluate(replace(table, dx=dx), None, draws=0)
    assert judged.whole.n_images == len(table) - 7
    assert any("7 of" in caveat and "no known truth" in caveat for caveat in judged.caveats)


def test_nothing_to_judge_is_an_error(table):
    with pytest.raises(DataError, match="the table has test"):
        evaluate(table, None, split="val")
    blank = table.dx.copy()
    blank[:] = ""
    with pytest.raises(DataError, match="known truth"):
        evaluated_rows(replace(table, dx=blank), "test")


def test_conflicting_labels_are_told(table):
    dx = table.dx.copy()
    lesion = table.lesion_id[np.flatnonzero(table.lesion_id[1:] == table.lesion_id[:-1])[0]]
    dx[table.lesion_id == lesion] = ["mel", "nv", "nv"][: (table.lesion_id == lesion).sum()]
    caveats = evaluate(replace(table, dx=dx), None, draws=0).caveats
    assert any(caveat.startswith("Lesions whose images carry different labels: 1.") for caveat in caveats)


def test_a_phantom_says_so_in_headline_and_caveats(draw_table):
    judged = evaluate(draw_table(50, origin=PredictionsOrigin(source="phantom")), None, draws=0)
    assert judged.headline().startswith("PHANTOM (synthetic images): melanoma")
    assert "Phantom" in judged.caveats[0] and "not real results" in judged.caveats[0]


def test_a_point_of_another_model_is_refused(table, point):
    with pytest.raises(OperatingPointError):
        evaluate(replace(table, origin=replace(table.origin, checkpoint_sha256="9" * 64)), point)

"""Are models compared on the same images and draws, seeds pooled, and is everything refused that cannot be compared?"""

import csv
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student
from sklearn import metrics as sk

from melascope.classes import CLASSES
from melascope.errors import DataError, TableError
from melascope.evaluation.compare import Entry, compare
from melascope.evaluation.compared import COMPARED
from melascope.evaluation.comparison import Comparison
from melascope.evaluation.evaluate import evaluate
from melascope.evaluation.intervals import lesion_draws
from melascope.evaluation.operating_point import choose_operating_point
from melascope.tables.predictions import PredictionsOrigin
from melascope.tables.results import Estimate, NotApplicable
from retrained_models import DRAWS, ORIGIN, retrained, runs


@pytest.fixture(scope="module")
def table(draw_table):
    return draw_table(n_lesions=300, seed=2, origin=ORIGIN)


@pytest.fixture(scope="module")
def point(draw_table):
    return choose_operating_point(draw_table(n_lesions=300, seed=1, split="val", origin=ORIGIN), rule="empirical")


@pytest.fixture(scope="module")
def other(table):
    return retrained(table, 1)


@pytest.fixture(scope="module")
def comparison(table, other, point):
    return compare([Entry("one", table, point), Entry("two", other, point)], draws=DRAWS)


def test_each_models_own_figures_are_those_of_its_evaluation(comparison, table, other, point):
    for contender, rows in zip(comparison.contenders, (table, other), strict=True):
        judged = evaluate(rows, point, draws=DRAWS).whole
        decision, top = (judged.decision(at, "image").figures for at in ("operating_point", "argmax"))
        assert contender.figures == {
            **{name: decision[name] for name in ("sensitivity", "specificity", "false_alarms_per_found")},
            **{f"top_class_{name}": top[name] for name in ("sensitivity", "specificity")},
            "lesion_sensitivity": judged.decision("operating_point", "lesion").figures["sensitivity"],
            **judged.image.target,
            **{name: judged.image.overall[name] for name in ("balanced_accuracy", "accuracy")},
        }


def test_a_difference_is_the_other_less_the_first(comparison):
    (pair,) = comparison.pairs
    assert (pair.first, pair.other, pair.name) == ("A", "B", "B − A")
    assert set(pair.differences) == set(COMPARED)
    for name, difference in pair.differences.items():
        first, second = (contender.figures[name] for contender in comparison.contenders)
        assert difference.value == pytest.approx(second.value - first.value)
        assert difference.low < difference.value < difference.high


def test_the_interval_of_a_difference_comes_from_the_same_draws(comparison, table, other):
    """scikit-learn under the very weights of each draw, both models in turn, then t × standard deviation."""
    lesions, lesion = np.unique(table.lesion_id.astype(str), return_inverse=True)
    truth = table.dx == "mel"
    weights = np.concatenate(list(lesion_draws(len(lesions), DRAWS, seed=0)))
    for name, figure in (("auroc", sk.roc_auc_score), ("average_precision", sk.average_precision_score)):
        first, second = (
            np.array([figure(truth, rows.probabilities[:, 4], sample_weight=w[lesion]) for w in weights])
            for rows in (table, other)
        )
        n = len(set(table.lesion_id[truth]))
        half = student.ppf(0.975, n - 1) * (second - first).std() * np.sqrt(n / (n - 1))
        difference = comparison.pairs[0].differences[name]
        assert difference.high - difference.value == pytest.approx(half, abs=1e-9)
        assert difference.value - difference.low == pytest.approx(half, abs=1e-9)
        apart = np.hypot(first.std(), second.std())
        assert (second - first).std() < apart  # what both find hard cancels


def test_turning_the_order_turns_every_sign(comparison, table, other, point):
    turned = compare([Entry("two", other, point), Entry("one", table, point)], draws=DRAWS).pairs[0]
    for name, difference in comparison.pairs[0].differences.items():
        back = turned.differences[name]
        assert (back.value, back.low, back.high) == pytest.approx(
            (-difference.value, -difference.high, -difference.low), abs=1e-7
        )
    for unit, found in comparison.pairs[0].found.items():
        assert turned.found[unit] == replace(found, only_first=found.only_other, only_other=found.only_first)


def test_who_finds_what_is_counted_and_named(comparison, table, other, point):
    truth = table.dx == "mel"
    here, there = point.is_positive(table.probabilities), point.is_positive(other.probabilities)
    found = comparison.pairs[0].found["image"]
    assert set(found.only_first) == set(table.image_id[truth & here & ~there]) != set()
    assert set(found.only_other) == set(table.image_id[truth & ~here & there])
    assert (found.both, found.neither) == ((truth & here & there).sum(), (truth & ~here & ~there).sum())
    by_lesion = {
        lesion: [rows.probabilities[table.lesion_id == lesion, 4].mean() >= point.threshold for rows in (table, other)]
        for lesion in set(table.lesion_id[truth])
    }
    found = comparison.pairs[0].found["lesion"]
    assert list(found.only_first) == sorted(one for one, finds in by_lesion.items() if finds == [True, False])
    assert list(found.only_other) == sorted(one for one, finds in by_lesion.items() if finds == [False, True])
    assert found.both + found.neither == len(by_lesion) - len(found.only_first) - len(found.only_other)


def test_the_difference_of_sensitivity_is_that_of_the_paired_table(comparison):
    (pair,) = comparison.pairs
    for unit, name in (("image", "sensitivity"), ("lesion", "lesion_sensitivity")):
        found = pair.found[unit]
        n = found.both + found.neither + len(found.only_first) + len(found.only_other)
        assert pair.differences[name].n == n
        assert pair.differences[name].value == pytest.approx((len(found.only_other) - len(found.only_first)) / n)


def test_a_model_does_not_differ_from_itself_but_the_interval_of_a_share_has_width(table, point):
    pair = compare([Entry("one", table, point), Entry("again", table, point)], draws=DRAWS).pairs[0]
    assert all(difference.value == 0 for difference in pair.differences.values())
    assert pair.differences["sensitivity"].low < 0 < pair.differences["sensitivity"].high
    assert pair.differences["auroc"].low is None
    assert pair.found["lesion"].only_first == pair.found["lesion"].only_other == ()


def test_the_order_of_the_rows_does_not_matter(comparison, table, other, point):
    mixed = other.subset(np.random.default_rng(0).permutation(len(other)))
    assert compare([Entry("one", table, point), Entry("two", mixed, point)], draws=DRAWS).pairs == comparison.pairs


def test_all_are_judged_on_the_images_that_all_have(table, other, point):
    rows = np.arange(len(table))
    entries = [Entry("one", table.subset(rows[5:]), point), Entry("two", other.subset(rows[:-3]), point)]
    told = compare(entries, draws=0)
    both = rows[5:-3]
    exact = compare([Entry("one", table.subset(both), point), Entry("two", other.subset(both), point)], draws=0)
    assert told.n_images == len(both) and told.left_out == {"one": 3, "two": 5}
    assert (told.pairs, told.contenders) == (exact.pairs, exact.contenders)
    assert any(f"{len(both)} images that all have" in note and "one: 3 more" in note for note in told.notes)
    assert not any("all have" in note for note in exact.notes)


def test_rows_without_truth_and_of_other_splits_do_not_count(comparison, table, other, point, draw_table):
    more = draw_table(n_lesions=50, seed=9, split="val", origin=ORIGIN)
    names = [name for name in vars(table) if name not in ("origin", "notes", "left_out")]
    longer = replace(other, **{name: np.concatenate([getattr(other, name), getattr(more, name)]) for name in names})
    assert compare([Entry("one", table, point), Entry("two", longer, point)], draws=DRAWS).pairs == comparison.pairs
    blank = table.dx.copy()
    blank[:4] = ""
    told = compare([Entry("one", replace(table, dx=blank), point), Entry("two", other, point)], draws=0)
    assert told.n_images == len(table) - 4 and told.left_out == {"one": 0, "two": 4}


def test_without_a_point_what_needs_a_threshold_is_missing_and_that_is_said(table, other, point):
    told = compare([Entry("one", table, point), Entry("theirs.csv", other)], draws=0)
    first, second = told.contenders
    pair, missing = told.pairs[0], NotApplicable("no threshold")
    for name, compared in COMPARED.items():
        at_threshold = "operating_point" in compared.key
        assert (second.figures[name] == missing) == (pair.differences[name] == missing) == at_threshold
        assert (second.histology[name] == missing) == (pair.histology[name] == missing) == at_threshold
        assert first.figures[name] != missing
    truth = table.dx == "mel"
    tops = [rows.probabilities.argmax(axis=1) == CLASSES.index("mel") for rows in (table, other)]
    assert second.figures["top_class_sensitivity"].value == tops[1][truth].mean()
    assert pair.differences["top_class_specificity"].value == pytest.approx(
        (~tops[1][~truth]).mean() - (~tops[0][~truth]).mean()
    )
    assert pair.found_at == "argmax"
    assert set(pair.found["image"].only_first) == set(table.image_id[truth & tops[0] & ~tops[1]])
    assert second.rule == "no threshold, top class only"
    assert "frozen on validation (rule empirical, target 0.90)" in first.rule
    said = (
        "B has no threshold: its sensitivity, sensitivity per lesion, specificity, false alarms per found are missing"
    )
    assert any(said in note for note in told.notes)
    assert not any("different rules" in note for note in told.notes)


def test_where_a_table_has_its_point_from_is_said(table, other, point):
    told = compare([Entry("one", table, point), Entry("two", other, point, threshold_note="Chosen here.")], draws=0)
    assert "two: Chosen here." in told.notes


def test_histology_alone_is_compared_as_if_the_other_images_were_not_there(comparison, table, other, point):
    histology = np.flatnonzero(table.dx_type == "histo")
    only = compare(
        [Entry("one", table.subset(histology), point), Entry("two", other.subset(histology), point)], draws=0
    )
    assert (comparison.n_histology_images, comparison.n_histology_lesions) == (only.n_images, only.n_lesions)
    assert only.n_images < comparison.n_images
    pair = comparison.pairs[0]
    for name in COMPARED:
        for whole, alone in zip(comparison.contenders, only.contenders, strict=True):
            assert whole.histology[name].value == pytest.approx(alone.figures[name].value)
            assert whole.histology[name].n == alone.figures[name].n
            assert whole.histology[name].low < whole.histology[name].value < whole.histology[name].high
        assert pair.histology[name].value == pytest.approx(only.pairs[0].differences[name].value)
        assert pair.histology[name].n_lesions == only.pairs[0].differences[name].n_lesions


def test_without_histology_every_figure_of_it_says_so(table, other, point):
    blank = np.full(len(table), "", dtype=object)
    told = compare(
        [Entry(name, replace(one, dx_type=blank), point) for name, one in zip("ab", (table, other), strict=True)],
        draws=0,
    )
    none = NotApplicable("n=0 images with truth from histology")
    assert set(told.contenders[0].histology.values()) == set(told.pairs[0].histology.values()) == {none}
    assert told.n_histology_images == told.n_histology_lesions == 0
    half = compare([Entry("a", table, point), Entry("b", replace(other, dx_type=blank), point)], draws=0)
    assert half.n_histology_images == (table.dx_type == "histo").sum()  # told by one table, it holds for both


def test_tables_that_differ_about_histology_are_said_and_those_images_left_out(table, other, point):
    moved = other.dx_type.copy()
    place = np.flatnonzero(moved == "histo")[:3]
    moved[place] = "consensus"
    told = compare([Entry("a", table, point), Entry("b", replace(other, dx_type=moved), point)], draws=0)
    assert told.n_histology_images == (table.dx_type == "histo").sum() - 3
    assert any("the truth of 3 images comes from histology" in note for note in told.notes)


def test_points_of_another_rule_are_said(draw_table, table, other, point):
    validation = draw_table(n_lesions=300, seed=1, split="val", origin=ORIGIN)
    lower = choose_operating_point(validation, rule="empirical", target_sensitivity=0.8)
    told = compare([Entry("one", table, point), Entry("two", other, lower)], draws=0)
    assert any("different rules" in note for note in told.notes)
    alike = compare([Entry("one", table, point), Entry("two", other, point)], draws=0)
    assert not any("different rules" in note for note in alike.notes)


def test_another_data_set_or_split_is_said(table, point):
    for fact, what in (("dataset_fingerprint", "data sets"), ("split_sha256", "splits")):
        moved = Entry("two", retrained(table, 1, **{fact: "e" * 64}), point)
        told = compare([Entry("one", table, point), moved], draws=0)
        assert any(f"from different {what}" in note and "eeeeeeeeeeee… of two" in note for note in told.notes)
        silent = Entry("two", retrained(table, 1, **{fact: ""}), point)
        told = compare([Entry("one", table, point), silent], draws=0)
        assert any(f"The {what} cannot be checked" in note and "untold by: two" in note for note in told.notes)


def test_what_else_a_reader_must_know_is_said(table, other, point):
    blank = np.full(len(other), "", dtype=object)
    theirs = replace(other, split=blank, origin=PredictionsOrigin(source="phantom"), notes=("Read as probabilities.",))
    told = compare([Entry("one", table, point), Entry("theirs", theirs)], draws=0)
    text = " ".join(told.notes)
    for said in (
        *("Phantom: synthetic", "No splits are named by theirs", "theirs: Read as probabilities."),
        *("11 differences stand here (11 figures, 1 pair)", "Lesions count as independent"),
    ):
        assert said in text
    assert told.source == "phantom" and told.split == "test"
    assert compare([Entry("a", theirs), Entry("b", theirs)], draws=0).split == "all rows"
    seen = [replace(one, split=np.full(len(one), "val", dtype=object)) for one in (table, other)]
    told = compare([Entry("one", seen[0], point), Entry("two", seen[1], point)], split="val", draws=0)
    assert any("optimistic" in note for note in told.notes)


def test_what_cannot_be_compared_says_why(table, other, point, draw_table):
    one = Entry("one", table, point)
    with pytest.raises(DataError, match="nothing to compare: 1 run"):
        compare([one])
    with pytest.raises(DataError, match="Given twice: one"):
        compare([one, Entry("one", other, point)])
    missing = replace(other, split=np.full(len(other), "val", dtype=object))
    foreign = Entry("three", retrained(table, 3, checkpoint_sha256="e" * 64), point)
    with pytest.raises(TableError, match="2 problems") as caught:
        compare([one, Entry("two", missing, point), foreign])
    assert "two: There is nothing to evaluate: 0 rows are of split 'test'" in str(caught.value)
    assert "three: The operating point belongs to checkpoint" in str(caught.value)
    bcc = choose_operating_point(
        draw_table(n_lesions=300, seed=1, split="val", origin=ORIGIN), target=("bcc",), rule="empirical"
    )
    with pytest.raises(TableError, match="two: its operating point looks for bcc, that of one for mel"):
        compare([one, Entry("two", other, bcc), Entry("three", other)])


def test_a_point_names_the_target_of_all(table, other, draw_table):
    validation = draw_table(n_lesions=300, seed=1, split="val", origin=ORIGIN)
    point = choose_operating_point(validation, target=("mel", "bcc", "akiec"), rule="empirical")
    told = compare([Entry("theirs", other), Entry("ours", table, point)], draws=0)
    malignant = np.isin(table.dx.astype(str), point.target)
    assert told.target == point.target and told.n_target_images == malignant.sum()
    top = np.isin(other.probabilities.argmax(axis=1), [CLASSES.index(name) for name in point.target])
    assert told.contenders[0].figures["top_class_sensitivity"].value == top[malignant].mean()


def test_without_melanoma_its_figures_are_not_applicable(table, other, point):
    rows = table.dx != "mel"
    told = compare([Entry("one", table.subset(rows), point), Entry("two", other.subset(rows), point)], draws=DRAWS)
    differences = told.pairs[0].differences
    assert differences["sensitivity"] == NotApplicable("n=0 images of melanoma")
    assert differences["lesion_sensitivity"] == NotApplicable("n=0 lesions of melanoma")
    assert differences["auroc"] == NotApplicable("n=0 images of melanoma")
    assert isinstance(differences["specificity"], Estimate) and isinstance(differences["accuracy"], Estimate)
    assert told.contenders[0].members[0].values["sensitivity"] is None
    assert any("Only 0 lesions of melanoma" in note for note in told.notes)
    pooled = compare([Entry("old", table.subset(rows), point), *runs(table.subset(rows), point, 2)], draws=0)
    assert pooled.contenders[1].seed_spread["auroc"] == NotApplicable("n=0 images of melanoma by 2 of 2 seeds")


def test_the_same_classes_in_another_order_are_the_same_target(table, other, draw_table):
    validation = draw_table(n_lesions=300, seed=1, split="val", origin=ORIGIN)
    points = [
        choose_operating_point(validation, target=target, rule="empirical")
        for target in (("mel", "bcc"), ("bcc", "mel"))
    ]
    told = compare([Entry("one", table, points[0]), Entry("two", other, points[1])], draws=0)
    assert told.target == ("mel", "bcc")


def test_what_no_model_calls_is_not_applicable_for_that_model_alone(table, other, point):
    never = replace(other, logits=other.logits - 50 * (np.arange(7) == CLASSES.index("mel")))
    told = compare([Entry("one", table, point), Entry("two", never, point)], draws=DRAWS)
    assert isinstance(told.contenders[0].figures["false_alarms_per_found"], Estimate)
    reason = NotApplicable("n=0 images of melanoma found")
    assert told.contenders[1].figures["false_alarms_per_found"] == reason
    assert told.pairs[0].differences["false_alarms_per_found"] == reason
    one, two = runs(table, point, 2)
    pool = compare([Entry("old", table, point), one, replace(two, predictions=never)], draws=0)
    reason = NotApplicable("n=0 images of melanoma found by 1 of 2 seeds")
    assert pool.pairs[0].differences["false_alarms_per_found"] == reason


def test_it_is_written_down_and_read_back(table, point, tmp_path):
    told = compare([Entry("=theirs", retrained(table, 9)), *runs(table, point, 2)], draws=DRAWS)
    assert told.write(tmp_path) == tmp_path / "comparison.json"
    assert Comparison.read(tmp_path) == told
    with open(tmp_path / "comparison.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["kind"] for row in rows} == {
        *("figure", "difference", "figure, histology only", "difference, histology only", "seed SD", "run"),
    }
    for row in rows:
        if row["kind"] == "difference":
            assert (row["name"], row["against"]) == ("small, 2 seeds", "'=theirs")
            difference = told.pairs[0].differences[row["figure"]]
            if isinstance(difference, NotApplicable):
                assert row["not_applicable"] == difference.reason == "no threshold"
                continue
            numbers = [float(row[name]) for name in ("value", "low", "high", "n", "n_lesions")]
            ends = [difference.value, difference.low, difference.high, difference.n, difference.n_lesions]
            assert numbers == ends
    spread = {row["figure"]: row for row in rows if (row["kind"], row["name"]) == ("seed SD", "small, 2 seeds")}
    assert float(spread["auroc"]["value"]) == told.contenders[1].seed_spread["auroc"].sd
    assert {row["not_applicable"] for row in rows if row["kind"] == "seed SD"} == {"", "n=1 seed"}


def test_the_seed_decides_the_intervals_and_no_draws_give_none(comparison, table, other, point):
    entries = [Entry("one", table, point), Entry("two", other, point)]
    assert compare(entries, draws=DRAWS) == comparison
    moved = compare(entries, draws=DRAWS, seed=1).pairs[0].differences["auroc"]
    assert moved.value == comparison.pairs[0].differences["auroc"].value
    assert moved.low != comparison.pairs[0].differences["auroc"].low
    assert all(figure.low is None for figure in compare(entries, draws=0).pairs[0].differences.values())

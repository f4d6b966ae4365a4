"""Does an evaluation survive the disk, and can a spreadsheet open it without harm?"""

import csv
import io
import json

import pytest

from melascope.errors import RunError
from melascope.evaluation.calibration import CALIBRATION_FIGURES
from melascope.evaluation.evaluate import evaluate
from melascope.evaluation.operating_point import choose_operating_point
from melascope.evaluation.record import Evaluation, csv_text, rounded, share, with_interval
from melascope.tables.predictions import PredictionsOrigin
from melascope.tables.results import Estimate, NotApplicable


@pytest.fixture
def evaluation(draw_table):
    origin = PredictionsOrigin(source="=HYPERLINK(1)", run="r", checkpoint_sha256="c" * 64)
    point = choose_operating_point(draw_table(200, seed=1, split="val", origin=origin), rule="empirical")
    return evaluate(draw_table(150, origin=origin, dx=["mel", "nv", "bcc"] * 20), point, draws=50)


def test_it_is_read_back_as_it_was(evaluation, tmp_path):
    path = evaluation.write(tmp_path / "evaluation")
    assert path.name == "evaluation.json"
    assert Evaluation.read(tmp_path / "evaluation") == evaluation
    assert Evaluation.from_json(evaluation.as_json()) == evaluation
    assert "NaN" not in path.read_text()
    first = path.read_bytes()
    assert evaluation.write(tmp_path / "evaluation").read_bytes() == first


def test_without_operating_point_too(draw_table, tmp_path):
    judged = evaluate(draw_table(50), None, draws=0)
    judged.write(tmp_path)
    assert Evaluation.read(tmp_path) == judged
    assert judged.at == "argmax" and "top class" in judged.headline()


def test_figures_csv_has_every_figure_with_n(evaluation, tmp_path):
    evaluation.write(tmp_path)
    rows = list(csv.DictReader((tmp_path / "figures.csv").open()))
    n_trust = 3 * len(CALIBRATION_FIGURES) + 2 * 2  # images, lesions, histology alone; AURC, AUGRC
    assert len(rows) == 2 * (2 * (3 + 5 * 7 + 3) + 4 * (5 + 2 * 3)) + 4 * len(evaluation.subgroups) + n_trust
    (one,) = [
        row
        for row in rows
        if (row["group"], row["figure"], row["at"], row["unit"]) == ("all", "sensitivity", "operating_point", "lesion")
    ]
    figure = evaluation.whole.decision("operating_point", "lesion").figures["sensitivity"]
    assert (float(one["value"]), int(one["n"])) == (figure.value, figure.n)
    (absent,) = [
        r for r in rows if (r["group"], r["figure"], r["class"], r["unit"]) == ("all", "recall", "df", "image")
    ]
    assert absent["value"] == "" and absent["not_applicable"] == "n=0 images of df"


def test_confusion_csv_is_the_matrix(evaluation, tmp_path):
    evaluation.write(tmp_path)
    rows = list(csv.reader((tmp_path / "confusion.csv").open()))
    assert rows[0][1:] == ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    assert [[int(cell) for cell in row[1:]] for row in rows[1:]] == [list(r) for r in evaluation.whole.image.confusion]


@pytest.mark.parametrize("cell", ["=1+1", "+1+1", "-1-A1", "@SUM(A1)", "\t=1", "\r=1", "\n\t =1"])
def test_no_cell_starts_a_formula(cell):
    ((written, beside),) = csv.reader(io.StringIO(csv_text([[cell, f"a\r{cell}"]]), newline=""))
    assert written == "'" + cell.strip()
    assert beside == f"a {cell.strip()}"  # no line break that a spreadsheet might take for a new row


@pytest.mark.parametrize("number", ["-0.25", "-1e-05", "3"])
def test_a_number_stays_a_number(number):
    assert csv_text([[number]]) == f"{number}\n"


def test_another_json_is_refused(tmp_path):
    for content in ({}, [], {"schema_version": 99}):
        (tmp_path / "evaluation.json").write_text(json.dumps(content))
        with pytest.raises(RunError):
            Evaluation.read(tmp_path)


def test_headline(evaluation):
    decision = evaluation.whole.decision("operating_point", "image")
    images, lesions = evaluation.whole.class_counts["mel"]
    assert evaluation.headline().startswith(
        f"melanoma, {images} images of {lesions} lesions (test), "
        f"threshold {evaluation.operating_point.threshold:.3g} frozen on validation: sensitivity "
    )
    assert f"({decision.tp}/{images}), specificity" in evaluation.headline()


def test_numbers_in_sentences():
    figure = Estimate(0.8306, 0.7512, 0.9, 124, 72)
    assert share(figure, 103) == "0.83 [0.75, 0.90] (103/124)"
    assert with_interval(Estimate(0.8306, None, None, 124, 72)) == "0.83"
    assert share(NotApplicable("n=0 images of melanoma"), 0) == "not applicable (n=0 images of melanoma)"
    assert [rounded(v, 2) for v in (1.0, 0.998, 0.9999, 0.0, 0.001, 0.5)] == [
        *("1.00", "0.998", "0.9999", "0.00", "0.001", "0.50")
    ]


def test_every_cell_is_written_with_its_row_share_and_interval(evaluation, tmp_path):
    evaluation.write(tmp_path)
    rows = list(csv.DictReader((tmp_path / "confusion_cells.csv").open()))
    assert len(rows) == 2 * 2 * 49  # all and histology, images and lesions
    image = evaluation.whole.image
    for row, (truth, called, count, figure) in zip(rows, image.cells(), strict=False):
        assert (row["group"], row["unit"], row["truth"], row["predicted"]) == ("all", "image", truth, called)
        assert int(row["count"]) == count
        if isinstance(figure, NotApplicable):
            assert row["not_applicable"] == f"n=0 images of {truth}" and row["row_share"] == ""
            continue
        assert float(row["row_share"]) == figure.value == pytest.approx(count / figure.n)
        assert float(row["low"]) == figure.low <= figure.value <= figure.high == float(row["high"])


def test_an_older_evaluation_without_row_shares_is_still_read(evaluation):
    content = evaluation.as_json()
    for group in content["groups"].values():
        del group["image"]["row_shares"], group["lesion"]["row_shares"]
    assert Evaluation.from_json(content).whole.image.row_shares == ()


def test_a_histology_line_stands_beside_the_headline(evaluation, draw_table):
    group = evaluation.groups["histology"]
    decision = group.decision("operating_point", "image")
    line = evaluation.histology()
    assert line.startswith(f"histology only, {group.n_images} images of {group.n_lesions} lesions: sensitivity ")
    assert f"({decision.tp}/{decision.tp + decision.fn}), specificity" in line and f"({decision.tn}/" in line
    assert evaluation.as_json()["headline_histology"] == line
    blank = draw_table(50)
    blank.dx_type[:] = ""
    none = evaluate(blank, None, draws=0)
    assert none.histology() == "histology only: not applicable (n=0 images with truth from histology)"

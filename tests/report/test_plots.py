"""Is each plot a whole file, the same each time, with n, notice and (where it is one) the word phantom inside?"""

import re
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from melascope.classes import RESEARCH_ONLY
from melascope.errors import DataError
from melascope.report import canvas as canvas_module
from melascope.report.class_plots import save_confusion
from melascope.report.plots import save_evaluation_plots, save_training_curves
from melascope.report.subgroup_plot import save_subgroups
from melascope.tables.results import Estimate, NotApplicable

NAMES = (
    *("roc", "precision_recall", "thresholds", "confusion", "recall"),
    *("reliability", "decision_curve", "risk_coverage", "subgroups"),
)


@pytest.fixture(autouse=True)
def text_in_svg(monkeypatch):
    """Keep text as text in the SVG, so that a test can read it."""
    monkeypatch.setitem(canvas_module._STYLE, "svg.fonttype", "none")


def text_of(path: Path) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text()))


def test_each_plot_is_saved_by_itself_as_png_and_svg(judge, tmp_path):
    paths = save_evaluation_plots(*judge(), tmp_path / "plots")
    names = {f"{name}.{kind}" for name in (*NAMES, "conformal") for kind in ("png", "svg")}
    assert len(paths) == len(names) and {path.name for path in paths} == names
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert min(image.size) > 700
                assert np.asarray(image.convert("L")).std() > 5  # not blank


def test_n_intervals_and_notice_stand_in_every_plot(judge, tmp_path):
    evaluation, table = judge()
    save_evaluation_plots(evaluation, table, tmp_path)
    for name in NAMES:
        text = text_of(tmp_path / f"{name}.svg")
        assert "280 images of 140 lesions" in text
        assert "melanoma: 40 images of 20 lesions" in text
        assert "95 % interval by lesion" in text
        assert RESEARCH_ONLY in text
    decision = evaluation.whole.decision("operating_point", "image")
    for name in ("roc", "thresholds"):
        text = text_of(tmp_path / f"{name}.svg")
        assert f"({decision.tp}/40)" in text
        assert f"threshold {evaluation.operating_point.threshold:.3g}" in text


def test_histology_stands_beside_every_headline(judge, tmp_path):
    evaluation, table = judge()
    save_evaluation_plots(evaluation, table, tmp_path)
    for name in ("thresholds", "subgroups"):
        assert evaluation.histology() in text_of(tmp_path / f"{name}.svg")
    for name, figure in (("roc", "AUROC"), ("precision_recall", "average precision"), ("recall", "balanced accuracy")):
        assert f"histology only, 280 images of 140 lesions: {figure}" in text_of(tmp_path / f"{name}.svg")
    without, told = judge(histology=False)
    save_evaluation_plots(without, told, tmp_path / "none")
    for name in ("roc", "confusion", "thresholds"):
        text = text_of(tmp_path / "none" / f"{name}.svg")
        assert "histology only: not applicable (n=0 images with truth from histology)" in text


def test_a_cell_of_the_confusion_matrix_has_count_share_and_interval(judge, tmp_path):
    evaluation, _ = judge()
    text = text_of(save_confusion(evaluation, tmp_path)[1])
    for _, _, count, figure in evaluation.whole.image.cells():
        interval = f"[{100 * figure.low:.0f}, {100 * figure.high:.0f}]"
        assert f"{count} {100 * figure.value:.0f} % {interval}" in text
    absent, _ = judge(classes=("nv", "mel"))
    assert text_of(save_confusion(absent, tmp_path / "absent")[1]).count("–") == 5 * 7


def test_a_part_that_is_too_small_says_its_n(judge, tmp_path):
    evaluation, _ = judge()
    small = replace(evaluation.subgroups[0], figures={"sensitivity": NotApplicable("n=4 lesions of melanoma"),
                                                      "specificity": Estimate(0.5, 0.4, 0.6, 40, 20)})  # fmt: skip
    text = text_of(save_subgroups(replace(evaluation, subgroups=(small,)), tmp_path)[1])
    assert "not applicable (n=4)" in text and "0.50 [0.40, 0.60]" in text


def test_only_a_phantom_is_called_one(judge, tmp_path):
    save_evaluation_plots(*judge(source="phantom"), tmp_path / "phantom")
    save_evaluation_plots(*judge(), tmp_path / "real")
    for name in NAMES:
        assert "PHANTOM" in text_of(tmp_path / "phantom" / f"{name}.svg")
        assert "PHANTOM" not in text_of(tmp_path / "real" / f"{name}.svg")


def test_the_same_evaluation_gives_the_same_bytes(judge, tmp_path):
    evaluation, table = judge()
    first = [path.read_bytes() for path in save_evaluation_plots(evaluation, table, tmp_path / "a")]
    second = [path.read_bytes() for path in save_evaluation_plots(evaluation, table, tmp_path / "b")]
    assert first == second
    assert b"<dc:date>" not in first[1]


def test_global_style_is_left_alone(judge, tmp_path):
    before = dict(matplotlib.rcParams)
    save_evaluation_plots(*judge(), tmp_path)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("classes", [("nv",), ("mel",), ("nv", "bkl")])
def test_without_one_side_the_curve_gives_its_reason(judge, tmp_path, classes):
    save_evaluation_plots(*judge(classes=classes), tmp_path)
    side = "other than" if classes == ("mel",) else "of"
    assert f"(n=0 images {side} melanoma)" in text_of(tmp_path / "roc.svg")


def test_without_operating_point(judge, tmp_path):
    save_evaluation_plots(*judge(with_point=False), tmp_path)
    assert "frozen" not in text_of(tmp_path / "roc.svg") + text_of(tmp_path / "thresholds.svg")


def test_another_table_is_refused(judge, tmp_path):
    evaluation, table = judge()
    with pytest.raises(DataError, match="judged 280 images, the table has 279"):
        save_evaluation_plots(evaluation, table.subset(np.arange(279)), tmp_path)


def write_results(folder: Path, columns: str, *rows: str) -> Path:
    path = folder / "results.csv"
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


def test_training_curves_tolerate_absent_columns_and_figures(tmp_path):
    results = write_results(tmp_path, "epoch,train_loss,val_nll,val_macro_f1", "1,2.0,1.9,0.2", "2,1.5,,0.3")
    paths = save_training_curves(results, tmp_path / "curves", source="phantom")
    assert [path.name for path in paths] == [
        f"training_{name}.{kind}" for name in ("loss", "figures") for kind in ("png", "svg")
    ]
    loss, figures = text_of(paths[1]), text_of(paths[3])
    assert "training loss: 1.500" in loss and "validation NLL: 1.900" in loss and "PHANTOM" in loss
    assert "macro-F1: 0.300" in figures and "AUROC" not in figures


def test_results_that_are_no_numbers_are_named(tmp_path):
    with pytest.raises(DataError, match="row 3 column val_nll"):
        save_training_curves(write_results(tmp_path, "epoch,val_nll", "1,0.5", "2,abc"), tmp_path)
    with pytest.raises(DataError, match="no epoch"):
        save_training_curves(write_results(tmp_path, "step,val_nll", "1,0.5"), tmp_path)
    with pytest.raises(DataError, match="no epoch"):
        save_training_curves(write_results(tmp_path, "epoch,val_nll"), tmp_path)


def test_a_long_line_below_the_title_is_broken_but_no_figure_is(tmp_path):
    figures = [f"sensitivity 0.{k}9 [0.79, 0.94] (110/124)" for k in range(1, 9)]
    picture, _ = canvas_module.canvas("title", "first\n" + ", ".join(figures), "", size=(7.6, 5.8))
    lines = picture.texts[1].get_text().split("\n")
    assert lines[0] == "first" and len(lines) == 5 and " ".join(lines[1:]) == ", ".join(figures)
    assert all(line.count("[") == line.count("]") == line.count("(1") for line in lines)
    picture.canvas.draw()
    width = picture.texts[1].get_window_extent().width
    assert width < picture.bbox.width and picture.get_figheight() > 5.8  # the plot itself keeps its size
    short, _ = canvas_module.canvas("title", "one\ntwo", "", size=(7.6, 5.8))
    assert short.get_figheight() == 5.8

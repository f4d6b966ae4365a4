"""Do the plots of a comparison hold their n, every difference with its interval, every seed, and the reasons?"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from melascope.classes import RESEARCH_ONLY
from melascope.config import Recipe
from melascope.evaluation.compare import Entry, compare
from melascope.evaluation.compared import COMPARED
from melascope.evaluation.comparison import signed
from melascope.report import canvas as canvas_module
from melascope.report import compare_plot
from melascope.report.compare_plot import save_comparison_plots
from melascope.tables.predictions import PredictionsOrigin
from melascope.tables.results import NotApplicable


@pytest.fixture(autouse=True)
def text_in_svg(monkeypatch):
    """Keep text as text in the SVG, so that a test can read it."""
    monkeypatch.setitem(canvas_module._STYLE, "svg.fonttype", "none")


@pytest.fixture
def several(judge):
    """(source, only) -> comparison of a table without threshold with three seeds of one recipe; `only` some classes."""

    def make(source="ham10000", only=None):
        evaluation, table = judge()
        point = replace(evaluation.operating_point, threshold=0.3)
        table = table.subset(np.isin(table.dx.astype(str), only)) if only else table
        known = PredictionsOrigin(source=source, split_sha256="d" * 64, dataset_fingerprint="f" * 64)
        rng = np.random.default_rng(0)
        seeds = [
            Entry(
                f"small-s{seed}",
                replace(table, logits=table.logits + rng.normal(0, 1, table.logits.shape), origin=known),
                point,
                Recipe(name="small", seed=seed),
            )
            for seed in (1, 2, 3)
        ]
        return compare([Entry("theirs.csv", replace(table, origin=PredictionsOrigin(source=source))), *seeds], draws=50)

    return make


def text_of(path: Path) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text()))


def test_each_plot_is_saved_by_itself_with_its_n(several, tmp_path):
    paths = save_comparison_plots(several(), tmp_path)
    assert [path.name for path in paths] == ["differences.png", "differences.svg", "seed_spread.png", "seed_spread.svg"]
    for path in paths[1::2]:
        text = text_of(path)
        for words in (
            "test: 280 images of 140 lesions; melanoma: 40 images of 20 lesions",
            *("theirs.csv: no threshold, top class only", "small, 3 seeds: threshold 0.3, frozen", RESEARCH_ONLY),
        ):
            assert words in text
        assert "PHANTOM" not in text


def test_every_difference_stands_with_its_interval(several, tmp_path):
    comparison = several()
    text = text_of(save_comparison_plots(comparison, tmp_path)[1])
    assert "B − A" in text and "right of 0 is better than A" in text
    assert "histology only: 280 images of 140 lesions" in text and "histology only (circle)" in text
    assert "no threshold exists for A: sensitivity, specificity and false alarms at one are missing" in text
    assert text.count("not applicable (no threshold)") == 4 + 4  # of all images, and of histology
    pair = comparison.pairs[0]
    for name, difference in pair.differences.items():
        assert COMPARED[name].label in text and signed(difference) in text
        assert COMPARED[name].at == "operating_point" or difference.low is not None
        assert signed(pair.histology[name]) in text


def test_bars_reach_from_end_to_end_and_all_lie_in_the_picture(several, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(compare_plot, "save", lambda picture, folder, name: drawn.append(picture) or [])
    comparison = several()
    save_comparison_plots(comparison, tmp_path)
    forest, seeds = (picture.axes[0] for picture in drawn)
    pair = comparison.pairs[0]
    bounded = []
    for name, compared in COMPARED.items():
        if compared.at != "operating_point":
            bounded += [pair.differences[name], pair.histology[name]]
    bars = [container.lines[2][0].get_segments()[0][:, 0] for container in forest.containers]
    assert np.allclose(bars, [(difference.low, difference.high) for difference in bounded])
    assert forest.get_xlim()[0] < np.min(bars) and np.max(bars) < forest.get_xlim()[1]
    assert forest.get_ylim()[0] > forest.get_ylim()[1]  # the first row at the top
    circles = [line.get_xdata().tolist() for line in seeds.lines if line.get_marker() == "o"]
    pooled = comparison.contenders[1]
    bounded = [name for name in COMPARED if COMPARED[name].top]
    expected = [[member.values[name] for member in pooled.members] for name in bounded]
    missing = [0 if COMPARED[name].at == "operating_point" else 1 for name in bounded]
    assert circles[1::2] == expected and [len(one) for one in circles[::2]] == missing
    means = [line.get_xdata()[0] for line in seeds.lines if line.get_marker() == "None" and line.get_linewidth() == 2]
    grey = [tuple(line.get_xdata()) for line in seeds.lines if line.get_linewidth() == 6]
    figures = [one.figures[name] for name in bounded for one in comparison.contenders]
    assert grey == [(figure.low, figure.high) for figure in figures if not isinstance(figure, NotApplicable)]
    assert means == pytest.approx([np.mean(values) for values in expected])


def test_the_seed_spread_is_told_and_one_seed_says_so(several, tmp_path):
    comparison = several()
    text = text_of(save_comparison_plots(comparison, tmp_path)[3])
    assert str(comparison.contenders[1].seed_spread["auroc"]) in text
    assert "(spread of 3 seeds)" in text
    alone = comparison.contenders[0].members[0].values["auroc"]
    assert f"{alone:.3f}; spread not applicable (n=1 seed)" in text


def test_seeds_of_one_recipe_alone_have_no_forest(several, tmp_path):
    comparison = several()
    alone = replace(comparison, contenders=comparison.contenders[1:], pairs=())
    assert [path.stem for path in save_comparison_plots(alone, tmp_path)] == ["seed_spread", "seed_spread"]


def test_what_is_undefined_says_why_and_a_phantom_is_named(several, tmp_path):
    comparison = several(source="phantom", only=("nv", "bkl"))
    assert comparison.pairs[0].differences["top_class_sensitivity"] == NotApplicable("n=0 images of melanoma")
    for path in save_comparison_plots(comparison, tmp_path)[1::2]:
        text = text_of(path)
        assert "not applicable (n=0 images of melanoma" in text and "PHANTOM" in text
        assert "nan" not in text


def test_a_long_name_is_shortened_in_its_middle(several, tmp_path):
    comparison = several()
    long = replace(comparison.contenders[0], name="start_" + "x" * 100 + "_end")
    text = text_of(
        save_comparison_plots(replace(comparison, contenders=(long, *comparison.contenders[1:])), tmp_path)[1]
    )
    assert re.search(r"start_x+…x+_end: no threshold", text) and "x" * 60 not in text


def test_the_same_comparison_gives_the_same_bytes(several, tmp_path):
    comparison = several()
    first, second = (save_comparison_plots(comparison, tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]

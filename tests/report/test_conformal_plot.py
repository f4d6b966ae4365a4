"""Does the conformal plot, and the terminal, tell coverage with interval, sizes, and what voids the promise?"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from melascope.classes import CLASSES, RESEARCH_ONLY
from melascope.evaluation.conformal import conformal_sets
from melascope.evaluation.record import with_interval
from melascope.report import canvas as canvas_module
from melascope.report import conformal_plot
from melascope.report.conformal_plot import save_conformal
from melascope.report.terminal import print_evaluation
from melascope.tables.results import NotApplicable


@pytest.fixture(autouse=True)
def text_in_svg(monkeypatch):
    """Keep text as text in the SVG, so that a test can read it."""
    monkeypatch.setitem(canvas_module._STYLE, "svg.fonttype", "none")


@pytest.fixture
def conformal(judge, validation):
    _, table = judge()
    return conformal_sets(validation, table, draws=100, seed=0)


def text_of(path: Path) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text()))


def test_coverage_sizes_and_what_voids_them_stand_in_the_picture(conformal, tmp_path):
    paths = save_conformal(conformal, tmp_path, target=("mel",), split="test")
    assert [path.name for path in paths] == ["conformal.png", "conformal.svg"]
    text = text_of(paths[1])
    for one in conformal.figures:
        assert f"{1 - one.rule.alpha:.0%} promised" in text
        assert all(with_interval(figure) in text for figure in one.coverage.values())
        assert with_interval(one.mean_size) in text
        assert all(f"{count}" in text.split() for count in one.sizes)
    for said in (*conformal.void_in_short, *conformal.notes, "140 lesions", "140 validation lesions", RESEARCH_ONLY):
        assert said in text
    assert "mel: 20 judged, 20 calibrate" in text and "PHANTOM" not in text


def test_marks_stand_at_the_coverage_and_lines_at_the_promise(conformal, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(conformal_plot, "save", lambda picture, folder, name: drawn.append(picture) or [])
    save_conformal(conformal, tmp_path, target=("mel",))
    axes = drawn[0].axes[0]
    marks = [container.lines[0].get_xdata()[0] for container in axes.containers]
    assert marks == [one.coverage[name].value for one in conformal.figures for name in CLASSES]
    bars = [container.lines[2][0].get_segments()[0][:, 0] for container in axes.containers]
    ends = [(one.coverage[name].low, one.coverage[name].high) for one in conformal.figures for name in CLASSES]
    np.testing.assert_allclose(bars, ends)
    promised = [
        line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1 and line.get_label()[0] != "_"
    ]
    assert promised == pytest.approx([0.9, 0.95])
    assert axes.get_xlim()[0] <= min(low for low, _ in ends)


def test_a_class_that_is_always_in_and_one_without_lesions_say_so(judge, validation, tmp_path):
    _, table = judge(classes=("mel", "nv"))
    few = validation.subset(np.isin(validation.dx.astype(str), ("nv", "bkl")))
    text = text_of(save_conformal(conformal_sets(few, table, draws=0, seed=0), tmp_path, target=("mel",))[1])
    assert "in every set" in text and "(n=0 lesions of bkl)" in text and "nan" not in text


def test_without_validation_the_picture_says_why_and_a_phantom_is_named(judge, tmp_path):
    evaluation, _ = judge()
    reason = evaluation.conformal
    assert isinstance(reason, NotApplicable)
    text = text_of(save_conformal(reason, tmp_path, target=("mel",), source="phantom")[1])
    assert str(reason) in text and "PHANTOM" in text


def test_the_same_sets_give_the_same_bytes(conformal, tmp_path):
    first, second = (save_conformal(conformal, tmp_path / name, target=("mel",)) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_tells_coverage_and_what_voids_it(judge, conformal, width):
    evaluation, _ = judge()
    stream = io.StringIO()
    print_evaluation(replace(evaluation, conformal=conformal), Console(file=stream, width=width))
    words = " ".join(stream.getvalue().split())
    for one in conformal.figures:
        assert f"Conformal sets, {1 - one.rule.alpha:.0%} promised for each class" in words
        assert f"mel {with_interval(one.coverage['mel'])}" in words
        assert f"{with_interval(one.mean_size)} classes in a set" in words
    assert f"That promise is void, or weaker, with: {'; '.join(conformal.void_in_short)}." in words
    assert all(note in words for note in conformal.notes)
    stream = io.StringIO()
    print_evaluation(evaluation, Console(file=stream, width=width))
    assert f"Conformal sets: {evaluation.conformal}." in " ".join(stream.getvalue().split())

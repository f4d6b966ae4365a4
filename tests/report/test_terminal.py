"""Can an evaluation be read on a narrow terminal: headline first, n beside every figure, reasons as written?"""

import io

import pytest
from rich.console import Console

from melascope.classes import CLASSES, RESEARCH_ONLY
from melascope.evaluation.lesion_level import LESION_RULE
from melascope.report.terminal import print_evaluation


def shown(evaluation, width):
    stream = io.StringIO()
    print_evaluation(evaluation, Console(file=stream, width=width))
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_every_line_fits_and_nothing_is_cut(judge, width):
    evaluation, _ = judge()
    text = shown(evaluation, width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    words = " ".join(text.split())
    assert words.startswith(f"{evaluation.headline()} {evaluation.histology()} Melanoma: found and missed")
    assert words.endswith(RESEARCH_ONLY)
    for told in (*evaluation.caveats, f"Per lesion: {LESION_RULE}."):
        assert told in words


@pytest.mark.parametrize("width", [80, 120])
def test_each_decision_stands_with_its_counts(judge, width):
    evaluation, _ = judge()
    text = shown(evaluation, width)
    for decision in evaluation.whole.decisions:
        assert f"{decision.tp}/{decision.tp + decision.fn}" in text
        assert f"{decision.tn}/{decision.tn + decision.fp}" in text
        assert f"{decision.tn}/{decision.tn + decision.fn}" in text
    for name in CLASSES:
        assert any(line.startswith(name) and "40/20" in line for line in text.splitlines())


@pytest.mark.parametrize("width", [80, 120])
def test_no_interval_is_broken_over_two_lines(judge, width):
    evaluation, _ = judge()
    table = shown(evaluation, width).split("Missed by")[0].split("found and missed")[1].splitlines()
    assert sum(line.count("[") for line in table) == 4 * 4
    assert all(line.count("[") == line.count("]") for line in table)


def test_what_is_undefined_says_why(judge):
    evaluation, _ = judge(classes=("nv", "bkl"))
    words = " ".join(shown(evaluation, 80).split())
    assert "sensitivity not applicable (n=0 images of melanoma)" in words
    assert "• not applicable (n=0 images of mel)" in words
    assert "nan" not in words


def test_without_threshold_it_speaks_of_the_top_class(judge):
    evaluation, _ = judge(with_point=False)
    text = shown(evaluation, 80)
    assert "Missed by top class" in text and "per lesion" in text
    assert "frozen" not in text


def test_a_phantom_is_named_first(judge):
    evaluation, _ = judge(source="phantom")
    assert shown(evaluation, 80).startswith("PHANTOM (synthetic images)")

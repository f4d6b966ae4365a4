"""Is a number written as its row says, in each form, and told to be missing where there is none?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from melascope.report.document import Traced
from melascope.report.traces import Traces, written

HEADER = "group,figure,class,at,unit,value,low,high,n,n_lesions,not_applicable\n"
ROWS = "all,auroc,mel,P(target),image,0.8342,0.7549,0.9051,1003,747,\n"
ROWS += 'all,ppv,mel,argmax,image,,,,,,"n=0 images, none"\n'
FIGURES = "evaluation/figures.csv"


@pytest.fixture
def traces(tmp_path) -> Traces:
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "figures.csv").write_text(HEADER + ROWS)
    (tmp_path / "a.json").write_text('{"x": [{"n": 1234, "f": {"value": 0.5, "low": null, "high": null}}]}')
    beside = tmp_path / "elsewhere"
    beside.mkdir()
    (beside / "audit.json").write_text('{"n": 7, "why": {"not_applicable": "n=0"}}')
    return Traces(tmp_path, SimpleNamespace(), {"audit": beside})


@pytest.mark.parametrize(
    ("form", "digits", "text"),
    [
        ("", 2, "0.83 [0.75, 0.91]"),
        ("percent", 2, "83.4 % [75.5 %, 90.5 %]"),
        ("missed percent", 2, "16.6 % [9.5 %, 24.5 %]"),
        ("signed", 3, "+0.834 [+0.755, +0.905]"),
    ],
)
def test_a_figure_is_written_in_each_form(traces, form, digits, text):
    row = ("all", "auroc", "mel", "P(target)", "image")
    number = traces.figure(FIGURES, *row, digits=digits, form=form)
    assert (number.text, number.row, number.form) == (text, row, form)
    assert number.where == "evaluation/figures.csv: all | auroc | mel | P(target) | image"
    assert traces.cell(FIGURES, *row, column="n").text == "1,003"


def test_what_has_no_value_says_why(traces):
    row = ("all", "ppv", "mel", "argmax", "image")
    assert traces.figure(FIGURES, *row).text == "not applicable (n=0 images, none)"
    assert traces.figure(FIGURES, *row, brief=True).text == "n/a"
    assert traces.cell(FIGURES, *row, column="n").text == "–"
    assert traces.figure(FIGURES, "all", "no such figure", "", "", "").text == "not measured"
    assert traces.figure("evaluation-elsewhere/figures.csv", *row).text == "not measured"
    assert traces.number("audit/audit.json", "why").text == "not applicable (n=0)"


def test_json_is_read_by_its_path_and_beside_the_run_where_it_lies(traces, tmp_path):
    assert traces.count("a.json", "x", 0, "n").text == "1,234"
    assert traces.number("a.json", "x", 0, "f").where == "a.json: x | 0 | f"
    assert traces.count("audit/audit.json", "n").text == "7"
    assert traces.path("audit/audit.json") == Path(tmp_path / "elsewhere" / "audit.json")
    assert traces.path("audit.json") == tmp_path / "audit.json"


def test_a_share_that_is_not_whole_is_never_rounded_to_none():
    assert written(0.0004, None, None, digits=2, form="percent") == "0.04 %"
    assert written(0.9999, None, None, digits=2, form="missed percent") == "0.01 %"
    assert written(0.9996, 0.99, 1.0, digits=2, form="") == "0.9996 [0.9900, 1.0000]"


def test_a_number_knows_its_place():
    number = Traced("0.83", "evaluation/figures.csv", ("all", "auroc"), "n")
    assert number.where == "evaluation/figures.csv: all | auroc → n"

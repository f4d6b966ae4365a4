"""Do the tests of maps come back from disk as they were, and is a broken file told?"""

import csv

import pytest

from melascope.errors import RunError
from melascope.tables.map_scores import READ_NOTHING, UNTESTED, GateCheck, MapFigure, MapTests, Sanity, csv_of
from melascope.tables.results import Estimate, NotApplicable
from melascope.tables.runs import RunDirectory

FIGURES = (
    MapFigure("lesion mask", "share_inside", "predicted", "all", "", Estimate(0.5, 0.4, 0.6, 100, 70)),
    MapFigure("lesion mask", "share_inside", "mel", "mel missed", "", NotApplicable("n=0 images")),
    MapFigure("sanity", "rank_correlation", "all classes", "head", "", Estimate(-0.1, None, None, 700, 40)),
)
TESTS = MapTests({"run": "r", "n_images": 100}, FIGURES, (GateCheck("whole", "+0.05", "within 0.2", True),))


def test_round_trip(tmp_path):
    TESTS.write(tmp_path)
    assert MapTests.read(tmp_path) == TESTS


def test_spreadsheet(tmp_path):
    TESTS.write(tmp_path)
    rows = list(csv.DictReader((tmp_path / "figures.csv").open()))
    assert [row["value"] for row in rows] == ["0.5", "", "-0.1"]
    assert rows[1]["not_applicable"] == "n=0 images" and rows[2]["low"] == ""


def test_a_figure_is_found_by_its_name():
    assert TESTS.of("lesion mask", "share_inside").value == 0.5
    with pytest.raises(KeyError):
        TESTS.of("lesion mask", "share_inside", group="dx=nv")


@pytest.mark.parametrize(("gate", "passed"), [((), False), ((GateCheck("a", "", "", False),), False)])
def test_a_gate_without_conditions_is_not_passed(gate, passed):
    assert MapTests({}, (), gate).passed is passed


ABOUT = {"checkpoint_sha256": "a" * 64, "method": "gradcam", "layer": "bn2"}


def _told(root, **asked) -> Sanity:
    asked = {**ABOUT, **asked}
    return Sanity.of(RunDirectory(root), asked["checkpoint_sha256"], method=asked["method"], layer=asked["layer"])


@pytest.mark.parametrize(("passed", "word"), [(True, "Sanity gate passed"), (False, "SANITY GATE FAILED")])
def test_whoever_looks_at_a_map_is_told_what_the_gate_found(tmp_path, passed, word):
    gate = (GateCheck("whole network random", "+0.05", "within 0.2", True), GateCheck("labels", "+0.3", "", passed))
    MapTests(ABOUT, FIGURES, gate).write(tmp_path / "map_tests")
    found = _told(tmp_path)
    assert found.passed is passed and found.words.startswith(word) and "whole network random, +0.05" in found.words
    assert (READ_NOTHING in found.words) is not passed


@pytest.mark.parametrize("other", [{"checkpoint_sha256": "b" * 64}, {"method": "hirescam"}, {"layer": "blocks.4"}])
def test_tests_of_other_maps_say_nothing_of_these(tmp_path, other):
    assert _told(tmp_path) == UNTESTED
    MapTests(ABOUT, FIGURES, TESTS.gate).write(tmp_path / "map_tests")
    assert _told(tmp_path).passed and _told(tmp_path, **other) == UNTESTED


@pytest.mark.parametrize("content", ["{}", "no json", '{"schema_version": 1, "facts": [], "figures": [], "gate": []}'])
def test_a_broken_file_says_nothing_and_says_so(tmp_path, content):
    (tmp_path / "map_tests").mkdir()
    (tmp_path / "map_tests" / "map_tests.json").write_text(content)
    found = _told(tmp_path)
    assert found.passed is None and found.words.startswith(UNTESTED.headline)


def test_a_gate_that_asked_nothing_says_nothing(tmp_path):
    MapTests(ABOUT, FIGURES, ()).write(tmp_path / "map_tests")
    assert _told(tmp_path) == UNTESTED


def test_in_short_the_gate_and_the_usual_figures_are_left(tmp_path):
    short = TESTS.in_short()
    assert short.gate == TESTS.gate and short.figures == (FIGURES[0], FIGURES[2])


@pytest.mark.parametrize("content", ["[]", "{}", '{"schema_version": 99}', "not json"])
def test_a_broken_file_is_told(tmp_path, content):
    (tmp_path / "map_tests.json").write_text(content)
    with pytest.raises(RunError):
        MapTests.read(tmp_path)


def test_no_cell_becomes_a_formula():
    text = csv_of(["id", "x"], [{"id": "=1+1", "x": -0.5}, {"id": "a\nb", "x": float("nan")}])
    assert text == "id,x\n'=1+1,-0.5\na b,\n"

"""Do the tests of maps come back from disk as they were, and is a broken file told?"""

import csv

import pytest

from melascope.errors import RunError
from melascope.tables.map_scores import GateCheck, MapFigure, MapTests, csv_of
from melascope.tables.results import Estimate, NotApplicable

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


@pytest.mark.parametrize("content", ["[]", "{}", '{"schema_version": 99}', "not json"])
def test_a_broken_file_is_told(tmp_path, content):
    (tmp_path / "map_tests.json").write_text(content)
    with pytest.raises(RunError):
        MapTests.read(tmp_path)


def test_no_cell_becomes_a_formula():
    text = csv_of(["id", "x"], [{"id": "=1+1", "x": -0.5}, {"id": "a\nb", "x": float("nan")}])
    assert text == "id,x\n'=1+1,-0.5\na b,\n"

"""Does no text of ours begin a formula in a spreadsheet, and come back as it was?"""

from __future__ import annotations

import csv
import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from melascope.tables.columns import read_csv_text, write_table
from melascope.tables.formulas import GUARDED, csv_line, guarded, unguarded, unguarded_table

CELLS = st.text(alphabet="'=+-@\t\r\n＝＋－＠ab1 ,;\"", max_size=8)


@given(CELLS)
def test_a_cell_begins_no_formula_and_comes_back(cell):
    assert guarded(cell)[:1] not in tuple(GUARDED)
    assert unguarded(guarded(cell)) == cell


@given(st.lists(CELLS, min_size=1, max_size=4))
def test_a_line_is_one_row_of_a_csv(cells):
    (row,) = csv.reader(io.StringIO("".join(csv_line(cells)), newline=""))
    assert [unguarded(cell) for cell in row] == cells or cells == [""]


@given(st.lists(CELLS, max_size=6))
def test_a_table_comes_back_like_its_cells(cells):
    written = pa.table({"a": pa.array([guarded(cell) for cell in cells], pa.string())})
    assert unguarded_table(written)["a"].to_pylist() == cells


@pytest.mark.parametrize(
    "word", ["=1+1", "+1", "-a", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''=1", "＝1", "it's", "'a", "-"]
)
def test_a_file_holds_no_formula_and_is_read_as_it_was(tmp_path, word):
    path = tmp_path / "t.csv"
    write_table(path, {"image_id": np.array([word, "b"], dtype=object), "x": np.array([-1.5, 2.0])}, {})
    with open(path, newline="", encoding="utf-8") as stream:
        cells = [row[0] for row in csv.reader(stream)][1:]
    assert cells[0][0] not in GUARDED and cells[1] == "b"
    columns = read_csv_text(path)
    assert columns["image_id"].tolist() == [word, "b"] and columns["x"].tolist() == ["-1.5", "2"]

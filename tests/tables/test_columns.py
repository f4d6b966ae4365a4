"""Does text from somebody's file become arrays that hold exactly what was written?"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melascope.errors import DataError
from melascope.tables.columns import blank_unknown, nullable, number_array, read_csv_text, text_array, write_table


def objects(*values) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def read(folder, content: str | bytes, **options):
    path = folder / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return {name: values.tolist() for name, values in read_csv_text(path, **options).items()}


def test_every_column_is_text_as_written(tmp_path):
    table = read(tmp_path, "image_id,age,x\n007,80.0,NA\nISIC_1,,1e5\n")
    assert table == {"image_id": ["007", "ISIC_1"], "age": ["80.0", ""], "x": ["NA", "1e5"]}


@pytest.mark.parametrize(
    "content",
    ["a,b\n1,2\n", "\ufeffa,b\n1,2\n", "a,b\r\n1,2\r\n", '"a","b"\n"1","2"\n', "a,b\n1,2", "a,b\n1,2\n\n"],
)
def test_byte_order_marks_line_ends_and_quotes_do_not_matter(tmp_path, content):
    assert read(tmp_path, content) == {"a": ["1"], "b": ["2"]}


def test_tabs_quotes_commas_and_line_ends_in_values(tmp_path):
    assert read(tmp_path, 'a\tb\n"1"\t"x\ty"\n', delimiter="\t") == {"a": ["1"], "b": ["x\ty"]}
    assert read(tmp_path, 'a,b\n"x,""y""\nz",2\n') == {"a": ['x,"y"\nz'], "b": ["2"]}


def test_a_header_alone_is_a_table_of_no_rows(tmp_path):
    assert read(tmp_path, "a,b\n") == {"a": [], "b": []}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "missing"),
        ("", "no header"),
        ("a,a\n1,2\n", "stands twice"),
        ("a,b\n1\n", "cannot be read"),
        ("a,b\n1,2,3\n", "cannot be read"),
        ("a,b\n\xe9,2\n".encode("latin-1"), "cannot be read"),
        ("\xe9,b\n1,2\n".encode("latin-1"), "cannot be read"),
        ("a,b\n1,2\n".encode("utf-16"), "cannot be read"),
    ],
)
def test_what_is_no_such_table_is_told_with_its_path(tmp_path, content, says):
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=says) as caught:
        read_csv_text(path)
    assert caught.value.where == path


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_csv_text(tmp_path)


def test_words_for_unknown_become_empty():
    values = objects("unknown", " Unknown ", "NaN", "n/a", "None", "null", "", " back ", "unknowns")
    assert blank_unknown(values).tolist() == ["", "", "", "", "", "", "", "back", "unknowns"]


def test_numbers_with_row_and_column_of_what_is_none():
    problems = []
    numbers = number_array(objects("1", " 2.5 ", "", "unknown", "x", "inf", "1e999", "-3"), "age", "t.csv", problems)
    assert np.array_equal(numbers, [1, 2.5, np.nan, np.nan, np.nan, np.nan, np.nan, -3], equal_nan=True)
    assert [str(problem) for problem in problems] == [
        "t.csv row 6 column age: 'x' is not a number",
        "t.csv row 7 column age: 'inf' is not a number",
        "t.csv row 8 column age: '1e999' is not a number",
    ]


def test_text_array_takes_anything():
    assert text_array(pa.array([1, None, 3])).tolist() == ["1", "", "3"]
    assert text_array(["a", None]).tolist() == ["a", ""]


def test_unknown_is_null_on_disk():
    assert nullable(objects("a", "")).to_pylist() == ["a", None]
    assert nullable(np.array([1.0, np.nan])).to_pylist() == [1.0, None]
    assert nullable(np.array([1, 2])).to_pylist() == [1, 2]


words = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8).filter(
    lambda text: text == text.strip()
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(words, st.floats(allow_nan=True, allow_infinity=False)), min_size=1, max_size=8))
def test_what_is_written_is_read_back_exactly(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("tables")
    columns = {"word": objects(*[row[0] for row in rows]), "number": np.array([row[1] for row in rows])}
    write_table(folder / "t.csv", columns, {})
    table = read_csv_text(folder / "t.csv")
    assert table["word"].tolist() == columns["word"].tolist()
    numbers = [float(value) if value else np.nan for value in table["number"]]
    assert np.array_equal(numbers, columns["number"], equal_nan=True)
    write_table(folder / "t.parquet", columns, {"key": "value"})
    table = pq.read_table(folder / "t.parquet")
    assert table.schema.metadata[b"key"] == b"value"
    assert text_array(table["word"]).tolist() == columns["word"].tolist()
    assert np.array_equal(table["number"].to_numpy(), columns["number"], equal_nan=True)

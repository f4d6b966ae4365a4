"""Does text from somebody's file become arrays that hold exactly what was written?"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melascope.classes import CLASSES
from melascope.errors import DataError
from melascope.tables.columns import (
    UNKNOWN_WORDS,
    blank_unknown,
    class_columns,
    first_rows,
    nullable,
    number_array,
    read_csv_text,
    text_array,
    word_codes,
    write_table,
)


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
    [
        "a,b\n1,2\n",
        "\ufeffa,b\n1,2\n",
        "a,b\r\n1,2\r\n",
        "a,b\r1,2\r",
        '"a","b"\n"1","2"\n',
        "a, b\n1,2",
        "a,b\n1,2\n\n",
    ],
)
def test_byte_order_marks_line_ends_and_quotes_do_not_matter(tmp_path, content):
    assert read(tmp_path, content) == {"a": ["1"], "b": ["2"]}


def test_tabs_quotes_commas_and_line_ends_in_values(tmp_path):
    assert read(tmp_path, 'a\tb\n"1"\t"x\ty"\n', delimiter="\t") == {"a": ["1"], "b": ["x\ty"]}
    assert read(tmp_path, 'a,b\n"x,""y""\nz",2\n') == {"a": ['x,"y"\nz'], "b": ["2"]}


def test_a_header_alone_is_a_table_of_no_rows(tmp_path):
    for content in ("a,b\n", "a,b", "a,b\r\n\r\n"):
        assert read(tmp_path, content) == {"a": [], "b": []}


def test_a_comma_in_a_quoted_header_parts_nothing(tmp_path):
    assert read(tmp_path, '"age, years",b\n1,2\n') == {"age, years": ["1"], "b": ["2"]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "missing"),
        ("", "no header"),
        ("a,a\n1,2\n", "stands twice"),
        ("a,b\n1\n", "cannot be read"),
        ("a,b\n1,2,3\n", "cannot be read"),
        ("a,b\n1,2\n\xe9,2\n".encode("latin-1"), "row 3 is not UTF-8, perhaps Latin-1"),
        ("\xe9,b\n1,2\n".encode("latin-1"), "row 1 is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "it is UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-be"), "NUL bytes, so it is UTF-16 or no text"),
        (("a,b\n" + "1,2\n" * 600_000 + "\xe9,2\n").encode("latin-1"), "row 600002 is not UTF-8"),
        ("x" * 200_000 + "\n1\n", "cannot be read"),
        (b"\x89PNG\r\n\0", "NUL bytes"),
        (b"PK\x03\x04\0\0", "a zip archive or an Excel file"),
        (b"\x1f\x8b\x08", "packed with gzip"),
        (b"PAR1", "is Parquet"),
        (",,\n1,2,3\n", "no header"),
        ("a,b,b\n1,2,3\n", "stands twice in the header: 'b'"),
    ],
)
def test_what_is_no_such_table_is_told_with_its_path(tmp_path, content, says):
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=says) as caught:
        read_csv_text(path)
    assert caught.value.where == path


def test_how_to_mend_an_encoding_is_told(tmp_path):
    with pytest.raises(DataError) as caught:
        read(tmp_path, "a\n\xe9\n".encode("latin-1"))
    assert caught.value.fix.startswith("iconv -f LATIN1 -t UTF-8 table.csv")


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


messy = st.one_of(
    st.sampled_from(sorted(UNKNOWN_WORDS)),
    st.sampled_from([" Unknown\t", "+1", "1_0", "-inf", "1e400", ".5", "5.", "0x1", "１２", "1 2"]),
    st.floats().map(str),
    st.text(st.characters(codec="utf-8"), max_size=4),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(messy, max_size=12), st.booleans())
def test_columns_are_what_a_plain_loop_over_the_rows_makes_of_them(values, arrow):
    cleaned = [value.strip() for value in values]
    cleaned = ["" if value.lower() in UNKNOWN_WORDS else value for value in cleaned]
    numbers, wrong = [], []
    for row, value in enumerate(cleaned):
        try:
            number = float(value or "nan")
        except ValueError:
            number = np.inf
        wrong += [f"t row {row + 2} column x: {value!r} is not a number"] if np.isinf(number) else []
        numbers.append(np.nan if np.isinf(number) else number)
    column = pa.chunked_array([pa.array(values, pa.string())]) if arrow else objects(*values)
    assert blank_unknown(column).tolist() == cleaned and text_array(column).tolist() == values
    problems: list = []
    assert np.array_equal(number_array(column, "x", "t", problems), np.array(numbers, dtype=float), equal_nan=True)
    assert [str(problem) for problem in problems] == wrong
    assert first_rows(objects(*values)).tolist() == [values.index(value) for value in values]
    assert class_columns(objects(*values)).tolist() == [CLASSES.index(v) if v in CLASSES else -1 for v in values]


def test_numbers_that_must_be_there():
    problems = []
    number_array(pa.array([1.0, None, np.nan, np.inf]), "age", "t.csv", problems, needed=True)
    assert [str(problem) for problem in problems] == [
        "t.csv row 5 column age: 'inf' is not a number",
        "t.csv row 3 column age: the number is missing, or NaN",
        "t.csv row 4 column age: the number is missing, or NaN",
    ]


def test_a_column_by_its_words():
    for values in (objects("b", "a", "b"), pa.chunked_array([["b"], ["a", "b"]]).dictionary_encode()):
        words, codes = word_codes(values)
        assert words[codes].tolist() == ["b", "a", "b"] and text_array(values)[0] is text_array(values)[2]
    assert class_columns(objects("mel", "", "akiec", "x", "vasc")).tolist() == [4, -1, 0, -1, 6]


def test_text_array_takes_anything():
    assert text_array(pa.array([1.5, None])).tolist() == ["1.5", ""]
    assert text_array(pa.array([True, None])).tolist() == ["True", ""]
    assert text_array(objects(1, None, 2.5, "a")).tolist() == ["1", "", "2.5", "a"]
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


def test_a_row_of_another_length_that_is_no_utf8_is_told_without_a_traceback(tmp_path, capfd):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n1,2\n3\n\xe9,2,3\n")
    with pytest.raises(DataError, match="row 4 is not UTF-8"):
        read_csv_text(path)
    assert "Traceback" not in capfd.readouterr().err

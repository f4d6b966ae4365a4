"""Does a predictions table, ours or another project's, come in whole, or with everything wrong told at once?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from melascope.classes import CLASSES
from melascope.errors import TableError
from melascope.tables.predictions import LOGIT_COLUMNS, Predictions, PredictionsOrigin
from melascope.tables.probabilities import probabilities_from_logits


def objects(*values: str) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def predictions(n_rows: int = 4) -> Predictions:
    rng = np.random.default_rng(1)
    return Predictions(
        image_id=objects(*[f"I{i}" for i in range(n_rows)]),
        lesion_id=objects(*["L1", "L1", "L2", ""][:n_rows]),
        split=objects(*["train", "train", "val", "test"][:n_rows]),
        dx=objects(*["mel", "mel", "nv", ""][:n_rows]),
        age=np.array([40.0, 40.0, np.nan, 0.0])[:n_rows],
        sex=objects(*["male", "", "female", ""][:n_rows]),
        localization=objects(*["back", "", "face", ""][:n_rows]),
        dx_type=objects(*["histo", "histo", "", ""][:n_rows]),
        logits=rng.normal(size=(n_rows, 7)),
        origin=PredictionsOrigin("ham10000", "run", "abc", "def", "ghi", 1.5),
    )


def same(one: Predictions, other: Predictions) -> bool:
    names = ("image_id", "lesion_id", "split", "dx", "sex", "localization", "dx_type")
    texts = all(getattr(one, name).tolist() == getattr(other, name).tolist() for name in names)
    return texts and np.array_equal(one.age, other.age, equal_nan=True) and np.array_equal(one.logits, other.logits)


@settings(max_examples=80, deadline=None)
@given(arrays(np.float64, (3, 7), elements=st.floats(-1e4, 1e4)), st.floats(0.05, 20))
def test_probabilities_are_scipys_softmax(logits, temperature):
    found = probabilities_from_logits(logits, temperature)
    assert np.allclose(found, softmax(logits / temperature, axis=1), rtol=0, atol=1e-12)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-12)


def test_probabilities_use_the_temperature_that_the_table_carries():
    table = predictions()
    assert np.allclose(table.probabilities, softmax(table.logits / 1.5, axis=1))


def test_labels_lesions_subsets_and_splits():
    table = predictions()
    assert table.labels.tolist() == [CLASSES.index("mel"), CLASSES.index("mel"), CLASSES.index("nv"), -1]
    assert table.lesion_key.tolist() == ["L1", "L1", "L2", "I3"]
    some = table.of_split("val", "test")
    assert some.image_id.tolist() == ["I2", "I3"] and np.array_equal(some.logits, table.logits[2:])
    assert np.array_equal(some.age, table.age[2:], equal_nan=True) and some.origin == table.origin


def test_parquet_keeps_everything_bit_by_bit(tmp_path):
    table = predictions()
    again = Predictions.read(table.write(tmp_path / "p.parquet"))
    assert same(table, again) and again.origin == table.origin


def test_csv_keeps_everything_but_the_origin(tmp_path):
    table = predictions()
    again = Predictions.read(table.write(tmp_path / "p.csv"))
    assert same(table, again) and again.origin == PredictionsOrigin()


@pytest.mark.parametrize("name", ["p.parquet", "p.csv"])
def test_the_source_of_an_image_is_kept_where_any_is_known(tmp_path, name):
    known = replace(predictions(), dataset=objects("rosendahl", "", "vidir_modern", ""))
    again = Predictions.read(known.write(tmp_path / name))
    assert same(known, again) and again.dataset.tolist() == known.dataset.tolist()
    assert known.of_split("val").dataset.tolist() == ["vidir_modern"]


def test_a_table_of_unknown_sources_is_the_file_that_it_was_before_the_column(tmp_path):
    names = ["image_id", "lesion_id", "split", "dx", "age", "sex", "localization", "dx_type", *LOGIT_COLUMNS]
    written = predictions().write(tmp_path / "p.parquet")
    assert pq.read_schema(written).names == names
    assert Predictions.read(written).dataset.tolist() == [""] * 4


def csv(folder, rows: list[str], header: str | None = None):
    path = folder / "theirs.csv"
    path.write_text("\n".join([header or ",".join(["image_id", "dx", *LOGIT_COLUMNS]), *rows]) + "\n")
    return path


def test_another_projects_csv_needs_ids_truths_and_logits_only(tmp_path):
    table = Predictions.read(csv(tmp_path, ["a,mel,1,2,3,4,5,6,7", "b,,1e-3,-2,0,0,0,0,0"]))
    assert table.logits[0].tolist() == [1, 2, 3, 4, 5, 6, 7] and table.dx.tolist() == ["mel", ""]
    assert set(table.lesion_id) == {""} and np.isnan(table.age).all() and table.origin.temperature == 1


def test_columns_in_another_order_are_taken_by_name(tmp_path):
    header = ",".join([*reversed(LOGIT_COLUMNS), "dx", "image_id"])
    assert Predictions.read(csv(tmp_path, ["7,6,5,4,3,2,1,nv,a"], header)).logits[0].tolist() == [1, 2, 3, 4, 5, 6, 7]


def problems(path) -> list[str]:
    with pytest.raises(TableError) as caught:
        Predictions.read(path)
    assert caught.value.where == path
    return [str(problem).removeprefix("theirs.csv ") for problem in caught.value.problems]


def test_every_problem_is_told_at_once_with_row_and_column(tmp_path):
    header = ",".join(["image_id", "dx", "lesion_id", "split", "age", *LOGIT_COLUMNS])
    rows = ["a,mel,L1,train,old,1,2,3,4,5,6,7", "a,scc,L1,test,3,1,2,,4,5,x,inf", ",nv,L2,val,3,0,0,0,0,0,0,nan"]
    told = problems(csv(tmp_path, rows, header))
    for expected in (
        "row 2 column age: 'old' is not a number",
        "row 3 column dx: unknown class 'scc'; known are akiec, bcc, bkl, df, mel, nv, vasc",
        "row 3 column image_id: a stands already in row 2",
        "row 3 column logit_bkl: the number is missing, or NaN",
        "row 3 column logit_nv: 'x' is not a number",
        "row 3 column logit_vasc: 'inf' is not a number",
        "row 4 column image_id: the image id is empty",
        "row 4 column logit_vasc: the number is missing, or NaN",
        "row 3 column split: lesion L1 stands in train and in test",
    ):
        assert expected in told


def test_missing_columns_and_rows_are_told(tmp_path):
    assert problems(csv(tmp_path, ["a"], "image_id")) == [
        f"row 1 column {name}: the column is missing" for name in ("dx", *LOGIT_COLUMNS)
    ]
    assert problems(csv(tmp_path, [])) == ["theirs.csv: the table has no rows"]
    path = predictions().subset(np.array([], dtype=int)).write(tmp_path / "p.parquet")
    assert problems(path) == ["p.parquet: the table has no rows"]


def parquet(folder, **facts):
    path = predictions().write(folder / "p.parquet")
    table = pq.read_table(path)
    import json

    pq.write_table(table.replace_schema_metadata({b"melascope.predictions": json.dumps(facts).encode()}), path)
    return path


def test_another_class_order_or_schema_is_refused(tmp_path):
    assert "class order is ['mel']" in problems(parquet(tmp_path, class_order=["mel"]))[0]
    assert "schema version is 9" in problems(parquet(tmp_path, schema_version=9))[0]


def test_a_null_logit_in_parquet_is_told_with_its_row(tmp_path):
    path = predictions().write(tmp_path / "p.parquet")
    table = pq.read_table(path)
    values = table["logit_mel"].to_pylist()
    values[2] = None
    place = table.column_names.index("logit_mel")
    pq.write_table(table.set_column(place, "logit_mel", pa.array(values, pa.float64())), path)
    assert problems(path) == ["p.parquet row 4 column logit_mel: the number is missing, or NaN"]


def test_columns_of_other_types_are_taken_as_text_or_numbers(tmp_path):
    columns = {"image_id": [1, 2], "dx": ["mel", None]} | {name: [1, 2] for name in LOGIT_COLUMNS}
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    table = Predictions.read(tmp_path / "p.parquet")
    assert table.image_id.tolist() == ["1", "2"] and table.logits.dtype == np.float64


@pytest.mark.parametrize("content", [b"", b"PAR1 not truly", b"image_id,dx\n"])
def test_what_is_no_parquet_is_told(tmp_path, content):
    path = tmp_path / "p.parquet"
    path.write_bytes(content)
    with pytest.raises(TableError, match="cannot be read") as caught:
        Predictions.read(path)
    assert "melascope predict" in caught.value.fix


@pytest.mark.parametrize(
    "metadata",
    [
        b"{",
        b"[]",
        b'{"temperature": "hot"}',
        b'{"temperature": 0}',
        b'{"temperature": null}',
        b'{"run": 3}',
        b'{"notes": 3}',
        b'{"notes": [3]}',
    ],
)
def test_broken_facts_in_parquet_are_told(tmp_path, metadata):
    path = predictions().write(tmp_path / "p.parquet")
    pq.write_table(pq.read_table(path).replace_schema_metadata({b"melascope.predictions": metadata}), path)
    with pytest.raises(TableError):
        Predictions.read(path)


@pytest.mark.parametrize("blank", ["", ",,,,,,,,", "\r"])
def test_blank_lines_are_no_rows_and_shift_no_row_number(tmp_path, blank):
    """As a text editor, Excel, and Python's csv on Windows leave them."""
    row = "{},nv,0,0,0,0,0,9,{}".format
    header = "image_id,dx," + ",".join(LOGIT_COLUMNS)
    file = tmp_path / "theirs.csv"
    file.write_bytes("\n".join([header, row("a", 1), blank, row("b", 2), blank, blank]).encode())
    assert Predictions.read(file).image_id.tolist() == ["a", "b"]
    file.write_bytes("\n".join([header, row("a", 1), blank, blank, row("b", "x"), blank, row("a", 3), blank]).encode())
    with pytest.raises(TableError) as told:
        Predictions.read(file)
    assert [(one.row, one.column) for one in told.value.problems] == [(5, "logit_vasc"), (7, "image_id")]
    assert "a stands already in row 2" in str(told.value)


def test_left_out_words_ride_in_parquet_and_are_checked(tmp_path):
    table = replace(predictions(), left_out={"SCC": 628})
    assert Predictions.read(table.write(tmp_path / "one.parquet")).left_out == {"SCC": 628}


def test_a_parquet_whose_columns_are_badly_described_is_an_error_and_not_the_end_of_the_process():
    """Found by `tests/torture/files.py tables`: pyarrow's `RowGroupMetaData.column` aborts on this file."""
    with pytest.raises(TableError, match="cannot be read"):
        Predictions.read(Path(__file__).with_name("badly_described.parquet"))

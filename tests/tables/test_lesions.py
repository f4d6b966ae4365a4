"""Does the dataset table select, find and name its rows as it says?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from melascope.classes import CLASSES
from melascope.errors import DataError
from melascope.tables.columns import read_csv_text
from melascope.tables.lesions import LesionTable


def objects(*values: str) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@pytest.fixture
def table() -> LesionTable:
    return LesionTable(
        root=Path("data"),
        source="ham10000",
        image_id=objects("I2", "I1", "I3"),
        lesion_id=objects("L1", "L1", ""),
        dx=objects("mel", "mel", ""),
        dx_type=objects("histo", "", ""),
        age=np.array([40.0, np.nan, 0.0]),
        sex=objects("male", "", "female"),
        localization=objects("back", "", "face, left"),
        path=objects("a.zip/I2.jpg", "I1.jpg", "I3.jpg"),
        mask_path=objects("", "", "I3.png"),
        width=np.array([600, 0, 200]),
        height=np.array([450, 0, 150]),
        sha256=objects("aa", "", "cc"),
    )


def test_labels_and_lesion_keys(table):
    assert table.labels.tolist() == [CLASSES.index("mel"), CLASSES.index("mel"), -1]
    assert table.lesion_key.tolist() == ["L1", "L1", "I3"]


@pytest.mark.parametrize("keep", [np.array([True, False, True]), np.array([0, 2])])
def test_subset_takes_all_columns_along(table, keep):
    some = table.subset(keep)
    assert len(some) == 2 and some.root == table.root and some.source == table.source
    for name in LesionTable.columns():
        assert np.array_equal(getattr(some, name), getattr(table, name)[[0, 2]], equal_nan=name == "age")


def test_index_of_finds_rows_and_names_what_is_absent(table):
    assert table.index_of(np.array(["I3", "I2"])).tolist() == [2, 0]
    with pytest.raises(DataError, match="2 image ids are not in the data set, for example X, Y"):
        table.index_of(np.array(["I3", "X", "Y"]))


def test_the_fingerprint_depends_on_content_and_not_on_order(table):
    assert table.subset(np.array([2, 0, 1])).fingerprint == table.fingerprint
    assert replace(table, root=Path("elsewhere"), path=objects("x", "y", "z")).fingerprint == table.fingerprint
    for name in ("image_id", "lesion_id", "dx", "sha256"):
        changed = getattr(table, name).copy()
        changed[1] = "nv"
        assert replace(table, **{name: changed}).fingerprint != table.fingerprint
    assert table.subset(np.array([0, 1])).fingerprint != table.fingerprint


def test_written_tables_hold_what_the_table_holds(table, tmp_path):
    csv = read_csv_text(table.write(tmp_path / "t.csv"))
    assert set(LesionTable.columns()) - set(csv) == {"dataset"}  # no row knows it
    for name in ("image_id", "lesion_id", "dx", "sex", "localization", "path", "mask_path", "sha256"):
        assert csv[name].tolist() == getattr(table, name).tolist()
    assert csv["age"].tolist() == ["40", "", "0"] and csv["width"].tolist() == ["600", "0", "200"]
    parquet = pq.read_table(table.write(tmp_path / "t.parquet"))
    assert parquet["sex"].to_pylist() == ["male", None, "female"] and parquet["age"].to_pylist() == [40.0, None, 0.0]
    assert parquet.schema.metadata[b"fingerprint"].decode() == table.fingerprint
    assert parquet.schema.metadata[b"source"] == b"ham10000"


def test_the_source_of_an_image_is_kept_and_is_no_part_of_the_fingerprint(table, tmp_path):
    known = replace(table, dataset=objects("rosendahl", "", "vidir_modern"))
    assert known.fingerprint == table.fingerprint and set(table.dataset) == {""}
    assert known.subset(np.array([2, 0])).dataset.tolist() == ["vidir_modern", "rosendahl"]
    assert read_csv_text(known.write(tmp_path / "t.csv"))["dataset"].tolist() == known.dataset.tolist()
    assert pq.read_table(known.write(tmp_path / "t.parquet"))["dataset"].to_pylist() == [
        "rosendahl",
        None,
        "vidir_modern",
    ]

"""Does a table that is far too large, or no table at all, leave memory bounded, with a message that says so?"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from melascope.errors import DataError, TableError
from melascope.tables import columns, predictions
from melascope.tables.columns import LISTED, MAX_BYTES, read_csv_table, read_csv_text
from melascope.tables.foreign import LOGIT_COLUMNS
from melascope.tables.predictions import Predictions

HEADER = ",".join(["image_id", "dx", *LOGIT_COLUMNS]) + "\n"
ROW = "{:08d},nv" + ",-1.2345678901234567" * 7 + "\n"
MIB = 1 << 20

READ = """
import json, resource, sys
from pathlib import Path
from melascope.errors import DataError
from melascope.tables import columns
from melascope.tables.predictions import Predictions
columns.MAX_BYTES = int(sys.argv[2])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
try:
    Predictions.read(Path(sys.argv[1]))
    said = "read"
except DataError as error:
    said = str(error)
print(json.dumps([said, peak() - before]))
"""


def read_apart(path, max_bytes: int = MAX_BYTES) -> tuple[str, int]:
    """What is said of the table, and by how many MiB the process grew at most."""
    command = [sys.executable, "-c", READ, str(path), str(max_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return tuple(json.loads(done.stdout))


@pytest.fixture
def big(tmp_path):
    """A path under which a large file may lie for the time of a test."""
    path = tmp_path / "big.csv"
    yield path
    path.unlink(missing_ok=True)


def test_two_gigabytes_of_something_else_are_refused_from_the_header(big):
    with open(big, "w") as stream:
        stream.write("time,sensor,value\n" + "1,2,3\n" * 200_000)
        stream.truncate(2 << 30)  # a sparse file
    said, grown = read_apart(big)
    assert "column image_id: the column is missing" in said and "of time, sensor, value" in said
    assert grown < 16


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ("x" * MIB, "its first line is longer than 1 MiB"),
        (HEADER + "x" * MIB, "a row is longer than 1 MiB"),
        (HEADER + '"' + "a,b\n" * MIB, "a row is longer than 1 MiB"),
        ("", "NUL bytes"),
        (HEADER, "NUL bytes"),
    ],
)
def test_two_gigabytes_without_an_end_of_line_are_refused(big, start, says):
    with open(big, "w") as stream:
        stream.write(start)
        stream.truncate(2 << 30)
    said, grown = read_apart(big)
    assert "cannot be read" in said and says in said
    assert grown < 100


def test_the_right_columns_but_far_too_long(big):
    """About 300 MB, read with a bound of 64 MiB."""
    rows = "".join(ROW.format(one) for one in range(100_000))
    with open(big, "w") as stream:
        stream.write(HEADER)
        for _ in range(20):
            stream.write(rows)
    assert big.stat().st_size > 290e6
    said, grown = read_apart(big, 64 * MIB)
    assert "too large: its columns pass 64 MiB at row " in said and "2,000,000 rows" in said
    assert grown < 64 + 32 + 64  # the text, the read-ahead, what the allocator keeps


def test_the_bound_counts_the_columns_that_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "MAX_BYTES", 2 * MIB)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + ("x," + "y" * (MIB // 2) + "\n") * 5)
    assert read_csv_table(path, names=["a"]).to_pydict() == {"a": ["x"] * 5}
    for read in (read_csv_text, read_csv_table):
        with pytest.raises(DataError, match="too large: its columns pass 2 MiB at row ") as caught:
            read(path)
        assert caught.value.where == path and "2 MiB" in caught.value.expected


def test_a_parquet_is_measured_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "p.parquet"
    names = {"image_id": [f"I{row}" for row in range(1000)], "dx": ["nv"] * 1000}
    scores = {name: np.arange(1000.0) for name in LOGIT_COLUMNS}
    pq.write_table(pa.table(names | scores | {"pixels": ["x" * 1000] * 1000}), path)
    monkeypatch.setattr(predictions, "MAX_BYTES", 90_000)
    assert len(Predictions.read(path)) == 1000
    monkeypatch.setattr(predictions, "MAX_BYTES", 60_000)
    with pytest.raises(DataError, match="too large") as caught:
        Predictions.read(path)
    assert caught.value.where == path


def test_words_that_repeat_are_kept_once(tmp_path):
    word = "a very long name of a part of the body " * 200
    names = {"image_id": [f"I{row}" for row in range(5_000)], "dx": ["nv"] * 5_000, "localization": [word] * 5_000}
    pq.write_table(pa.table(names | {name: np.arange(5e3) for name in LOGIT_COLUMNS}), tmp_path / "p.parquet")
    table = Predictions.read(tmp_path / "p.parquet")
    assert len({id(one) for one in table.localization}) == 1 and table.localization[7] == word.strip()


def test_a_million_wrong_cells_are_counted_and_not_listed(tmp_path):
    n_rows = 3 * LISTED
    columns = {"image_id": ["same"] * n_rows, "dx": ["scc"] * n_rows, "logit_mel": ["x"] * n_rows}
    columns |= {name: np.full(n_rows, np.nan) for name in LOGIT_COLUMNS if name != "logit_mel"}
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    with pytest.raises(TableError) as caught:
        Predictions.read(tmp_path / "p.parquet")
    problems = caught.value.problems
    assert len(problems) == 9 * (LISTED + 1)
    told = str(caught.value)
    assert told.startswith("The predictions table is not usable: 26,999 problems\n")
    assert "\n  … and 26,988 more\n" in told  # 9 of the 20 lines count, 11 name a row
    for column, n_wrong in {"image_id": n_rows - 1, **dict.fromkeys(["dx", *LOGIT_COLUMNS], n_rows)}.items():
        assert (
            f"column {column}: {n_wrong:,} rows are wrong in the same way, the first 1,000 of them are listed" in told
        )
        assert sum(problem.column == column and problem.row is not None for problem in problems) == LISTED


def test_rows_of_another_length_are_counted_up_to_a_bound(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n1\n" * 3 + "1,2,3\n")
    with pytest.raises(TableError, match="cannot be read") as caught:
        read_csv_text(path)
    assert [str(problem) for problem in caught.value.problems] == [
        "t.csv row 3: 1 cells, the header has 2",
        "t.csv row 5: 1 cells, the header has 2",
        "t.csv row 7: 1 cells, the header has 2",
        "t.csv row 8: 3 cells, the header has 2",
    ]
    path.write_text("a,b\n" + "1\n" * 5000)
    with pytest.raises(TableError) as caught:
        read_csv_text(path)
    assert len(caught.value.problems) == LISTED + 1
    assert str(caught.value).startswith("The table cannot be read: more than 1,000 problems\n")
    assert "\n  … and more\n" in str(caught.value)
    assert str(caught.value.problems[-1]) == "t.csv: reading stopped after 1,000 such rows"

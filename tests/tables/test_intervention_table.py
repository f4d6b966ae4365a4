"""Do rows come back as they were written, unknown numbers too, and is another table refused?"""

from dataclasses import asdict

import numpy as np
import pytest

from melascope.errors import RunError
from melascope.tables.interventions import NAN, EffectRow, PairRow, read_rows, write_rows

EFFECTS = [
    EffectRow("artefacts", "ruler", "change", 0.5, 0.1, 0.9, 0.99, 10, 8, "found", ""),
    EffectRow("artefacts", "ruler", "flipped", NAN, NAN, NAN, 0.95, 10, 8, "found", "no operating point is frozen"),
]


def test_rows_come_back(tmp_path):
    back = read_rows(write_rows(tmp_path / "effects.parquet", EFFECTS), EffectRow)
    for one, two in zip(EFFECTS, back, strict=True):
        np.testing.assert_equal(asdict(one), asdict(two))


def test_a_csv_has_a_line_a_row_and_leaves_unknown_empty(tmp_path):
    lines = write_rows(tmp_path / "effects.csv", EFFECTS).read_text().splitlines()
    assert lines[0].startswith('"audit"') or lines[0].startswith("audit")
    assert len(lines) == 3 and ",,,," in lines[2]


def test_another_table_is_refused(tmp_path):
    path = write_rows(tmp_path / "effects.parquet", EFFECTS)
    with pytest.raises(RunError, match="EffectRow"):
        read_rows(path, PairRow)
    (tmp_path / "broken.parquet").write_text("no")
    with pytest.raises(RunError, match="cannot be read"):
        read_rows(tmp_path / "broken.parquet", PairRow)

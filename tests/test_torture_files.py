"""Do the rows of the hardening table that are about files hold, small?

At full size: `tests/torture/files.py all --full`. The rows run in a process of their own, as `make torture` runs them:
children are forked from one that never computed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the tiny graph is exported with torch: pip install 'melascope[train]'")

from melascope.errors import ImageError
from torture import formulas, hostile_files, pictures, tables
from torture.children import in_child

ROWS = ("pictures", "formats", "tables", "hostile", "formulas", "paths", "privacy")


def test_every_row_holds():
    """One test, so that two processes of pytest do not both run all rows."""
    command = [sys.executable, str(Path(__file__).parent / "torture/files.py"), "all"]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert [row for row in ROWS if f"  {row} holds" not in done.stdout] == [], done.stdout[-4000:] + done.stderr[-2000:]
    assert "Traceback" not in done.stderr, done.stderr[-3000:]


def test_every_mutation_changes_pictures_and_comes_again_the_same():
    numbers = range(16, 32)
    assert [pictures.mutant(n) for n in numbers] == [pictures.mutant(n) for n in numbers]
    changed = {name for name, _, data in map(pictures.mutant, range(80)) if data not in pictures.originals()}
    assert changed == set(pictures.MUTATIONS)


@pytest.mark.parametrize(
    "decode, word",
    [
        (lambda data, name: 1 / 0, "ZeroDivisionError"),
        (lambda data, name: _refuse("The image is refused: no.", None), "without name or reason"),
    ],
)
def test_a_decoder_that_fails_is_found(decode, word):
    found = pictures.Found()
    pictures.judge("a.jpg", b"x", found, decode)
    assert word in found.failures()[0]


def _refuse(found: str, where: str | None):
    raise ImageError(found, where=where)


@pytest.mark.parametrize(
    "work, word",
    [
        (lambda: time.sleep(20), "no answer"),
        (lambda: os.kill(os.getpid(), 9), "code -9"),
        (lambda: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_child_that_hangs_crashes_or_fails_is_found(work, word):
    assert word in in_child(work, limit=0.5).fault


def test_a_file_that_is_let_in_or_run_is_found(tmp_path):
    def careless(path: Path) -> None:
        import pickle

        pickle.loads(path.read_bytes())

    _, failures = hostile_files.opened(tmp_path, [("x", careless, {"a pickle": hostile_files.payload})])
    assert any("let in" in one for one in failures) and any("it was run" in one for one in failures)


def test_a_table_that_raises_or_hides_the_place_is_found(tmp_path):
    def silent(path: Path) -> None:
        raise ImageError("It is wrong somewhere.", where=path)

    for read, word in ((lambda path: 1 / 0, "ZeroDivisionError"), (silent, "is not named")):
        found = tables.Found()
        tables.judge(tables.Kind("x.csv", b"", read), tmp_path / "x.csv", (3, "dx"), found, "x", 1)
        assert word in found.faults[0]


def test_a_formula_is_found(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n=1+1,-1.5\n'=1,＝2\n-1e-3,+\n")
    assert formulas.dangerous(tmp_path / "x.csv") == ["=1+1", "＝2", "+"]

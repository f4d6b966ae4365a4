"""What does `melascope evaluate` say to each table that it should not trust, or that says less than it seems to?"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import numpy as np
import pytest
from typer.testing import CliRunner

from melascope.classes import CLASSES
from melascope.cli import app
from melascope.errors import DataError, TableError
from melascope.evaluation.record import Evaluation
from melascope.stages import evaluating
from melascope.tables.results import NotApplicable

HEADER = ["image_id", "lesion_id", "split", "dx", *[f"probability_{name}" for name in CLASSES]]
Rows = list[list[str]]


def good_rows(n: int = 140) -> Rows:
    """Half validation, half test; each lesion has one image; the model is right in most rows."""
    rng = np.random.default_rng(1)
    label = rng.choice(7, n, p=[0.05, 0.05, 0.1, 0.05, 0.3, 0.4, 0.05])
    logits = rng.normal(size=(n, 7))
    logits[np.arange(n), label] += 2
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    splits = ["val" if row < n // 2 else "test" for row in range(n)]
    facts = [[f"i{row}", f"L{row}", splits[row], CLASSES[label[row]]] for row in range(n)]
    return [fact + [f"{share:.8f}" for share in row] for fact, row in zip(facts, shares, strict=True)]


def text(rows: Rows, header: list[str] = HEADER) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    return stream.getvalue()


def changed(*cells: tuple[int, str, str]) -> str:
    """The good table with other values at (spreadsheet row, column)."""
    rows = good_rows()
    for row, column, value in cells:
        rows[row - 2][HEADER.index(column)] = value
    return text(rows)


def without(column: str) -> str:
    place = HEADER.index(column)
    return text([row[:place] + row[place + 1 :] for row in good_rows()], HEADER[:place] + HEADER[place + 1 :])


SCORES = "probability_akiec … probability_vasc"
REFUSED: dict[str, tuple[str | bytes, list[str]]] = {
    "rows that do not sum to 1": (
        changed((3, "probability_mel", "0.9"), (9, "probability_nv", "1.5")),
        [f"row 3 column {SCORES}: the probabilities sum to", "row 9 column probability_nv: the probability is 1.5"],
    ),
    "NaN": (
        changed((3, "probability_mel", "NaN"), (4, "probability_mel", ""), (5, "probability_nv", "inf")),
        ["row 3 column probability_mel: the number is missing, or NaN", "row 4 column probability_mel", "row 5 column"],
    ),
    "no number": (changed((3, "probability_mel", "high")), ["row 3 column probability_mel: 'high' is not a number"]),
    "missing class column": (
        without("probability_df"),
        ["row 1 column probability_df: the column is missing", "--map-columns"],
    ),
    "missing truth": (without("dx"), ["row 1 column dx: the column is missing"]),
    "unknown dx": (
        changed((3, "dx", "scc"), (8, "dx", "melanoma")),
        ["row 3 column dx: unknown class 'scc'", "row 8 column dx", "--map-labels 'melanoma=…,scc=…'"],
    ),
    "duplicate image ids": (
        changed((3, "image_id", "i0"), (8, "image_id", "")),
        ["row 3 column image_id: i0 stands already in row 2", "row 8 column image_id: the image id is empty"],
    ),
    "a lesion in two splits": (
        changed((100, "lesion_id", "L0"), (101, "lesion_id", "L1")),
        ["row 100 column split: lesion L0 stands in val and in test", "row 101 column split: lesion L1"],
    ),
    "everything at once": (
        changed(
            *((3, "image_id", "i0"), (4, "dx", "scc"), (5, "probability_mel", "nan"), (100, "lesion_id", "L0")),
            (6, "probability_nv", "-1"),
        ),
        ["5 problems", *(f"row {row} column" for row in (3, 4, 5, 6, 100))],
    ),
    "rows of another length": (
        text([*good_rows(), ["i", "L", "test"]]),
        ["row 142: 3 cells, the header has 11"],
    ),
    "0 rows": (text([]), ["the table has no rows"]),
    "0 bytes": ("", ["no header row"]),
    "Latin-1": (
        changed((7, "lesion_id", "Läsion")).encode("latin-1"),
        ["row 7 is not UTF-8, perhaps Latin-1", "iconv -f LATIN1"],
    ),
    "UTF-16": (text(good_rows()).encode("utf-16"), ["it is UTF-16", "iconv -f UTF-16"]),
    "a workbook": (b"PK\x03\x04" + bytes(100), ["an Excel file"]),
    "a long file of something else": ("time,value\n" + "1,2\n" * 100_000, ["column image_id: the column is missing"]),
}
"""Table -> what the refusal says. Memory at true size: tests/tables/test_table_bounds.py."""


def melascope_evaluate(tmp_path, content: str | bytes, *flags: str):
    path = tmp_path / "theirs.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return CliRunner().invoke(app, ["evaluate", str(path), *flags])


@pytest.mark.parametrize("table", REFUSED)
def test_a_bad_table_is_refused_with_every_reason_and_leaves_nothing(tmp_path, table):
    content, says = REFUSED[table]
    done = melascope_evaluate(tmp_path, content)
    assert isinstance(done.exception, DataError)
    told = str(done.exception)
    assert all(part in told for part in says) and str(tmp_path / "theirs.csv") in told
    if "column" in says[0]:
        assert isinstance(done.exception, TableError)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.csv"]


@pytest.fixture
def quick(monkeypatch):
    """Fewer draws than a user gets, and no plots: tests/report draws those of such tables."""
    real: Callable = evaluating.evaluate
    monkeypatch.setattr(evaluating, "save_evaluation_plots", lambda *_: None)
    monkeypatch.setattr(evaluating, "evaluate", lambda *rows, **asked: real(*rows, **{**asked, "draws": 50}))


def judged(tmp_path, content: str | bytes, *flags: str) -> tuple[str, Evaluation]:
    done = melascope_evaluate(tmp_path, content, *flags)
    assert done.exit_code == 0, done.exception
    return " ".join(done.output.split()), Evaluation.read(tmp_path / "theirs-evaluation")


@pytest.mark.parametrize("called", ["logit_", ""])
def test_probabilities_instead_of_logits_are_recognised_and_said(tmp_path, quick, called):
    header = [name.replace("probability_", called) for name in HEADER]
    said, found = judged(tmp_path, text(good_rows(), header))
    assert "they are read as probabilities" in said or "do not say what they are: read as probabilities" in said
    assert any("probabilities" in caveat for caveat in found.caveats)


def test_a_byte_order_mark_changes_nothing(tmp_path, quick):
    plain = judged(tmp_path, text(good_rows()))[1]
    assert judged(tmp_path, b"\xef\xbb\xbf" + text(good_rows()).encode())[1] == plain


def of_classes(keep: Callable[[int, str], bool]) -> str:
    return text([row for place, row in enumerate(good_rows()) if keep(place, row[3])])


@pytest.mark.parametrize(("n_melanoma", "says"), [(0, "n=0 images of melanoma"), (1, "Only 1 lesion of melanoma")])
def test_no_melanoma_and_a_single_one(tmp_path, quick, n_melanoma, says):
    """Too few to choose a threshold by, too few to judge by: each is said, nothing is 0 or NaN."""
    rows = good_rows()
    kept = {next(n for n, row in enumerate(rows) if row[2:4] == [side, "mel"]) for side in ("val", "test")}
    kept = kept if n_melanoma else set()
    said, found = judged(tmp_path, of_classes(lambda place, dx: dx != "mel" or place in kept))
    assert says in said and "No threshold was chosen from the" in said
    assert found.operating_point is None and found.whole.class_counts["mel"] == (n_melanoma, n_melanoma)
    sensitivity = found.whole.decision("argmax", "image").figures["sensitivity"]
    assert isinstance(sensitivity, NotApplicable) == (n_melanoma == 0)
    assert n_melanoma == 0 or sensitivity.low is None


@pytest.mark.parametrize("only", ["mel", "nv"])
def test_all_of_one_class(tmp_path, quick, only):
    said, found = judged(tmp_path, of_classes(lambda _, dx: dx == only))
    figures = found.whole.decision("argmax", "image").figures
    undefined = "specificity" if only == "mel" else "sensitivity"
    assert isinstance(figures[undefined], NotApplicable)
    assert isinstance(found.whole.image.target["auroc"], NotApplicable)
    assert "balanced accuracy and macro-F1 are means over the other classes" in said


def test_a_table_without_validation_rows_is_judged_for_any_target_but_asked_for_no_rule(tmp_path, quick):
    alone = text([[row[0], row[1], "test", *row[3:]] for row in good_rows()])
    said, found = judged(tmp_path, alone, "--target", "bcc+mel")
    assert found.target == ("bcc", "mel") and found.operating_point is None and "bcc+mel" in said
    refused = melascope_evaluate(tmp_path, alone, "--rule", "empirical")
    assert "no rows of split val" in str(refused.exception)


def test_rows_without_a_split_beside_others_are_told(tmp_path, quick):
    said, _ = judged(tmp_path, changed((100, "split", ""), (101, "split", "")))
    assert "2 rows of the table name no split and are not judged." in " ".join(said.split())


def test_left_out_words_are_a_field(tmp_path, quick):
    said, found = judged(tmp_path, changed((100, "dx", "scc"), (101, "dx", "scc")), "--map-labels", "scc=unknown")
    assert found.left_out == {"scc": 2} and "'scc' is mapped to unknown" in " ".join(said.split())

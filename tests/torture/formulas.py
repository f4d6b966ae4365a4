"""Does any CSV that melascope writes hold a cell that a spreadsheet would run?"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from melascope.data.split import Split
from melascope.evaluation.evaluate import evaluate
from melascope.evaluation.operating_point import choose_operating_point
from melascope.evaluation.spreadsheets import csv_text
from melascope.files import write_text
from melascope.tables.columns import read_csv_text
from melascope.tables.formulas import GUARDED
from melascope.tables.lesions import LesionTable
from melascope.tables.map_scores import csv_of
from melascope.tables.predictions import Predictions
from run_folder import drawn_predictions, hostile, objects

STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
ENDS = (
    "1+1",
    'cmd|" /C calc"!A0',
    'HYPERLINK("http://x","y")',
    "SUM(A1:A9)",
    "2+3-cmd|'/C x'!A1",
    "",
    "'",
    " =1",
    "a,b",
    'a"b',
)
SRC = Path(__file__).parents[2] / "src/melascope"


def words(n: int) -> list[str]:
    """`n` beginnings of formulas, all different."""
    return [f"{STARTS[turn % len(STARTS)]}{ENDS[turn // len(STARTS) % len(ENDS)]}" for turn in range(n)]


def dangerous(path: Path) -> list[str]:
    """Cells that begin a formula and are no number."""
    with open(path, newline="", encoding="utf-8") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    return [cell for cell in cells if cell[:1] and cell[0] in GUARDED and not _number(cell)]


def _number(cell: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", cell) is not None


def predictions(folder: Path, found: list[str]) -> Path:
    """Predictions whose ids and facts are formulas; they come back as they were."""
    table = hostile(drawn_predictions(), found)
    path = table.write(folder / "predictions.csv")
    again = Predictions.read(path)
    for name in ("image_id", "lesion_id", "localization"):
        ours = [word.strip() for word in getattr(table, name)]
        if [word.strip() for word in getattr(again, name)] != ours:
            raise AssertionError(f"{name} did not come back")
    return path


def lesions(folder: Path, found: list[str]) -> Path:
    """A dataset table of the same."""
    table, n = drawn_predictions(), len(found)
    facts = {name: getattr(table, name)[:n] for name in LesionTable.columns() if hasattr(table, name)}
    facts |= {name: objects(found) for name in ("sex", "localization")}
    facts |= {"image_id": objects(f"{word}{k}" for k, word in enumerate(found))}
    texts = {name: objects(found) for name in ("path", "mask_path", "sha256")}
    zero = np.zeros(n, dtype=np.int64)
    return LesionTable(root=folder, source="x", **facts, **texts, width=zero, height=zero).write(folder / "lesions.csv")


def split(folder: Path, found: list[str]) -> Path:
    """A split of the same."""
    ids = objects(f"{word}{k}" for k, word in enumerate(found))
    path = Split(ids, objects(["train"] * len(ids)), {}).write(folder / "split.csv")
    if set(read_csv_text(path)["image_id"]) != set(ids):
        raise AssertionError("ids of a split did not come back")
    return path


def evaluated(folder: Path, found: list[str]) -> Path:
    """`figures.csv`, `confusion.csv` and `confusion_cells.csv` of an evaluation whose groups are formulas."""
    table = drawn_predictions()
    groups = objects(found[k % 3 * 7 % len(found)] for k in range(len(table)))
    table = replace(table, localization=groups, sex=groups)
    point = choose_operating_point(table.of_split("val"), rule="empirical", target_sensitivity=0.8)
    evaluate(table, point, draws=20).write(folder / "evaluation")
    return folder / "evaluation"


def sheets(folder: Path, found: list[str]) -> Path:
    """What all other tables are written by: tests of maps, comparisons, segmentations."""
    write_text(folder / "a.csv", csv_of(["a", "b"], [{"a": word, "b": -1.5} for word in found]))
    return write_text(folder / "b.csv", csv_text([["a", "b"], *([word, "-1.5"] for word in found)]))


WRITERS: dict[str, Callable[[Path, list[str]], Path]] = {
    one.__name__: one for one in (predictions, lesions, split, evaluated, sheets)
}

KNOWN = {
    "tables/columns.py": "write_csv: guarded_words",
    "tables/map_scores.py": "csv_of: guarded",
    "evaluation/spreadsheets.py": "csv_text: guarded",
    "data/split.py": "Split.write: csv_line",
    "data/sources/phantom/release.py": "the generator's own words",
}
"""Every file of the source that makes CSV text; one that is not here is a failure."""


def makers() -> set[str]:
    """Files of the source that call a writer of CSV."""
    calls = re.compile(r"csv\.writer\(|DictWriter\(|write_csv\(|to_csv\(|csv_line\(row")
    return {str(path.relative_to(SRC)) for path in SRC.rglob("*.py") if calls.search(path.read_text())}


def neutralised(folder: Path, n: int) -> tuple[str, list[str]]:
    """Write `n` formulas through every writer; what was said, and the cells that would run."""
    found, failures, files = words(n), [], 0
    for name, write in WRITERS.items():
        place = folder / name
        place.mkdir()
        write(place, found)
        for path in sorted(place.rglob("*.csv")):
            files += 1
            failures += [f"{path.name}: {cell!r}" for cell in dangerous(path)]
    if makers() != set(KNOWN):
        failures.append(f"other files make CSV than are tested: {sorted(makers() ^ set(KNOWN))}")
    return f"{n} formulas in {files} files of {len(WRITERS)} writers", failures

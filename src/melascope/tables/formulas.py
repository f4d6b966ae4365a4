"""Which cell of a CSV would a spreadsheet run as a formula, and how is it written so that it does not?"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

GUARDED = "=+-@\t\r\n＝＋－＠"
"""A cell that begins so runs as a formula, or may: it is written with `'` before it, and read without (OWASP, CSV
injection). The last four are the wide forms that a spreadsheet in East Asia takes for the same."""

_QUOTE, _NEEDS = '"', re.compile('[,"\r\n]')


def guarded(cell: str) -> str:
    """A cell as it is written: text for every spreadsheet. `unguarded` gives back any cell as it was."""
    return f"'{cell}" if _begins(cell) else cell


def csv_line(cells: Iterable[str]) -> str:
    """A row of text as a line of a CSV; Python's own writer leaves a lone carriage return unquoted."""
    written = [guarded(cell) for cell in cells]
    quoted = [f'"{cell.replace(_QUOTE, 2 * _QUOTE)}"' if _NEEDS.search(cell) else cell for cell in written]
    return ",".join(quoted) + "\n"


def unguarded(cell: str) -> str:
    """A cell as somebody meant it."""
    return cell[1:] if cell.startswith("'") and _begins(cell) else cell


def _begins(cell: str) -> bool:
    begin = cell.lstrip("'")[:1]
    return begin != "" and begin in GUARDED


def guarded_words(values: np.ndarray) -> np.ndarray:
    """A column of `str` (n,) as it is written."""
    return np.array([guarded(word) for word in values], dtype=object)


def unguarded_table(table: pa.Table) -> pa.Table:
    """A table of text as it was meant; columns without a `'` before a formula stay as they are."""
    pattern = f"^'+[{GUARDED}]".replace("-", "\\-")
    for place, name in enumerate(table.column_names):
        column = table[name]
        if pc.any(pc.starts_with(column, "'")).as_py():
            text = pc.if_else(pc.match_substring_regex(column, pattern), pc.utf8_slice_codeunits(column, 1), column)
            table = table.set_column(place, name, text)
    return table

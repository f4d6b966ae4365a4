"""What can go wrong, and what should the reader do next?

MelascopeError
├── DataError                 a data set on disk is not what it should be
│   ├── TableError            rows of a table are wrong (all problems at once)
│   ├── ImageError            a file is not an image we read safely
│   ├── SplitError            a split is unusable, or lets a lesion leak
│   └── DownloadError         a release could not be fetched or its hash differs
├── RecipeError               a recipe has an unknown key or an impossible value
├── RunError                  a run directory lacks something
│   └── CheckpointError       weights, class order or digest do not fit
├── ExportError               a graph cannot be exported, differs from its network, or is none of ours
├── OperatingPointError       a threshold cannot be chosen, or was asked from the wrong rows
├── ExplainError              a map cannot be made for this model or layer
└── OutputError               a result could not be written

Only the doors (CLI, app, service) catch these; a bug keeps its traceback.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class MelascopeError(Exception):
    """Base of all errors that a user can mend.

    Parameters
    ----------
    found : what was found, in one sentence.
    where : file, folder, row or argument in which it was found.
    expected : what should have been there.
    fix : what to do now, if possible the very command.
    """

    def __init__(
        self,
        found: str,
        *,
        where: str | Path | None = None,
        expected: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.found, self.where, self.expected, self.fix = found, where, expected, fix
        lines = [found]
        lines += [f"  where:    {where}"] if where is not None else []
        lines += [f"  expected: {expected}"] if expected else []
        lines += [f"  do:       {fix}"] if fix else []
        super().__init__("\n".join(lines))


class DataError(MelascopeError):
    """A data set on disk is not what it should be."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a table or a data set: `row` is the line number a spreadsheet shows (header = 1).

    One with `unlisted` is no thing itself: it tells how many more there are of a kind than are listed, infinity where
    nobody counted on.
    """

    message: str
    file: str = ""
    row: int | None = None
    column: str = ""
    unlisted: float = 0

    def __str__(self) -> str:
        place = self.file
        place += f" row {self.row}" if self.row is not None else ""
        place += f" column {self.column}" if self.column else ""
        return f"{place.strip()}: {self.message}" if place.strip() else self.message


class TableError(DataError):
    """Rows of a table are wrong; `problems` holds all of them, the text tells how many and shows the first `SHOWN`."""

    SHOWN = 20

    def __init__(
        self, found: str, problems: Sequence[Problem], *, where: str | Path | None = None, fix: str | None = None
    ) -> None:
        self.problems = tuple(problems)
        shown, listed = self.problems[: self.SHOWN], sum(not problem.unlisted for problem in self.problems)
        total = listed + sum(problem.unlisted for problem in self.problems)
        counted = f"{total:,}" if total < math.inf else f"more than {listed:,}"
        lines = [f"{found}: {counted} problem{'s' if total != 1 else ''}"]
        lines += [f"  - {problem}" for problem in shown]
        more = total - sum(not problem.unlisted for problem in shown)
        if more:
            lines.append(f"  … and {more:,} more" if more < math.inf else "  … and more")
        super().__init__("\n".join(lines), where=where, fix=fix)


class ImageError(DataError):
    """A file is not an image that we read safely."""


class SplitError(DataError):
    """A split is unusable, or lets a lesion stand in two splits."""


class DownloadError(DataError):
    """A release could not be fetched, or what came is not what was published."""


class RecipeError(MelascopeError):
    """A recipe has an unknown key or an impossible value."""


class RunError(MelascopeError):
    """A run directory lacks something."""


class CheckpointError(RunError):
    """Weights, class order or digest do not fit."""


class ExportError(MelascopeError):
    """A graph cannot be exported, differs from the network it came from, or is none of ours."""


class OperatingPointError(MelascopeError):
    """A threshold cannot be chosen, or was asked from rows that must not choose it."""


class ExplainError(MelascopeError):
    """A map cannot be made for this model, layer or class."""


class OutputError(MelascopeError):
    """A result could not be written."""

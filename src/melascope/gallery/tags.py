"""What did a reader note of a case, and how does it come back from the page?

The page keeps tags in the browser and exports them as CSV; `melascope gallery RUN --tags FILE` reads them back.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from melascope.errors import DataError, Problem, TableError
from melascope.tables.columns import read_csv_text

COLUMNS = ("image_id", "tags", "comment")
"""Of the exported CSV; tags are parted by `;`."""

SUGGESTED = ("look again", "label doubtful", "artefact", "poor image", "for teaching")
"""Tags that the page offers; a reader may write others."""

MOST = 2000
"""Characters that a comment may have, and all tags of an image together."""


@dataclass(frozen=True)
class Tagged:
    """A reader's words about one image; not both are empty."""

    tags: tuple[str, ...]
    comment: str


def read_tags(path: Path, known: Collection[str]) -> dict[str, Tagged]:
    """Read what the page exported; rows without a tag or comment are left out.

    Parameters
    ----------
    path : CSV with `COLUMNS`, in any order; other columns are not looked at
    known : image ids of the predictions

    Returns
    -------
    tagged : image id -> the reader's words

    Raises
    ------
    DataError : no such file, no CSV, or a column is missing.
    TableError : all wrong rows at once: an unknown or repeated id, words too long.
    """
    path = Path(path)
    table = read_csv_text(path)
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise DataError(
            f"The tags have no column {', '.join(missing)}; found {', '.join(table) or 'none'}.",
            where=path,
            expected=", ".join(COLUMNS),
            fix="export them from the gallery's page",
        )
    known, seen, tagged, problems = set(known), set(), {}, []
    cells = zip(*(table[name] for name in COLUMNS), strict=True)
    for row, (image_id, tags, comment) in enumerate(cells, start=2):
        words = tuple(dict.fromkeys(tag.strip() for tag in tags.split(";") if tag.strip()))
        why, column = _problem(image_id, words, comment, known, seen)
        if why:
            problems.append(Problem(why, path.name, row, column))
        elif words or comment.strip():
            tagged[image_id] = Tagged(words, comment.strip())
        seen.add(image_id)
    if problems:
        raise TableError("The tags do not fit this run", problems, where=path, fix="mend or leave out these rows")
    return tagged


def _problem(image_id: str, tags: tuple[str, ...], comment: str, known: set[str], seen: set[str]) -> tuple[str, str]:
    """What is wrong with a row, and in which column; nothing where nothing is."""
    if image_id not in known:
        return f"the image {image_id!r} is not in the predictions", "image_id"
    if image_id in seen:
        return f"the image {image_id!r} stands there twice", "image_id"
    if max(len(comment), len(";".join(tags))) > MOST:
        return f"more than {MOST} characters", "comment" if len(comment) > MOST else "tags"
    return "", ""

"""How does a stage get a data set it may trust: read, every file looked into, and on which side of which split?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melascope.data.audit import audit_dataset
from melascope.data.audit_text import audit_markdown
from melascope.data.pixels import PixelStore
from melascope.data.sources import read_dataset
from melascope.data.sources.image_folder import Labels
from melascope.data.split import Split
from melascope.data.validate import validate
from melascope.errors import RunError
from melascope.files import make_folder, write_json, write_text
from melascope.stages.reporting import Reporter
from melascope.tables.lesions import LesionTable


@dataclass(frozen=True)
class Dataset:
    """A validated dataset table and the folder in which its decoded pixels are kept."""

    table: LesionTable
    store_folder: Path

    @classmethod
    def open(
        cls, root: Path, *, source: str | None, labels: Labels | None, store_folder: Path, reporter: Reporter
    ) -> Dataset:
        """Read and validate; every problem of the data set is raised at once."""
        return cls(read_validated(root, source, labels, reporter), store_folder)

    def pixels(self, width: int, height: int, reporter: Reporter) -> PixelStore:
        """The decoded store at this size, made now if it is not there yet."""
        with reporter.bar(f"decoding to {width}×{height}") as advance:
            return PixelStore.build(self.table, width, height, self.store_folder, progress=advance)


def read_validated(root: Path, source: str | None, labels: Labels | None, reporter: Reporter) -> LesionTable:
    """The dataset table of a folder, every file looked into; its fingerprint is the one that all runs name."""
    table = read_dataset(root, source, labels)
    with reporter.bar("validating") as advance:
        return validate(table, progress=advance).usable()


def audit_data(table: LesionTable, split: Split | None, out: Path, reporter: Reporter) -> tuple[str, Path]:
    """Audit a data set; `audit.json` and `AUDIT.md` go to `out`.

    Returns
    -------
    text, path : the audit in Markdown, and its file
    """
    make_folder(out)
    with reporter.bar("auditing") as advance:
        audit = audit_dataset(table, split, progress=advance)
    write_json(out / "audit.json", audit.as_json())
    text = audit_markdown(audit)
    return text, write_text(out / "AUDIT.md", text)


def folder_of(facts: dict[str, Any], given: Path | None = None) -> Path:
    """Where the images of a run lie: as given, else as its `run.json` says.

    Raises
    ------
    RunError : a packed run tells no place.
    """
    if not (given or facts["data"]):
        raise RunError(
            "The run was packed: it brings no images, and does not tell where its own lie.",
            fix="name the data set's folder with --data, or images as an argument",
        )
    return Path(given or facts["data"])


def labels_of(facts: dict[str, Any]) -> Labels | None:
    """The labels of loose images that a run was trained with, from its `run.json`."""
    return Labels.from_json(facts["labels"]) if facts.get("labels") else None

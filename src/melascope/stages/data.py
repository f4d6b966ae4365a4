"""How does a stage get a data set it may trust: read, every file looked into, and on which side of which split?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melascope.data.pixels import PixelStore
from melascope.data.sources import read_dataset
from melascope.data.sources.image_folder import Labels
from melascope.data.validate import validate
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
        table = read_dataset(root, source, labels)
        with reporter.bar("validating") as advance:
            usable = validate(table, progress=advance).usable()
        return cls(usable, store_folder)

    def pixels(self, width: int, height: int, reporter: Reporter) -> PixelStore:
        """The decoded store at this size, made now if it is not there yet."""
        with reporter.bar(f"decoding to {width}×{height}") as advance:
            return PixelStore.build(self.table, width, height, self.store_folder, progress=advance)


def labels_of(facts: dict[str, Any]) -> Labels | None:
    """The labels of loose images that a run was trained with, from its `run.json`."""
    return Labels.from_json(facts["labels"]) if facts.get("labels") else None

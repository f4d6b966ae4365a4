"""What did the tests of a run's maps find: every figure with its n and interval, the gate, and a row for each image?"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from melascope.errors import RunError
from melascope.files import read_json, write_json, write_text
from melascope.tables.formulas import guarded
from melascope.tables.results import Estimate, Figure, NotApplicable, figure_from_json
from melascope.tables.runs import RunDirectory

SCHEMA_VERSION = 1
TESTS_FILE = "map_tests.json"
READ_NOTHING = "Read nothing into these maps."

COLUMNS = ("test", "figure", "map_of", "group", "against", "value", "low", "high", "n", "n_lesions", "not_applicable")


@dataclass(frozen=True)
class MapFigure:
    """One figure of the tests.

    Parameters
    ----------
    test : "lesion mask", "faithfulness" or "sanity"
    name : e.g. "share_inside", "deletion_blur", "rank_correlation"
    map_of : whose map: a class, "predicted", "true", or "all classes"
    group : images: "all", "dx=mel", "mel missed", "mel caught", "mel missed - caught"; of sanity the stage
    against : "" for the map itself; a baseline's name for the baseline's own figure; "map - NAME" for the paired
        difference of the two
    figure : `Estimate` or `NotApplicable`
    """

    test: str
    name: str
    map_of: str
    group: str
    against: str
    figure: Figure

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        return self.test, self.name, self.map_of, self.group, self.against


@dataclass(frozen=True)
class GateCheck:
    """One condition of the sanity gate, as it came out."""

    name: str
    found: str
    expected: str
    passed: bool


@dataclass(frozen=True)
class MapTests:
    """Everything that was found out about the maps of one run.

    Parameters
    ----------
    facts : run, checkpoint, method, layer, split, how many images, which masks, seeds
    figures : in reading order
    gate : conditions of the sanity gate
    """

    facts: dict[str, Any]
    figures: tuple[MapFigure, ...]
    gate: tuple[GateCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether every condition of the gate holds; a gate without conditions is not passed."""
        return bool(self.gate) and all(check.passed for check in self.gate)

    def are_of(self, checkpoint_sha256: str, method: str, layer: str) -> bool:
        """Whether these very maps were tested."""
        asked = {"checkpoint_sha256": checkpoint_sha256, "method": method, "layer": layer}
        return all(self.facts.get(name) == value for name, value in asked.items())

    @property
    def headline(self) -> str:
        """Whether the gate was passed, and what follows."""
        if self.passed:
            return "Sanity gate passed: the maps change when the network is randomised."
        return f"SANITY GATE FAILED: the maps do not hang on what the network has learnt. {READ_NOTHING}"

    @property
    def found(self) -> str:
        """What each condition of the gate found."""
        return "Found: " + "; ".join(f"{one.name}, {one.found} ({one.expected})" for one in self.gate) + "."

    def of(self, test: str, name: str, *, map_of: str = "predicted", group: str = "all", against: str = "") -> Figure:
        """One figure; `KeyError` where it was not asked."""
        for one in self.figures:
            if one.key == (test, name, map_of, group, against):
                return one.figure
        raise KeyError((test, name, map_of, group, against))

    def in_short(self) -> MapTests:
        """The gate, and of the figures what a page tells: of all images, predicted class; and every stage's."""
        usual = ("predicted", "all")
        told = [one for one in self.figures if (one.map_of, one.group) == usual or one.test == "sanity"]
        return replace(self, figures=tuple(told))

    def write(self, folder: Path) -> Path:
        """Write `map_tests.json` and, for spreadsheets, `figures.csv`; return the first's path."""
        write_text(folder / "figures.csv", csv_of(COLUMNS, [_row(one) for one in self.figures]))
        content = {
            "schema_version": SCHEMA_VERSION,
            "facts": self.facts,
            "gate": [asdict(check) for check in self.gate],
            "passed": self.passed,
            "figures": [{**_named(one), "figure": one.figure.as_json()} for one in self.figures],
        }
        return write_json(folder / TESTS_FILE, content)

    @classmethod
    def read(cls, folder: Path) -> MapTests:
        """Read what `write` wrote; anything else is a `RunError`."""
        path = Path(folder) / TESTS_FILE
        content = read_json(path)
        try:
            if content["schema_version"] != SCHEMA_VERSION or not isinstance(content["facts"], dict):
                raise ValueError(f"schema {content['schema_version']}")
            figures = tuple(
                MapFigure(**{**one, "figure": figure_from_json(one["figure"])}) for one in content["figures"]
            )
            return cls(content["facts"], figures, tuple(GateCheck(**check) for check in content["gate"]))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"The tests of the maps cannot be read ({error}).",
                where=path,
                expected=f"schema {SCHEMA_VERSION}",
                fix="melascope explain RUN --test",
            ) from error


@dataclass(frozen=True)
class Sanity:
    """What the sanity gate said of maps, for whoever looks at one.

    Parameters
    ----------
    passed : None where these maps were never tested
    headline : the same in a sentence
    found : what each condition of the gate found
    """

    passed: bool | None
    headline: str
    found: str = ""

    @classmethod
    def of(cls, run: RunDirectory, checkpoint_sha256: str, *, method: str, layer: str) -> Sanity:
        """Of the maps that one method makes of a run's weights at a layer; tests of other maps say nothing of them."""
        if not (run.map_tests / TESTS_FILE).is_file():
            return UNTESTED
        try:
            tests = MapTests.read(run.map_tests)
        except RunError as error:
            return cls(None, f"{UNTESTED.headline} Their tests cannot be read: {error.found}")
        if tests.are_of(checkpoint_sha256, method, layer) and tests.gate:
            return cls(tests.passed, tests.headline, tests.found)
        return UNTESTED

    @property
    def words(self) -> str:
        return f"{self.headline} {self.found}".strip()

    @property
    def in_a_word(self) -> str:
        """passed, failed or untested."""
        return {True: "passed", False: "failed", None: "untested"}[self.passed]

    def as_json(self) -> dict[str, str]:
        return {"gate": self.in_a_word, "words": self.words}

    @property
    def warning(self) -> str:
        """What must stand on a map itself, in few words; empty unless the gate failed."""
        return f"SANITY GATE FAILED. {READ_NOTHING}" if self.passed is False else ""


UNTESTED = Sanity(None, "The sanity gate was not asked about these maps.")


def csv_of(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV text; what is not there is empty. Text that a spreadsheet would take for a formula gets a quote."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_cell(row.get(column, "")) for column in columns] for row in rows])
    return stream.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int | float):
        return "" if value != value else repr(value)
    return guarded(" ".join(str(value).split()))


def _named(one: MapFigure) -> dict[str, str]:
    return {"test": one.test, "name": one.name, "map_of": one.map_of, "group": one.group, "against": one.against}


def _row(one: MapFigure) -> dict[str, Any]:
    named = _named(one)
    named["figure"] = named.pop("name")
    if isinstance(one.figure, NotApplicable):
        return {**named, "not_applicable": one.figure.reason}
    numbers: Estimate = one.figure
    found = {name: getattr(numbers, name) for name in ("value", "low", "high", "n", "n_lesions")}
    return {**named, **{name: "" if value is None else value for name, value in found.items()}}

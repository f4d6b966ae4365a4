"""What is written down of a comparison, and how is it read back?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from melascope.classes import RESEARCH_ONLY
from melascope.errors import RunError
from melascope.evaluation.lesion_level import LESION_RULE
from melascope.evaluation.operating_point import OperatingPoint
from melascope.evaluation.record import csv_text, plural
from melascope.evaluation.target import target_name
from melascope.files import make_folder, read_json, write_json, write_text
from melascope.tables.predictions import PredictionsOrigin
from melascope.tables.results import Estimate, Figure, NotApplicable, figures_as_json, figures_from_json

SCHEMA_VERSION = 2
COMPARISON_FILE = "comparison.json"


@dataclass(frozen=True)
class Member:
    """One run or table.

    Parameters
    ----------
    name : as given.
    seed : of a run's recipe; None for a table.
    origin : of its predictions.
    operating_point : its own frozen point, or None.
    values : figure -> value, None where undefined.
    """

    name: str
    seed: int | None
    origin: PredictionsOrigin
    operating_point: OperatingPoint | None
    values: dict[str, float | None]

    def as_json(self) -> dict[str, Any]:
        point = self.operating_point.as_json() if self.operating_point else None
        return {**vars(self), "origin": asdict(self.origin), "operating_point": point}

    @classmethod
    def from_json(cls, content: dict[str, Any], where: Path | str) -> Member:
        point = OperatingPoint.from_json(content["operating_point"], where) if content["operating_point"] else None
        return cls(**{**content, "origin": PredictionsOrigin(**content["origin"]), "operating_point": point})


@dataclass(frozen=True)
class SeedSpread:
    """How much a figure moves with the seed alone.

    Parameters
    ----------
    n_seeds : at least two
    mean : of the seeds' values
    sd : their standard deviation (divided by n_seeds - 1)
    low, high : the lowest and the highest
    """

    n_seeds: int
    mean: float
    sd: float
    low: float
    high: float

    def __str__(self) -> str:
        told = f"mean {self.mean:.3f}, SD {self.sd:.3f}, {self.low:.3f} to {self.high:.3f}"
        return f"{told} (spread of {self.n_seeds} seeds)"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Contender:
    """What is compared: one run or table, or several seeds of one recipe.

    Parameters
    ----------
    letter : short name in tables and plots; A is what the others are compared with.
    name : of the run or table, or of the recipe and its number of seeds.
    members : one, or one a seed.
    figures : figure -> mean over the members; its interval holds the choice of images, not of seeds.
    histology : the same figures on the images whose truth comes from histology.
    seed_spread : figure -> its spread over the seeds.
    """

    letter: str
    name: str
    members: tuple[Member, ...]
    figures: dict[str, Figure]
    histology: dict[str, Figure]
    seed_spread: dict[str, SeedSpread | NotApplicable]

    @property
    def rule(self) -> str:
        """How it decides, in words."""
        points = [member.operating_point for member in self.members]
        if points[0] is None:
            return "no threshold, top class only"
        low, high = min(point.threshold for point in points), max(point.threshold for point in points)
        frozen = f"threshold {low:.3g}" if low == high else f"thresholds {low:.3g} to {high:.3g}"
        asked = f"rule {points[0].rule}, target {points[0].target_sensitivity:.2f}"
        return f"{frozen}, frozen on validation ({asked})"

    def as_json(self) -> dict[str, Any]:
        return {
            "letter": self.letter,
            "name": self.name,
            "rule": self.rule,
            "members": [member.as_json() for member in self.members],
            "figures": figures_as_json(self.figures),
            "histology": figures_as_json(self.histology),
            "seed_spread": {name: spread.as_json() for name, spread in self.seed_spread.items()},
        }

    @classmethod
    def from_json(cls, content: dict[str, Any], where: Path | str) -> Contender:
        spread = {
            name: NotApplicable(one["not_applicable"]) if "not_applicable" in one else SeedSpread(**one)
            for name, one in content["seed_spread"].items()
        }
        return cls(
            letter=content["letter"],
            name=content["name"],
            members=tuple(Member.from_json(member, where) for member in content["members"]),
            figures=figures_from_json(content["figures"]),
            histology=figures_from_json(content["histology"]),
            seed_spread=spread,
        )


@dataclass(frozen=True)
class Discordance:
    """Who finds which images (or lesions) of the target: the paired table of McNemar (1947, Psychometrika 12, 153).

    A recipe finds what more than half of its seeds find.

    Parameters
    ----------
    both, neither : found by both, and by neither.
    only_first, only_other : ids of the images (or lesions) that one finds and the other misses.
    """

    both: int
    neither: int
    only_first: tuple[str, ...]
    only_other: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        counts = {"both": self.both, "neither": self.neither}
        counts |= {"n_only_first": len(self.only_first), "n_only_other": len(self.only_other)}
        return {**counts, "only_first": list(self.only_first), "only_other": list(self.only_other)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Discordance:
        ids = {name: tuple(content[name]) for name in ("only_first", "only_other")}
        return cls(both=content["both"], neither=content["neither"], **ids)


@dataclass(frozen=True)
class Pair:
    """One contender against the first.

    Parameters
    ----------
    first, other : letters.
    differences : figure -> other less first, with the interval of the difference.
    histology : the same differences on the images whose truth comes from histology.
    found : "image" and "lesion" -> who finds which of the target.
    found_at : by which decision, "operating_point", or "argmax" for both where one of them has no threshold.
    """

    first: str
    other: str
    differences: dict[str, Figure]
    histology: dict[str, Figure]
    found: dict[str, Discordance]
    found_at: str

    @property
    def name(self) -> str:
        return f"{self.other} − {self.first}"

    def as_json(self) -> dict[str, Any]:
        found = {unit: table.as_json() for unit, table in self.found.items()}
        figures = {name: figures_as_json(getattr(self, name)) for name in ("differences", "histology")}
        return {**vars(self), **figures, "found": found}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Pair:
        found = {unit: Discordance.from_json(table) for unit, table in content["found"].items()}
        figures = {name: figures_from_json(content[name]) for name in ("differences", "histology")}
        return cls(**{**content, **figures, "found": found})


@dataclass(frozen=True)
class Comparison:
    """Everything that was found about several models on the same images.

    Parameters
    ----------
    split : the rows that were judged.
    target : classes to be found.
    draws, seed : of the lesion bootstrap.
    n_images, n_lesions : common to all.
    n_target_images, n_target_lesions : those of the target.
    n_histology_images, n_histology_lesions : those whose truth comes from histology.
    left_out : run or table -> images that it judged and not all others did.
    contenders : in the order given; seeds of one recipe are one.
    pairs : each against the first.
    notes : sentences that belong beside every figure; gravest first.
    """

    split: str
    target: tuple[str, ...]
    draws: int
    seed: int
    n_images: int
    n_lesions: int
    n_target_images: int
    n_target_lesions: int
    n_histology_images: int
    n_histology_lesions: int
    left_out: dict[str, int]
    contenders: tuple[Contender, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]

    @property
    def target_name(self) -> str:
        """The target in words."""
        return target_name(self.target)

    @property
    def source(self) -> str:
        """Where the images are from: "phantom" as soon as one table says so, else the first table's word."""
        sources = [member.origin.source for contender in self.contenders for member in contender.members]
        return "phantom" if "phantom" in sources else sources[0]

    @property
    def sizes(self) -> str:
        """How many images and lesions, and how many of the target: as in a sentence."""
        return (
            f"{self.split}: {plural(self.n_images, 'image')} of {plural(self.n_lesions, 'lesion')}; "
            f"{self.target_name}: {plural(self.n_target_images, 'image')} of {plural(self.n_target_lesions, 'lesion')}"
        )

    @property
    def histology_sizes(self) -> str:
        """How many images and lesions the histology-only figures rest on."""
        told = f"{plural(self.n_histology_images, 'image')} of {plural(self.n_histology_lesions, 'lesion')}"
        return f"histology only: {told}"

    def as_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "split": self.split,
            "target": list(self.target),
            "lesion_rule": LESION_RULE,
            "interval": {"level": 0.95, "draws": self.draws, "seed": self.seed, "unit": "lesion"},
            **{name: getattr(self, name) for name in _SIZES},
            "left_out": self.left_out,
            "contenders": [contender.as_json() for contender in self.contenders],
            "pairs": [pair.as_json() for pair in self.pairs],
            "notes": list(self.notes),
            "notice": RESEARCH_ONLY,
        }

    @classmethod
    def from_json(cls, content: Any, where: Path | str = "comparison") -> Comparison:
        """Read back what `as_json` wrote."""
        if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
            raise RunError("This is not a comparison.", where=where, expected=f"schema version {SCHEMA_VERSION}")
        return cls(
            split=content["split"],
            target=tuple(content["target"]),
            draws=content["interval"]["draws"],
            seed=content["interval"]["seed"],
            **{name: content[name] for name in _SIZES},
            left_out=content["left_out"],
            contenders=tuple(Contender.from_json(contender, where) for contender in content["contenders"]),
            pairs=tuple(Pair.from_json(pair) for pair in content["pairs"]),
            notes=tuple(content["notes"]),
        )

    @classmethod
    def read(cls, folder: Path) -> Comparison:
        """Read `comparison.json` of a folder that `write` made."""
        path = Path(folder) / COMPARISON_FILE
        return cls.from_json(read_json(path), where=path)

    def write(self, folder: Path) -> Path:
        """Write `comparison.json` and, for spreadsheets, `comparison.csv`; return the first's path."""
        folder = make_folder(Path(folder))
        write_text(folder / "comparison.csv", ",".join(_COLUMNS) + "\n" + "".join(self._csv_lines()))
        return write_json(folder / COMPARISON_FILE, self.as_json())

    def _csv_lines(self) -> Iterator[str]:
        names = {contender.letter: contender.name for contender in self.contenders}
        for contender in self.contenders:
            for kind, figures in (("figure", contender.figures), ("figure, histology only", contender.histology)):
                for name, figure in figures.items():
                    yield _csv_line(kind, contender.name, "", name, figure)
        for pair in self.pairs:
            both = (("difference", pair.differences), ("difference, histology only", pair.histology))
            for kind, figures in both:
                for name, figure in figures.items():
                    yield _csv_line(kind, names[pair.other], names[pair.first], name, figure)
        for contender in self.contenders:
            for name, spread in contender.seed_spread.items():
                told = spread if isinstance(spread, NotApplicable) else (spread.sd, None, None, spread.n_seeds, None)
                yield _csv_line("seed SD", contender.name, "", name, told)
            for member in contender.members:
                for name, value in member.values.items():
                    yield _csv_line("run", member.name, "", name, (value, None, None, None, None))


_SIZES = (
    *("n_images", "n_lesions", "n_target_images", "n_target_lesions"),
    *("n_histology_images", "n_histology_lesions"),
)
_COLUMNS = ("kind", "name", "against", "figure", "not_applicable", "value", "low", "high", "n", "n_lesions")


def _csv_line(kind: str, name: str, against: str, figure: str, told: Figure | tuple) -> str:
    """Text first, then numbers: only text is kept from starting a formula, a negative number stays one."""
    reason, numbers = "", told
    if isinstance(told, NotApplicable):
        reason, numbers = told.reason, (None,) * 5
    elif isinstance(told, Estimate):
        numbers = (told.value, told.low, told.high, told.n, told.n_lesions)
    text = csv_text([[kind, name, against, figure, reason]]).rstrip("\n")
    return text + "".join("," if number is None else f",{number!r}" for number in numbers) + "\n"


def signed(figure: Figure, digits: int = 3) -> str:
    """A difference as in a table: `+0.05 [-0.01, +0.11]`, or the reason why there is none."""
    if isinstance(figure, NotApplicable):
        return str(figure)

    def told(number: float) -> str:
        return f"{round(number, digits) + 0.0:+.{digits}f}"  # + 0.0 takes the sign from a zero

    interval = f" [{told(figure.low)}, {told(figure.high)}]" if figure.low is not None else ""
    return told(figure.value) + interval

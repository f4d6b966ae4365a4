"""What is written down of an evaluation, and how is it read back?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from melascope.classes import CLASSES, RESEARCH_ONLY
from melascope.errors import RunError
from melascope.evaluation.abstention import RiskCoverage
from melascope.evaluation.calibration import Calibration
from melascope.evaluation.conformal import Conformal
from melascope.evaluation.decisions import Decision
from melascope.evaluation.headlines import UNMEASURED, HistologyLine, part_from_json
from melascope.evaluation.lesion_level import LESION_RULE
from melascope.evaluation.operating_point import OperatingPoint, target_name
from melascope.evaluation.spreadsheets import CELL_COLUMNS, FIGURE_COLUMNS, cell_rows, csv_text, figure_rows
from melascope.evaluation.subgroups import Subgroup
from melascope.evaluation.utility import DecisionCurve
from melascope.files import make_folder, read_json, write_json, write_text
from melascope.tables.predictions import PredictionsOrigin
from melascope.tables.results import (
    Estimate,
    Figure,
    NotApplicable,
    figure_from_json,
    figures_as_json,
    figures_from_json,
)

SCHEMA_VERSION = 2
EVALUATION_FILE = "evaluation.json"


@dataclass(frozen=True)
class Level:
    """Figures of images one by one, or of lesions, one result a lesion.

    Parameters
    ----------
    confusion : (7, 7) images or lesions by truth (rows) and predicted class (columns).
    row_shares : (7, 7) the same as shares of the truth's images or lesions, each with its interval by lesion; on the
        diagonal stands recall. Empty in an evaluation that was written before they were measured.
    overall : accuracy, balanced_accuracy, macro_f1.
    per_class : recall, specificity, ppv, auroc, average_precision: class -> figure.
    target : auroc, average_precision, partial_auroc of P(target).
    """

    confusion: tuple[tuple[int, ...], ...]
    overall: dict[str, Figure]
    per_class: dict[str, dict[str, Figure]]
    target: dict[str, Figure]
    row_shares: tuple[tuple[Figure, ...], ...] = ()

    def cells(self) -> Iterator[tuple[str, str, int, Figure]]:
        """Truth, predicted class, count and row share of every cell of the confusion matrix, row by row."""
        for truth, counts, shares in zip(CLASSES, self.confusion, self.row_shares, strict=True):
            yield from ((truth, *cell) for cell in zip(CLASSES, counts, shares, strict=True))

    def as_json(self) -> dict[str, Any]:
        return {
            "confusion": [list(row) for row in self.confusion],
            "row_shares": [[figure.as_json() for figure in row] for row in self.row_shares],
            "overall": figures_as_json(self.overall),
            "per_class": {metric: figures_as_json(figures) for metric, figures in self.per_class.items()},
            "target": figures_as_json(self.target),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Level:
        return cls(
            confusion=tuple(tuple(row) for row in content["confusion"]),
            overall=figures_from_json(content["overall"]),
            per_class={metric: figures_from_json(figures) for metric, figures in content["per_class"].items()},
            target=figures_from_json(content["target"]),
            row_shares=tuple(tuple(figure_from_json(one) for one in row) for row in content.get("row_shares", ())),
        )


@dataclass(frozen=True)
class Group:
    """All figures of a group of images.

    Parameters
    ----------
    n_images, n_lesions : its size.
    class_counts : class -> (images, lesions).
    image, lesion : figures of its images, and of its lesions.
    decisions : about the target, at argmax and at the operating point, per image and per lesion.
    """

    n_images: int
    n_lesions: int
    class_counts: dict[str, tuple[int, int]]
    image: Level
    lesion: Level
    decisions: tuple[Decision, ...]

    def decision(self, at: str, unit: str) -> Decision | None:
        """The decision figures `at` "argmax" or "operating_point" for `unit` "image" or "lesion", if there are any."""
        return next((decision for decision in self.decisions if (decision.at, decision.unit) == (at, unit)), None)

    def size_of(self, target: tuple[str, ...]) -> tuple[int, int]:
        """Images and lesions of the target classes."""
        images, lesions = zip(*(self.class_counts[name] for name in target), strict=True)
        return sum(images), sum(lesions)

    def as_json(self) -> dict[str, Any]:
        return {
            "n_images": self.n_images,
            "n_lesions": self.n_lesions,
            "class_counts": {name: list(counts) for name, counts in self.class_counts.items()},
            "image": self.image.as_json(),
            "lesion": self.lesion.as_json(),
            "decisions": [decision.as_json() for decision in self.decisions],
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Group:
        return cls(
            n_images=content["n_images"],
            n_lesions=content["n_lesions"],
            class_counts={name: tuple(counts) for name, counts in content["class_counts"].items()},
            image=Level.from_json(content["image"]),
            lesion=Level.from_json(content["lesion"]),
            decisions=tuple(Decision.from_json(decision) for decision in content["decisions"]),
        )


@dataclass(frozen=True)
class Evaluation:
    """Everything that was found about a predictions table.

    Parameters
    ----------
    split : the rows that were judged; "" where the table names no splits.
    target : classes to be found, e.g. ("mel",).
    origin : where the table comes from.
    operating_point : the frozen point, or None: then only argmax is judged.
    draws, seed : of the lesion bootstrap.
    groups : "all" and "histology" (truth confirmed under the microscope); a group without images is NotApplicable.
    calibration : whether the probabilities can be taken at their word, image by image.
    decision_curve : net benefit against calling everybody, or nobody.
    risk_coverage : what the model would miss if it could abstain.
    conformal : sets of classes, calibrated on validation.
    subgroups : parts of the images by sex, age, site … (`subgroups.FACTORS`).
    caveats : sentences that belong beside every figure.
    left_out : word for the truth that is none of our classes -> rows of the table that no figure counts.
    lesion_calibration : as `calibration`, one result a lesion.
    histology_line : calibration, net benefit and abstention where truth comes from histology.
    """

    split: str
    target: tuple[str, ...]
    origin: PredictionsOrigin
    operating_point: OperatingPoint | None
    draws: int
    seed: int
    groups: dict[str, Group | NotApplicable]
    subgroups: tuple[Subgroup, ...]
    calibration: Calibration
    decision_curve: DecisionCurve | NotApplicable
    risk_coverage: RiskCoverage
    conformal: Conformal | NotApplicable
    caveats: tuple[str, ...]
    left_out: dict[str, int] = field(default_factory=dict)
    lesion_calibration: Calibration | NotApplicable = UNMEASURED
    histology_line: HistologyLine | NotApplicable = UNMEASURED

    @property
    def whole(self) -> Group:
        """The group of all judged images."""
        return self.groups["all"]  # type: ignore[return-value]  # evaluate() refuses a table without rows

    @property
    def target_name(self) -> str:
        """The target in words."""
        return target_name(self.target)

    @property
    def at(self) -> str:
        """The decision that the headline tells: at the operating point where there is one."""
        return "operating_point" if self.operating_point else "argmax"

    @property
    def rule(self) -> str:
        """That decision's rule in words."""
        if self.operating_point is None:
            return "top class"
        return f"threshold {self.operating_point.threshold:.3g}, frozen on validation"

    @property
    def is_phantom(self) -> bool:
        """Whether the images were drawn by a computer."""
        return self.origin.source == "phantom"

    def headline(self) -> str:
        """One sentence: sensitivity and specificity for the target, with n, interval, and where the threshold is from.

        >>> evaluation.headline()  # doctest: +SKIP
        'melanoma, 124 images of 72 lesions (test), threshold 0.137 frozen on validation: sensitivity 0.83 ...'
        """
        decision = self.whole.decision(self.at, "image")
        images, lesions = self.whole.size_of(self.target)
        rule = self.rule.replace(",", "") if self.operating_point else "top class, no threshold"
        return (
            f"{'PHANTOM (synthetic images): ' if self.is_phantom else ''}{self.target_name}, "
            f"{plural(images, 'image')} of {plural(lesions, 'lesion')} ({self.split or 'all rows'}), {rule}: "
            f"sensitivity {share(decision.figures['sensitivity'], decision.tp)}, "
            f"specificity {share(decision.figures['specificity'], decision.tn)}"
        )

    def histology(self) -> str:
        """The line that stands beside every headline: the same figures where truth comes from histology alone.

        Nevi that nobody excised are the easy ones; among the excised, specificity is lower.
        """
        group = self.groups["histology"]
        if isinstance(group, NotApplicable):
            return f"histology only: {group}"
        decision = group.decision(self.at, "image")
        return (
            f"histology only, {plural(group.n_images, 'image')} of {plural(group.n_lesions, 'lesion')}: "
            f"sensitivity {share(decision.figures['sensitivity'], decision.tp)}, "
            f"specificity {share(decision.figures['specificity'], decision.tn)}"
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "headline": self.headline(),
            "headline_histology": self.histology(),
            "split": self.split,
            "target": list(self.target),
            "origin": asdict(self.origin),
            "operating_point": self.operating_point.as_json() if self.operating_point else None,
            "lesion_rule": LESION_RULE,
            "interval": {"level": 0.95, "draws": self.draws, "seed": self.seed, "unit": "lesion"},
            "groups": {name: group.as_json() for name, group in self.groups.items()},
            "subgroups": [subgroup.as_json() for subgroup in self.subgroups],
            "calibration": self.calibration.as_json(),
            "lesion_calibration": self.lesion_calibration.as_json(),
            "decision_curve": self.decision_curve.as_json(),
            "risk_coverage": self.risk_coverage.as_json(),
            "histology_line": self.histology_line.as_json(),
            "conformal": self.conformal.as_json(),
            "left_out": self.left_out,
            "caveats": list(self.caveats),
            "notice": RESEARCH_ONLY,
        }

    @classmethod
    def from_json(cls, content: Any, where: Path | str = "evaluation") -> Evaluation:
        """Read back what `as_json` wrote."""
        if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
            raise RunError("This is not an evaluation.", where=where, expected=f"schema version {SCHEMA_VERSION}")
        point = content["operating_point"]
        return cls(
            split=content["split"],
            target=tuple(content["target"]),
            origin=PredictionsOrigin(**content["origin"]),
            operating_point=OperatingPoint.from_json(point, where) if point else None,
            draws=content["interval"]["draws"],
            seed=content["interval"]["seed"],
            groups={name: part_from_json(Group, group) for name, group in content["groups"].items()},
            subgroups=tuple(Subgroup.from_json(subgroup) for subgroup in content["subgroups"]),
            calibration=Calibration.from_json(content["calibration"]),
            decision_curve=part_from_json(DecisionCurve, content["decision_curve"]),
            risk_coverage=RiskCoverage.from_json(content["risk_coverage"]),
            conformal=part_from_json(Conformal, content["conformal"]),
            caveats=tuple(content["caveats"]),
            left_out=content.get("left_out", {}),
            lesion_calibration=part_from_json(Calibration, content.get("lesion_calibration")),
            histology_line=part_from_json(HistologyLine, content.get("histology_line")),
        )

    @classmethod
    def read(cls, folder: Path) -> Evaluation:
        """Read `evaluation.json` of a folder that `write` made."""
        path = Path(folder) / EVALUATION_FILE
        return cls.from_json(read_json(path), where=path)

    def write(self, folder: Path) -> Path:
        """Write `evaluation.json` and tables for spreadsheets; return the first's path.

        `figures.csv` has every figure, `confusion.csv` the matrix of all images, `confusion_cells.csv` each of its
        cells (and those of lesions, and of histology alone) with its row share and interval.
        """
        folder = make_folder(Path(folder))
        rows = [["truth \\ predicted", *CLASSES]]
        rows += [[name, *map(str, row)] for name, row in zip(CLASSES, self.whole.image.confusion, strict=True)]
        write_text(folder / "confusion.csv", csv_text(rows))
        write_text(folder / "confusion_cells.csv", csv_text([list(CELL_COLUMNS), *cell_rows(self)]))
        write_text(folder / "figures.csv", csv_text([list(FIGURE_COLUMNS), *figure_rows(self)]))
        return write_json(folder / EVALUATION_FILE, self.as_json())


def plural(count: int, word: str) -> str:
    """`1 image`, `2 images`, `1,003 images`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def share(figure: Figure, count: int) -> str:
    """A proportion as in a sentence: `0.83 [0.75, 0.90] (103/124)`."""
    if isinstance(figure, NotApplicable):
        return str(figure)
    return f"{with_interval(figure)} ({count:,}/{figure.n:,})"


def with_interval(figure: Estimate, digits: int = 2) -> str:
    """`0.83 [0.75, 0.90]`, or the value alone where no interval could be computed."""
    text = rounded(figure.value, digits)
    digits = len(text.partition(".")[2])
    if figure.low is not None and figure.high is not None:
        text += f" [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"
    return text


def rounded(value: float, digits: int) -> str:
    """A number with `digits` decimals, and more where it would read as 1 (or 0) though something was missed."""
    text = f"{value:.{digits}f}"
    while digits < 6 and float(text) in (0.0, 1.0) and float(text) != value:
        digits += 1
        text = f"{value:.{digits}f}"
    return text

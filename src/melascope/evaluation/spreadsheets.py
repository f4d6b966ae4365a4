"""How do the figures of an evaluation become rows for a spreadsheet, in which no cell is taken for a formula?"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from melascope.evaluation.conformal import Conformal
from melascope.evaluation.decisions import at_prevalence
from melascope.evaluation.ranking import AREAS
from melascope.tables.formulas import guarded
from melascope.tables.results import Figure, NotApplicable

if TYPE_CHECKING:
    from melascope.evaluation.record import Evaluation, Group

_NUMBERS = ("value", "low", "high", "n", "n_lesions", "not_applicable")
FIGURE_COLUMNS = ("group", "figure", "class", "at", "unit", *_NUMBERS)
CELL_COLUMNS = ("group", "unit", "truth", "predicted", "count", "row_share", *_NUMBERS[1:])


def cell_rows(evaluation: Evaluation) -> Iterator[list[str]]:
    """Every cell of the confusion matrices under `CELL_COLUMNS`: of images and lesions, of all and histology alone."""
    for name, group in evaluation.groups.items():
        if isinstance(group, NotApplicable):
            continue
        for unit, level in (("image", group.image), ("lesion", group.lesion)):
            for truth, predicted, count, figure in level.cells():
                yield _figure_row([name, unit, truth, predicted, str(count)], figure)


def figure_rows(evaluation: Evaluation) -> Iterator[list[str]]:
    """Every figure under `FIGURE_COLUMNS`, or why it is missing."""
    target = "+".join(evaluation.target)
    for name, group in evaluation.groups.items():
        if isinstance(group, NotApplicable):
            yield _figure_row([name, "", "", "", ""], group)
        else:
            yield from _group_rows(name, group, target)
    yield from _headline_rows(evaluation, target)
    if isinstance(evaluation.conformal, Conformal):
        for one in evaluation.conformal.figures:
            key = f"conformal, {1 - one.rule.alpha:g} promised"
            for name, figure in one.coverage.items():
                yield _figure_row([key, "coverage", name, "set", "lesion"], figure)
            yield _figure_row([key, "mean_set_size", "", "set", "lesion"], one.mean_size)
    for part in evaluation.subgroups:
        for metric, figure in part.figures.items():
            unit = "lesion" if metric == "lesion_sensitivity" else "image"
            at = "P(target)" if metric in AREAS else evaluation.at
            yield _figure_row([f"{part.factor}: {part.value}", metric, target, at, unit], figure)


def _group_rows(name: str, group: Group, target: str) -> Iterator[list[str]]:
    for unit, level in (("image", group.image), ("lesion", group.lesion)):
        for metric, figure in level.overall.items():
            yield _figure_row([name, metric, "", "argmax", unit], figure)
        for metric, figures in level.per_class.items():
            at = "" if metric in AREAS else "argmax"
            yield from (_figure_row([name, metric, one, at, unit], one_of) for one, one_of in figures.items())
        for metric, figure in level.target.items():
            yield _figure_row([name, metric, target, "P(target)", unit], figure)
    for decision in group.decisions:
        key = [decision.at, decision.unit]
        for metric, figure in decision.figures.items():
            yield _figure_row([name, metric, target, *key], figure)
        for prevalence, figures in decision.at_prevalence.items():
            for metric, figure in figures.items():
                yield _figure_row([name, at_prevalence(metric, prevalence), target, *key], figure)


def _headline_rows(evaluation: Evaluation, target: str) -> Iterator[list[str]]:
    """Calibration and abstention, of all images, of lesions, and of images with truth from histology."""
    line, alone = evaluation.histology_line, ", histology only"
    calibration, abstention = (
        (line, line) if isinstance(line, NotApplicable) else (line.calibration, line.risk_coverage)
    )
    parts = (("", "image", evaluation.calibration), ("", "lesion", evaluation.lesion_calibration))
    for which, unit, one in (*parts, (alone, "image", calibration)):
        if isinstance(one, NotApplicable):
            yield _figure_row([f"calibration{which}", "", target, "", unit], one)
            continue
        for metric, figure in one.figures.items():
            yield _figure_row([f"calibration{which}", metric, target, "", unit], figure)
    for which, curve in (("", evaluation.risk_coverage), (alone, abstention)):
        for metric in ("aurc", "augrc"):
            figure = curve if isinstance(curve, NotApplicable) else getattr(curve, metric)
            yield _figure_row([f"abstention{which}", metric, "", "", "image"], figure)


def _figure_row(key: list[str], figure: Figure) -> list[str]:
    if isinstance(figure, NotApplicable):
        return [*key, "", "", "", "", "", figure.reason]
    numbers = [figure.value, figure.low, figure.high, figure.n, figure.n_lesions]
    return [*key, *("" if number is None else repr(number) for number in numbers), ""]


def csv_text(rows: list[list[str]]) -> str:
    """Rows as CSV text in which no cell starts a spreadsheet formula: line breaks go, a leading quote makes it text."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([[_harmless(cell) for cell in row] for row in rows])
    return stream.getvalue()


def _harmless(cell: str) -> str:
    line = " ".join(cell.split())
    return line if _is_number(line) else guarded(line)


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False

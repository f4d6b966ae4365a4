"""If the unsure images are passed on to a person, which melanomas are missed among the rest?"""

from __future__ import annotations

from melascope.evaluation.abstention import ABSTENTION_NOTES, HEADLINE_COVERAGES
from melascope.report.document import Bullets, Section, Table, Text, told
from melascope.report.run_record import RunRecord
from melascope.report.sections.answer import FIGURES, JSON
from melascope.report.sections.plots_of import plot


def section(record: RunRecord) -> Section:
    """Errors and missed target images among the accepted, by coverage."""
    title = "If the unsure images are passed on, what is missed among the rest?"
    words = _words(record)
    drawn = plot(record, "evaluation/risk_coverage.svg", "Risk and coverage", words)
    notes = Bullets(tuple(told(note) for note in ABSTENTION_NOTES))
    return Section("abstention", title, (_table(record), drawn, notes))


def _table(record: RunRecord) -> Table:
    name, rows = record.target, []
    for coverage in HEADLINE_COVERAGES:
        levels = record.evaluation.risk_coverage.levels
        place = next((place for place, level in enumerate(levels) if level.coverage == coverage), None)
        if place is None:
            continue
        path = ("risk_coverage", "levels", place)
        row: tuple[Text, ...] = (
            (record.traces.number(JSON, *path, "coverage", form="percent"),),
            (record.traces.count(JSON, *path, "n_images"),),
            (record.traces.number(JSON, *path, "risk", form="percent"),),
            (record.traces.count(JSON, *path, "n_missed"), " of ", record.traces.count(JSON, *path, "n_target")),
            (record.traces.number(JSON, *path, "missed", form="percent"),),
        )
        rows.append(row)
    columns = ("accepted", "images", "wrong class", f"{name} images missed among the accepted", "as a share of them")
    return Table("The surest images, by how many are accepted", columns, tuple(rows))


def _words(record: RunRecord) -> Text:
    row = ("abstention", "aurc", "", "", "image")
    return told(
        "Area under risk over coverage {aurc}, generalised {augrc} (lower is better), n = {n} images of {lesions} "
        "lesions. What is missed among the accepted stands in the table above.",
        aurc=record.traces.figure(FIGURES, *row, digits=3),
        augrc=record.traces.figure(FIGURES, "abstention", "augrc", "", "", "image", digits=3),
        n=record.traces.cell(FIGURES, *row, column="n"),
        lesions=record.traces.cell(FIGURES, *row, column="n_lesions"),
    )

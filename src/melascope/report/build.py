"""What does a run's report say, section by section, and what was not measured?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from melascope.evaluation.intervals import MIN_LESIONS
from melascope.report import checklist, model_card
from melascope.report.document import Block, Bullets, Code, Gap, Section, Sentence, told
from melascope.report.run_record import RunRecord
from melascope.report.sections import (
    abstention,
    answer,
    benefit,
    calibration,
    classes,
    comparison,
    data,
    found,
    interventions,
    maps,
    sets,
    subgroups,
    training,
    worst_cases,
)

SECTIONS: tuple[Callable[[RunRecord], Section], ...] = (
    answer.section,
    data.section,
    training.section,
    found.section,
    classes.section,
    subgroups.section,
    calibration.section,
    benefit.section,
    abstention.section,
    sets.section,
    maps.section,
    interventions.section,
    worst_cases.section,
    comparison.section,
    checklist.section,
    model_card.section,
)
"""Every section in reading order. A new one is a file with a function, and a row here."""


@dataclass(frozen=True)
class Report:
    """A report before it becomes a page.

    Parameters
    ----------
    run : the run directory's name.
    is_phantom : whether a program drew the images.
    sections : in reading order.
    """

    run: str
    is_phantom: bool
    sections: tuple[Section, ...]

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Everything that was not measured, in reading order."""
        return tuple(dict.fromkeys(gap for section in self.sections for gap in section.gaps))


def build_report(record: RunRecord) -> Report:
    """All sections of a run, and at the end how to read them and what is missing."""
    sections = tuple(section(record) for section in SECTIONS)
    report = Report(record.run.name, record.is_phantom, sections)
    return Report(report.run, report.is_phantom, (*sections, _reading(record, report.gaps)))


def _reading(record: RunRecord, gaps: tuple[Gap, ...]) -> Section:
    """What the brackets mean, what to know before believing a figure, and the commands that fill the gaps."""
    evaluation = record.evaluation
    notes = (
        told(
            "[ ] 95 % interval, its width from {draws} bootstrap draws of whole lesions; none for figures other than "
            f"shares on fewer than {MIN_LESIONS} lesions.",
            draws=record.traces.count("evaluation/evaluation.json", "interval", "draws"),
        ),
        told(
            "Every number names its file and row: below each table and plot, and, on a screen, where the pointer rests "
            "on it. RUN stands for the run directory {run}, DATA for its data set.",
            run=Code(record.run.name),
        ),
        *(told("{caveat}", caveat=caveat) for caveat in evaluation.caveats),
    )
    missing = tuple(told(f"{gap.what}: {{command}}", command=Code(gap.command)) for gap in gaps if gap.command)
    blocks: list[Block] = [Bullets(notes)]
    if missing:
        blocks += [Sentence(told("Not measured, and the command that would measure it:")), Bullets(missing)]
    return Section("reading", "How to read this, and what was not measured", tuple(blocks))

"""Can the probabilities be taken at their word?"""

from __future__ import annotations

from melascope.report.document import Section, Table, Text, told
from melascope.report.run_record import RunRecord
from melascope.report.sections.answer import FIGURES, JSON
from melascope.report.sections.plots_of import plot

LABELS: dict[str, tuple[str, str]] = {
    "target_calibration_slope": ("calibration slope", "1; below 1 the probabilities are too extreme"),
    "target_calibration_in_the_large": ("calibration in the large", "0; below 0 they are too high on average"),
    "target_observed_to_expected": ("observed / expected", "1; below 1 they are too high on average"),
    "target_expected_calibration_error": ("expected calibration error", "0, or what chance alone gives"),
    "target_brier_score": ("Brier score of P(target)", "0"),
    "expected_calibration_error": ("expected calibration error, top class", "0, or what chance alone gives"),
    "brier_score": ("Brier score, seven classes", "0"),
    "nll": ("negative log-likelihood", "0; knowing nothing gives 1.95"),
}
"""Figure -> its name, and what would be right."""


def section(record: RunRecord) -> Section:
    """The figures of calibration beside what chance alone would give, and the reliability plot."""
    title = "Can the probabilities be taken at their word?"
    reliability = plot(record, "evaluation/reliability.svg", "Is 20 % said where 20 % is true?", _words(record))
    return Section("calibration", title, (_table(record), reliability))


def _table(record: RunRecord) -> Table:
    rows: list[tuple[Text, ...]] = []
    for name, (label, right) in LABELS.items():
        figure = record.traces.figure(FIGURES, "calibration", name, record.target, "", "image", digits=3)
        chance: Text = ("–",)
        if name in record.evaluation.calibration.if_perfect:
            chance = (record.traces.number(JSON, "calibration", "if_perfect", name, digits=3),)
        rows.append(((label,), (figure,), (right,), chance))
    return Table(f"Calibration of P({record.target})", ("figure", "found", "right", "by chance alone"), tuple(rows))


def _words(record: RunRecord) -> Text:
    row = ("calibration", "target_calibration_slope", record.target, "", "image")
    return told(
        "Slope {slope} and observed/expected {ratio} (both 1 if right), n = {n} images of {lesions} lesions, at "
        "temperature {temperature}, which was fitted on validation.",
        slope=record.traces.figure(FIGURES, *row),
        ratio=record.traces.figure(FIGURES, "calibration", "target_observed_to_expected", record.target, "", "image"),
        n=record.traces.cell(FIGURES, *row, column="n"),
        lesions=record.traces.cell(FIGURES, *row, column="n_lesions"),
        temperature=record.traces.number(JSON, "calibration", "temperature"),
    )

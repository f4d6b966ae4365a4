"""At which price in false alarms can the target be found?"""

from __future__ import annotations

from melascope.evaluation.record import Group
from melascope.report.document import Block, Section, Sentence, Text, told
from melascope.report.run_record import RunRecord
from melascope.report.sections.answer import FIGURES
from melascope.report.sections.plots_of import plot


def section(record: RunRecord) -> Section:
    """ROC, precision and recall, and the thresholds."""
    name = record.target
    blocks: list[Block] = [
        plot(record, "evaluation/roc.svg", f"How much {name} is found, at what price in false alarms?", _roc(record)),
        plot(
            record, "evaluation/precision_recall.svg", f"Of the images called {name}, how many are?", _precision(record)
        ),
        plot(
            record,
            "evaluation/thresholds.svg",
            f"What would another threshold on P({name}) find and cost?",
            _thresholds(record),
        ),
        Sentence(_elsewhere(record)),
    ]
    return Section("found", "What is found, at what price in false alarms?", tuple(blocks))


def _ranking(record: RunRecord, figure: str, label: str) -> Text:
    """A figure of P(target) over all judged images, and where histology tells the truth."""
    row = (figure, record.target, "P(target)", "image")
    found = told(
        label + " {value}, n = {n} images of {lesions} lesions",
        value=record.traces.figure(FIGURES, "all", *row),
        n=record.traces.cell(FIGURES, "all", *row, column="n"),
        lesions=record.traces.cell(FIGURES, "all", *row, column="n_lesions"),
    )
    if not isinstance(record.evaluation.groups["histology"], Group):
        return (*found, ".")
    return (*found, *told("; histology only {value}.", value=record.traces.figure(FIGURES, "histology", *row)))


def at_threshold(record: RunRecord, *names: str) -> Text:
    """Figures of the headline's decision per image, with what they are shares of."""
    parts: list = []
    for name in names:
        row = ("all", name, record.target, record.evaluation.at, "image")
        parts += [", " if parts else "", f"{name.upper() if name in ('ppv', 'npv') else name} "]
        parts += [record.traces.figure(FIGURES, *row), " (n = ", record.traces.cell(FIGURES, *row, column="n"), ")"]
    return tuple(parts)


def _roc(record: RunRecord) -> Text:
    here = told(
        " At the frozen threshold, per image: {figures}.", figures=at_threshold(record, "sensitivity", "specificity")
    )
    return (*_ranking(record, "auroc", "Area under the ROC curve"), *here)


def _precision(record: RunRecord) -> Text:
    here = told(" At the frozen threshold, per image: {figures}.", figures=at_threshold(record, "sensitivity", "ppv"))
    return (*_ranking(record, "average_precision", "Average precision"), *here)


def _thresholds(record: RunRecord) -> Text:
    return told(
        "A lower threshold finds more and alarms more often. At the frozen one, {threshold}: {figures}.",
        threshold=record.traces.number("operating_point.json", "threshold", digits=4),
        figures=at_threshold(record, "sensitivity", "specificity"),
    )


def _elsewhere(record: RunRecord) -> Text:
    """PPV where the target is rarer or commoner."""
    decision = record.evaluation.whole.decision(record.evaluation.at, "image")
    parts: list = []
    for prevalence in decision.at_prevalence:
        figures = [
            record.traces.figure(FIGURES, "all", f"{name}_at_{prevalence:g}", record.target, decision.at, "image")
            for name in ("ppv", "npv")
        ]
        parts += [
            "; " if parts else "",
            f"if {prevalence:.0%} of the images are: PPV ",
            figures[0],
            ", NPV ",
            figures[1],
        ]
    return (
        f"PPV and NPV hold only at this collection's share of {record.evaluation.target_name}. Elsewhere, if "
        "sensitivity and specificity stay as they are: ",
        *parts,
        ".",
    )

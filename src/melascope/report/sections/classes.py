"""Which of the seven classes is taken for which, and how often is each recognised?"""

from __future__ import annotations

from melascope.classes import CLASSES
from melascope.report.document import Section, Table, Text, told
from melascope.report.run_record import RunRecord
from melascope.report.sections.answer import FIGURES, JSON
from melascope.report.sections.plots_of import plot
from melascope.report.wording import class_label

CELLS = "evaluation/confusion_cells.csv"


def section(record: RunRecord) -> Section:
    """The table by class, the confusion matrix, and recall."""
    return Section(
        "classes",
        "How is each class recognised?",
        (
            by_class(record),
            plot(record, "evaluation/confusion.svg", "Which class is taken for which?", _confusion(record)),
            plot(record, "evaluation/recall.svg", "How often is each class recognised?", _recall(record)),
        ),
    )


def by_class(record: RunRecord) -> Table:
    """Each class against the rest, by the top class."""
    rows: list[tuple[Text, ...]] = []
    for name in record.evaluation.whole.class_counts:
        counts = [record.traces.count(JSON, "groups", "all", "class_counts", name, place) for place in (0, 1)]
        at = {"recall": "argmax", "specificity": "argmax", "ppv": "argmax", "auroc": ""}
        figures = [record.traces.figure(FIGURES, "all", one, name, rule, "image") for one, rule in at.items()]
        rows.append(((class_label(name),), (counts[0], " / ", counts[1]), *((one,) for one in figures)))
    bold = tuple(
        place for place, name in enumerate(record.evaluation.whole.class_counts) if name in record.evaluation.target
    )
    columns = ("class", "images / lesions", "recall", "specificity", "PPV", "AUROC")
    return Table("Each class against the rest (per image, top class)", columns, tuple(rows), bold)


def _confusion(record: RunRecord) -> Text:
    """What images of each target class are called."""
    if not record.traces.rows(CELLS):
        return told("Counts by truth and top class; the table of cells was not written by this version.")
    parts: list = []
    for truth in record.evaluation.target:
        cells = [
            part
            for name in CLASSES
            for part in (", ", f"{name} ", record.traces.cell(CELLS, "all", "image", truth, name, column="count"))
        ]
        share = record.traces.figure(CELLS, "all", "image", truth, truth, form="percent")
        parts += [f"Images of {truth} by top class: ", *cells[1:], f"; recognised as {truth}: ", share, ". "]
    return (*parts, "The other rows are the recall column of the table above.")


def _recall(record: RunRecord) -> Text:
    rows = {name: ("all", name, "", "argmax", "image") for name in ("balanced_accuracy", "accuracy", "macro_f1")}
    return told(
        "Balanced accuracy {balanced}, accuracy {accuracy}, macro-F1 {macro}, n = {n} images of {lesions} lesions. "
        "Recall of each class stands in the table above.",
        balanced=record.traces.figure(FIGURES, *rows["balanced_accuracy"]),
        accuracy=record.traces.figure(FIGURES, *rows["accuracy"]),
        macro=record.traces.figure(FIGURES, *rows["macro_f1"]),
        n=record.traces.cell(FIGURES, *rows["accuracy"], column="n"),
        lesions=record.traces.cell(FIGURES, *rows["accuracy"], column="n_lesions"),
    )

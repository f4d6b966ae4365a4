"""How do other runs do on the same images, and this one on other collections?"""

from __future__ import annotations

from melascope.evaluation.compared import COMPARED
from melascope.report.document import Block, Bullets, Code, Gap, Section, Table, Text, told
from melascope.report.run_record import RunRecord
from melascope.report.sections.plots_of import plot

CSV = "comparison/comparison.csv"
COMMAND = "melascope compare RUN OTHER --out RUN/comparison"


def section(record: RunRecord) -> Section:
    """Figures and paired differences, then external collections."""
    blocks: list[Block] = [record.comparison] if isinstance(record.comparison, Gap) else _compared(record)
    blocks += _elsewhere(record)
    return Section("comparison", "How do other runs do, and this one elsewhere?", tuple(blocks))


def _compared(record: RunRecord) -> list[Block]:
    comparison, traces = record.comparison, record.traces
    names = {one.letter: one.name for one in comparison.contenders}
    who = Bullets(
        tuple(told(f"{one.letter}: {{name}}, {one.rule}", name=Code(one.name)) for one in comparison.contenders)
    )
    figures: list[tuple[Text, ...]] = []
    differences: list[tuple[Text, ...]] = []
    for name, compared in COMPARED.items():
        cells = [(traces.figure(CSV, "figure", one, "", name, digits=3),) for one in names.values()]
        figures.append(((compared.label,), *cells))
        pairs = [
            (traces.figure(CSV, "difference", names[pair.other], names[pair.first], name, digits=3, form="signed"),)
            for pair in comparison.pairs
        ]
        differences.append(((compared.label,), *pairs))
        if compared.headline:
            alone = "figure, histology only"
            cells = [(traces.figure(CSV, alone, one, "", name, digits=3),) for one in names.values()]
            figures.append(((f"{compared.label}, histology only",), *cells))
    blocks: list[Block] = [
        who,
        Table(f"Each model ({comparison.sizes})", ("figure", *names), tuple(figures)),
        Table(
            "Paired differences on the same images",
            ("figure", *(pair.name for pair in comparison.pairs)),
            tuple(differences),
        ),
    ]
    if traces.path("comparison/differences.svg").is_file():
        blocks.append(
            plot(
                record, "comparison/differences.svg", "Which model is better at what?", _words(record), command=COMMAND
            )
        )
    return [*blocks, Bullets(tuple(told("{note}", note=note) for note in comparison.notes))]


def _words(record: RunRecord) -> Text:
    """The headline differences of each pair."""
    comparison, parts = record.comparison, []
    names = {one.letter: one.name for one in comparison.contenders}
    for pair in comparison.pairs:
        for name in ("sensitivity", "specificity", "auroc"):
            row = ("difference", names[pair.other], names[pair.first], name)
            parts += ["; " if parts else "", f"{pair.name}, {COMPARED[name].label} "]
            parts += [record.traces.figure(CSV, *row, digits=3, form="signed")]
    return ("Paired differences: ", *parts, f"; {comparison.sizes}.")


def _elsewhere(record: RunRecord) -> list[Block]:
    """This run on other collections at the same frozen threshold."""
    if not record.elsewhere:
        return [
            Gap("How the model does on another collection", "melascope evaluate RUN --external PREDICTIONS.parquet")
        ]
    rows: list[tuple[Text, ...]] = []
    for folder, evaluation in record.elsewhere:
        file, at = f"{folder}/figures.csv", evaluation.at
        keys = [("sensitivity", "lesion"), ("sensitivity", "image"), ("specificity", "image")]
        cells = [(record.traces.figure(file, "all", name, record.target, at, unit),) for name, unit in keys]
        auroc = (record.traces.figure(file, "all", "auroc", record.target, "P(target)", "image"),)
        n = (record.traces.cell(file, "all", "sensitivity", record.target, at, "lesion", column="n"),)
        rows.append(((Code(evaluation.origin.source or folder),), n, *cells, auroc))
    columns = (
        "collection",
        f"{record.target} lesions",
        "sensitivity per lesion",
        "sensitivity",
        "specificity",
        "AUROC",
    )
    return [Table("Other collections, at the threshold frozen at home", columns, tuple(rows))]

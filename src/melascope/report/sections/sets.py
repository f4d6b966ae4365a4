"""How often does a lesion's set of classes hold its truth, and how large are the sets?"""

from __future__ import annotations

from melascope.classes import CLASSES
from melascope.report.document import Block, Bullets, Gap, Section, Sentence, Table, Text, told
from melascope.report.run_record import RunRecord
from melascope.report.sections.answer import FIGURES, JSON
from melascope.report.sections.plots_of import plot
from melascope.report.wording import class_label
from melascope.tables.results import NotApplicable


def section(record: RunRecord) -> Section:
    """Coverage of each class and size of the conformal sets, and what voids their promise."""
    title, conformal = "Which classes cannot be ruled out (conformal sets)?", record.evaluation.conformal
    if isinstance(conformal, NotApplicable):
        return Section("sets", title, (Gap("Conformal sets", why=str(conformal)),))
    blocks: list[Block] = [
        _table(record),
        plot(record, "evaluation/conformal.svg", "Coverage and size of the sets", _words(record)),
        Bullets(tuple(told("{note}", note=note) for note in conformal.notes)),
        Sentence(told("The promise is void, or weaker, with:")),
        Bullets(tuple(told("{why}", why=why) for why in conformal.void_if)),
    ]
    return Section("sets", title, tuple(blocks))


def _group(alpha: float) -> str:
    return f"conformal, {1 - alpha:g} promised"


def _table(record: RunRecord) -> Table:
    figures = record.evaluation.conformal.figures
    rows: list[tuple[Text, ...]] = [
        (
            (class_label(name),),
            *(
                (record.traces.figure(FIGURES, _group(one.rule.alpha), "coverage", name, "set", "lesion"),)
                for one in figures
            ),
        )
        for name in CLASSES
    ]
    sizes = (
        record.traces.figure(FIGURES, _group(one.rule.alpha), "mean_set_size", "", "set", "lesion") for one in figures
    )
    singles = (
        record.traces.number(JSON, "conformal", "figures", place, "shares", "single", form="percent")
        for place in range(len(figures))
    )
    rows += [(("classes in a set, mean",), *((one,) for one in sizes))]
    rows += [(("sets of one class alone",), *((one,) for one in singles))]
    columns = ("share of lesions whose set holds the truth", *(f"{1 - one.rule.alpha:.0%} promised" for one in figures))
    bold = tuple(CLASSES.index(name) for name in record.evaluation.target)
    return Table("Coverage by class, one result a lesion", columns, tuple(rows), bold)


def _words(record: RunRecord) -> Text:
    return told(
        "{n} validation lesions calibrate, {judged} lesions are judged. The table above has each class's coverage.",
        n=record.traces.count(JSON, "conformal", "n_calibration"),
        judged=record.traces.count(JSON, "conformal", "n_judged"),
    )

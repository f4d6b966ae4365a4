"""For whom is more missed: by sex, age, site, way to the truth, source?"""

from __future__ import annotations

from melascope.report.document import Block, Code, Gap, Section, Sentence, Table, Text, told
from melascope.report.run_record import RunRecord
from melascope.report.sections.answer import FIGURES, JSON
from melascope.report.sections.plots_of import plot
from melascope.tables.results import Estimate

FEW = 10
"""Target lesions below which a subgroup's sensitivity is not held against another's."""


def section(record: RunRecord) -> Section:
    """Sizes and figures of every part, and the plot of them."""
    title = "For whom is more missed?"
    if not record.evaluation.subgroups:
        why = "the table knows no sex, age, site or other fact that parts the judged images"
        return Section("subgroups", title, (Gap("Subgroups", why=why),))
    blocks: list[Block] = [
        table(record),
        Sentence(told("n/a: not applicable, of too few lesions; the row on disk has the reason."), "notice"),
        plot(record, "evaluation/subgroups.svg", "Sensitivity and specificity of every part", words(record)),
        Sentence(told("Skin tone: not measured. The table has no column for it."), "notice"),
    ]
    return Section("subgroups", title, tuple(blocks))


def table(record: RunRecord) -> Table:
    """A row a part, sizes first: they say what its figures are worth."""
    rows: list[tuple[Text, ...]] = []
    for place, part in enumerate(record.evaluation.subgroups):
        group = " ".join(f"{part.factor}: {part.value}".split())
        path = ("subgroups", place)
        sizes = [record.traces.count(JSON, *path, name) for name in ("n_images", "n_lesions")]
        target = [record.traces.count(JSON, *path, name) for name in ("n_target_images", "n_target_lesions")]
        at = record.evaluation.at
        figures = (
            record.traces.figure(FIGURES, group, "lesion_sensitivity", record.target, at, "lesion", brief=True),
            record.traces.figure(FIGURES, group, "sensitivity", record.target, at, "image", brief=True),
            record.traces.figure(FIGURES, group, "specificity", record.target, at, "image", brief=True),
            record.traces.figure(FIGURES, group, "auroc", record.target, "P(target)", "image", brief=True),
        )
        heading = told(part.factor.replace("{", "").replace("}", "") + ": {value}", value=Code(part.value))
        rows.append((heading, (sizes[0], " / ", sizes[1]), (target[0], " / ", target[1]), *((one,) for one in figures)))
    name = record.target
    columns = ("part", "images / lesions", f"{name} images / lesions", "sensitivity per lesion")
    return Table("At the frozen threshold", (*columns, "sensitivity", "specificity", "AUROC"), tuple(rows))


def words(record: RunRecord) -> Text:
    """The lowest and the highest sensitivity among parts that are large enough to be compared."""
    large = [
        part
        for part in record.evaluation.subgroups
        if part.n_target_lesions >= FEW and isinstance(part.figures["lesion_sensitivity"], Estimate)
    ]
    if len(large) < 2:
        return told(
            f"The numbers stand in the table above. Fewer than two parts have {FEW} target lesions or more, "
            "so none is called better or worse."
        )
    ordered = sorted(large, key=lambda part: part.figures["lesion_sensitivity"].value)

    def one(part) -> Text:
        group = " ".join(f"{part.factor}: {part.value}".split())
        row = (group, "lesion_sensitivity", record.target, record.evaluation.at, "lesion")
        return told(
            "{group} {value} (n = {n} lesions)",
            group=Code(group),
            value=record.traces.figure(FIGURES, *row),
            n=record.traces.cell(FIGURES, *row, column="n"),
        )

    low, high = ordered[0], ordered[-1]
    return told(
        "Sensitivity per lesion, of the {k} parts with at least {few} target lesions: lowest {low}, highest {high}. "
        + _apart(low.figures["lesion_sensitivity"], high.figures["lesion_sensitivity"])
        + " Both were picked for being extreme. All numbers stand in the table above.",
        k=str(len(large)),
        few=str(FEW),
        low=one(low),
        high=one(high),
    )


def _apart(low: Estimate, high: Estimate) -> str:
    if low.high is None or high.low is None:
        return "Without intervals nothing can be said of the difference."
    if low.high >= high.low:
        return "Their intervals overlap: the difference may be chance."
    return "Their intervals do not overlap."

"""How many melanomas does the model miss, and at what price: what a patient's doctor asks first?"""

from __future__ import annotations

from melascope.evaluation.decisions import Decision
from melascope.evaluation.lesion_level import LESION_RULE
from melascope.evaluation.record import Group
from melascope.report.document import Block, Section, Sentence, Strong, Table, Text, told
from melascope.report.run_record import RunRecord

FIGURES = "evaluation/figures.csv"
JSON = "evaluation/evaluation.json"


def section(record: RunRecord) -> Section:
    """The headline, histology beside it, and the same for single images and for the top class."""
    blocks: list[Block] = [Sentence(headline(record), "lead"), Sentence(histology_line(record), "lead")]
    how = told(
        "Missed means below the threshold {threshold} on P({target}), which validation images chose and which was then "
        "frozen ({sha}). One result a lesion: " + LESION_RULE + ". In brackets: the 95 % interval.",
        threshold=record.traces.number("operating_point.json", "threshold", digits=4),
        target=record.target,
        sha=f"point {record.point.sha256[:12]}",
    )
    blocks += [Sentence(how), decisions(record)]
    return Section("answer", f"Of the {record.evaluation.target_name}s, how many are missed?", tuple(blocks))


def headline(record: RunRecord) -> Text:
    """Of N lesions the model misses M (interval), for X false alarms per one found."""
    return (*_missed(record, "all"), *told(" ({split} split).", split=record.evaluation.split or "all rows"))


def histology_line(record: RunRecord) -> Text:
    """The same where the truth comes from the microscope, or why that cannot be said."""
    group = record.evaluation.groups["histology"]
    if not isinstance(group, Group):
        return told("Where histology confirmed the truth: {why}.", why=str(group))
    return (*told("Where histology confirmed the truth: "), *_missed(record, "histology"), ".")


def _missed(record: RunRecord, group: str) -> Text:
    traces, name = record.traces, record.evaluation.target_name
    at = record.evaluation.at
    path = record.decision_path(at, "lesion", group)
    row = (group, "sensitivity", record.target, at, "lesion")
    return told(
        "{of} {n} " + name + " lesions the model misses {m} ({share}), for {price} false alarms per " + name + " found",
        of="of" if group != "all" else "Of",
        n=traces.cell(FIGURES, *row, column="n"),
        m=Strong(traces.count(JSON, *path, "fn")),
        share=traces.figure(FIGURES, *row, form="missed percent"),
        price=Strong(traces.figure(FIGURES, group, "false_alarms_per_found", record.target, at, "lesion", digits=1)),
    )


_RULES = {"operating_point": "frozen threshold", "argmax": "top class"}


def decisions(record: RunRecord) -> Table:
    """Found, missed and false alarms of each rule, per lesion and per image, and where histology tells the truth."""
    rows, bold = [], []
    for group in ("all", "histology"):
        found = record.evaluation.groups[group]
        for decision in _in_order(found) if isinstance(found, Group) else ():
            path = record.decision_path(decision.at, decision.unit, group)
            keys = (record.target, decision.at, decision.unit)
            counts = tuple(record.traces.count(JSON, *path, cell) for cell in ("tp", "fn", "fp"))
            figures = tuple(
                record.traces.figure(FIGURES, group, name, *keys, digits=2 if name != "false_alarms_per_found" else 1)
                for name in ("sensitivity", "specificity", "ppv", "npv", "false_alarms_per_found")
            )
            if group == "all" and (decision.at, decision.unit) == (record.evaluation.at, "lesion"):
                bold.append(len(rows))
            told_by = f"{_RULES[decision.at]}, per {decision.unit}{', histology only' if group != 'all' else ''}"
            rows.append(((told_by,), *((cell,) for cell in (*counts, *figures))))
    columns = ("decision", "found", "missed", "false alarms", "sensitivity", "specificity", "PPV", "NPV")
    caption = f"{record.evaluation.target_name.capitalize()}: found and missed"
    return Table(caption, (*columns, "false alarms per found"), tuple(rows), tuple(bold))


def _in_order(group: Group) -> list[Decision]:
    """The frozen threshold before the top class, and lesions before images."""
    return sorted(group.decisions, key=lambda one: (one.at != "operating_point", one.unit != "lesion"))

"""What do the answers hang on, when parts of pictures are hidden, changed or added?"""

from __future__ import annotations

from melascope.report.document import Block, Code, Gap, Section, Sentence, Table, Text, told
from melascope.report.run_record import RunRecord
from melascope.report.sections.plots_of import plot

EFFECTS = "interventions/effects.csv"
CASES = "interventions/interventions.csv"
COMMAND = "melascope intervene RUN --dataset --out RUN/interventions"
MOST_CASES = 24
"""Rows of single pictures that are shown; the table on disk has all."""


def section(record: RunRecord) -> Section:
    """Effects over the split, then single pictures."""
    blocks: list[Block] = [record.effects] if isinstance(record.effects, Gap) else _over_the_split(record)
    blocks += [record.cases] if isinstance(record.cases, Gap) else _single(record)
    return Section("interventions", "What do the answers hang on?", tuple(blocks))


def _over_the_split(record: RunRecord) -> list[Block]:
    found = record.traces.rows(EFFECTS)
    if not found:
        return [Gap("What artefacts and backgrounds change", COMMAND, "effects.csv is not there")]
    rows: list[tuple[Text, ...]] = []
    for audit, edit in dict.fromkeys(key[:2] for key in found):
        cells = [
            (record.traces.figure(EFFECTS, audit, edit, name, digits=3, form="signed"),)
            for name in ("change", "control")
        ]
        flips = [
            (record.traces.figure(EFFECTS, audit, edit, name, form="percent"),)
            for name in ("flipped", "control_flipped")
        ]
        change = found.get((audit, edit, "change"), {})
        verdict = change.get("verdict") or "–"
        n = (record.traces.cell(EFFECTS, audit, edit, "change", column="n_images"),)
        rows.append(((Code(edit.replace("_", " ")),), *cells, *flips, n, (Code(verdict),)))
    columns = ("edit", "change of log-odds", "by its inert control", "decisions that flip", "by the control", "images")
    blocks: list[Block] = [
        Table("Artefacts added and backgrounds changed, over the split", (*columns, "effect"), tuple(rows)),
        Sentence(
            told("Each image is its own control; intervals by lesion, corrected for the number of edits."), "notice"
        ),
    ]
    for name, title in (("artefacts", "Added artefacts"), ("backgrounds", "Changed backgrounds")):
        blocks.append(plot(record, f"interventions/{name}.svg", title, _words(record, name), command=COMMAND))
    return blocks


def _words(record: RunRecord, audit: str) -> Text:
    """Change of the log-odds by each edit of an audit."""
    parts: list = []
    for key in record.traces.rows(EFFECTS):
        if key[0] == audit and key[2] == "change":
            change = record.traces.figure(EFFECTS, *key, digits=3, form="signed")
            parts += ["; " if parts else "", Code(key[1].replace("_", " ")), " ", change]
            parts += [" (n = ", record.traces.cell(EFFECTS, *key, column="n_images"), ")"]
    return ("Mean change of the log-odds of P(target): ", *parts, ".") if parts else told("No edit was tried.")


def _single(record: RunRecord) -> list[Block]:
    rows: list[tuple[Text, ...]] = []
    keys = [key for key in record.traces.rows(CASES) if key[3] == "target"]
    for key in keys[:MOST_CASES]:
        numbers = [
            (record.traces.cell(CASES, *key, column=column, digits=3),)
            for column in ("before", "after", "control_mean", "p_value")
        ]
        edit = key[1] + (f", {key[2]}" if key[2] else "")
        rows.append(((Code(key[0]),), (Code(edit),), *numbers))
    if not rows:
        return [Gap("What single answers hang on", "melascope intervene RUN --cases ID,ID --out RUN/interventions")]
    columns = ("image", "edit", "P(target) before", "after", "mean change by controls", "p of a random placement")
    blocks: list[Block] = [Table("Single pictures", columns, tuple(rows))]
    if len(keys) > MOST_CASES:
        blocks.append(Sentence((f"{len(keys) - MOST_CASES} more rows stand in {CASES}.",), "notice"))
    return blocks

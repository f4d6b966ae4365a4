"""Which images was the model trained, tuned and judged on, and does anything leak between them?"""

from __future__ import annotations

from melascope.classes import CLASSES, SPLITS
from melascope.report.document import NOT_DESCRIBED, Block, Code, FactList, Gap, Section, Sentence, Table, Text, told
from melascope.report.run_record import RunRecord
from melascope.report.wording import TRUTHS, class_label, source_name

PREDICTIONS = "predictions.parquet"


def section(record: RunRecord) -> Section:
    """Source, counts by class and split, the leak check, and copies under other names."""
    blocks: list[Block] = [_facts(record), counts(record), truths(record), Sentence(leak_check(record))]
    blocks += near_duplicates(record)
    return Section("data", "Which images, and does anything leak between the splits?", tuple(blocks))


def _facts(record: RunRecord) -> FactList:
    origin, how = record.evaluation.origin, record.split_how
    made = told(NOT_DESCRIBED)
    if "seed" in how:
        made = told(
            "by lesion, each class in the shares {shares}, seed {seed}",
            shares=" / ".join(f"{100 * share:.0f} %" for share in how.get("fractions", ())),
            seed=str(how["seed"]),
        )
    elif "file" in how:
        made = told("given by the file {file}", file=Code(str(how["file"])))
    held = [str(lesion) for lesion in how.get("held_out_lesions", ())]
    return FactList(
        (
            ("data set", source_name(record.source)),
            ("fingerprint of the data", told("{sha}", sha=Code(origin.dataset_fingerprint or "unknown"))),
            ("split", made),
            ("hash of the split", told("{sha}", sha=Code(origin.split_sha256 or "unknown"))),
            ("lesions set aside by hand", told("{ids}", ids=Code(", ".join(held))) if held else told("none")),
        )
    )


def counts(record: RunRecord) -> Table:
    """Images and lesions of every class in every split."""
    sides = [side for side in SPLITS if (record.predictions.split == side).any()]
    names = [name for name in CLASSES if (record.predictions.dx == name).any()]
    unknown = [""] if (record.predictions.dx == "").any() else []
    rows: list[tuple[Text, ...]] = []
    for name in (*names, *unknown):
        cells = [
            (
                record.traces.counted("images", split=side, dx=name),
                " / ",
                record.traces.counted("lesions", split=side, dx=name),
            )
            for side in sides
        ]
        rows.append(((class_label(name) if name else "truth unknown",), *cells))
    totals = [
        (record.traces.counted("images", split=side), " / ", record.traces.counted("lesions", split=side))
        for side in sides
    ]
    return Table("Images / lesions by class and split", ("class", *sides), (*rows, (("all",), *totals)))


def truths(record: RunRecord) -> Table:
    """How the truth of the judged images is known, and of how many melanomas among them."""
    split = record.evaluation.split
    where = {"split": split} if split else {}
    known = [name for name in TRUTHS if (record.predictions.dx_type == name).any()]
    known += sorted({str(name) for name in record.predictions.dx_type} - set(TRUTHS))
    rows = tuple(
        (
            (TRUTHS[name],) if name in TRUTHS else (Code(name),),
            (record.traces.counted("images", **where, dx_type=name),),
            *((record.traces.counted("images", **where, dx_type=name, dx=one),) for one in record.evaluation.target),
        )
        for name in known
    )
    columns = ("truth known by", "images", *(f"images of {name}" for name in record.evaluation.target))
    return Table(f"How the truth of the judged images is known ({split or 'all rows'})", columns, rows)


def leak_check(record: RunRecord) -> Text:
    """No lesion in two splits: a table with such a lesion is refused when it is read (`tables/predictions.py`)."""
    lesions = record.traces.counted("lesions")
    without = int((record.predictions.lesion_id == "").sum())
    unnamed = f" {without:,} images name no lesion: of these nothing can be checked." if without else ""
    return told(
        "Leak check passed: of {lesions} lesions none stands in two splits (file {file}, columns lesion_id and split)."
        + unnamed
        + " Patients are not named in this table, so two lesions of one person may stand on two sides.",
        lesions=lesions,
        file=Code(PREDICTIONS),
    )


def near_duplicates(record: RunRecord) -> list[Block]:
    """Pairs of images of different lesions that show the same skin."""
    if isinstance(record.audit, Gap):
        return [record.audit]
    traces, split = record.traces, record.audit.get("split_sha256")
    found = told(
        "Near-duplicates (data audit): {across} pairs of images show the same skin though they are said to be of "
        "different lesions; {labels} of them carry different labels.",
        across=traces.count("audit/audit.json", "duplicates", "n_across_lesions"),
        labels=traces.count("audit/audit.json", "duplicates", "n_across_labels"),
    )
    if split != record.evaluation.origin.split_sha256:
        return [
            Sentence(found),
            Gap(
                "How many near-duplicates stand on two sides of this split",
                "melascope data audit DATA --split RUN/split.csv --out RUN/audit",
                "the audit was made without this split",
            ),
        ]
    sides = told(
        " {sides} pairs stand on two sides of the split.",
        sides=traces.count("audit/audit.json", "duplicates", "n_across_splits"),
    )
    return [Sentence((*found, *sides))]

"""Which melanomas were missed most confidently, and what do they look like?

One image a lesion, of the judged split, the lowest P(target) first: the model was surest that there is none. Pictures
and notes come from the gallery that was made of the same model at the same threshold.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from melascope.classes import CLASSES
from melascope.data.decode import decode_image
from melascope.errors import MelascopeError
from melascope.evaluation.operating_point import is_target
from melascope.report.document import (
    Block,
    CaseCard,
    Cases,
    Code,
    Gap,
    Picture,
    Section,
    Sentence,
    Table,
    Text,
    Traced,
    told,
)
from melascope.report.gallery_notes import GalleryNotes, read_gallery
from melascope.report.run_record import RunRecord
from melascope.report.wording import class_label

MOST = 12
"""Lesions that are shown."""

WIDE = 260
"""Pixels of a thumbnail's longer side."""

QUALITY = 78
PREDICTIONS = "predictions.parquet"


def section(record: RunRecord) -> Section:
    """The worst missed lesions with their pictures, or as a table where no gallery was made."""
    name = record.evaluation.target_name
    title = f"Which {name}s were missed most confidently?"
    rows, n_missed = worst_missed(record)
    if not n_missed:
        return Section(
            "worst",
            title,
            (Sentence(told(f"None: every judged {name} image reaches the threshold.")), _counted(record)),
        )
    shown = told(
        "Lesions with a missed image: {all}. Shown: {shown}, one image of each, the lowest P({target}) first. They "
        "were chosen for being wrong: how often that happens stands at the top.",
        shown=str(len(rows)),
        all=str(n_missed),
        target=record.target,
    )
    blocks: list[Block] = [Sentence(shown), _table(record, rows)]
    gallery = read_gallery(record.run.gallery, record.point)
    if isinstance(gallery, Gap):
        return Section("worst", title, (*blocks, gallery))
    blocks.append(Cases(tuple(_card(record, row, gallery) for row in rows)))
    blocks.append(Sentence(told("Pictures and notes: {page}.", page=Code("gallery/index.html")), "notice"))
    return Section("worst", title, tuple(blocks))


def _counted(record: RunRecord) -> Table:
    where = {"split": record.evaluation.split} if record.evaluation.split else {}
    rows = tuple(
        ((class_label(one),), (record.traces.counted("images", **where, dx=one),)) for one in record.evaluation.target
    )
    return Table("Judged images of the target", ("class", "images"), rows)


def worst_missed(record: RunRecord) -> tuple[list[int], int]:
    """Rows of the predictions, the worst image of each lesion, at most `MOST`; and how many lesions there are."""
    predictions, point = record.predictions, record.point
    probabilities = predictions.probabilities
    judged = (
        np.full(len(predictions), True) if not record.evaluation.split else predictions.split == record.evaluation.split
    )
    missed = judged & is_target(predictions.labels, point.target) & ~point.is_positive(probabilities)
    score = point.score(probabilities)
    order = sorted(np.flatnonzero(missed), key=lambda row: (score[row], predictions.image_id[row]))
    first: dict[str, int] = {}
    for row in order:
        first.setdefault(predictions.lesion_key[row], int(row))
    return list(first.values())[:MOST], len(first)


def _probability(record: RunRecord, row: int, name: str) -> Traced:
    """P(class), or P(target), of one image."""
    probabilities = record.predictions.probabilities[row]
    value = (
        float(record.point.score(probabilities[None])[0])
        if name == "target"
        else float(probabilities[CLASSES.index(name)])
    )
    return Traced(f"{value:.4f}", PREDICTIONS, (f"image_id={record.predictions.image_id[row]}",), f"P({name})")


def _predicted(record: RunRecord, row: int) -> str:
    return CLASSES[int(record.predictions.probabilities[row].argmax())]


def _table(record: RunRecord, rows: list[int]) -> Table:
    found: list[tuple[Text, ...]] = []
    for row in rows:
        predicted = _predicted(record, row)
        found.append(
            (
                (Code(str(record.predictions.image_id[row])),),
                (Code(str(record.predictions.lesion_id[row]) or "unknown"),),
                (_probability(record, row, "target"),),
                (f"{predicted}: ", _probability(record, row, predicted)),
            )
        )
    columns = ("image", "lesion", f"P({record.target})", "first answer and its probability")
    return Table("Missed most confidently", columns, tuple(found))


def _card(record: RunRecord, row: int, gallery: GalleryNotes) -> CaseCard:
    predictions = record.predictions
    image_id, predicted = str(predictions.image_id[row]), _predicted(record, row)
    facts: list[tuple[str, Text]] = [
        ("truth", (class_label(predictions.dx[row]),)),
        ("first answer", (f"{class_label(predicted)}, ", _probability(record, row, predicted))),
        (
            f"P({record.target})",
            (
                _probability(record, row, "target"),
                " below ",
                record.traces.number("operating_point.json", "threshold", digits=4),
            ),
        ),
    ]
    person = [f"{predictions.age[row]:.0f} years"] if np.isfinite(predictions.age[row]) else []
    person += [str(value) for value in (predictions.sex[row], predictions.localization[row]) if value]
    facts.append(("person and site", (Code(", ".join(person)),) if person else told("unknown")))
    pictures = [
        picture
        for file, words in gallery.pictures_of(image_id, predicted)
        if (picture := thumbnail(file, words)) is not None
    ]
    return CaseCard(image_id, tuple(facts), gallery.notes_of(image_id), tuple(pictures))


def thumbnail(path: Path, words: str) -> Picture | None:
    """A small JPEG without any metadata; None where the file is not there or is no image."""
    try:
        pixels = decode_image(path.read_bytes(), name=path.name)
    except (OSError, MelascopeError):
        return None
    factor = min(1.0, WIDE / max(pixels.shape[:2]))
    size = max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor))
    small, stream = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS), io.BytesIO()
    small.save(stream, format="JPEG", quality=QUALITY)
    return Picture(base64.b64encode(stream.getvalue()).decode(), *size, words)

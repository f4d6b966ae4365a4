"""What did the run's gallery write and draw of an image?

A gallery's page carries its notes as JSON, most of it packed (`gallery/page_data.py`); they are read back from there,
so that report and gallery say the same words of a case.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melascope.classes import CLASS_NAMES
from melascope.evaluation.operating_point import OperatingPoint
from melascope.files import read_json
from melascope.report.document import Code, Gap, Strong, Text

COMMAND = "melascope gallery RUN"
_BLOCK = re.compile(r'<script type="(application/json|text/plain)" (id="facts"|class="block")>([^<]*)</script>')
_MARKS = re.compile(r"\*\*(?P<strong>[^*]+)\*\*|`(?P<code>[^`]*)`")
_SAID = ("meaning", "conclusion", "lesion_says", "maps_say", "tested", "but")
"""What of a note stands in the report, in this order."""


@dataclass(frozen=True)
class GalleryNotes:
    """Notes and picture files of a gallery's cases.

    Parameters
    ----------
    folder : the gallery.
    stems : image id -> how its picture files begin.
    details : image id -> what the page knows of it.
    """

    folder: Path
    stems: Mapping[str, str]
    details: Mapping[str, Mapping[str, Any]]

    def notes_of(self, image_id: str) -> tuple[Text, ...]:
        """The note's sentences; none for an image that the gallery does not show."""
        found = self.details.get(image_id, {})
        sentences: list[str] = []
        for name in _SAID:
            said = found.get(name) or ()
            sentences += [said] if isinstance(said, str) else [one for one in said if isinstance(one, str)]
        return tuple(_marked(sentence) for sentence in sentences if sentence)

    def pictures_of(self, image_id: str, predicted: str) -> list[tuple[Path, str]]:
        """Picture files of a case with what each shows: the photograph, and the maps of both classes."""
        stem = self.stems.get(image_id, "")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", stem):
            return []
        images = self.folder / "images"
        maps = [
            (images / f"{stem}_overlay_{name}.jpg", f"Map of evidence for {CLASS_NAMES[name]}")
            for name in dict.fromkeys(("mel", predicted))
        ]
        return [(images / f"{stem}_image.jpg", "The image"), *maps]


def read_gallery(folder: Path, point: OperatingPoint) -> GalleryNotes | Gap:
    """The gallery of a run, if it was made of this model at this threshold; else why not."""
    gap = Gap("Pictures of these cases, and notes on them", COMMAND)
    page, manifest = folder / "index.html", folder / "manifest.json"
    if not (page.is_file() and manifest.is_file()):
        return gap
    made = read_json(manifest)
    if not isinstance(made, dict) or made.get("operating_point_sha256") != point.sha256:
        return Gap(gap.what, gap.command, "the gallery was made at another threshold")
    found = _unpacked(folder, page.read_text(encoding="utf-8"))
    return found or Gap(gap.what, gap.command, "the gallery is of another version of melascope")


def _unpacked(folder: Path, page: str) -> GalleryNotes | None:
    """What a page carries; None where it is packed in another way."""
    facts: dict[str, list] = {}
    details: list[dict[str, Any]] = []
    try:
        for kind, name, text in _BLOCK.findall(page):
            content = json.loads(text if kind == "application/json" else gzip.decompress(base64.b64decode(text)))
            if name == 'id="facts"':
                facts = content
            else:
                details += content
        ids = facts["id"]
        return GalleryNotes(folder, dict(zip(ids, facts["stem"], strict=True)), dict(zip(ids, details, strict=True)))
    except (KeyError, TypeError, ValueError, OSError, EOFError, zlib.error):
        return None


def _marked(sentence: str) -> Text:
    """The two marks of a note, `code` and **strong**, as parts."""
    parts: list = []
    end = 0
    for mark in _MARKS.finditer(sentence):
        parts += [sentence[end : mark.start()]] if mark.start() > end else []
        parts.append(Strong(mark["strong"].replace("`", "")) if mark["strong"] is not None else Code(mark["code"]))
        end = mark.end()
    return (*parts, sentence[end:]) if end < len(sentence) else tuple(parts)

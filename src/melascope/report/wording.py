"""How does a report write the run's words and names?"""

from __future__ import annotations

import re

from melascope.classes import CLASS_NAMES
from melascope.report.document import Code, Text, told
from melascope.tables.predictions import Predictions

SOURCE_NAMES: dict[str, str] = {
    "ham10000": "HAM10000 (Tschandl et al. 2018)",
    "isic": "ISIC archive collection",
    "phantom": "phantom (synthetic images)",
    "image_folder": "a folder of images",
}

TRUTHS: dict[str, str] = {
    "histo": "histopathology",
    "follow_up": "follow-up",
    "consensus": "expert consensus",
    "confocal": "confocal microscopy",
    "": "not told",
}
"""How the truth of an image is known."""


def source_name(source: str) -> Text:
    """A data set's kind in words, or its own word."""
    if not source:
        return told("a data set of unknown kind")
    return (SOURCE_NAMES[source],) if source in SOURCE_NAMES else (Code(source),)


def class_label(name: str) -> str:
    """`melanoma (mel)`."""
    return f"{CLASS_NAMES[name]} ({name})"


def plot_prefix(file: str) -> str:
    """A name for a plot's file that may begin an id: `evaluation/roc.svg` -> `evaluation-roc`."""
    return re.sub(r"[^A-Za-z0-9]+", "-", file.removesuffix(".svg")).strip("-")


def listed(words: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def values_of(predictions: Predictions, column: str) -> list[str]:
    """The words of a column, sorted; unknown is left out."""
    return sorted({str(value) for value in getattr(predictions, column) if value != ""})

"""What is a report made of: sentences, tables, plots and pictures, in which each number names its row on disk?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from string import Formatter

NOT_MEASURED = "not measured"
NOT_DESCRIBED = "not described"


@dataclass(frozen=True)
class Traced:
    """A number as it is printed, and where it stands on disk.

    Parameters
    ----------
    text : e.g. `0.83 [0.75, 0.90]`, or `not applicable (…)`.
    file : below the run directory, e.g. "evaluation/figures.csv".
    row : keys that lead to it: the key cells of a CSV row, the path in a JSON file, or what was counted in a table.
    column : of the row; "" for the value (with its interval, if it has one).
    form : "" as it stands, "signed", "percent", or "missed percent" (of 1 - value).
    """

    text: str
    file: str
    row: tuple[str, ...]
    column: str = ""
    form: str = ""

    @property
    def where(self) -> str:
        """File, row and column in one line; the page's test reads numbers back by it."""
        return f"{self.file}: {' | '.join(self.row)}" + (f" → {self.column}" if self.column else "")


@dataclass(frozen=True)
class Code:
    """Somebody else's words, a file or a command: shown as it is, never as markup."""

    text: str


@dataclass(frozen=True)
class Strong:
    """What a reader must not overlook: a word or a traced number."""

    part: str | Traced


Part = str | Traced | Code | Strong
Text = tuple[Part, ...]
"""A sentence: plain words of ours, and among them numbers and foreign words."""


def told(template: str, **parts: Part | Text) -> Text:
    """A sentence from a template: `told("Of {n} lesions", n=Traced(…))`; a template without braces is plain words."""
    found: list[Part] = []
    for words, name, _, _ in Formatter().parse(template):
        found += [words] if words else []
        if name is not None:
            part = parts[name]
            found += part if isinstance(part, tuple) else [part]
    return tuple(found)


def plain(text: Text | str) -> str:
    """The words alone."""
    if isinstance(text, str):
        return text
    return "".join(_plain(part) for part in text)


def _plain(part: Part) -> str:
    if isinstance(part, Strong):
        return _plain(part.part)
    return part if isinstance(part, str) else part.text


def numbers(text: Text) -> Iterator[Traced]:
    """Every traced number of a sentence."""
    for part in text:
        inner = part.part if isinstance(part, Strong) else part
        if isinstance(inner, Traced):
            yield inner


@dataclass(frozen=True)
class Sentence:
    """A paragraph; `tone` is "", "lead", "notice" or "warning"."""

    text: Text
    tone: str = ""
    kind: str = field(default="sentence", init=False)

    def texts(self) -> Iterator[Text]:
        yield self.text


@dataclass(frozen=True)
class Bullets:
    """Sentences one below the other."""

    items: tuple[Text, ...]
    kind: str = field(default="bullets", init=False)

    def texts(self) -> Iterator[Text]:
        yield from self.items


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is its heading. `bold` names rows (from 0) that matter most."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    bold: tuple[int, ...] = ()
    wordy: bool = False
    kind: str = field(default="table", init=False)

    def texts(self) -> Iterator[Text]:
        for row in self.rows:
            yield from row


@dataclass(frozen=True)
class FactList:
    """Named facts: a heading and a sentence each."""

    facts: tuple[tuple[str, Text], ...]
    kind: str = field(default="facts", init=False)

    def texts(self) -> Iterator[Text]:
        for _, text in self.facts:
            yield text


@dataclass(frozen=True)
class Plot:
    """A plot of the disk: `svg` is harmless markup of `inline_svg`, `words` say what it shows with its numbers."""

    name: str
    title: str
    file: str
    svg: str
    words: Text
    kind: str = field(default="plot", init=False)

    def texts(self) -> Iterator[Text]:
        yield self.words


@dataclass(frozen=True)
class Picture:
    """A small JPEG: its bytes in base64, its size in pixels, and what it shows."""

    base64: str
    width: int
    height: int
    words: str


@dataclass(frozen=True)
class CaseCard:
    """One image that was judged wrongly: ids, pictures, facts and notes."""

    title: str
    facts: tuple[tuple[str, Text], ...]
    notes: tuple[Text, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Cases:
    """Cards of single images."""

    cards: tuple[CaseCard, ...]
    kind: str = field(default="cases", init=False)

    def texts(self) -> Iterator[Text]:
        for card in self.cards:
            yield from (text for _, text in card.facts)
            yield from card.notes


@dataclass(frozen=True)
class Gap:
    """What was not measured, why, and the command that measures it (RUN and DATA stand for the folders)."""

    what: str
    command: str = ""
    why: str = ""
    kind: str = field(default="gap", init=False)

    def texts(self) -> Iterator[Text]:
        yield from ()


Block = Sentence | Bullets | Table | FactList | Plot | Cases | Gap


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it; `anchor` is its place in the contents list."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]

    @property
    def gaps(self) -> tuple[Gap, ...]:
        return tuple(block for block in self.blocks if isinstance(block, Gap))

    @property
    def is_missing(self) -> bool:
        """Nothing of it was measured."""
        return bool(self.gaps) and not any(isinstance(block, Table | Plot | Cases | FactList) for block in self.blocks)


NAMED = 4
"""Words at one place of a row's name that are listed; of more the first are, and `…` stands for the rest."""


def where_from(block: Block) -> tuple[str, ...]:
    """The files and rows of a block's numbers, one line a file: `all, histology | sensitivity | mel`."""
    rows: dict[str, list[tuple[str, ...]]] = {}
    for text in block.texts():
        for number in numbers(text):
            rows.setdefault(number.file, []).append(number.row)
    lines = [f"{file}: {' | '.join(_joined(found))}" for file, found in rows.items()]
    return (block.file, *lines) if isinstance(block, Plot) else tuple(lines)


def _joined(rows: Sequence[tuple[str, ...]]) -> list[str]:
    shortest = min(len(row) for row in rows)
    joined = [_alternatives(list(dict.fromkeys(row[place] for row in rows))) for place in range(shortest)]
    return [*joined, "…"] if any(len(row) > shortest for row in rows) else joined


def _alternatives(words: list[str]) -> str:
    words = [word or "–" for word in words]
    return ", ".join(words) if len(words) <= NAMED else ", ".join([*words[: NAMED - 1], "…"])

"""How does a gallery come to disk: a page that opens without network, its pictures, and `FIGURES.md`?"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from melascope.classes import CLASS_NAMES, CLASSES, RESEARCH_ONLY
from melascope.errors import DataError, OutputError
from melascope.files import MANIFEST, make_folder, read_json, write_manifest, write_text
from melascope.gallery.case import Case
from melascope.gallery.facts import PHANTOM, GalleryFacts
from melascope.gallery.notes import Note, note_of
from melascope.gallery.outcomes import NOT_HELD_OUT, ORDER, OUTCOMES
from melascope.gallery.phrases import map_caption
from melascope.gallery.pictures import Pictures, file_stems, ramp, write_pictures
from melascope.gallery.wording import apart, as_html, code, percent, probability
from melascope.tables.results import NotApplicable

KIND = "melascope gallery"
IMAGES = "images"


@dataclass(frozen=True)
class Card:
    """A case, its sentences and its pictures; `anchor` is its place on the page."""

    case: Case
    note: Note
    pictures: Pictures
    anchor: str

    @property
    def captions(self) -> tuple[str, str]:
        """Where each of the two maps lies, in a few words for its caption."""
        return tuple(map_caption(self.case, name) for name in self.case.shown)

    @property
    def person(self) -> tuple[str, ...]:
        """What is known of whom the lesion belongs to, for the card's head."""
        case = self.case
        age = () if case.age is None else (f"{case.age:g} years",)
        return age + tuple(fact for fact in (case.sex, case.localization) if fact)

    @property
    def place(self) -> float:
        """Where P(mel) stands on the card's scale, 0 … 1: stretched so that the threshold is its middle.

        A threshold is often near 0, where on an even scale nobody could see on which side of it an image lies.
        The power p ** (log 0.5 / log threshold) keeps 0, 1 and every order.
        """
        threshold = min(max(self.case.threshold, 1e-12), 1 - 1e-12)
        place = self.case.p_mel ** (math.log(0.5) / math.log(threshold))
        return max(place, 0.5) if self.case.above else min(place, 0.5)


@dataclass(frozen=True)
class Group:
    """The cards of one lesion."""

    lesion_id: str
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Section:
    """The lesions whose worst image had this outcome; `key` is a row of `OUTCOMES`."""

    key: str
    groups: tuple[Group, ...]

    @property
    def n_cards(self) -> int:
        return sum(len(group.cards) for group in self.groups)

    @property
    def n_lesions(self) -> int:
        """Known lesions; an image whose lesion is unknown counts as one."""
        return len(self.groups)


def write_gallery(
    cases: Sequence[Case],
    out: Path,
    *,
    facts: GalleryFacts,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write `index.html`, `FIGURES.md` and `images/`: the same input gives the same bytes.

    Parameters
    ----------
    cases : in the order of `select_cases`
    out : folder of the gallery; an older gallery in it is replaced as a whole, any other content is left alone
    progress : called with 1 for each case drawn

    Returns
    -------
    page : `out/index.html`

    Raises
    ------
    OutputError : the folder cannot be written, or holds something that is no gallery.
    DataError : no cases, or an image or mask cannot be read; then nothing is written.
    """
    out = Path(out)
    if not cases:
        raise DataError("There is no case to show.", expected="at least one selected image")
    _refuse_foreign(out)
    make_folder(out.parent)
    draft = out.with_name(f".{out.name}.tmp-{os.getpid()}")
    try:
        make_folder(draft / IMAGES)
        cards = _cards(cases, draft / IMAGES, progress)
        write_text(draft / "index.html", page_html(cards, facts))
        write_text(draft / "FIGURES.md", figures_markdown(cards, facts))
        write_manifest(
            draft,
            kind=KIND,
            run=facts.run,
            source=facts.source,
            checkpoint_sha256=facts.checkpoint_sha256,
            operating_point_sha256=facts.operating_point.sha256,
            cases=[card.case.image_id for card in cards],
        )
        _put_in_place(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out / "index.html"


def _refuse_foreign(out: Path) -> None:
    """Only an empty or absent folder, or a gallery of ours, may be replaced."""
    if out.is_dir() and any(out.iterdir()):
        manifest = read_json(out / MANIFEST) if (out / MANIFEST).is_file() else None
        if isinstance(manifest, dict) and manifest.get("kind") == KIND:
            return
    elif out.is_dir() or not out.exists():
        return
    raise OutputError(
        "The output is something that is not a gallery.",
        where=out,
        expected="an empty or absent folder, or a gallery to replace",
        fix="choose another folder",
    )


def _put_in_place(draft: Path, out: Path) -> None:
    """Rename the finished folder; an older gallery is moved away first, and back if that fails."""
    old = out.with_name(f".{out.name}.old.tmp-{os.getpid()}")
    try:
        if out.exists():
            os.replace(out, old)
        os.replace(draft, out)
    except OSError as error:
        if old.exists() and not out.exists():
            os.replace(old, out)
        raise OutputError(
            f"The gallery could not be put in place ({error.strerror}).", where=out, fix="choose another folder"
        ) from error
    shutil.rmtree(old, ignore_errors=True)


def _cards(cases: Sequence[Case], folder: Path, progress: Callable[[int], None] | None) -> list[Card]:
    stems = file_stems([case.image_id for case in cases])
    cards = []
    for case in cases:
        stem = stems[case.image_id]
        cards.append(Card(case, note_of(case), write_pictures(case, folder, stem), f"case-{stem}"))
        if progress is not None:
            progress(1)
    return cards


def sections_of(cards: Sequence[Card]) -> list[Section]:
    """Cards by section and lesion: a lesion stands where its worst image belongs, in the order given."""
    lesions: dict[str, list[Card]] = {}
    for card in cards:
        lesions.setdefault(card.case.lesion_id or f"\0{card.case.image_id}", []).append(card)
    sections: dict[str, list[Group]] = {}
    for members in lesions.values():
        key = min((card.case.section for card in members), key=ORDER.__getitem__)
        sections.setdefault(key, []).append(Group(members[0].case.lesion_id, tuple(members)))
    return [Section(key, tuple(sections[key])) for key in OUTCOMES if key in sections]


def page_html(cards: Sequence[Card], facts: GalleryFacts) -> str:
    """The whole page; style and script stand in it, and its policy allows these two and nothing else."""
    environment = _environment()
    style = environment.get_template("gallery.css").render()
    script = environment.get_template("gallery.js").render()
    return environment.get_template("gallery.html").render(
        facts=facts,
        sections=sections_of(cards),
        n_cards=len(cards),
        anchors={card.case.image_id: card.anchor for card in cards},
        style=Markup(style),
        script=Markup(script),
        policy=(
            f"default-src 'none'; img-src 'self' file:; style-src {_source(style)}; script-src {_source(script)}; "
            "base-uri 'none'; form-action 'none'"
        ),
        ramp=ramp(),
    )


def figures_markdown(cards: Sequence[Card], facts: GalleryFacts) -> str:
    """`FIGURES.md`, in the form of the seed's notes."""
    return _environment().get_template("FIGURES.md").render(facts=facts, cards=cards)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("melascope"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "note": as_html,
        "code": code,
        "percent": percent,
        "probability": probability,
        "figure": _figure,
    }
    environment.tests["undefined_figure"] = lambda figure: isinstance(figure, NotApplicable)
    environment.globals |= {
        "CLASSES": CLASSES,
        "CLASS_NAMES": CLASS_NAMES,
        "IMAGES": IMAGES,
        "NOT_HELD_OUT": NOT_HELD_OUT,
        "OUTCOMES": OUTCOMES,
        "PHANTOM": PHANTOM,
        "RESEARCH_ONLY": RESEARCH_ONLY,
        "apart": apart,
    }
    return environment


def _figure(value: float) -> str:
    """A share with three decimals, a larger number with two."""
    return f"{value:.3f}" if abs(value) <= 1 else f"{value:.2f}"


def _source(text: str) -> str:
    """A content-security-policy source that allows exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"

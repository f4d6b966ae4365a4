"""How does a gallery come to disk: a page that opens without network, its pictures, and `FIGURES.md`?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from melascope.errors import DataError
from melascope.files import atomic_folder, make_folder, sha256_bytes, write_manifest, write_text
from melascope.gallery.card import Card
from melascope.gallery.case import Case
from melascope.gallery.facts import PHANTOM, GalleryFacts
from melascope.gallery.notes import Note, note_of
from melascope.gallery.page_data import about_of, as_script_text, detail_blocks, facts_of
from melascope.gallery.pictures import Pictures, file_stems, ramp, write_pictures
from melascope.gallery.selection import EVERY
from melascope.gallery.tags import Tagged
from melascope.gallery.wording import code, percent, probability
from melascope.tables.results import NotApplicable
from melascope.templating import environment, page_policy
from melascope.workers import in_order

KIND = "melascope gallery"
IMAGES = "images"

SCRIPTS = (
    "gallery_1_data.js",
    "gallery_2_draw.js",
    "gallery_3_dom.js",
    "gallery_4_card.js",
    "gallery_5_tags.js",
    "gallery_6_list.js",
    "gallery_7_case.js",
    "gallery_8_start.js",
)
"""Files of `templates/` that stand in the page as one script, in this order."""


def write_gallery(
    cases: Sequence[Case],
    out: Path,
    *,
    facts: GalleryFacts,
    tags: Mapping[str, Tagged] | None = None,
    progress: Callable[[int], None] | None = None,
    workers: int = 1,
) -> Path:
    """Write `index.html`, `FIGURES.md` and `images/`: the same input gives the same bytes.

    Parameters
    ----------
    cases : in the order of `select_cases`
    tags : image id -> a reader's words that the page shall show, of `read_tags`
    out : folder of the gallery; an older gallery in it is replaced as a whole, any other content is left alone
    progress : called with 1 for each case drawn
    workers : processes that draw; see `workers_for`

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
    with atomic_folder(out, KIND) as draft:
        cards = _cards(cases, make_folder(draft / IMAGES), progress, workers)
        write_text(draft / "index.html", page_html(cards, facts, tags))
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
    return out / "index.html"


def _cards(cases: Sequence[Case], folder: Path, progress: Callable[[int], None] | None, workers: int) -> list[Card]:
    """Note and pictures of each case."""
    stems = file_stems([case.image_id for case in cases])
    drawn = in_order(partial(_drawn, folder), [(case, stems[case.image_id]) for case in cases], workers=workers)
    cards = []
    for case, (note, pictures) in zip(cases, drawn, strict=True):
        cards.append(Card(case, note, pictures, stems[case.image_id]))
        if progress is not None:
            progress(1)
    return cards


def _drawn(folder: Path, named: tuple[Case, str]) -> tuple[Note, Pictures]:
    case, stem = named
    return note_of(case), write_pictures(case, folder, stem, overlays=is_telling(case))


def is_telling(case: Case) -> bool:
    """Whether a case was chosen for more than being held out: only such ones stand in `FIGURES.md`."""
    return case.reasons != (EVERY,)


def page_html(cards: Sequence[Card], facts: GalleryFacts, tags: Mapping[str, Tagged] | None = None) -> str:
    """The whole page; style, script and cases stand in it, and its policy allows these and nothing else."""
    templates = _templates()
    style = templates.get_template("gallery.css").render()
    script = "".join(templates.get_template(name).render() for name in SCRIPTS)
    about = about_of(cards, tags or {}, _gallery_id(facts), images=IMAGES)
    return templates.get_template("gallery.html").render(
        facts=facts,
        n_cards=len(cards),
        n_tested=sum(bool(card.case.tests) for card in cards),
        everything=all(EVERY in card.case.reasons for card in cards),
        style=Markup(style),
        script=Markup(script),
        about=Markup(as_script_text(about)),
        columns=Markup(as_script_text(facts_of(cards))),
        blocks=[Markup(block) for block in detail_blocks(cards)],
        policy=page_policy(images="'self' file:", style=style, script=script),
        ramp=ramp(),
    )


def _gallery_id(facts: GalleryFacts) -> str:
    """Under which a browser keeps a reader's tags: another model or threshold is another gallery."""
    return sha256_bytes(f"{facts.run}\0{facts.checkpoint_sha256}\0{facts.operating_point.sha256}".encode())[:16]


def figures_markdown(cards: Sequence[Card], facts: GalleryFacts) -> str:
    """`FIGURES.md`, in the form of the seed's notes."""
    telling = [card for card in cards if is_telling(card.case)]
    return (
        _templates()
        .get_template("FIGURES.md")
        .render(
            facts=facts,
            cards=telling,
            n_left_out=len(cards) - len(telling),
            n_tested=sum(bool(card.case.tests) for card in telling),
        )
    )


def _templates() -> Environment:
    words = {"code": code, "percent": percent, "probability": probability, "figure": _figure}
    templates = environment(words, IMAGES=IMAGES, PHANTOM=PHANTOM)
    templates.tests["undefined_figure"] = lambda figure: isinstance(figure, NotApplicable)
    return templates


def _figure(value: float) -> str:
    """A share with three decimals, a larger number with two."""
    return f"{value:.3f}" if abs(value) <= 1 else f"{value:.2f}"

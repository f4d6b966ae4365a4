"""How does a report become one file that opens anywhere, and Markdown beside it?"""

from __future__ import annotations

import os
import re
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from melascope.files import atomic_folder, write_manifest, write_text
from melascope.gallery.facts import PHANTOM
from melascope.gallery.wording import code
from melascope.report.build import Report
from melascope.report.document import Code, Part, Strong, Text, Traced, where_from
from melascope.report.run_record import RunRecord
from melascope.templating import environment, page_policy

KIND = "melascope report"
PAGE, MARKDOWN = "report.html", "report.md"


def write_report(report: Report, record: RunRecord, out: Path) -> Path:
    """Write `report.html` and `report.md`: the same run gives the same bytes.

    Parameters
    ----------
    out : a new or empty folder, or that of an older report, which is replaced.

    Returns
    -------
    page : `out/report.html`

    Raises
    ------
    OutputError : the folder cannot be written, or holds something that is no report.
    """
    out = Path(out)
    with atomic_folder(out, KIND) as draft:
        write_text(draft / PAGE, report_html(report))
        write_text(draft / MARKDOWN, report_markdown(report, record, out))
        write_manifest(
            draft,
            kind=KIND,
            run=report.run,
            source=record.source,
            operating_point_sha256=record.point.sha256,
            checkpoint_sha256=record.evaluation.origin.checkpoint_sha256,
        )
    return out / PAGE


def report_html(report: Report) -> str:
    """The page: no script, no request; its policy allows its own style and the pictures that stand in it."""
    templates = _templates()
    style = templates.get_template("gallery.css").render() + templates.get_template("report.css").render()
    policy = page_policy(images="data:", style=style)
    return templates.get_template("report.html").render(report=report, style=Markup(style), policy=policy)


def report_markdown(report: Report, record: RunRecord, out: Path) -> str:
    """The same in Markdown, with links to the plots on disk; pictures of cases stand in the page alone."""

    def linked(file: str) -> str:
        picture = record.traces.path(file).with_suffix(".png")
        return Path(os.path.relpath(picture.resolve(), out.resolve())).as_posix().replace(" ", "%20")

    text = _templates().get_template("report.md").render(report=report, linked=linked)
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip() + "\n"


def _templates() -> Environment:
    filters = {"markup": as_html, "md": as_markdown, "md_cell": _as_cell, "codespan": code}
    return environment(filters, PHANTOM=PHANTOM, where_from=where_from)


def as_html(text: Text | str) -> Markup:
    """A sentence as HTML: all words are escaped, a number carries where it is from."""
    return Markup("").join(map(_part_as_html, (text,) if isinstance(text, str) else text))


def _part_as_html(part: Part) -> Markup:
    if isinstance(part, Strong):
        return Markup("<strong>{}</strong>").format(_part_as_html(part.part))
    if isinstance(part, Code):
        return Markup("<code>{}</code>").format(part.text)
    if isinstance(part, Traced):
        form = Markup(' data-form="{}"').format(part.form) if part.form else Markup("")
        return Markup('<span class="number" title="{}"{}>{}</span>').format(part.where, form, _unbroken(part.text))
    return Markup("{}").format(part)


def _unbroken(text: str) -> str:
    """An interval stays on one line, and so does a number with its sign of per cent."""
    hard = "\u00a0"
    return re.sub(r"\[[^]]*\]", lambda ends: ends[0].replace(" ", hard), text).replace(" %", f"{hard}%")


def as_markdown(text: Text | str) -> str:
    """A sentence as Markdown: our words and numbers plain, foreign words as code."""
    return "".join(map(_part_as_markdown, (text,) if isinstance(text, str) else text))


def _as_cell(text: Text | str) -> str:
    return as_markdown(text).replace("|", "\\|")


def _part_as_markdown(part: Part) -> str:
    if isinstance(part, Strong):
        return f"**{_part_as_markdown(part.part)}**"
    if isinstance(part, Code):
        return code(part.text)
    words = " ".join((part.text if isinstance(part, Traced) else part).splitlines())
    return words.translate(_ESCAPED)


_ESCAPED = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_<>#"})
"""Signs that Markdown or HTML would read as more than themselves."""

"""How do the files of `templates/` become pages in which what is shown is escaped and nothing foreign may run?"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from melascope.classes import RESEARCH_ONLY


def environment(filters: Mapping[str, Callable], **words: Any) -> Environment:
    """Templates in which HTML is escaped, and a name that is not known is an error.

    Parameters
    ----------
    filters : by the names that the templates call them
    words : what every template may say, besides `RESEARCH_ONLY`
    """
    found = Environment(
        loader=PackageLoader("melascope"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= filters
    found.globals |= {"RESEARCH_ONLY": RESEARCH_ONLY, **words}
    return found


def page_policy(*, images: str, style: str, script: str = "") -> str:
    """A content-security-policy (W3C CSP Level 3) that allows exactly this style and script, and asks for nothing.

    Parameters
    ----------
    images : sources of pictures, e.g. "data:"
    style, script : the texts that stand in the page; no script if it is empty
    """
    run = f"script-src {_source(script)}; " if script else ""
    return f"default-src 'none'; img-src {images}; style-src {_source(style)}; {run}base-uri 'none'; form-action 'none'"


def _source(text: str) -> str:
    """The source that is this very text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"

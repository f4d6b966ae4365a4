"""How are a run's gallery and report shown from the same server, each under the policy that it brings?"""

from __future__ import annotations

import html
import os
import re
from dataclasses import dataclass
from pathlib import Path

from fastapi.responses import Response
from starlette.exceptions import HTTPException

from melascope.app.guards import POLICY

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
"""Endings that are shown; nothing else leaves a run."""

NOTHING = "default-src 'none'; frame-ancestors 'none'"
"""For what is no page of ours: it may be looked at, but run and fetch nothing."""

_META = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')


@dataclass(frozen=True)
class Folder:
    """A folder of a run, of which single files are shown, and no list."""

    root: Path

    def response(self, path: str) -> Response:
        """One file; 404 for whatever is outside, absent, a link out of the folder, or of another kind."""
        root = self.root.resolve()
        file = (root / path).resolve() if "\0" not in path else root
        if not file.is_relative_to(root) or not os.path.isfile(file) or file.suffix not in TYPES:  # of any length
            raise HTTPException(404, "The run has no such page.")
        content = file.read_bytes()
        policy = policy_of(content) if file.suffix == ".html" else NOTHING
        return Response(content, headers={"content-type": TYPES[file.suffix], POLICY: policy})


def policy_of(page: bytes) -> str:
    """The policy that a page of ours carries, if it begins with nothing and allows scripts by digest alone."""
    found = _META.search(page[:4000].decode("utf-8", "replace"))
    policy = html.unescape(found[1]) if found else ""
    if not policy.startswith("default-src 'none';") or "unsafe" in policy or "*" in policy or "http" in policy:
        return NOTHING
    return f"{policy}; frame-ancestors 'none'"

"""Who is let in, which headers does every answer carry, and what is written down of a request?

Pure ASGI, around everything that the service answers, so that no route can forget it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from melascope.app.guards import HEADERS, POLICY, is_known_host
from melascope.service.keys import Keys
from melascope.service.metrics import Metrics
from melascope.service.refusals import Refusal, busy
from melascope.service.wire import CROWDED

LOG = logging.getLogger("melascope.service")
OPEN = frozenset({"/health", "/ready"})
"""Asked by the machinery around the service, which has no key."""

OWN_HEADERS = HEADERS | {POLICY: "default-src 'none'; frame-ancestors 'none'"}
OTHER_ROUTE = "other"
PAUSE_S = 0.5
"""After which a picture without a place is refused: who asks again at once, whatever Retry-After says, asks less."""


@dataclass(frozen=True)
class Entry:
    """Who may ask.

    Parameters
    ----------
    names : host names besides `localhost` and any address in digits
    origins : of pages elsewhere that may ask too, e.g. "https://example.org"
    """

    keys: Keys = field(default_factory=Keys)
    names: Collection[str] = ()
    origins: Collection[str] = ()

    def refusal(self, scope: Scope) -> Refusal | None:
        """Why a request is not let in; None if it is."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not is_known_host(host, {"localhost", *(name.lower() for name in self.names)}):
            return Refusal(
                "unknown_host",
                "The service does not answer under this name.",
                "Call it by its address in digits, or start it with --name NAME.",
            )
        if scope["method"] not in ("GET", "HEAD") and not self._from_our_pages(headers, host):
            return Refusal(
                "foreign_page",
                "The request comes from a web page of another origin.",
                "Start the service with --cors-origin ORIGIN if that page may ask.",
            )
        if scope["path"] not in OPEN and not self.keys.let_in(headers):
            return Refusal(
                "no_key",
                "The key is missing or wrong.",
                "Send the header Authorization: Bearer KEY, or X-API-Key: KEY.",
                {"www-authenticate": 'Bearer realm="melascope"'},
            )
        return None

    def _from_our_pages(self, headers: Headers, host: str) -> bool:
        """Whether no browser sends this, or a page of ours, or one that is allowed."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is None:
            return site in (None, "same-origin", "none")
        try:
            return origin in self.origins or urlsplit(origin).netloc == host
        except ValueError:
            return False


class Gate:
    """Lets in, sets headers, counts, and writes a line of log a request: route, status and time, and nobody's words.

    Parameters
    ----------
    routes : paths that are counted by name
    early : why a request would be in vain, known before anything of it is looked at: under load most are
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        entry: Entry,
        metrics: Metrics,
        routes: Collection[str],
        early: Callable[[Scope], Refusal | None],
    ) -> None:
        self.app, self.entry, self.metrics, self.routes, self.early = app, entry, metrics, frozenset(routes), early

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served")
        start, status = time.perf_counter(), 500

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in OWN_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self.entry.refusal(scope) or _crowded(scope)
        if refusal is None and (refusal := self.early(scope)) is not None:
            await asyncio.sleep(PAUSE_S)
        if refusal is not None:
            self.metrics.refused.labels(refusal.code).inc()
        try:
            await (refusal.response() if refusal else self.app)(scope, receive, with_headers)
        finally:
            self._note(scope, status, time.perf_counter() - start)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope["path"] if scope["path"] in self.routes else OTHER_ROUTE
        self.metrics.requests.labels(route, status).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        if LOG.isEnabledFor(logging.INFO) and route not in OPEN:
            LOG.info(json.dumps({"route": route, "status": status, "ms": round(1000 * seconds, 1)}))


def _crowded(scope: Scope) -> Refusal | None:
    """Why a request over one line too many gets no result: it, and the line, are let go."""
    lines = scope.get("state", {}).get(CROWDED)
    if lines is None or scope["path"] in OPEN:
        return None
    refusal = busy("too_many_lines", f"More than {lines} connections are open.", 1)
    return Refusal(refusal.code, refusal.error, refusal.fix, {**refusal.headers, "connection": "close"})

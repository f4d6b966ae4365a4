"""Who may ask the local page, how much may they send, and what may a browser do with what it answers?

Pure ASGI, around everything that the server answers, so that no route can forget it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Of the page itself: its own script, style and pictures, and nothing else."""

POLICY = "content-security-policy"
HEADERS = {
    POLICY: PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""On every answer; a route may only replace the policy, by that of a page that brings its own."""


class Guards:
    """Refuses foreign hosts and foreign pages, and sets the headers of every answer.

    Parameters
    ----------
    names : host names under which the server may be called, besides `localhost` and any address in digits
    """

    def __init__(self, app: ASGIApp, *, names: Collection[str] = ()) -> None:
        self.app, self.names = app, frozenset({"localhost", *(name.lower() for name in names)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self.app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not is_known_host(host, self.names):
            return refusal(
                421,
                "The server does not answer under this name.",
                "Open it as http://127.0.0.1:PORT, or name it: melascope app RUN --name NAME",
            )
        if scope["method"] not in ("GET", "HEAD") and not is_same_origin(headers, scope["scheme"], host):
            return refusal(403, "The request comes from another page.", "Use the page that this server shows.")
        return None


def is_known_host(host: str, names: Collection[str]) -> bool:
    """Whether a Host header names us. Digits always do: DNS rebinding needs a name that its owner can point here."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_same_origin(headers: Headers, scheme: str, host: str) -> bool:
    """Whether a browser sends this from our own page; what is no browser sends neither header."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    return site in (None, "same-origin") and origin in (None, f"{scheme}://{host}")


def refusal(status: int, error: str, fix: str) -> JSONResponse:
    """What was wrong and what to do now, as every refusal says it."""
    return JSONResponse({"error": error, "fix": fix}, status)

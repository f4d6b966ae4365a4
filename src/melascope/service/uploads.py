"""How does a picture come in: how many bytes, how many at once, and who is told to come again?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from melascope.service.limits import MIB, Limits
from melascope.service.metrics import Metrics
from melascope.service.refusals import Refusal, busy


@dataclass
class Places:
    """How many pictures wait or are worked on, and how many bytes of them are held; for the event loop alone."""

    limits: Limits
    metrics: Metrics
    taken: int = 0
    held: int = 0

    def refusal_if_full(self, seconds_a_picture: float) -> Refusal | None:
        """Refusal `queue_full` where there is no place; None where there is one."""
        if self.taken < self.limits.queue:
            return None
        wait = max(1, math.ceil(self.taken * seconds_a_picture))
        return busy("queue_full", f"{self.taken} pictures wait already.", wait)

    @contextmanager
    def place(self, seconds_a_picture: float) -> Iterator[None]:
        """A place in the queue."""
        if (refusal := self.refusal_if_full(seconds_a_picture)) is not None:
            raise refusal
        self._take(1, 0)
        try:
            yield
        finally:
            self._take(-1, 0)

    @contextmanager
    def account(self) -> Iterator[Account]:
        """An account of the bytes that one request holds, given back at its end."""
        account = Account(self)
        try:
            yield account
        finally:
            self._take(0, -account.n_bytes)

    def _take(self, places: int, n_bytes: int) -> None:
        self.taken, self.held = self.taken + places, self.held + n_bytes
        self.metrics.places.set(self.taken)
        self.metrics.bytes_held.set(self.held)


@dataclass
class Account:
    """The bytes that one request holds."""

    places: Places
    n_bytes: int = 0

    def add(self, n_bytes: int) -> None:
        """Refusal `too_many_bytes` where all pictures together would become more than is held."""
        if self.places.held + n_bytes > self.places.limits.max_bodies:
            raise busy("too_many_bytes", "Too many pictures are coming in at once.", 1)
        self.n_bytes += n_bytes
        self.places._take(0, n_bytes)


async def body_of(request: Request, account: Account) -> bytes:
    """The picture's bytes, counted as they come: in memory, never in a temporary file as a form's would be.

    Raises
    ------
    Refusal : more bytes than are taken, announced or come; or the client left.
    """
    most = account.places.limits.max_body
    announced = request.headers.get("content-length", "0")
    if not (announced.isascii() and announced.isdigit()) or len(announced) > 18 or int(announced) > most:
        raise _too_large(most)
    data = bytearray()
    try:
        async for piece in request.stream():
            if len(data) + len(piece) > most:
                raise _too_large(most)
            account.add(len(piece))
            data += piece
    except ClientDisconnect:
        raise Refusal("client_left", "The client left before its picture had come.", "Send it again.") from None
    return bytes(data)


def _too_large(most: int) -> Refusal:
    return Refusal("too_large", f"The picture is larger than {most / MIB:g} MiB.", "Send a smaller file.")

"""Who is cut off: a client that sends so slowly, or takes its answer so slowly, that it only holds a place?

uvicorn waits without end for the head and the body of a request, and for a client to take what is written. The one
timer here follows the state of h11 and closes what stands still, so that no route can forget it.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from melascope.service.limits import Limits
from melascope.service.refusals import STATUS, Problem

LINGER_S = 2.0
"""How long the rest of a body is thrown away after an early answer, so that the client can read that."""

SEND_BUFFER = 2**17
"""Bytes of an answer that the kernel may hold for a client; left to itself it holds megabytes for who reads none."""

CROWDED = "melascope.crowded"
"""In the state of a request that came over one line too many: how many there may be."""

HEAD, BODY, REST, ANSWER = "head", "body", "rest", "answer"
"""What is waited for: the head of a request, its body, the rest of a body nobody wants, that an answer is taken."""

_PROBLEM = Problem(
    code="too_slow", error="The request came too slowly.", fix="Send it again on a faster line, or a smaller picture."
)


def too_slow() -> bytes:
    """A whole answer 408, for a request that no application has seen."""
    body = json.dumps(_PROBLEM.model_dump()).encode()
    head = (
        f"HTTP/1.1 {STATUS['too_slow']} Request Timeout\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\ncache-control: no-store\r\n\r\n"
    )
    return head.encode() + body


def protocol(limits: Limits, cut: Callable[[str], None]) -> type[H11Protocol]:
    """uvicorn's protocol with these limits.

    Parameters
    ----------
    cut : called with what was waited for, each time a connection is closed for it
    """

    class Impatient(H11Protocol):
        _waits_for: str | None = None
        _since = 0.0
        _came = 0
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self.app_state = {**self.app_state, CROWDED: limits.connections}
            line = transport.get_extra_info("socket")
            if line is not None:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            self._watch()

        def data_received(self, data: bytes) -> None:
            self._came += len(data)
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._wait_for(None)
            super().connection_lost(exc)

        def _watch(self) -> None:
            """Start the timer anew where something else is waited for than before."""
            waits_for = self._state()
            if waits_for != self._waits_for:
                self._wait_for(waits_for)

        def _state(self) -> str | None:
            if self.flow.write_paused:
                return ANSWER
            if self.transport.is_closing():
                return None
            if self.conn.their_state is h11.IDLE:
                return HEAD
            if self.conn.their_state is h11.SEND_BODY:
                return REST if self.cycle is not None and self.cycle.response_complete else BODY
            return None

        def _wait_for(self, waits_for: str | None) -> None:
            if self._timer is not None:
                self._timer.cancel()
            self._waits_for, self._since, self._came, self._timer = waits_for, self.loop.time(), 0, None
            if waits_for is not None:
                self._timer = self.loop.call_at(self._until(), self._late)

        def _until(self) -> float:
            earned = self._came / limits.slowest if self._waits_for == BODY else 0.0
            return self._since + (LINGER_S if self._waits_for == REST else limits.patience_s) + earned

        def _late(self) -> None:
            if self.loop.time() + 0.01 < self._until():  # bytes came meanwhile
                self._timer = self.loop.call_at(self._until(), self._late)
                return
            waited_for, silent = self._waits_for, self._came == 0
            self._wait_for(None)
            cut(str(waited_for))
            if (waited_for == HEAD and not silent) or (waited_for == BODY and not self.cycle.response_started):
                self.transport.write(too_slow())
            if waited_for in (HEAD, BODY):
                self.transport.close()
            else:
                self.transport.abort()

    return Impatient

"""Does the service hold when many ask at once, when many ask too slowly, and when it runs for long?

Each function asks a service in another process, and returns what was measured; `failures` says what does not hold.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HEALTH_P99_S = 0.2
CUT_WITHIN_S = 15.0
MEMORY_DRIFT = 0.05
SLACK_S = 0.5  # of a client that shares its cores with the service, on top of a deadline


@dataclass(frozen=True)
class Answered:
    """One answer: status, seconds until its last byte, and whether it says when to come again."""

    status: int
    seconds: float
    retry_after: str = ""


async def ask(reader, writer, method: str, path: str, body: bytes = b"") -> Answered:
    """One request on an open connection."""
    start = time.perf_counter()
    writer.write(f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.split("content-length: ")[1].split("\r\n")[0])
    await reader.readexactly(length)
    retry = head.split("retry-after: ")[1].split("\r\n")[0] if "retry-after: " in head else ""
    return Answered(int(head.split(" ")[1]), time.perf_counter() - start, retry)


async def _client(port: int, bodies: Sequence[tuple[str, bytes]], end: float, found: list, pause: float) -> None:
    """Ask again and again, on one connection as long as it lasts."""
    turn, writer = 0, None
    while time.perf_counter() < end:
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            path, body = bodies[turn % len(bodies)]
            turn += 1
            answer = await asyncio.wait_for(ask(reader, writer, "POST", path, body), 60)
            found.append(answer)
            if answer.status == 503:
                await asyncio.sleep(pause)
        except (OSError, asyncio.IncompleteReadError):
            found.append(Answered(0, 0.0))
            writer = None
    if writer is not None:
        writer.close()


def watch_health(port: int, seconds: float, every: float = 0.05) -> list[float]:
    """Seconds until `/health` answered, asked on a new connection each time; infinite where it did not."""
    took, end = [], time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/health")
            answered = connection.getresponse().read() and True
        except OSError:
            answered = False
        connection.close()
        took.append(time.perf_counter() - start if answered else float("inf"))
        time.sleep(every)
    return took


@dataclass(frozen=True)
class Overload:
    """What clients saw: answers by status (0: the line broke), and seconds of accepted requests and of `/health`."""

    statuses: dict[int, int]
    accepted: np.ndarray
    health: np.ndarray
    without_retry_after: int
    deadline: float

    def failures(self, health_p99: float = HEALTH_P99_S) -> list[str]:
        """What does not hold."""
        found = [f"{n} answers {status}" for status, n in self.statuses.items() if status in (0, 500)]
        if not len(self.accepted) or self.accepted.max() > self.deadline + SLACK_S:
            found.append("an accepted request took longer than the deadline, or none was accepted")
        if np.quantile(self.health, 0.99) >= health_p99:
            found.append(f"/health p99 is {np.quantile(self.health, 0.99):.3f} s")
        if self.without_retry_after:
            found.append(f"{self.without_retry_after} refusals without Retry-After")
        return found

    def __str__(self) -> str:
        took, health = self.accepted, self.health
        return (
            f"answers by status {dict(sorted(self.statuses.items()))}; accepted: median {np.median(took):.3f} s, "
            f"p99 {np.quantile(took, 0.99):.3f}, largest {took.max():.3f} (deadline {self.deadline:g}); "
            f"/health ({len(health)}): median {np.median(health):.4f} s, p99 {np.quantile(health, 0.99):.4f}, "
            f"largest {health.max():.4f}"
        )


def overload(
    port: int, bodies: Sequence[tuple[str, bytes]], *, clients: int, seconds: float, deadline: float, pause: float
) -> Overload:
    """Many clients that ask without a break.

    Parameters
    ----------
    bodies : (address, picture) that each client asks in turn
    pause : seconds that a client waits after 503, whatever Retry-After says
    """
    program = (
        "import sys; from torture.service_load import watch_health; print(watch_health(*map(float, sys.argv[1:])))"
    )
    watcher = subprocess.Popen(
        [sys.executable, "-c", program.replace("*map(float, sys.argv[1:])", f"{port}, {seconds}")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    found: list[Answered] = []

    async def all_clients() -> None:
        end = time.perf_counter() + seconds
        await asyncio.gather(*(_client(port, bodies[n % len(bodies) :] + bodies[: n % len(bodies)], end, found, pause)
                               for n in range(clients)))  # fmt: skip

    asyncio.run(all_clients())
    told, _ = watcher.communicate(timeout=60)
    health = [float(word) for word in told.strip().strip("[]").split(",")]
    refused = [one for one in found if one.status == 503]
    return Overload(
        statuses=dict(Counter(one.status for one in found)),
        accepted=np.array([one.seconds for one in found if one.status == 200]),
        health=np.array(health),
        without_retry_after=sum(not one.retry_after for one in refused),
        deadline=deadline,
    )


@dataclass(frozen=True)
class SlowSenders:
    """When each slow connection was closed, by kind, and what a normal client saw meanwhile."""

    closed: dict[str, list[float]]
    normal: list[Answered]

    def failures(self) -> list[str]:
        """What does not hold."""
        found = [
            f"{kind}: closed after {max(seconds):.1f} s"
            for kind, seconds in self.closed.items()
            if max(seconds) > CUT_WITHIN_S
        ]
        wrong = [one for one in self.normal if one.status != 200]
        return found + ([f"{len(wrong)} of {len(self.normal)} normal requests failed"] if wrong else [])

    def __str__(self) -> str:
        kinds = "; ".join(f"{kind} ({len(s)}): {min(s):.1f} to {max(s):.1f} s" for kind, s in self.closed.items())
        took = np.array([one.seconds for one in self.normal])
        return (
            f"closed: {kinds}; a normal client meanwhile: {len(took)} requests, median {np.median(took):.3f} s, "
            f"largest {took.max():.3f}"
        )


HEAD = b"POST /v1/predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100000\r\n"
SLOW_KINDS: dict[str, tuple[bytes, bytes]] = {
    "says nothing": (b"", b""),
    "head, a byte a second": (b"POST /v1/pre", b"d"),
    "headers without end": (b"POST /v1/predict HTTP/1.1\r\nhost: 127.0.0.1\r\n", b"a: b\r\n"),
    "body, a byte a second": (HEAD + b"\r\n", b"\xff"),
    "body in chunks, a byte a second": (
        HEAD.replace(b"content-length: 100000", b"transfer-encoding: chunked") + b"\r\n", b"1\r\nx\r\n"
    ),
    "body, then nothing": (HEAD + b"\r\n\xff\xd8\xff", b""),
    "second request, a byte a second": (b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\nGE", b"T"),
    "takes nothing of its answers": (b"GET /v1/model-card HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" * 1000, b"\r\n"),
}  # fmt: skip
"""What a slow client sends first, and then each second."""


async def _slow(port: int, kind: str, limit: float) -> float:
    """Seconds until the service closed this connection; infinite if it did not."""
    first, then = SLOW_KINDS[kind]
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.setblocking(False)
    await asyncio.get_running_loop().sock_connect(line, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=line, limit=2**10)
    start = time.perf_counter()
    reads = kind != "takes nothing of its answers"

    async def drip() -> None:
        writer.write(first)
        while True:
            await asyncio.sleep(1)
            if writer.is_closing():
                return
            writer.write(then or b"")
            if not reads and reader.exception() is not None:
                return

    dripping = asyncio.create_task(drip())
    try:
        async with asyncio.timeout(limit):
            if reads:
                while await reader.read(2**16):
                    pass
            else:
                await writer.wait_closed()
    except TimeoutError:
        return float("inf")
    except OSError:
        pass
    finally:
        dripping.cancel()
        writer.transport.abort()
    return time.perf_counter() - start


def slow_senders(port: int, picture: bytes, *, sockets: int, limit: float = 30.0) -> SlowSenders:
    """Open many connections that do not get on, of each kind as many, and ask as a normal client meanwhile."""
    kinds = list(SLOW_KINDS)
    normal: list[Answered] = []

    async def normal_client() -> None:
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            normal.append(await ask(reader, writer, "POST", "/v1/predict", picture))
            writer.close()
            await asyncio.sleep(0.2)

    async def all_of_them() -> list[float]:
        client = asyncio.create_task(normal_client())
        closed = await asyncio.gather(*(_slow(port, kinds[n % len(kinds)], limit) for n in range(sockets)))
        client.cancel()
        return closed

    closed = asyncio.run(all_of_them())
    return SlowSenders({kind: closed[n :: len(kinds)] for n, kind in enumerate(kinds[:sockets])}, normal)


@dataclass(frozen=True)
class Soak:
    """Memory and file descriptors of the service, sampled while it answers.

    Parameters
    ----------
    memory : (samples,) resident bytes, after each equal part of the requests
    descriptors : (samples,)
    """

    n: int
    seconds: float
    statuses: dict[int, int]
    memory: np.ndarray
    descriptors: np.ndarray
    expected: frozenset[int] = field(default=frozenset({200, 415, 422}))

    @property
    def drift(self) -> float:
        """Median of the last fifth over that of the second fifth, less 1: the first fifth warms allocators up."""
        fifth = max(1, len(self.memory) // 5)
        return float(np.median(self.memory[-fifth:]) / np.median(self.memory[fifth : 2 * fifth]) - 1)

    def failures(self, most_drift: float = MEMORY_DRIFT) -> list[str]:
        """What does not hold."""
        found = [f"{n} answers {status}" for status, n in self.statuses.items() if status not in self.expected]
        if self.drift >= most_drift:
            found.append(f"memory grew by {100 * self.drift:.1f} %")
        if self.descriptors[-1] > self.descriptors[0]:
            found.append(f"descriptors grew from {self.descriptors[0]} to {self.descriptors[-1]}")
        return found

    def __str__(self) -> str:
        return (
            f"{self.n:,} requests in {self.seconds:.0f} s, by status {dict(sorted(self.statuses.items()))}; memory "
            f"{self.memory[0] / 2**20:.1f} MiB first, {self.memory[-1] / 2**20:.1f} last, largest "
            f"{self.memory.max() / 2**20:.1f}; drift {100 * self.drift:+.2f} %; "
            f"descriptors {self.descriptors[0]} first, {self.descriptors[-1]} last"
        )


def soak(
    port: int, pid: int, requests: Sequence[tuple[str, str, bytes]], *, n: int, clients: int = 8, samples: int = 50
) -> Soak:
    """Ask for long.

    Parameters
    ----------
    requests : (method, address, body) asked in turn
    """
    statuses: Counter[int] = Counter()
    memory, descriptors = [], []

    async def client(number: int, turns: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in range(turns):
            statuses[(await ask(reader, writer, *requests[(number + turn) % len(requests)])).status] += 1
        writer.close()
        await writer.wait_closed()

    start, part = time.perf_counter(), max(1, n // samples)
    for _ in range(samples):
        asyncio.run(_together(client, clients, part))
        time.sleep(0.05)  # until the service has seen that the lines are closed
        memory.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        descriptors.append(len(os.listdir(f"/proc/{pid}/fd")))
    return Soak(
        sum(statuses.values()), time.perf_counter() - start, dict(statuses), np.array(memory), np.array(descriptors)
    )


async def _together(client, clients: int, n: int) -> None:
    await asyncio.gather(*(client(number, n // clients + (number < n % clients)) for number in range(clients)))

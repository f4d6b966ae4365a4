"""How do pictures of many clients share one pass of the network, and what becomes of one whose client gave up?"""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from melascope.service.limits import Limits
from melascope.service.metrics import Metrics
from melascope.stages.looking import Seen

NICE = 5
"""How far the threads that compute step back behind the one that talks to clients."""


def step_back() -> None:
    """Let the calling thread, and those that it starts, compute only where the one that talks to clients does not."""
    if sys.platform == "linux":  # elsewhere a priority belongs to the whole process
        thread = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICE)


@dataclass(frozen=True)
class _Waiting:
    """A picture (height, width, 3) uint8, resized, whom to tell, and since when it waits."""

    pixels: np.ndarray
    answer: Future[tuple[Seen, int]]
    since: float


class Batcher:
    """One thread that asks the network, a batch of whoever waits at a time.

    Parameters
    ----------
    look : (n, height, width, 3) uint8 -> what is seen; called by this thread alone
    """

    def __init__(self, look: Callable[[np.ndarray], Seen], limits: Limits, metrics: Metrics) -> None:
        self._look, self._limits, self._metrics = look, limits, metrics
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()  # bounded by `Places`
        self._busy_since: float | None = None
        self.seconds_a_picture = 0.05  # until measured; a running mean
        self._thread = threading.Thread(target=self._work, name="network", daemon=True)
        self._thread.start()

    async def ask(self, pixels: np.ndarray) -> tuple[Seen, int]:
        """What the network saw, and the picture's row in it. If the caller is cancelled, the picture is left out."""
        waiting = _Waiting(pixels, Future(), time.monotonic())
        self._waiting.put(waiting)
        return await asyncio.wrap_future(waiting.answer)

    @property
    def works(self) -> bool:
        """Whether the thread lives and no pass takes longer than the deadline."""
        since = self._busy_since
        return self._thread.is_alive() and (since is None or time.monotonic() - since < self._limits.deadline_s)

    def stop(self) -> None:
        """End the thread after what waits already."""
        self._waiting.put(None)
        self._thread.join(timeout=self._limits.deadline_s)

    def _work(self) -> None:
        step_back()
        while (first := self._waiting.get()) is not None:
            batch, more = self._gathered(first)
            wanted = [one for one in batch if one.answer.set_running_or_notify_cancel()]
            if wanted:
                self._answer(wanted)
            if not more:
                return

    def _gathered(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """The first and whoever comes within `gather_ms`, up to a full batch; and whether to go on after it."""
        batch, end = [first], time.monotonic() + self._limits.gather_ms / 1000
        while len(batch) < self._limits.batch:
            try:
                one = self._waiting.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            if one is None:
                return batch, False
            batch.append(one)
        return batch, True

    def _answer(self, batch: list[_Waiting]) -> None:
        self._busy_since = start = time.monotonic()
        try:
            seen = self._look(np.stack([one.pixels for one in batch]))
        except Exception as error:  # a bug, told to each who waits; the next batch may fare better
            for one in batch:
                one.answer.set_exception(error)
        else:
            for row, one in enumerate(batch):
                one.answer.set_result((seen, row))
        finally:
            self._busy_since = None
        seconds = time.monotonic() - start
        self.seconds_a_picture += 0.1 * (seconds / len(batch) - self.seconds_a_picture)
        self._metrics.batch.observe(len(batch))
        self._metrics.network_seconds.observe(seconds)
        for one in batch:
            self._metrics.waited_seconds.observe(start - one.since)

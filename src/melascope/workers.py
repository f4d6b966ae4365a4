"""How do several processes do one thing to many items, as if this one did it alone?"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from melascope.errors import OutputError

CHUNK = 8
"""Items that go to a process at a time."""


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's mallopt (malloc.h); 32 MiB is the most that it takes


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function: Callable[[Any], Any], items: Sequence[Any], *, workers: int) -> Iterator[Any]:
    """Like `map`, with its order and its first error, the work shared by `workers` processes; 1 stays in this one.

    Parameters
    ----------
    function, items : picklable, as what comes back must be

    Raises
    ------
    OutputError : a process died. What the function itself raises is raised here.
    """
    if workers == 1:
        yield from map(function, items)
        return
    # Spawned, not forked: the caller may hold threads (torch, OpenMP) that a fork would break.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_keep_memory) as pool:
        try:
            yield from pool.map(function, items, chunksize=CHUNK)
        except BrokenProcessPool as error:
            raise OutputError(
                "A worker process ended before its work was done (killed, or out of memory; or the calling script "
                'is read from stdin or lacks `if __name__ == "__main__":`).',
                where=f"{workers} workers",
                fix="the same call with workers=1",
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _keep_memory() -> None:
    """Let this process keep the memory of a picture for the next one, where the C library can be told so.

    By default glibc gives it back, and taking it anew page by page costs as much as decoding a 600×450 JPEG.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(_MMAP_THRESHOLD, 32 * 2**20)
    mallopt(_TRIM_THRESHOLD, 256 * 2**20)

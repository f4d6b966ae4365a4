"""What does a piece of work do to a process of its own: does it end, in what time, with how much memory?

Work runs in a forked child, so that a crash, a hang or a flood of memory is seen and named, and ends nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORK = multiprocessing.get_context("fork")
ADDRESS_SPACE = 8 * 2**30
"""What a child may ask for at all; an allocation beyond fails in it and not on the machine."""

_CLEAR_PEAK = "5"


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Parameters
    ----------
    value : what the work returned; None where it did not come so far
    fault : "" or what went wrong: a traceback, a signal, a hang
    seconds, cpu_seconds : of the work alone
    peak_bytes : resident memory at its highest, above what the child began with
    resident_bytes : resident memory at its highest, with interpreter and libraries
    """

    value: Any
    fault: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    resident_bytes: int


def resident(what: str = "VmRSS") -> int:
    """Bytes of this process in memory: now (`VmRSS`) or at most so far (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


def forget_peak() -> int:
    """Let the highest memory so far count from now on; the memory now."""
    Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK)
    return resident()


def in_child(work: Callable[[], Any], *, limit: float = 60) -> Ended:
    """Do `work` in a forked child and wait at most `limit` seconds; its value must be one that pickle knows."""
    ours, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_work, args=(work, theirs))
    process.start()
    theirs.close()
    try:
        if not ours.poll(limit):
            process.kill()
            return Ended(None, f"no answer within {limit:g} s", limit, limit, 0, 0)
        return pickle.loads(ours.recv_bytes())  # of our own child
    except EOFError:
        process.join()
        return Ended(None, f"the process ended with code {process.exitcode}", 0, 0, 0, 0)
    finally:
        process.join(5)
        ours.close()


def _work(work: Callable[[], Any], pipe) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    before, start, cpu, fault, value = forget_peak(), time.perf_counter(), time.process_time(), "", None
    try:
        value = work()
    except BaseException:
        fault = traceback.format_exc(limit=-4)
    took, cpu, peak = time.perf_counter() - start, time.process_time() - cpu, resident("VmHWM")
    pipe.send_bytes(pickle.dumps(Ended(value, fault, took, cpu, peak - before, peak)))
    pipe.close()
    os._exit(0)  # nothing of the parent's is to be ended by this copy of it


def in_chunks(
    work: Callable[[range], Any], n: int, *, chunk: int, processes: int = 2, limit: float = 300
) -> Iterator[tuple[range, Ended]]:
    """`work` on 0 … n - 1, `chunk` numbers in a child, `processes` children at a time."""
    from concurrent.futures import ThreadPoolExecutor

    spans = [range(begin, min(begin + chunk, n)) for begin in range(0, n, chunk)]
    with ThreadPoolExecutor(processes) as waiting:
        yield from zip(spans, waiting.map(lambda span: in_child(lambda: work(span), limit=limit), spans), strict=True)

"""How are several trainings done at once, each in a process of its own with its share of the threads?"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from rich.console import Console

from melascope.errors import MelascopeError, RunError
from melascope.files import make_folder
from melascope.models.interruption import Interruption
from melascope.stages.reporting import Reporter
from melascope.stages.training import train_run
from melascope.tables.runs import RunDirectory

LOOK_SECONDS = 0.5
"""How soon a Ctrl-C is passed on."""


@dataclass(frozen=True)
class Training:
    """A run that is to be trained, or trained further.

    Parameters
    ----------
    key : its name in the experiment, and of its log
    fresh : it was made just now; if its data or recipe are refused, nothing of it stays behind
    """

    key: str
    run: RunDirectory
    fresh: bool


def train_side_by_side(
    trainings: Sequence[Training], *, jobs: int, logs: Path, reporter: Reporter, accelerator: str = "auto"
) -> None:
    """Complete all runs, `jobs` at a time; what each says goes to `logs/KEY.log`.

    A CPU serves small networks better this way than one by one with all its threads (docs/performance.md). A training
    that fails stops no other one.

    Raises
    ------
    RunError : a training failed; told when all others are done.
    KeyboardInterrupt : on Ctrl-C or SIGTERM, after each has finished its step and saved.
    """
    make_folder(logs)
    # Spawned, not forked: this process holds torch's threads, which a fork would break.
    context, threads = multiprocessing.get_context("spawn"), max(1, torch.get_num_threads() // jobs)
    waiting, running, failed = deque(trainings), {}, []
    with Interruption() as interruption:
        while waiting or running:
            while waiting and len(running) < jobs:
                training = waiting.popleft()
                log = logs / f"{training.key}.log"
                process = context.Process(target=_train_alone, args=(training, log, threads, accelerator))
                process.start()
                running[process.sentinel] = process, training
                reporter.say(f"{training.key}: trains with {threads} thread{'s' * (threads > 1)}; {log}")
            for sentinel in wait(list(running), timeout=LOOK_SECONDS):
                process, training = running.pop(sentinel)
                process.join()
                if process.exitcode and not interruption.asked:
                    failed.append(training.key)
                reporter.say(f"{training.key}: {_how_it_ended(process)}; {len(waiting) + len(running)} to go")
            if interruption.asked:
                _stop([process for process, _ in running.values()])
                raise KeyboardInterrupt
    if failed:
        raise RunError(
            f"{len(failed)} of {len(trainings)} trainings failed: {', '.join(failed)}.",
            where=logs,
            fix="mend what their logs tell, then the same command goes on",
        )


def _stop(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


def _how_it_ended(process: BaseProcess) -> str:
    if process.exitcode and process.exitcode < 0:
        return f"ended by signal {-process.exitcode} (killed, or out of memory)"
    return "failed" if process.exitcode else "done"


def _train_alone(training: Training, log: Path, threads: int, accelerator: str) -> None:
    """The process's whole life; a terminal's Ctrl-C reaches its parent alone, which passes it on once."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    with log.open("a", encoding="utf-8", buffering=1) as stream:
        reporter = Reporter(Console(file=stream, width=160))
        try:
            train_run(training.run, reporter, accelerator=accelerator, fresh=training.fresh)
        except MelascopeError as error:
            reporter.say(f"error: {error}")
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            reporter.say("interrupted; the same command goes on")
            raise SystemExit(130) from None


def _end_with_parent() -> None:
    """Save and leave when whoever started this is gone: nobody would know that the training still goes on."""
    wait([multiprocessing.parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGTERM)

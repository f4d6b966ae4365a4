"""A running service for tests: in this process on a port that is free, or as the command in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from melascope.app.running import listening
from melascope.service.gate import Entry
from melascope.service.limits import Limits
from melascope.service.metrics import Metrics
from melascope.service.running import server_of
from melascope.service.server import create_service
from melascope.stages.answering import Answerer
from served_page import Served


@contextmanager
def serving_service(answerer: Answerer, limits: Limits | None = None, entry: Entry | None = None) -> Iterator[Served]:
    """The service in a thread."""
    limits, metrics, listener = limits or Limits(), Metrics.new(), listening("127.0.0.1", 0)
    server = server_of(create_service(answerer, limits, metrics, entry or Entry()), limits, metrics)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < end, "the service does not start"
        time.sleep(0.01)
    try:
        yield Served(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(timeout=15)
        listener.close()


@dataclass(frozen=True)
class Process:
    """The command, running.

    Parameters
    ----------
    said : file that its stderr goes to
    """

    port: int
    pid: int
    said: Path


@contextmanager
def service_process(run: Path, folder: Path, *options: str, **environment: str) -> Iterator[Process]:
    """`melascope serve RUN` with its working and temporary folder in `folder`; must end well when told to."""
    said = folder / "stderr.txt"
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    melascope = Path(sys.executable).with_name("melascope")
    command = [str(melascope), "serve", str(run.resolve()), "--port", "0", *options]
    environment = {**os.environ, "TMPDIR": str(temporary), **environment}
    with said.open("wb") as stderr:
        process = subprocess.Popen(
            command, cwd=temporary, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        try:
            address = process.stdout.readline().strip()
            if not address:
                raise AssertionError(f"the service did not start: {said.read_text()}")
            yield Process(int(address.rstrip("/").rpartition(":")[2]), process.pid, said)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise

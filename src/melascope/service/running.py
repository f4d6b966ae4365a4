"""How is the service started, and what is said before it can be reached from elsewhere?"""

from __future__ import annotations

import logging
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from melascope.app.running import is_loopback, listening
from melascope.service.batching import step_back
from melascope.service.gate import LOG, Entry
from melascope.service.limits import Limits
from melascope.service.metrics import Metrics
from melascope.service.server import create_service
from melascope.service.wire import protocol
from melascope.stages.answering import Answerer
from melascope.stages.reporting import Reporter
from melascope.tables.runs import RunDirectory

IDLE_S = 5
"""How long an open connection may say nothing between two requests."""

SWITCH_S = 0.001
"""A thread that computes in Python lets the others on after this; the default of 5 ms would delay `/health`."""

OPEN_TO_OTHERS = (
    "warning: {host} can be reached from other computers, and {what}. Put a proxy with TLS before it: what goes over "
    "the line is not encrypted."
)


def run_service(
    run: RunDirectory,
    reporter: Reporter,
    *,
    entry: Entry,
    limits: Limits,
    host: str = "127.0.0.1",
    port: int = 8080,
    data: Path | None = None,
    log: bool = True,
) -> None:
    """Serve until SIGTERM or Ctrl-C; what is being answered then is answered.

    Parameters
    ----------
    log : a line of JSON a request on stderr: route, status, milliseconds

    Raises
    ------
    MelascopeError : the address cannot be listened on, or the run cannot answer.
    """
    listener = listening(host, port)
    with listener:
        with ThreadPoolExecutor(1, initializer=step_back) as behind:  # threads that the network starts stay behind too
            answerer = behind.submit(Answerer.open, run, reporter, data=data).result()
        metrics = Metrics.new()
        app = create_service(answerer, limits, metrics, _with_name(entry, host))
        if not is_loopback(host):
            what = "only those with a key may ask" if entry.keys else "there is no key: anybody may ask"
            reporter.say(OPEN_TO_OTHERS.format(host=host, what=what))
        if log:
            log_requests()
        sys.setswitchinterval(SWITCH_S)
        _raise_descriptors(limits)
        shown = f"[{host}]" if ":" in host else host
        print(f"http://{shown}:{listener.getsockname()[1]}/", flush=True)
        server_of(app, limits, metrics).run(sockets=[listener])


def server_of(app: ASGIApp, limits: Limits, metrics: Metrics) -> uvicorn.Server:
    """One process; cuts off who is slow, says nothing but errors, and tells nobody what it runs on."""
    config = uvicorn.Config(
        app,
        http=protocol(limits, lambda waited_for: metrics.cut.labels(waited_for).inc()),
        ws="none",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=int(limits.deadline_s) + 1,
    )
    return uvicorn.Server(config)


def log_requests() -> None:
    """Let the gate's lines reach stderr."""
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    if not LOG.handlers:
        LOG.addHandler(logging.StreamHandler())


def _with_name(entry: Entry, host: str) -> Entry:
    return Entry(entry.keys, (*entry.names, host), entry.origins)


def _raise_descriptors(limits: Limits) -> None:
    """Let there be a file descriptor for every connection, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # a container may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))

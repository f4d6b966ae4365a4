"""How is the local page started, and who is warned before it can be reached from elsewhere?"""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import uvicorn

from melascope.app.server import create_app
from melascope.errors import MelascopeError
from melascope.stages.answering import Answerer
from melascope.stages.reporting import Reporter
from melascope.tables.runs import RunDirectory

OPEN_TO_OTHERS = (
    "warning: {host} can be reached from other computers. Whoever reaches it can send pictures and read this run's "
    "gallery and report; there is no password and no encryption."
)


def run_app(
    run: RunDirectory,
    reporter: Reporter,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    names: tuple[str, ...] = (),
    keep: Path | None = None,
    data: Path | None = None,
) -> None:
    """Serve until Ctrl-C.

    Raises
    ------
    MelascopeError : the address cannot be listened on.
    """
    listener = listening(host, port)
    with listener:
        answerer = Answerer.open(run, reporter, data=data)
        app = create_app(answerer, names=(*names, host), keep=keep)
        if not is_loopback(host):
            reporter.say(OPEN_TO_OTHERS.format(host=host))
        if keep is not None:
            reporter.say(f"note: pictures and answers are kept in {keep}")
        shown = f"[{host}]" if ":" in host else host
        print(f"http://{shown}:{listener.getsockname()[1]}/", flush=True)
        reporter.say("Ctrl-C ends it.")
        server_of(app).run(sockets=[listener])


def server_of(app) -> uvicorn.Server:
    """One process; says nothing but errors, and tells nobody what it runs on."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, ws="none", timeout_graceful_shutdown=2
    )
    return uvicorn.Server(config)


def listening(host: str, port: int) -> socket.socket:
    """A socket on this address, taken before anything is loaded, so that a port in use is told at once."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise MelascopeError(
            f"The address cannot be listened on ({error.strerror or error}).",
            where=f"{host}:{port}",
            fix="choose another port: --port 0 takes any that is free",
        ) from error


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

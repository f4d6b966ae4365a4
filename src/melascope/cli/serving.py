"""`melascope app` and `melascope serve`: a local page for one picture, and a service for programs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.flags import torch_needed
from melascope.cli.models import OptionalRun, run_or_reference
from melascope.errors import MelascopeError
from melascope.stages.reporting import Reporter

EXTRA_OF = {"fastapi": "app", "uvicorn": "app", "starlette": "app", "h11": "app", "prometheus_client": "serve"}
KEY_VARIABLE = "MELASCOPE_API_KEY"


@contextmanager
def _packages_needed() -> Iterator[None]:
    """Say which extra is missing, where the core was installed alone."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in EXTRA_OF:
            raise
        raise MelascopeError(
            f"This command needs {error.name}, which is not installed.",
            fix=f"pip install 'melascope[{EXTRA_OF[error.name]}]'",
        ) from None


def page(
    run: OptionalRun = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8765,
    host: Annotated[str, typer.Option(help="Address to listen on; other than this computer's own only with care.")] = (
        "127.0.0.1"
    ),
    name: Annotated[
        list[str] | None, typer.Option(help="A host name under which the page may be opened too; may be repeated.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep each picture (pixels alone) and its answer in this folder.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The data set's folder, if it has moved; needed once.")] = None,
) -> None:
    """A page on this computer to try one picture: P(mel), maps, nearest cases; or why it is not classified."""
    with _packages_needed():
        from melascope.app.running import run_app
    with torch_needed():
        run_app(run_or_reference(run), Reporter(), host=host, port=port, names=tuple(name or ()), keep=keep, data=data)


def serve(
    run: OptionalRun = None,
    host: Annotated[str, typer.Option(help="Address to listen on; behind a proxy with TLS where others ask.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8080,
    api_key_file: Annotated[
        Path | None, typer.Option(help=f"A key a line; or one key in the environment as {KEY_VARIABLE}.")
    ] = None,
    name: Annotated[list[str] | None, typer.Option(help="A host name of the service; may be repeated.")] = None,
    cors_origin: Annotated[
        list[str] | None, typer.Option(help="Origin of a web page that may ask, https://…; may be repeated.")
    ] = None,
    queue: Annotated[int, typer.Option(help="Pictures that wait; more get 503 and Retry-After.")] = 32,
    batch: Annotated[int, typer.Option(help="Pictures that the network sees at once, at most.")] = 8,
    gather_ms: Annotated[float, typer.Option(help="How long a picture waits for others.")] = 3,
    deadline: Annotated[float, typer.Option(help="Seconds from a picture's last byte to its answer.")] = 10,
    max_body: Annotated[float, typer.Option(help="Largest picture file, in MiB.")] = 16,
    max_bodies: Annotated[float, typer.Option(help="All pictures that are in memory together, in MiB.")] = 256,
    connections: Annotated[int, typer.Option(help="Open connections.")] = 512,
    patience: Annotated[float, typer.Option(help="Seconds that a client may send or take nothing to speak of.")] = 8,
    data: Annotated[Path | None, typer.Option(help="The data set's folder, if it has moved; needed once.")] = None,
    log: Annotated[bool, typer.Option(help="A line of JSON a request on stderr.")] = True,
) -> None:
    """A service for programs: predict, explain, model card, health and metrics over HTTP, as docs/service.md tells."""
    with _packages_needed():
        from melascope.service.gate import Entry
        from melascope.service.keys import Keys
        from melascope.service.limits import MIB, Limits
        from melascope.service.running import run_service
    keys = Keys.read(api_key_file) if api_key_file else Keys()
    if not keys and KEY_VARIABLE in os.environ:
        keys = Keys.of([os.environ[KEY_VARIABLE]], where=KEY_VARIABLE)
    limits = Limits(
        queue=queue,
        batch=batch,
        gather_ms=gather_ms,
        deadline_s=deadline,
        max_body=int(max_body * MIB),
        max_bodies=int(max_bodies * MIB),
        connections=connections,
        patience_s=patience,
    )
    entry = Entry(keys, tuple(name or ()), tuple(cors_origin or ()))
    with torch_needed():
        run_service(
            run_or_reference(run), Reporter(), entry=entry, limits=limits, host=host, port=port, data=data, log=log
        )

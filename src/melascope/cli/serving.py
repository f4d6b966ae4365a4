"""`melascope app`: a local page on which one picture is tried."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.flags import RunFolder, torch_needed
from melascope.errors import MelascopeError
from melascope.stages.reporting import Reporter
from melascope.tables.runs import RunDirectory

APP_PACKAGES = frozenset({"fastapi", "uvicorn", "starlette"})


def serve(
    run: RunFolder,
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
    try:
        from melascope.app.running import run_app
    except ModuleNotFoundError as error:
        if error.name not in APP_PACKAGES:
            raise
        raise MelascopeError(
            f"This command needs {error.name}, which is not installed.", fix="pip install 'melascope[app]'"
        ) from None
    with torch_needed():
        run_app(RunDirectory.open(run), Reporter(), host=host, port=port, names=tuple(name or ()), keep=keep, data=data)

"""Which commands are there? Each parses, calls one library function, and prints."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from melascope import __version__
from melascope.classes import RESEARCH_ONLY
from melascope.cli import (
    data,
    experiment,
    exporting,
    intervening,
    judging,
    predicting,
    reporting,
    runs,
    segmenting,
    serving,
)
from melascope.errors import MelascopeError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=f"Which melanomas does a classifier miss, why, and at what price could it miss fewer? {RESEARCH_ONLY}",
)
data_app = typer.Typer(no_args_is_help=True, help="Get, make, check and split a data set.")
app.add_typer(data_app, name="data")

segmenter_app = typer.Typer(no_args_is_help=True, help="Train and test the network that outlines lesions.")
app.add_typer(segmenter_app, name="segmenter")

DATA_COMMANDS = (data.fetch, data.phantom, data.validate, data.split, data.audit)
COMMANDS = (
    *(runs.train, experiment.experiment, predicting.predict, judging.evaluate, judging.compare),
    *(runs.explain, intervening.intervene, runs.gallery, reporting.report, exporting.export, exporting.pack, runs.demo),
)

for command in DATA_COMMANDS:
    data_app.command()(command)
for command in (segmenting.train, segmenting.evaluate):
    segmenter_app.command()(command)
for command in COMMANDS:
    app.command()(command)
app.command("app")(serving.page)
app.command("serve")(serving.serve)


def main() -> None:
    """Entry point: errors that a user can mend become a message and exit code 1; a bug keeps its traceback."""
    try:
        app()
    except MelascopeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"melascope {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print and exit.")
    ] = False,
) -> None:
    pass

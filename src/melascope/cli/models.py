"""Which model does a command ask, and about which images: a run that is named, or else the one that melascope ships?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from melascope.errors import MelascopeError, RunError
from melascope.stages.reference import is_reference, reference_run, reference_words
from melascope.stages.reporting import Reporter
from melascope.tables.runs import RunDirectory

ModelOrImages = Annotated[
    str | None,
    typer.Argument(metavar="RUN", help="A run; left out, the reference model that melascope ships answers."),
]
OptionalRun = Annotated[
    Path | None, typer.Argument(help="A run; left out, the reference model that melascope ships answers.")
]


def is_graph(text: str | Path) -> bool:
    """Whether a path is an exported graph, by its ending."""
    from melascope.inference.backends import BACKENDS

    return Path(text).suffix.lower() in {ending for backend in BACKENDS.values() for ending in backend.endings}


def is_model(text: str) -> bool:
    """Whether a path is a run directory or an exported graph."""
    return is_graph(text) or (Path(text) / "run.json").is_file()


def model_and_images(first: str | None, second: str | None) -> tuple[str | None, str | None]:
    """`RUN IMAGES`, `RUN` or `IMAGES`: one argument alone is the run if it is one, else the images.

    Returns
    -------
    model, images : None for what was not named

    Raises
    ------
    MelascopeError : two are named, and the first is no model.
    """
    if first is None or second is not None or is_model(first):
        if first is not None and second is not None and not is_model(first):
            raise MelascopeError(
                "Two things are named, and the first is no model.",
                where=first,
                expected="a run directory (with run.json), or a graph (.onnx, .xml)",
                fix=f"to ask the reference model, name one thing alone: {second}",
            )
        return first, second
    return None, first


def run_or_reference(path: str | Path | None) -> RunDirectory:
    """The run that is named, else the reference model; which one that is, is said on stderr."""
    if path is not None:
        try:
            return RunDirectory.open(Path(path))
        except RunError as error:
            fix = "name a run that is there, or leave RUN out: then the reference model answers"
            raise RunError(error.found, where=path, expected=error.expected, fix=fix) from None
    run = reference_run()
    Reporter().say(f"model: {reference_words(run)}")
    return run


def refuse_missing(path: str, what: str) -> None:
    """Say what is expected where a path leads nowhere: a mistyped run looks like a picture's name."""
    if not Path(path).exists():
        raise MelascopeError("There is no such file or folder.", where=path, expected=what)


def next_of(run: RunDirectory, command: str) -> str:
    """A command with the run's place in it, if it needs one."""
    return command if is_reference(run) else f"{command} {run.root}"

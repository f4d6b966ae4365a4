"""Which engine answers for a model: its exported graph, without torch, or its network?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from melascope.errors import ExportError, MelascopeError
from melascope.evaluation.operating_point import OperatingPoint
from melascope.inference.session import Session
from melascope.stages.reporting import Reporter
from melascope.tables.runs import CheckpointCard, RunDirectory

GRAPH_ENDINGS = (".onnx", ".xml")
ENGINES = ("auto", "graph", "torch")


class AsksLogits(Protocol):
    """(n, height, width, 3) uint8 -> (n, 7) raw logits."""

    def __call__(
        self, pixels: np.ndarray, *, batch_size: int = 16, progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class Engine:
    """A model that can be asked, however it computes.

    Parameters
    ----------
    name : how it computes, e.g. "model.onnx, float32" or "torch"
    card : input size, classes, temperature, digest of the weights
    logits : asks for raw logits of resized pixels
    point : frozen operating point; None where there is none
    run : name of the run it comes from
    """

    name: str
    card: CheckpointCard
    logits: AsksLogits
    point: OperatingPoint | None
    run: str


def open_engine(place: Path, *, engine: str = "auto", threads: int = 0, reporter: Reporter | None = None) -> Engine:
    """The engine of a run directory or of an exported file.

    Parameters
    ----------
    place : a run, or a graph `.onnx`, `.xml` that `melascope export` wrote
    engine : "auto" takes a run's exported graph where there is one of its present weights, else torch
    threads : of a graph; 0 takes every core

    Raises
    ------
    ExportError : a graph is asked for, and there is none, or only one of other weights.
    """
    place = Path(place)
    if engine not in ENGINES:
        raise ExportError(f"There is no engine {engine!r}.", where="--engine", expected=", ".join(ENGINES))
    if place.suffix in GRAPH_ENDINGS:
        if engine == "torch":
            raise ExportError("A graph is not asked through torch.", where=place, fix="name the run instead")
        return _of_graph(Session.open(place, threads=threads))
    run = RunDirectory.open(place)
    graph, stale = present_graph(run, threads)
    if graph and engine != "torch":
        return _of_graph(graph)
    if engine == "graph":
        raise ExportError(stale or "The run has no exported graph.", where=run.root, fix=f"melascope export {run.root}")
    if stale and reporter and engine == "auto":
        reporter.say(f"note: {stale} torch is used instead")
    return _of_network(run)


def _of_graph(session: Session) -> Engine:
    point = session.card.operating_point
    return Engine(
        name=named(session),
        card=session.card.checkpoint,
        logits=session.logits,
        point=OperatingPoint.from_json(point) if point else None,
        run=session.card.run,
    )


def named(session: Session) -> str:
    """How a graph computes, in words: its file, its numbers, and how its weights were kept."""
    kept = session.card.weights_kept
    rounded = "" if kept == "float32" else f", weights kept as {kept}"
    return f"{session.path.name}, {session.card.precision}{rounded}"


def present_graph(run: RunDirectory, threads: int = 0) -> tuple[Session | None, str]:
    """The run's exact exported graph; None where there is none, and why one that is there is of no use."""
    path = run.export / "model.onnx"
    if not path.is_file():
        return None, ""
    session, card = Session.open(path, threads=threads), run.card()
    point = OperatingPoint.read(run.operating_point) if run.operating_point.is_file() else None
    exported, of = session.card.operating_point, session.card.checkpoint
    then, now = OperatingPoint.from_json(exported).sha256 if exported else "", point.sha256 if point else ""
    if (of.weights_sha256, of.temperature, then) != (card.weights_sha256, card.temperature, now):
        return None, "The exported graph is of other weights, another temperature or another threshold than the run's:"
    return session, ""


@contextmanager
def torch_instead(run: RunDirectory) -> Iterator[None]:
    """Where a graph will not do: what is imported below needs torch, and says so where it is not installed."""
    if not run.has_weights():
        raise ExportError(
            "This is a packed run: it holds one graph, with Grad-CAM maps in float32, and nothing for torch.",
            where=run.root,
            fix="leave --engine, --method, --layer and --fast out, or name a run that was trained here",
        )
    try:
        yield
    except ModuleNotFoundError as error:
        raise MelascopeError(
            f"The run has no exported graph that will do, and {error.name} is not installed.",
            where=run.root,
            fix="pip install 'melascope[train]', or export the run on a machine that has it",
        ) from error


def _of_network(run: RunDirectory) -> Engine:
    with torch_instead(run):
        from melascope.models.classifier import Classifier
    classifier = Classifier.load(run)
    point = OperatingPoint.read(run.operating_point) if run.operating_point.is_file() else None
    return Engine("torch", classifier.card, classifier.logits, point, run.name)

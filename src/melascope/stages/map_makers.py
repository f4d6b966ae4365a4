"""Who makes a run's maps: its exported graph, without torch, or its network?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from melascope.classes import CLASSES
from melascope.errors import ExportError
from melascope.inference.session import Session
from melascope.stages.engines import ENGINES, present_graph, torch_instead
from melascope.tables.cell_places import CellPlaces
from melascope.tables.map_scores import Sanity
from melascope.tables.maps import MapStore
from melascope.tables.runs import CheckpointCard, RunDirectory

BATCH = 16

PAPERS = {"gradcam": "Selvaraju et al. 2017, eq. 1 and the sum of eq. 2"}
"""Sources of the methods that a graph can hold, as `explain.methods.METHODS` names them: that table needs torch."""


@dataclass(frozen=True)
class MapMaker:
    """Raw maps of a run's best weights, however they are computed.

    Parameters
    ----------
    engine : "model.onnx" or "torch"
    card : input size, temperature, digest of the weights
    places : where the maps' cells lie on a picture
    about : what a manifest says of the maps: method, paper, layer, path, unit, resolution, signed, per_class, precision
    sanity : what the sanity gate said of such maps
    logits : (n, height, width, 3) uint8, resized -> (n, 7) raw logits
    make : such pixels and an id for each -> maps
    """

    engine: str
    card: CheckpointCard
    places: CellPlaces
    about: dict[str, Any]
    sanity: Sanity
    logits: Callable[[np.ndarray], np.ndarray]
    make: Callable[[np.ndarray, Sequence[str]], MapStore]


def map_maker(
    run: RunDirectory,
    *,
    method: str = "gradcam",
    layer: str = "auto",
    fast: bool = False,
    columns: Sequence[int] | None = None,
    engine: str = "auto",
) -> MapMaker:
    """The run's exported graph where it holds the maps that are asked for, else its network.

    Parameters
    ----------
    method, layer, fast : as of `explain.maps.MapEngine`
    columns : classes whose maps are wanted; None for all seven
    engine : row of `engines.ENGINES`

    Raises
    ------
    ExportError : the graph is asked for and there is none, or it does not hold these maps.
    MelascopeError : torch is needed and not installed.
    ExplainError : the method or layer does not fit the network.
    """
    if engine not in ENGINES:
        raise ExportError(f"There is no engine {engine!r}.", where="--engine", expected=", ".join(ENGINES))
    session, stale = present_graph(run) if engine != "torch" else (None, "")
    about = session.card.maps if session else None
    if about and about.method == method and layer in ("auto", about.layer) and not fast:
        return _of_graph(run, session, columns)
    if engine == "graph":
        held = f"The graph holds {about.method} at {about.layer}." if about else "The graph makes no maps."
        raise ExportError(
            stale or (held if session else "The run has no exported graph."),
            where=run.root,
            expected=f"maps of {method} at layer {layer} in float32",
            fix=f"--engine torch, or melascope export {run.root}",
        )
    return _of_network(run, method, layer, fast, columns)


def _of_graph(run: RunDirectory, session: Session, columns: Sequence[int] | None) -> MapMaker:
    about, wanted = session.card.maps, list(range(len(CLASSES)) if columns is None else columns)
    classes = tuple(CLASSES[column] for column in wanted)

    def make(pixels: np.ndarray, image_ids: Sequence[str]) -> MapStore:
        store = session.maps(pixels, image_ids, batch_size=BATCH)
        return replace(store, maps=store.maps[:, wanted], classes=classes)

    facts = {"method": about.method, "paper": PAPERS[about.method], "layer": about.layer}
    facts |= {"path": f"{about.path}, in {Path(session.path).name}", "unit": about.unit, "resolution": about.resolution}
    facts |= {"signed": True, "per_class": True, "precision": session.card.precision}
    places, card = CellPlaces.from_json(about.places), session.card.checkpoint
    sanity = Sanity.of(run, card.weights_sha256, method=about.method, layer=about.layer)
    return MapMaker(session.path.name, card, places, facts, sanity, session.logits, make)


def _of_network(run: RunDirectory, method: str, layer: str, fast: bool, columns: Sequence[int] | None) -> MapMaker:
    with torch_instead(run):
        from melascope.explain.maps import MapEngine, make_maps
        from melascope.models.classifier import Classifier
    classifier = Classifier.load(run)
    card, size = classifier.card, (classifier.card.input_height, classifier.card.input_width)
    engine = MapEngine(classifier.network, method=method, layer=layer, probe_size=size, fast=fast)

    def make(pixels: np.ndarray, image_ids: Sequence[str]) -> MapStore:
        options = {"mean": card.mean, "std": card.std, "checkpoint_sha256": card.weights_sha256}
        store = make_maps(engine, pixels, list(image_ids), batch_size=BATCH, classes=columns, **options)
        return replace(store, logits=classifier.under_its_views(store.logits, pixels))

    rule = engine.rule
    facts = {"method": engine.method, "paper": rule.paper, "layer": engine.layer, "path": engine.path}
    facts |= {"unit": rule.unit, "resolution": rule.resolution, "signed": rule.signed, "per_class": rule.per_class}
    facts |= {"precision": engine.precision}
    sanity = Sanity.of(run, card.weights_sha256, method=engine.method, layer=engine.layer)
    return MapMaker("torch", card, engine.places(*size), facts, sanity, classifier.logits, make)

"""A trained run + pixels → logits, pooled features and maps of all classes, from one pass, by whichever engine fits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from melascope.errors import ExplainError
from melascope.stages.engines import present_graph, torch_instead
from melascope.tables.cell_places import CellPlaces
from melascope.tables.runs import CheckpointCard, RunDirectory

BATCH = 32


class Seen(Protocol):
    """What a pass gives: logits (n, 7), features (n, c), maps (n, 7, h, w); all float32."""

    logits: np.ndarray
    features: np.ndarray
    maps: np.ndarray


@dataclass(frozen=True)
class _Seen:
    logits: np.ndarray
    features: np.ndarray
    maps: np.ndarray


@dataclass(frozen=True)
class Looker:
    """A run's best weights, ready to look at pictures; by one thread at a time.

    Parameters
    ----------
    engine : how it computes, "model.onnx" or "torch"
    card : input size, classes, temperature, digest of the weights
    method, layer, unit : of the maps
    places : where the maps' cells lie on a picture
    look : (n, height, width, 3) uint8, resized -> what is seen in them
    """

    engine: str
    card: CheckpointCard
    method: str
    layer: str
    unit: str
    places: CellPlaces
    look: Callable[[np.ndarray], Seen]

    @classmethod
    def open(cls, run: RunDirectory) -> Looker:
        """The run's exported graph where there is one of its present weights with maps in it, else torch.

        Raises
        ------
        MelascopeError : neither is here.
        ExplainError : the network has no last linear layer, so that nothing is pooled before its logits.
        """
        return _of_graph(run) or _of_network(run)

    def features(self, pixels: np.ndarray, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """(n, c) float32 of many pictures, a batch in memory at a time."""
        pieces = []
        for start in range(0, len(pixels), BATCH):
            pieces.append(self.look(pixels[start : start + BATCH]).features)
            if progress is not None:
                progress(min(start + BATCH, len(pixels)), len(pixels))
        return np.concatenate(pieces)


def _of_graph(run: RunDirectory) -> Looker | None:
    session, _ = present_graph(run)
    if session is None or (about := session.card.maps) is None:
        return None
    places = CellPlaces.from_json(about.places)
    return Looker(session.path.name, session.card.checkpoint, about.method, about.layer, about.unit, places, session)


def _of_network(run: RunDirectory) -> Looker:
    with torch_instead(run):
        from melascope.explain.maps import MapEngine
        from melascope.models.classifier import Classifier
    classifier = Classifier.load(run)
    card, size = classifier.card, (classifier.card.input_height, classifier.card.input_width)
    engine = MapEngine(classifier.network, probe_size=size)
    look = _network_look(classifier, engine)
    return Looker("torch", card, engine.method, engine.layer, engine.rule.unit, engine.places(*size), look)


def _network_look(classifier, engine) -> Callable[[np.ndarray], Seen]:
    """One pass through torch: the engine's, in which the last linear layer's input is caught."""
    import torch

    from melascope.explain.layers import trace
    from melascope.models.augment import normalise

    card, place = classifier.card, engine.place()
    head = trace(classifier.network, (card.input_height, card.input_width), place).logit_layer
    if head is None:
        raise ExplainError(
            f"The logits of {card.backbone} do not come straight from a linear layer, so there are no pooled features.",
            fix="use a backbone that pools, e.g. efficientnet_b0",
        )
    alone = threading.Lock()

    def look(pixels: np.ndarray) -> Seen:
        caught: list[torch.Tensor] = []
        batch = torch.from_numpy(np.ascontiguousarray(pixels)).to(place.device)
        with alone:
            hook = head.register_forward_hook(lambda _module, inputs, _output: caught.append(inputs[0].detach()))
            try:
                logits, maps = engine(normalise(batch, card.mean, card.std).to(place.dtype))
            finally:
                hook.remove()
        answer = [one.float().cpu().numpy() for one in (logits, caught[0], maps)]
        answer[0] = classifier.under_its_views(answer[0], pixels)  # as the threshold was chosen
        return _Seen(*answer)

    return look

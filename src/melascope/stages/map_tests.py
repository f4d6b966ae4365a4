"""A trained run + its held-out images → are its maps on the lesion, faithful to the model, and sane? Tables, a gate.

Everything long is kept piece by piece under `parts/`, named by what it depends on: an interrupted test goes on where it
was, and a later one with more images adds to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from melascope.data.pixels import resize_image, resize_mask
from melascope.data.sources import read_dataset
from melascope.errors import ExplainError, RunError
from melascope.evaluation.operating_point import OperatingPoint, is_target
from melascope.explain import faithfulness, sanity
from melascope.explain.layers import trace
from melascope.explain.map_figures import (
    Images,
    faithfulness_figures,
    faithfulness_rows,
    mask_figures,
    sanity_figures,
    score_all,
    score_rows,
)
from melascope.explain.maps import MapEngine, make_maps
from melascope.explain.running import forward_hook, run_plainly
from melascope.explain.sanity import Likeness
from melascope.explain.segment import SEGMENTER
from melascope.files import atomic_path, canonical_json, make_folder, sha256_bytes, write_manifest, write_text
from melascope.models.augment import normalise
from melascope.models.classifier import Classifier
from melascope.stages.asking import lesion_of
from melascope.stages.data import folder_of, labels_of
from melascope.stages.explaining import check_same_model
from melascope.stages.reporting import Reporter
from melascope.stages.scoring import load_image
from melascope.tables.lesions import LesionTable
from melascope.tables.map_scores import GateCheck, MapTests, csv_of
from melascope.tables.maps import MapStore
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory

HELD_OUT = ("test", "val")
SCORED_WIDTH = 200
"""Wider pictures are brought to this width before maps and masks are compared; maps have far fewer cells."""

ASKED_AGAIN = 1000
"""Images of the faithfulness test unless told otherwise."""

SANITY_IMAGES, RANDOMISATIONS, HEAD_IMAGES = 60, 3, 600
CHUNK = 8
_BATCH = 32
_ORDER = 20180810  # key of the order in which images are taken, so that more images add to fewer


@dataclass(frozen=True)
class Held:
    """Held-out images in a fixed random order.

    Parameters
    ----------
    table, predictions : their rows
    pixels : (n, height, width, 3) uint8, as the model sees them
    masks : n of (mask_height, mask_width) bool, at most `SCORED_WIDTH` wide
    mask_source : (n,) object
    """

    table: LesionTable
    predictions: Predictions
    pixels: np.ndarray
    masks: list[np.ndarray]
    mask_source: np.ndarray


def run_map_tests(
    run: RunDirectory,
    reporter: Reporter,
    *,
    split: str = "test",
    images: int = ASKED_AGAIN,
    method: str = "gradcam",
    segmenter: str = SEGMENTER,
    data: Path | None = None,
    out: Path | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> MapTests:
    """Test the maps of a run on its held-out images, and write tables.

    Parameters
    ----------
    split : "test" or "val"
    images : how many of them the faithfulness test asks the model about again, 129 times each; all are scored
        against their masks
    segmenter : row of `explain.segment.SEGMENTERS`, for pictures without a mask
    data : the data set's folder, where it has moved
    out : folder; `<run>/map_tests` by default

    Returns
    -------
    tests : as written to `map_tests.json`; `passed` tells the gate
    """
    if split not in HELD_OUT:
        raise ExplainError(f"Maps are not tested on {split!r}.", where="--split", expected=" or ".join(HELD_OUT))
    if images < 1:
        raise ExplainError(f"{images} images.", where="--images", expected="at least 1")
    if not run.has_weights():
        raise RunError(
            "This run was packed: it has a graph and no weights, which the sanity test makes random.",
            where=run.root,
            fix="test the run that was packed, and pack it again: a pack takes the tests with it",
        )
    out = make_folder(Path(out or run.map_tests))
    tester = _Tester(run, reporter, method, make_folder(out / "parts"))
    held = tester.held(split, data, segmenter)
    store = tester.maps(held)
    known = _known(held, store, run)
    with reporter.bar("scoring maps against masks"):
        scores = score_all(store.maps, held.masks, store.places)
    figures = mask_figures(scores, known, draws=draws, seed=seed)
    likenesses, checks = tester.sanity(held, data)
    figures += sanity_figures(likenesses, known.lesion_key[: len(likenesses[0].rho)])
    asked = min(images, len(held.masks))
    faithful = tester.faithfulness(held, store, known, asked)
    figures += faithfulness_figures(
        faithful, known.subset(np.arange(asked)), map_of="predicted", draws=draws, seed=seed
    )
    tests = MapTests(
        tester.facts(held, store, split, asked, seed),
        tuple(figures),
        tuple(GateCheck(**asdict(check)) for check in checks),
    )
    facts = _facts_of_images(held, known)
    for name, rows in (
        ("scores", score_rows(scores, known, facts)),
        ("faithfulness", faithfulness_rows(faithful, facts)),
    ):
        write_text(out / f"{name}.csv", csv_of(list(rows[0]), rows))
    tests.write(out)
    return tests


def finish(out: Path, tests: MapTests) -> Path:
    """Write the manifest, once the plots are there too."""
    return write_manifest(out, kind="map tests", run=tests.facts["run"], passed=tests.passed)


class _Tester:
    """A run's model and map engine, and where finished pieces are kept."""

    def __init__(self, run: RunDirectory, reporter: Reporter, method: str, parts: Path) -> None:
        self.run, self.reporter, self.parts = run, reporter, parts
        self.classifier = Classifier.load(run)
        self.card, self.network = self.classifier.card, self.classifier.network
        self.size = (self.card.input_height, self.card.input_width)
        self.engine = MapEngine(self.network, method=method, probe_size=self.size)

    def facts(self, held: Held, store: MapStore, split: str, asked: int, seed: int) -> dict:
        names, counts = np.unique(held.mask_source.astype(str), return_counts=True)
        return {
            "run": self.run.name,
            "source": held.table.source,
            "checkpoint_sha256": self.card.weights_sha256,
            "backbone": self.card.backbone,
            "method": store.method,
            "layer": store.layer,
            "map_cells": f"{store.maps.shape[3]}x{store.maps.shape[2]}",
            "input": f"{store.input_width}x{store.input_height}",
            "split": split,
            "n_images": len(store),
            "n_lesions": len(set(held.predictions.lesion_key)),
            "masks": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
            "n_asked_again": asked,
            "steps": faithfulness.STEPS,
            "sanity_images": min(SANITY_IMAGES, len(store)),
            "randomisations": RANDOMISATIONS,
            "head_images": HEAD_IMAGES,
            "limit": sanity.LIMIT,
            "seed": seed,
        }

    def held(self, split: str, data: Path | None, segmenter: str) -> Held:
        predictions = Predictions.read(self.run.predictions)
        rows = np.flatnonzero(predictions.split == split)
        if len(rows) < 2:
            raise RunError(f"The run has {len(rows)} images of the split {split!r}.", where=self.run.predictions)
        rows = rows[np.random.default_rng(_ORDER).permutation(len(rows))]
        predictions = predictions.subset(rows)
        whole = self._dataset(data)
        table = whole.subset(whole.index_of(predictions.image_id))
        height, width = self.size
        pixels = np.empty((len(table), height, width, 3), dtype=np.uint8)
        masks, sources = [], np.empty(len(table), dtype=object)
        with self.reporter.bar("decoding pictures and masks") as advance:
            for row in range(len(table)):
                image = load_image(table, row)
                pixels[row] = resize_image(image, width, height)
                small = min(1.0, SCORED_WIDTH / image.shape[1])
                image = resize_image(image, round(image.shape[1] * small), max(1, round(image.shape[0] * small)))
                mask, sources[row] = lesion_of(table, row, image, segmenter)
                masks.append(mask)
                advance(row + 1, len(table))
        return Held(table, predictions, pixels, masks, sources)

    def maps(self, held: Held) -> MapStore:
        path = self._part(["maps", self._kind(), self._places(), list(held.predictions.image_id)], ".npz")
        with self.reporter.bar("maps of all classes") as advance:
            if not path.is_file():
                made = self._maps_of(self.engine, held.pixels, list(held.predictions.image_id), advance)
                logits = self.classifier.under_its_views(made.logits, held.pixels)
                replace(made, logits=logits).write(path)
        store = MapStore.read(path)
        check_same_model(store, held.predictions.logits, self.run)
        return store

    def faithfulness(self, held: Held, store: MapStore, known: Images, asked: int) -> dict[str, np.ndarray]:
        """Figure -> (asked, 3 of `faithfulness.RANKED_BY`), of the predicted class's map."""
        pieces = []
        with self.reporter.bar("asking again: insertion, deletion, ROAD") as advance:
            for start in range(0, asked, CHUNK):
                rows = range(start, min(start + CHUNK, len(store)))  # whole chunks, so that more images add to fewer
                cases = [self._case(held, store, known, row) for row in rows]
                key = [
                    "faithfulness",
                    faithfulness.STEPS,
                    self._kind(),
                    self._places(),
                    list(held.predictions.image_id[rows]),
                ]
                pieces.append(
                    self._kept(
                        key,
                        lambda cases=cases: faithfulness.curves(self._logits, cases, temperature=self.card.temperature),
                    )
                )
                advance(min(start + CHUNK, asked), asked)
        return faithfulness.figures(np.concatenate(pieces)[:asked])

    def sanity(self, held: Held, data: Path | None) -> tuple[list[Likeness], list[sanity.Check]]:
        """Likenesses of all stages and heads, and the gate."""
        pixels = held.pixels[:SANITY_IMAGES]
        ids = list(held.predictions.image_id[: len(pixels)])
        maps_of = self._maps_maker(pixels)
        cascades = []
        with self.reporter.bar("making the network random") as advance:
            for seed in range(RANDOMISATIONS):
                key = ["cascade", seed, self._kind(), ids]
                rho = self._kept(key, lambda seed=seed: self._cascade(pixels, maps_of, seed))
                names = [name for name, _ in sanity.stages(self.network)]
                cascades.append([Likeness(name, seed, of) for name, of in zip(names, rho, strict=True)])
                advance(seed + 1, RANDOMISATIONS)
        with self.reporter.bar("fitting heads to true and to permuted labels"):
            heads = self._heads(held, maps_of, ids, data)
        blind = [one for one in heads if one.stage == "permuted labels"]
        nothing = sanity.unrelated(maps_of(self.network), np.random.default_rng(_ORDER))
        stages = [one for stage in zip(*cascades, strict=True) for one in stage]
        return [*stages, *heads, nothing], sanity.gate([one[-1] for one in cascades], blind)

    def _dataset(self, data: Path | None) -> LesionTable:
        facts = self.run.read_facts()
        return read_dataset(folder_of(facts, data), facts["source"], labels_of(facts))

    def _kind(self) -> list[str]:
        return [self.card.weights_sha256, self.engine.method, self.engine.layer]

    def _places(self) -> dict:
        return self.engine.places(*self.size).as_json()

    def _part(self, key: list, ending: str) -> Path:
        return self.parts / f"{key[0]}-{sha256_bytes(canonical_json(key).encode())[:24]}{ending}"

    def _kept(self, key: list, make: Callable[[], np.ndarray]) -> np.ndarray:
        """An array that was made before under this key, or is made now and kept."""
        path = self._part(key, ".npy")
        if path.is_file():
            return np.load(path, allow_pickle=False)
        array = make()
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            np.save(stream, array, allow_pickle=False)
        return array

    def _logits(self, pixels: np.ndarray) -> np.ndarray:
        return self.classifier.logits(pixels)

    def _case(self, held: Held, store: MapStore, known: Images, row: int) -> faithfulness.Case:
        column, image_id = int(known.predicted[row]), held.predictions.image_id[row]
        key = [int(sha256_bytes(image_id.encode())[:12], 16)]
        height, width = self.size
        mask = resize_mask(held.masks[row], width, height)
        return faithfulness.Case(held.pixels[row], store.maps[row, column], mask, column, key, store.places)

    def _maps_of(self, engine: MapEngine, pixels: np.ndarray, ids: list[str], progress=None) -> MapStore:
        return make_maps(
            engine,
            pixels,
            ids,
            mean=self.card.mean,
            std=self.card.std,
            checkpoint_sha256=self.card.weights_sha256,
            batch_size=_BATCH,
            progress=progress,
        )

    def _maps_maker(self, pixels: np.ndarray) -> sanity.MapsOf:
        def maps_of(network: nn.Module) -> np.ndarray:
            engine = MapEngine(network, method=self.engine.method, layer=self.engine.layer, probe_size=self.size)
            return self._maps_of(engine, pixels, [str(row) for row in range(len(pixels))]).maps

        return maps_of

    def _cascade(self, pixels: np.ndarray, maps_of: sanity.MapsOf, seed: int) -> np.ndarray:
        def forward(network: nn.Module) -> None:
            for batch in self._batches(pixels):
                network(batch)

        def measure(network: nn.Module) -> None:
            sanity.running_norms(network, forward)

        return np.stack([one.rho for one in sanity.cascade(self.network, maps_of, measure, seed=seed)])

    def _batches(self, pixels: np.ndarray):
        for start in range(0, len(pixels), _BATCH):
            batch = torch.from_numpy(np.array(pixels[start : start + _BATCH]))
            yield normalise(batch, self.card.mean, self.card.std)

    def _heads(self, held: Held, maps_of: sanity.MapsOf, ids: list[str], data: Path | None) -> list[Likeness]:
        head = self._head()
        if head is None:
            self.reporter.say("no linear layer gives the logits: the label-blind head is left out")
            return []
        key = ["heads", RANDOMISATIONS, HEAD_IMAGES, self._kind(), ids]
        rho = self._kept(key, lambda: self._heads_rho(head, maps_of, data))
        names = ["true labels"] + ["permuted labels"] * RANDOMISATIONS
        numbers = [0, *range(RANDOMISATIONS)]
        return [Likeness(name, number, of) for name, number, of in zip(names, numbers, rho, strict=True)]

    def _heads_rho(self, head: str, maps_of: sanity.MapsOf, data: Path | None) -> np.ndarray:
        features, labels = self._training_features(head, data)
        seeing, blind = sanity.label_blind(self.network, head, maps_of, features, labels, seeds=RANDOMISATIONS)
        return np.stack([one.rho for one in (seeing, *blind)])

    def _head(self) -> str | None:
        layer = trace(self.network, self.size, self.engine.place()).logit_layer
        return next((name for name, module in self.network.named_modules() if module is layer), None) if layer else None

    def _training_features(self, head: str, data: Path | None) -> tuple[np.ndarray, np.ndarray]:
        """What the head reads of some training images, and their labels."""
        predictions = Predictions.read(self.run.predictions)
        rows = np.flatnonzero((predictions.split == "train") & (predictions.labels >= 0))
        rows = rows[np.random.default_rng(_ORDER).permutation(len(rows))[:HEAD_IMAGES]]
        whole = self._dataset(data)
        table = whole.subset(whole.index_of(predictions.image_id[rows]))
        height, width = self.size
        pixels = np.stack([resize_image(load_image(table, row), width, height) for row in range(len(table))])
        seen: list[np.ndarray] = []

        def note(_module: nn.Module, inputs: tuple, _output: torch.Tensor) -> None:
            seen.append(inputs[0].float().cpu().numpy())

        with forward_hook(self.network.get_submodule(head), note):
            for batch in self._batches(pixels):
                run_plainly(self.network, batch)
        return np.concatenate(seen).astype(np.float64), predictions.labels[rows]


def _known(held: Held, store: MapStore, run: RunDirectory) -> Images:
    predictions = held.predictions
    missed = caught = np.zeros(len(store), dtype=bool)
    target = "mel"
    if run.operating_point.is_file():
        point = OperatingPoint.read(run.operating_point)
        sought, called = is_target(predictions.labels, point.target), point.is_positive(predictions.probabilities)
        missed, caught, target = sought & ~called, sought & called, "+".join(point.target)
    return Images(predictions.lesion_key, predictions.dx, store.logits.argmax(axis=1), missed, caught, target)


def _facts_of_images(held: Held, known: Images) -> list[dict]:
    """What stands before the figures in each row of an image."""
    return [
        {
            "image_id": held.predictions.image_id[row],
            "lesion_id": held.predictions.lesion_id[row],
            "dx": known.dx[row],
            "missed": bool(known.missed[row]),
            "mask": held.mask_source[row],
            "area_share": float(held.masks[row].mean()),
        }
        for row in range(len(known))
    ]

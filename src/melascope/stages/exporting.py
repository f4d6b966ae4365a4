"""A trained run → one graph that gives logits, features and all maps without torch: exported, compared, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from melascope import __version__
from melascope.data.pixels import Rows
from melascope.data.split import read_split
from melascope.errors import ExportError
from melascope.evaluation.operating_point import OperatingPoint
from melascope.evaluation.precision import PrecisionCost, SideBySide, precision_cost
from melascope.explain.layers import trace
from melascope.explain.maps import CLOSED_FORM, MapEngine
from melascope.files import atomic_folder, write_manifest
from melascope.inference.formats import write_int8, write_openvino
from melascope.inference.session import Session
from melascope.models.classifier import Classifier
from melascope.models.export import PixelsToMaps, write_halved, write_onnx
from melascope.stages.data import Dataset, folder_of, labels_of
from melascope.stages.reporting import Reporter
from melascope.tables.exports import ExportCard, MapsCard
from melascope.tables.licences import LICENCES
from melascope.tables.predictions import Predictions
from melascope.tables.results import NotApplicable
from melascope.tables.runs import CheckpointCard, RunDirectory

KIND = "melascope export"
TOLERANCE = 1e-4
"""Largest difference of logits and of maps, in logits, between torch and a float32 graph."""

FORMATS = ("onnx", "openvino")
PRECISIONS = ("float32", "float16", "int8")
"""float16: the weights alone; int8: convolutions; in both formats."""

PROBES, CALIBRATION, BATCH = 48, 256, 16


@dataclass(frozen=True)
class Exported:
    """What became of one file.

    Parameters
    ----------
    file : its name in the export's folder
    precision : row of `PRECISIONS`
    differences : largest absolute difference to torch, on `n_probes` images, by output
    cost : what changes on validation; None for float32, which is held to `TOLERANCE` instead
    refused : why the file was not kept; empty where it was
    """

    file: str
    precision: str
    differences: dict[str, float]
    n_probes: int
    cost: PrecisionCost | None = None
    refused: str = ""

    def as_json(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return {**asdict(self), "cost": self.cost.as_json() if self.cost else None}


def graph_of(
    network: nn.Module, card: CheckpointCard, *, views: str, maps: bool = True
) -> tuple[PixelsToMaps, MapsCard | None]:
    """A network with its preprocessing and, where `maps`, the closed form of Grad-CAM.

    Raises
    ------
    ExportError : the maps of this network need gradients, which a graph has none of.
    """
    size = (card.input_height, card.input_width)
    engine = MapEngine(network, probe_size=size)
    linear = trace(network, size, engine.place()).logit_layer
    head = next((name for name, module in network.named_modules() if linear is module), None)
    if head is None or (maps and engine.path != CLOSED_FORM):
        raise ExportError(
            f"The maps of {card.backbone} cannot be part of a graph: {engine.path_reason}.",
            expected="average pooling and one linear layer after the last layer",
            fix="export logits alone with --without-maps, and explain through torch"
            if head
            else "use another backbone",
        )
    mean_std_views = {"mean": card.mean, "std": card.std, "views": views, "head": head}
    if not maps:
        return PixelsToMaps(network, **mean_std_views), None
    about = MapsCard(
        method=engine.method,
        layer=engine.layer,
        unit=engine.rule.unit,
        resolution=engine.rule.resolution,
        path=engine.path,
        places=engine.places(*size).as_json(),
    )
    return PixelsToMaps(network, **mean_std_views, layer=engine.layer, maps=engine.rule.from_linear_head), about


def card_of(
    checkpoint: CheckpointCard,
    *,
    run: str,
    source: str,
    views: str,
    maps: MapsCard | None,
    point: OperatingPoint | None,
    precision: str = "float32",
) -> ExportCard:
    """What travels inside the graph."""
    return ExportCard(
        melascope=__version__,
        run=run,
        source=source,
        licence=LICENCES.get(source, ""),
        checkpoint=checkpoint,
        views=views,
        precision=precision,
        maps=maps,
        operating_point=point.as_json() if point else None,
    )


def export_run(
    run: RunDirectory,
    reporter: Reporter,
    *,
    formats: tuple[str, ...] = FORMATS,
    precisions: tuple[str, ...] = ("float32",),
    maps: bool = True,
    data: Path | None = None,
) -> list[Exported]:
    """Write RUN/export: a graph for each format and precision, each compared with the network before it is kept.

    Parameters
    ----------
    formats, precisions : of `FORMATS` and `PRECISIONS`; float32 is always written as ONNX, for all others come from it
    maps : False exports logits and features alone
    data : where the images are now; None takes the run's own folder. Only rougher precisions need them.

    Raises
    ------
    ExportError : a float32 graph that differs from its network by more than `TOLERANCE`; then nothing is written.
    """
    _check_known(formats, precisions)
    job = _Job.open(run, maps=maps)
    with atomic_folder(run.export, KIND) as folder:
        with reporter.working("exporting, and comparing with the network"):
            write_onnx(job.graph, job.card, folder / "model.onnx")
            files = [job.compared(folder / "model.onnx")]
            if "openvino" in formats:
                files.append(job.compared(write_openvino(folder / "model.onnx", job.card, folder / "model.xml")[0]))
        if rough := set(precisions) - {"float32"}:
            gate = _Gate.open(job, data, reporter)
            for path, precision in _rough_files(job, gate, folder, formats, rough, reporter):
                files.append(gate.judged(path, precision))
        write_manifest(
            folder,
            kind=KIND,
            run=run.name,
            source=job.card.source,
            checkpoint_sha256=job.card.checkpoint.weights_sha256,
            tolerance=TOLERANCE,
            exports=[one.as_json() for one in files],
        )
    return files


def _check_known(formats: tuple[str, ...], precisions: tuple[str, ...]) -> None:
    for flag, given, known in (("--format", formats, FORMATS), ("--precision", precisions, PRECISIONS)):
        if unknown := [one for one in given if one not in known]:
            raise ExportError(f"There is no {', '.join(unknown)}.", where=flag, expected=f"of {', '.join(known)}")


@dataclass(frozen=True)
class _Job:
    """A run's network, ready to be written, and what it says of the probes."""

    run: RunDirectory
    graph: PixelsToMaps
    card: ExportCard
    probes: np.ndarray
    expected: tuple[np.ndarray, ...]

    @classmethod
    def open(cls, run: RunDirectory, *, maps: bool) -> _Job:
        classifier = Classifier.load(run)
        graph, about = graph_of(classifier.network, classifier.card, views=classifier.views, maps=maps)
        point = OperatingPoint.read(run.operating_point) if run.operating_point.is_file() else None
        source = run.read_facts()["source"]
        checkpoint = classifier.card.model_copy(update={"training_state": "", "training_state_sha256": ""})
        card = card_of(checkpoint, run=run.name, source=source, views=classifier.views, maps=about, point=point)
        probes = probe_pixels(checkpoint.input_height, checkpoint.input_width)
        with torch.inference_mode():
            parts = [graph(torch.from_numpy(probes[start : start + BATCH])) for start in range(0, PROBES, BATCH)]
        expected = tuple(np.concatenate([one.numpy() for one in output]) for output in zip(*parts, strict=True))
        return cls(run, graph, card, probes, expected)

    def differences(self, path: Path) -> dict[str, float]:
        """Largest absolute difference of a written graph to the network, by output; batches of several sizes."""
        session = Session.open(path)
        sizes = (1, 3, PROBES - 4)
        starts = np.cumsum([0, *sizes])
        answers = [session(self.probes[start:stop]) for start, stop in pairwise(starts)]
        outputs = ("logits", "features", *(["maps"] if self.card.maps else []))
        return {
            name: float(np.abs(np.concatenate([getattr(one, name) for one in answers]) - expected).max())
            for name, expected in zip(outputs, self.expected, strict=True)
        }

    def compared(self, path: Path) -> Exported:
        """The float32 graph, held to `TOLERANCE`."""
        found = self.differences(path)
        worst = max(found[name] for name in ("logits", "maps") if name in found)
        if not worst <= TOLERANCE:  # NaN too
            raise ExportError(
                f"The exported graph differs from its network by up to {worst:.2g}.",
                where=path.name,
                expected=f"{TOLERANCE:g} or less, in logits and in maps, on {PROBES} images",
                fix="use the run through torch; please report the backbone and the versions",
            )
        return Exported(path.name, "float32", found, PROBES)


def probe_pixels(height: int, width: int) -> np.ndarray:
    """(PROBES, height, width, 3) uint8: noise, and soft blobs of a lesion's colours on skin's, half of them grainy."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    pictures = [rng.integers(0, 256, (height, width, 3)) for _ in range(PROBES // 3)]
    for number in range(PROBES - len(pictures)):
        middle, size = rng.uniform(0.2, 0.8, 2), rng.uniform(0.05, 0.4)
        blob = np.exp(-((rows - middle[0]) ** 2 + (columns - middle[1]) ** 2) / (2 * size**2))[..., None]
        skin, lesion = np.array([220, 170, 150]) + rng.uniform(-30, 30, 3), rng.uniform(20, 150, 3)
        grain = rng.normal(0, 12 * (number % 2), (height, width, 1))
        pictures.append(skin * (1 - blob) + lesion * blob + grain)
    return np.stack(pictures).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class _Gate:
    """Lets a rougher graph pass where it loses no melanoma of validation at the frozen threshold.

    Parameters
    ----------
    exact : the run's own predictions of validation, which chose the threshold
    validation, training : pixels; of training images a sample, on which int8 is scaled
    """

    job: _Job
    point: OperatingPoint
    exact: Predictions
    validation: Rows
    training: Rows
    reporter: Reporter

    @classmethod
    def open(cls, job: _Job, data: Path | None, reporter: Reporter) -> _Gate:
        run, card = job.run, job.card.checkpoint
        if job.card.operating_point is None:
            raise ExportError(
                "A rougher precision is judged at the frozen threshold, and there is none.",
                where=run.root,
                fix=f"melascope train --resume {run.root}",
            )
        facts = run.read_facts()
        dataset = Dataset.open(
            folder_of(facts, data),
            source=facts["source"],
            labels=labels_of(facts),
            store_folder=Path(facts["pixel_store"]),
            reporter=reporter,
        )
        pixels = dataset.pixels(card.input_width, card.input_height, reporter).pixels
        side = read_split(run.split, dataset.table).of(dataset.table)
        known = Predictions.read(run.predictions).of_split("val")
        validation = Rows(pixels, dataset.table.index_of(known.image_id))
        training = np.random.default_rng(0).permutation(np.flatnonzero(side == "train"))[:CALIBRATION]
        point = OperatingPoint.from_json(job.card.operating_point)
        return cls(job, point, known, validation, Rows(pixels, np.sort(training)), reporter)

    def calibration(self) -> Iterator[np.ndarray]:
        """Batches of training images."""
        return (self.training[start : start + BATCH] for start in range(0, len(self.training), BATCH))

    def judged(self, path: Path, precision: str) -> Exported:
        """What the graph changes; a file that loses a melanoma, or cannot be judged, is removed."""
        with self.reporter.bar(f"{path.name} on validation") as advance:
            logits = Session.open(path).logits(self.validation, batch_size=BATCH, progress=advance)
        cost = precision_cost(self.exact, logits, self.point)
        differences = self.job.differences(path)
        if isinstance(cost, NotApplicable):
            refused, cost = f"it cannot be judged: {cost.reason}", None
        else:
            refused = "; ".join(_loss(unit, cost.found[unit]) for unit in cost.loses)
        if refused:
            path.unlink()
            path.with_suffix(".bin").unlink(missing_ok=True)
        return Exported(path.name, precision, differences, PROBES, cost, refused)


def _loss(unit: str, found: SideBySide) -> str:
    return f"it finds {found.rough} of {found.n} validation {unit}s of the target, the run finds {found.exact}"


def _rough_files(
    job: _Job, gate: _Gate, folder: Path, formats: tuple[str, ...], precisions: set[str], reporter: Reporter
) -> Iterator[tuple[Path, str]]:
    """Write the graphs of rougher numbers, one after another."""
    onnx = folder / "model.onnx"
    if "float16" in precisions:
        if "onnx" in formats:
            yield write_halved(onnx, job.card, folder / "model-float16.onnx"), "float16"
        if "openvino" in formats:
            card = job.card.model_copy(update={"precision": "float16"})
            yield write_openvino(onnx, card, folder / "model-float16.xml", half=True)[0], "float16"
    if "int8" in precisions:
        card, int8 = job.card.model_copy(update={"precision": "int8"}), folder / "model-int8.onnx"
        with reporter.working("measuring activations for int8"):
            write_int8(onnx, card, int8, gate.calibration())
        if "openvino" in formats:  # before the gate may remove what it is made from
            yield write_openvino(int8, card, folder / "model-int8.xml")[0], "int8"
        yield int8, "int8"

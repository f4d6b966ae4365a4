"""A trained run → a small folder that answers without torch and holds no image: what melascope ships."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from melascope import __version__
from melascope.config import Recipe, read_recipe, recipe_toml
from melascope.data.appearance import RULE, appearance
from melascope.data.pixels import Rows, gather
from melascope.errors import ExportError
from melascope.evaluation.evaluate import evaluate
from melascope.evaluation.likeness import KEPT, Likeness, conformal_limit
from melascope.evaluation.operating_point import OperatingPoint, is_target
from melascope.evaluation.precision import PrecisionCost, precision_cost
from melascope.files import atomic_folder, make_folder, write_json, write_manifest, write_text
from melascope.inference.formats import largest_difference
from melascope.inference.session import MAPS, Session
from melascope.models.export import write_card
from melascope.report import model_card
from melascope.report.build import Report
from melascope.report.document import Gap
from melascope.report.pages import report_markdown
from melascope.report.run_record import read_run
from melascope.report.sections import answer, calibration, classes, found, training
from melascope.report.sections import maps as maps_section
from melascope.stages.data import Dataset, folder_of, labels_of
from melascope.stages.exporting import export_run
from melascope.stages.likeness import build_likeness, counted
from melascope.stages.looking import Looker
from melascope.stages.reporting import Reporter
from melascope.tables.exports import KEY
from melascope.tables.lesions import LesionTable
from melascope.tables.likeness import LikenessStore
from melascope.tables.map_scores import MapTests, Sanity
from melascope.tables.predictions import Predictions
from melascope.tables.results import NotApplicable
from melascope.tables.runs import RunDirectory

KIND = "melascope pack"
HALVED = "model-float16.onnx"
DIRECTIONS, STEP = 32, 1 / 16
"""Pooled features are kept along so many directions, and the look of training images in such steps of a standard
deviation: docs/reference_model.md tells what that changes."""

COPIED = ("results.csv", "split.json", "temperature.json", "operating_point.json")
CARD_SECTIONS = (answer.section, found.section, classes.section, calibration.section, training.section)
_AT_ONCE = 64


@dataclass(frozen=True)
class Packed:
    """What packing cost.

    Parameters
    ----------
    root : the folder
    bytes : of all its files
    cost : what half-precision weights change on the validation images, at the frozen threshold
    maps : largest difference of a map on them, in logits
    """

    root: Path
    bytes: int
    cost: PrecisionCost
    maps: float


@dataclass(frozen=True)
class _Job:
    """A run, its two graphs, and its images as the network sees them."""

    run: RunDirectory
    point: OperatingPoint
    exact: Session
    halved: Session
    known: Predictions
    table: LesionTable
    pixels: np.ndarray

    @property
    def validation(self) -> np.ndarray:
        """Rows of `table`."""
        return self.table.index_of(self.known.of_split("val").image_id)


def pack_run(run: RunDirectory, out: Path, reporter: Reporter, *, data: Path | None = None) -> Packed:
    """Write a folder that every command takes as RUN: one graph, figures, and no image, weights file or path.

    The graph keeps its weights in half precision. All images are scored again through it, and judged at the frozen
    threshold, so that predictions and figures in the folder are those of this very file. Tests of maps are copied.

    Parameters
    ----------
    out : its last part is the name under which the model answers
    data : the data set's folder, if it is no longer where the run was trained on it

    Raises
    ------
    ExportError : half precision finds fewer validation lesions or images of the target, or cannot be judged.
    OutputError : the folder holds something that is no pack.
    """
    with atomic_folder(Path(out), KIND) as draft, tempfile.TemporaryDirectory() as folder:
        job = _opened(run, data, reporter)
        predictions = _scored(job, Path(out).name, reporter)
        cost, maps = _cost(job, predictions, reporter)
        made = RunDirectory(make_folder(Path(folder) / Path(out).name))
        _write_model(job, made)
        write_json(made.facts, _facts(job, made.name))
        predictions.write(made.predictions)
        reporter.say("judging the test images")
        evaluate(predictions, job.point, split="test").write(made.evaluation)
        store = _light(job, LikenessStore.read(run.likeness), reporter)
        store.write(made.likeness)
        write_json(made.likeness.with_suffix(".json"), counted(store))
        _tell_tests(job, made)
        write_text(made.root / "MODEL_CARD.md", card_text(made.root))
        shutil.copytree(made.root, draft, dirs_exist_ok=True)
        told = {"cost": cost.as_json(), "largest_map_difference": maps, "n_validation": len(job.validation)}
        sha256 = job.halved.card.checkpoint.weights_sha256
        write_manifest(draft, kind=KIND, run=made.name, packed_from=run.name, checkpoint_sha256=sha256, **told)
    return Packed(Path(out), sum(path.stat().st_size for path in Path(out).rglob("*") if path.is_file()), cost, maps)


def card_text(root: Path) -> str:
    """The model card and the main figures of a run, as Markdown without plots."""
    record = read_run(root)
    words = ("sentence", "bullets", "table", "facts")
    told = CARD_SECTIONS if isinstance(record.map_tests, Gap) else (*CARD_SECTIONS, maps_section.section)
    sections = tuple(
        replace(section, blocks=tuple(block for block in section.blocks if block.kind in words))
        for section in (make(record) for make in (model_card.section, *told))
    )
    text = report_markdown(Report(record.run.name, record.is_phantom, sections), record, root)
    return text.replace("# Report", f"# {record.run.name}", 1)


def _opened(run: RunDirectory, data: Path | None, reporter: Reporter) -> _Job:
    point, card, facts = OperatingPoint.read(run.operating_point), run.card(), run.read_facts()
    if not _is_present(run.export / HALVED, run, point):
        export_run(run, reporter, formats=("onnx",), precisions=("float32", "float16"), data=data)
    if not (run.export / HALVED).is_file():
        raise ExportError(
            "The graph with half-precision weights was refused: it finds fewer melanomas of validation.",
            where=run.export,
            fix="pack another run",
        )
    if LikenessStore.read_if_of(run.likeness, card.weights_sha256, RULE) is None:
        build_likeness(run, Looker.open(run), point, reporter, data=data)
    dataset = Dataset.open(
        folder_of(facts, data),
        source=facts["source"],
        labels=labels_of(facts),
        store_folder=Path(facts["pixel_store"]),
        reporter=reporter,
    )
    pixels = dataset.pixels(card.input_width, card.input_height, reporter).pixels
    graphs = (Session.open(run.export / name) for name in ("model.onnx", HALVED))
    return _Job(run, point, *graphs, Predictions.read(run.predictions), dataset.table, pixels)


def _is_present(path: Path, run: RunDirectory, point: OperatingPoint) -> bool:
    """Whether a graph is there, of the run's weights, temperature and threshold."""
    if not path.is_file():
        return False
    card, mine = Session.open(path).card, run.card()
    then = OperatingPoint.from_json(card.operating_point).sha256 if card.operating_point else ""
    now = (mine.weights_sha256, mine.temperature, point.sha256)
    return (card.checkpoint.weights_sha256, card.checkpoint.temperature, then) == now


def _scored(job: _Job, name: str, reporter: Reporter) -> Predictions:
    """What the graph that is packed says of all images of the run."""
    rows = Rows(job.pixels, job.table.index_of(job.known.image_id))
    with reporter.bar("scoring all images again") as advance:
        logits = job.halved.logits(rows, progress=advance)
    return replace(job.known, logits=logits.astype(np.float64), origin=replace(job.known.origin, run=name))


def _cost(job: _Job, predictions: Predictions, reporter: Reporter) -> tuple[PrecisionCost, float]:
    """What half precision changes on validation, in decisions and in maps; a lost melanoma is an error."""
    cost = precision_cost(job.known.of_split("val"), predictions.of_split("val").logits, job.point)
    if isinstance(cost, NotApplicable) or cost.loses:
        lost = () if isinstance(cost, NotApplicable) else [f"fewer {unit}s are found" for unit in cost.loses]
        why = ", ".join(lost) or str(cost)
        raise ExportError(f"Half precision cannot be packed: {why}.", where=job.run.root)
    rows, largest = job.validation, 0.0
    with reporter.bar("comparing maps") as advance:
        for start in range(0, len(rows), _AT_ONCE):
            found_here = largest_difference(job.exact, job.halved, gather(job.pixels, rows[start : start + _AT_ONCE]))
            largest = max(largest, found_here.get(MAPS, 0.0))
            advance(min(start + _AT_ONCE, len(rows)), len(rows))
    return cost, largest


def _write_model(job: _Job, made: RunDirectory) -> None:
    """The graph under the name that every command looks for, and the run's small files."""
    for folder in (made.checkpoints, made.export):
        make_folder(folder)
    recipe = _without_path(read_recipe(job.run.recipe))
    checkpoint = job.halved.card.checkpoint.model_copy(update={"recipe": recipe.model_dump(mode="json")})
    card = job.halved.card.model_copy(update={"run": made.name, "checkpoint": checkpoint})
    write_card(job.halved.path, made.export / "model.onnx", KEY, card.as_text())
    write_json(made.checkpoints / "best.json", checkpoint.model_dump(mode="json"))
    write_text(made.recipe, recipe_toml(recipe))
    for name in COPIED:
        if (job.run.root / name).is_file():
            shutil.copyfile(job.run.root / name, made.root / name)


def _tell_tests(job: _Job, made: RunDirectory) -> None:
    """What was found of the maps, in short, before weights were rounded; `_cost` tells what that changes of a map."""
    about, weights = job.halved.card.maps, job.run.card().weights_sha256
    if about and Sanity.of(job.run, weights, method=about.method, layer=about.layer).passed is not None:
        tests = MapTests.read(job.run.map_tests).in_short()
        replace(tests, facts=tests.facts | {"precision": "float32"}).write(make_folder(made.map_tests))


def _without_path(recipe: Recipe) -> Recipe:
    """Of the first weights, the name of their run or file alone."""
    init = Path(recipe.model.init).name if recipe.model.init else ""
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"init": init})})


def _facts(job: _Job, name: str) -> dict[str, Any]:
    """`run.json` without the paths of the machine that trained."""
    sizes = Counter(zip(job.table.width.tolist(), job.table.height.tolist(), strict=True))
    (((width, height), _),) = sizes.most_common(1)
    paths = dict.fromkeys(("data", "pixel_store", "split_file"), "")
    about = {"name": name, "from": job.run.name, "melascope": __version__, "weights_kept": "float16"}
    return job.run.read_facts() | paths | {"image_size": [width, height], "packed": about}


def _light(job: _Job, store: LikenessStore, reporter: Reporter) -> LikenessStore:
    """The test of likeness without pictures, in fewer digits; its limit is chosen anew on validation with these."""
    points = (np.round(store.points / STEP) * STEP).astype(np.float32)
    validation, known = job.validation, job.known.of_split("val")
    with reporter.working("measuring how validation images look"):
        pieces = np.array_split(validation, max(1, len(validation) // _AT_ONCE))
        looks = np.concatenate([appearance(gather(job.pixels, rows)) for rows in pieces])
    strangeness = replace(Likeness.of(store), points=points).strangeness(looks)
    ascending = np.sort(strangeness)
    limit, kept = conformal_limit(ascending, KEPT)
    embedding = store.embedding.astype(np.float32)
    basis = np.linalg.svd(embedding, full_matrices=False)[2][:DIRECTIONS].T.astype(np.float16)
    return replace(
        store,
        points=points,
        limit=limit,
        kept=kept,
        strangeness=ascending,
        n_target_refused=int((strangeness[is_target(known.labels, job.point.target)] > limit).sum()),
        embedding=(embedding @ basis.astype(np.float32)).astype(np.float16),
        basis=basis,
        thumbnails=np.zeros(0, np.uint8),
        thumbnail_end=np.zeros(len(store), np.int64),
    )

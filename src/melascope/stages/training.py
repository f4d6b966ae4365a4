"""Recipe + data set + split → run directory: weights, curves, predictions, frozen operating point, evaluation."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import torch

from melascope import __version__
from melascope.classes import CLASSES, MEL
from melascope.config import Recipe, doubts_about, read_recipe, recipe_toml
from melascope.data.sources.image_folder import Labels
from melascope.data.split import Split, read_split, write_sides
from melascope.errors import MelascopeError, RecipeError, RunError, SplitError
from melascope.evaluation.metrics import METRICS, Sample, Tally
from melascope.evaluation.operating_point import choose_operating_point
from melascope.evaluation.rules import check_enough_lesions
from melascope.evaluation.target import is_target, target_name
from melascope.evaluation.temperature import fit_temperature
from melascope.files import MANIFEST, make_folder, write_bytes, write_json, write_manifest, write_text
from melascope.models.classifier import Classifier
from melascope.models.processes import n_processes, open_fabric
from melascope.models.selection import figures_needed
from melascope.models.train import Trainer, TrainingData
from melascope.report.plots import save_training_curves
from melascope.stages.data import Dataset, labels_of
from melascope.stages.evaluating import evaluate_run
from melascope.stages.first_weights import anchored, check_first_weights, described
from melascope.stages.reporting import Reporter
from melascope.stages.scoring import FACT_COLUMNS, origin_of
from melascope.tables.lesions import LesionTable
from melascope.tables.predictions import Predictions
from melascope.tables.probabilities import probabilities_from_logits
from melascope.tables.runs import RunDirectory

HOW_IT_TRAINED = ("first_weights", "started_on", "resumed", "device", "threads", "training_seconds_since_resume")
"""Of `run.json`, what a run that adopts a training takes over with it: it did not train itself."""

PACKAGES = ("torch", "timm", "lightning", "numpy", "pillow", "pyarrow")


def validation_figures(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """What each epoch is judged by; a figure that validation cannot define (no such image) is left out.

    Parameters
    ----------
    labels : (n_images,) int64
    logits : (n_images, 7) float
    """
    probabilities = probabilities_from_logits(logits)
    tally = Tally(Sample(labels, probabilities, np.arange(len(labels)), len(labels)), np.ones((1, len(labels))))
    of_truth = probabilities[np.arange(len(labels)), labels]
    figures = {
        "nll": float(-np.log(np.maximum(of_truth, np.finfo(np.float64).tiny)).mean()),
        **{name: float(METRICS[name].function(tally)[0]) for name in ("accuracy", "balanced_accuracy", "macro_f1")},
        "mel_sensitivity": float(METRICS["recall"].function(tally)[0, MEL]),
        "mel_auroc": float(METRICS["auroc"].function(tally)[0, MEL]),
        "mel_specificity": float(METRICS["specificity"].function(tally)[0, MEL]),
        "mel_ap": float(METRICS["average_precision"].function(tally)[0, MEL]),
    }
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def start_run(
    recipe: Recipe,
    *,
    data: Path,
    split: Path,
    runs: Path,
    source: str | None = None,
    labels: Labels | None = None,
    held_out_lesions: Sequence[str] = (),
    accelerator: str = "auto",
) -> RunDirectory:
    """Make `runs/<UTC stamp>__<name>-s<seed>/` with the resolved recipe and everything that a resume needs.

    Under `torchrun` the first process makes it, and all get its name.

    Raises
    ------
    RunError : a run of the same name began in the same second.
    OutputError : the folder cannot be written.
    """
    facts = {
        "status": "started",
        "data": str(Path(data).absolute()),
        "source": source,
        "labels": labels.as_json() if labels else None,
        "split_file": str(Path(split).absolute()),
        "held_out_lesions": list(held_out_lesions),
        "pixel_store": str((Path(runs) / ".pixels").absolute()),
    }
    if n_processes() == (1, 1):
        return _new_folder(recipe, Path(runs), facts)
    fabric = open_fabric(accelerator, recipe.train.precision)
    root = _new_folder(recipe, Path(runs), facts).root if fabric.is_global_zero else None
    return RunDirectory(fabric.broadcast(root))


def _new_folder(recipe: Recipe, runs: Path, facts: dict[str, Any]) -> RunDirectory:
    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    recipe = anchored(recipe)
    run = RunDirectory(runs / f"{stamp}__{recipe.name}-s{recipe.seed}")
    if run.root.exists():
        raise RunError("There is a run of this name already.", where=run.root, fix="try again in a second")
    make_folder(run.root)
    write_text(run.recipe, recipe_toml(recipe))
    write_json(run.facts, {**facts, **_environment()})
    return run


def train_run(run: RunDirectory, reporter: Reporter, *, accelerator: str = "auto", fresh: bool = False) -> RunDirectory:
    """Train, or go on training, until the run directory is complete; its manifest is written last.

    Of several processes (torchrun, SLURM) all train; the first one alone writes, scores and evaluates.

    Parameters
    ----------
    fresh : the run was made just now by `start_run`; if its data or recipe are refused, nothing of it stays behind
    """
    recipe, facts = read_recipe(run.recipe), run.read_facts()
    begun = (run.checkpoints / "last.json").is_file()
    adopted = begun and "trained_as" in facts
    with _nothing_left_if_refused(run) if fresh else nullcontext():
        dataset = Dataset.open(
            Path(facts["data"]),
            source=facts["source"],
            labels=labels_of(facts),
            store_folder=Path(facts["pixel_store"]),
            reporter=reporter,
        )
        split = _split_of(run, facts, dataset.table)
        if not begun:
            knew = check_first_weights(recipe, split, dataset.table)
            if knew and is_first_process():
                write_sides(run.knew_before, knew)
        store = dataset.pixels(recipe.input.width, recipe.input.height, reporter)
        data = _training_data(dataset.table, split, store.pixels)
        _check_selectable(recipe, data, dataset.table.lesion_key)
        trainer = Trainer(recipe, data, run, validation_figures, accelerator=accelerator)
    if not trainer.first:
        trainer.fit()
        return run
    for doubt in doubts_about(recipe):
        reporter.say(f"note: {doubt}")
    (run.root / MANIFEST).unlink(missing_ok=True)  # from here on files change: the run is not complete
    if not adopted:
        if not begun:  # a kill may have fallen between the facts of a training that was adopted and its weights
            facts = {key: value for key, value in facts.items() if key not in ("trained_as", *HOW_IT_TRAINED)}
        facts = _with_this_start(facts, recipe, trainer, reporter)
    write_json(run.facts, facts)
    began = time.monotonic()
    with reporter.training(recipe.train.epochs) as bars:
        trainer.fit(bars)
    if not adopted:
        facts |= {
            "device": trainer.device,
            "threads": torch.get_num_threads(),
            "training_seconds_since_resume": round(time.monotonic() - began, 1),
        }
    facts |= {
        "status": "trained",
        "source": dataset.table.source,
        "dataset_fingerprint": dataset.table.fingerprint,
        "split_sha256": split.sha256,
    }
    write_json(run.facts, facts)
    save_training_curves(run.results, run.root, source=dataset.table.source)
    score_run(run, dataset.table, split, store.pixels, reporter)
    evaluate_run(run, reporter)
    write_json(run.facts, facts | {"status": "complete"})
    write_manifest(run.root, run=run.name, source=dataset.table.source)
    return run


def adopt_training(run: RunDirectory, trained: RunDirectory) -> None:
    """Put a run where `trained` ended, whose recipe differs in name and `[predict]` only; `train_run` completes it.

    Training never looks at `[predict]`, so the run's own training would have ended with the same weights. The card
    `last` is written last: a kill before leaves a run that has not begun.
    """
    recipe = read_recipe(run.recipe)
    facts = {key: value for key, value in trained.read_facts().items() if key in HOW_IT_TRAINED}
    write_json(run.facts, {**run.read_facts(), **facts, "trained_as": trained.name})
    for name in ("split.csv", "split.json", "knew_before.csv", "results.csv"):
        if (trained.root / name).is_file():
            write_bytes(run.root / name, (trained.root / name).read_bytes())
    for which in ("best", "last"):
        card, _ = trained.checkpoint(which)
        for name in filter(None, (card.weights, card.training_state)):
            write_bytes(run.checkpoints / name, (trained.checkpoints / name).read_bytes())
        own = card.model_copy(update={"recipe": recipe.model_dump(mode="json"), "temperature": 1.0})
        write_json(run.checkpoints / f"{which}.json", own.model_dump(mode="json"))


@contextmanager
def _nothing_left_if_refused(run: RunDirectory) -> Iterator[None]:
    """Take a new run's directory away where its data are refused: what it holds is what `start_run` wrote."""
    try:
        yield
    except MelascopeError:
        if is_first_process():
            rmtree(run.root, ignore_errors=True)
        raise


def is_first_process() -> bool:
    """Whether this process, of those that torchrun or SLURM started, is the one that writes and prints."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0))) == 0 or n_processes() == (1, 1)


def _with_this_start(facts: dict[str, Any], recipe: Recipe, trainer: Trainer, reporter: Reporter) -> dict[str, Any]:
    """Facts with what this start computes on, and with which weights.

    Where a resume may part from an undisturbed training, that is told.
    """
    now = {
        "device": trainer.device,
        "threads": torch.get_num_threads(),
        "processes": trainer.fabric.world_size,
        **_environment(),
    }
    if not trainer.state.step:
        first = {**described(recipe.model), "network_sha256": trainer.first_weights_sha256}
        return {**facts, "started_on": now, "first_weights": first}
    now["may_differ"] = _why_not_exact(facts.get("started_on", facts), now)
    if now["may_differ"]:
        reporter.say(
            "this training goes on, but its end may differ in the last digits from an undisturbed one: "
            + "; ".join(now["may_differ"])
        )
    return {**facts, "resumed": [*facts.get("resumed", ()), {"at_step": trainer.state.step, **now}]}


def _why_not_exact(began: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Why the weights may not end as the very same: exact are one machine's CPU, the same threads and code."""
    watched = {
        "device": "device",
        "threads": "number of threads",
        "processes": "number of processes",
        "platform": "machine",
        "python": "Python",
        "versions": "versions of packages",
        "git_commit": "code",
    }
    reasons = [
        f"another {name} than at its start ({_short(began[key])}, now {_short(now[key])})"
        for key, name in watched.items()
        if key in began and began[key] != now[key]
    ]
    if not now["device"].startswith("cpu"):
        reasons.append(f"on {now['device']} sums are not added in a fixed order")
    return reasons


def _short(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)[:60]


def score_run(
    run: RunDirectory, table: LesionTable, split: Split, pixels: np.ndarray, reporter: Reporter
) -> Predictions:
    """Predictions of every split by the best checkpoint; temperature and operating point come from validation."""
    classifier = Classifier.load(run)
    with reporter.bar("predicting") as advance:
        logits = classifier.logits(pixels, progress=advance)
    predictions = Predictions(
        **{name: getattr(table, name) for name in FACT_COLUMNS},
        split=split.of(table),
        logits=logits.astype(np.float64),
        origin=origin_of(run.name, classifier.card, table),
    )
    predictions = freeze(run, predictions, read_recipe(run.recipe), reporter)
    run.set_temperature(predictions.origin.temperature)
    return predictions


def freeze(run: RunDirectory, predictions: Predictions, recipe: Recipe, reporter: Reporter) -> Predictions:
    """Write predictions with the temperature fitted on validation, and the operating point chosen from it."""
    temperature = fit_temperature(predictions.of_split("val"))
    if temperature.note:
        reporter.say(temperature.note)
    write_json(run.temperature, temperature.as_json())
    predictions = replace(predictions, origin=replace(predictions.origin, temperature=temperature.temperature))
    predictions.write(run.predictions)
    point = choose_operating_point(
        predictions.of_split("val"),
        target=recipe.target,
        target_sensitivity=recipe.target_sensitivity,
        rule=recipe.operating_point_rule,
    )
    point.write(run.operating_point)
    return predictions


def _split_of(run: RunDirectory, facts: dict[str, Any], table: LesionTable) -> Split:
    """The run's own copy of its split; made from the given file when the run starts."""
    if run.split.is_file():
        return read_split(run.split, table)
    split = read_split(Path(facts["split_file"]), table, facts["held_out_lesions"])
    if is_first_process():
        split.write(run.split)
    return split


def _training_data(table: LesionTable, split: Split, pixels: np.ndarray) -> TrainingData:
    side, labels = split.of(table), table.labels
    rows = {name: np.flatnonzero((side == name) & (labels >= 0)) for name in ("train", "val")}
    return TrainingData(pixels, labels, rows["train"], rows["val"], table.source, table.fingerprint, split.sha256)


def _check_selectable(recipe: Recipe, data: TrainingData, lesion_key: np.ndarray) -> None:
    """Refuse before training, not after its first epoch, a choice that validation cannot make."""
    labels = data.labels[data.val]
    wanted = is_target(labels, recipe.target)
    if not wanted.any() or wanted.all():
        raise SplitError(
            f"Validation has no {target_name(recipe.target)}, or nothing else: "
            "no operating point could be frozen from it.",
            fix="make another split: melascope data split",
        )
    n_lesions = len(set(lesion_key[data.val][wanted]))
    check_enough_lesions(recipe.operating_point_rule, recipe.target_sensitivity, n_lesions, recipe.target)
    known = validation_figures(labels, np.zeros((len(labels), len(CLASSES))))
    for figure in set(figures_needed(recipe.train)) - known.keys():
        raise RecipeError(
            f"Validation cannot tell {figure}: it lacks melanomas or other images.",
            where="train.select_by, train.floor_by",
            expected=f"one of {', '.join(known)}",
            fix="choose another figure, or a split whose validation side has every class",
        )


def _environment() -> dict[str, Any]:
    return {
        "melascope": __version__,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def _git_commit() -> str:
    """Commit of the code, with `-dirty` if it was changed since; empty outside a checkout of melascope itself."""
    checkout = Path(__file__).parents[3]
    if not (checkout / ".git").exists():  # installed: git would name the commit of whatever project is around
        return ""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def open_for_resume(path: Path) -> RunDirectory:
    """A run directory whose training can go on."""
    run = RunDirectory.open(path)
    if not run.recipe.is_file():
        raise RunError("The run has no recipe.toml.", where=path, fix="start a new run: melascope train RECIPE …")
    return run

"""Several runs of one recipe → one predictions table, in which nobody speaks of an image that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from melascope.config import Recipe, recipe_toml
from melascope.errors import DataError
from melascope.files import MANIFEST, make_folder, sha256_bytes, write_json, write_manifest, write_text
from melascope.stages.evaluating import evaluate_run
from melascope.stages.reporting import Reporter
from melascope.stages.training import freeze
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory


def together(members: Sequence[Predictions], names: Sequence[str] = ()) -> Predictions:
    """The mean probability of the members that did not train on an image, as log-probabilities.

    Seeds of one split are all asked about each image of validation and test. Of k folds, one is asked about an image
    of train and val (the one that it validated: its out-of-fold prediction, a row of `val` here), and all about test.
    Only images that every member trained on are answered by those who know them, and stay `train`.

    Parameters
    ----------
    members : tables of the same images in the same order, each at its own temperature
    names : of their runs

    Raises
    ------
    DataError : fewer than two members, or other images.
    """
    first = members[0] if members else None
    if len(members) < 2 or any(list(member.image_id) != list(first.image_id) for member in members):
        raise DataError("An ensemble needs two or more tables of the same images in the same order.")
    split = np.stack([member.split for member in members])
    trained = split == "train"
    asked = ~trained | trained.all(0)
    weights = asked / asked.sum(0)
    mean = sum(w[:, None] * member.probabilities for w, member in zip(weights, members, strict=True))
    asked_first = split[trained.argmin(0), np.arange(len(first))]  # a member that did not train on the image, if any
    word = np.where((split == "val").any(0), "val", asked_first).astype(object)
    origins = [member.origin for member in members]
    splits = sorted({origin.split_sha256 for origin in origins})
    origin = replace(
        first.origin,
        run="+".join(names),
        checkpoint_sha256=sha256_bytes("".join(one.checkpoint_sha256 for one in origins).encode()),
        split_sha256=splits[0] if len(splits) == 1 else sha256_bytes("".join(splits).encode()),
        temperature=1.0,
    )
    logits = np.log(np.maximum(mean, np.finfo(np.float64).tiny))
    return replace(first, split=word, logits=logits, origin=origin)


def make_ensemble(runs: Sequence[RunDirectory], recipe: Recipe, root: Path, reporter: Reporter) -> RunDirectory:
    """A directory like a run's, but without weights: predictions, temperature and threshold from val, evaluation."""
    run = RunDirectory(root)
    make_folder(run.root)
    (run.root / MANIFEST).unlink(missing_ok=True)
    names = [member.name for member in runs]
    predictions = together([Predictions.read(member.predictions) for member in runs], names)
    recipe = recipe.model_copy(update={"name": f"{recipe.name}-ensemble"})
    write_text(run.recipe, recipe_toml(recipe))
    facts = runs[0].read_facts()
    kept = {key: facts.get(key) for key in ("data", "source", "labels", "pixel_store", "dataset_fingerprint")}
    write_json(run.facts, {**kept, "status": "complete", "members": names})
    freeze(run, predictions, recipe, reporter)
    evaluate_run(run, reporter)
    write_manifest(run.root, run=run.name, source=predictions.origin.source)
    return run

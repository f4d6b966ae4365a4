"""A trained run → gallery: cases chosen from held-out predictions, explained, noted, and written as pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from melascope.data.sources import read_dataset
from melascope.errors import DataError
from melascope.evaluation.evaluate import Evaluation, Group
from melascope.evaluation.operating_point import OperatingPoint
from melascope.explain.segment import SEGMENTER
from melascope.gallery.facts import gallery_facts
from melascope.gallery.gathering import build_cases, workers_for
from melascope.gallery.render import write_gallery
from melascope.gallery.selection import select_cases
from melascope.gallery.tags import read_tags
from melascope.stages.data import folder_of, labels_of
from melascope.stages.explaining import Explainer, check_same_model
from melascope.stages.map_makers import BATCH
from melascope.stages.reporting import Reporter
from melascope.stages.scoring import load_image, predict_images, with_known_facts
from melascope.stages.testing_notes import MOST, tests_of_cases
from melascope.tables.lesions import LesionTable
from melascope.tables.maps import MapStore
from melascope.tables.predictions import Predictions
from melascope.tables.results import Figure, NotApplicable
from melascope.tables.runs import RunDirectory

LEARNED_FROM, HELD_OUT = ("train", "val"), "held_out"
"""Splits that a model has seen, and the one of images that it has never seen."""


def audit_run(
    run: RunDirectory,
    reporter: Reporter,
    *,
    image_ids: Sequence[str] = (),
    every: bool = False,
    tags: Path | None = None,
    most_tests: int = MOST,
    fast: bool = False,
    engine: str = "auto",
    segmenter: str = SEGMENTER,
    data: Path | None = None,
    others: LesionTable | None = None,
    out: Path | None = None,
) -> Path:
    """Write the gallery of a run and return its page.

    Parameters
    ----------
    image_ids : exactly these images; empty lets `select_cases` choose
    every : show every held-out image besides those that are chosen
    tags : CSV that a reader exported from an earlier page; its images are shown besides, with the reader's words
    most_tests : of so many cases, the first of the page, parts are hidden and the model is asked again, so that their
        notes tell what the answer hangs on
    fast : maps in bfloat16, which the page says; probabilities stay the run's own
    engine : "auto" takes the run's exported graph where it has one of its present weights, else torch
    segmenter : row of `explain.segment.SEGMENTERS`, for pictures without a mask
    data : the data set's folder, where it is no longer the one that the run was trained on
    others : images to show in place of the run's own; they are scored now, and those that the run does not know count
        as held out
    out : folder of the gallery; `<run>/gallery` by default, `gallery` where `others` are shown
    """
    facts, point = run.read_facts(), OperatingPoint.read(run.operating_point)
    if others is None:
        predictions = Predictions.read(run.predictions)
    else:
        predictions, others = _scored(run, others, image_ids, tags, reporter, engine)
    tagged = read_tags(tags, predictions.image_id) if tags else {}
    table = others if others is not None else read_dataset(folder_of(facts, data), facts["source"], labels_of(facts))
    selections = select_cases(predictions, point, image_ids=image_ids, tagged=tuple(tagged), every=every)
    explainer = Explainer(run, fast=fast, engine=engine)
    chosen = table.subset(table.index_of(np.array([selection.image_id for selection in selections], dtype=object)))
    maps = _maps_of(explainer, chosen, reporter)
    rows = {image_id: row for row, image_id in enumerate(predictions.image_id)}
    check_same_model(maps, predictions.logits[[rows[image_id] for image_id in maps.image_id]], run)
    if others is None:
        maps.write(run.maps / f"gallery-{maps.method}.npz")
    tests = (
        tests_of_cases(run, explainer.maker, selections, chosen, maps, reporter, most=most_tests, segmenter=segmenter)
        if most_tests
        else {}
    )
    workers = workers_for(len(selections))
    cases = [
        replace(case, tests=tests.get(case.image_id, ()))
        for case in build_cases(selections, predictions, point, maps, table, workers=workers, segmenter=segmenter)
    ]
    headline = _headline(run) if others is None or (predictions.split == "test").any() else []  # else of other images
    page_facts = gallery_facts(
        predictions,
        point,
        maps,
        table,
        run=run.name,
        sanity=explainer.maker.sanity,
        backbone=explainer.card.backbone,
        headline=headline,
    )
    with reporter.bar("drawing") as advance:
        drawn = [0]

        def one_more(added: int) -> None:
            drawn[0] += added
            advance(drawn[0], len(cases))

        folder = Path(out or (run.gallery if others is None else "gallery"))
        return write_gallery(cases, folder, facts=page_facts, tags=tagged, progress=one_more, workers=workers)


def _scored(
    run: RunDirectory,
    table: LesionTable,
    image_ids: Sequence[str],
    tags: Path | None,
    reporter: Reporter,
    engine: str,
) -> tuple[Predictions, LesionTable]:
    """What the run says now of other images; those of its training and validation are left out, but for named ones.

    Raises
    ------
    DataError : the run learned from all of them.
    """
    table, split = with_known_facts(table, run)
    named = set(image_ids) | set(read_tags(tags, table.image_id) if tags else ())
    kept = ~np.isin(split.astype(str), LEARNED_FROM) | np.isin(table.image_id.astype(str), sorted(named))
    if not kept.any():
        raise DataError(
            f"The model learned from all {len(table)} images, or was chosen on them: there is nothing fair to show.",
            where=table.root,
            fix="name other images, or single ones with --cases",
        )
    table = table.subset(np.flatnonzero(kept))
    predictions = predict_images(run, table, reporter, engine=engine)
    split = np.where(predictions.split == "", HELD_OUT, predictions.split).astype(object)
    return replace(predictions, split=split), table


def _maps_of(explainer: Explainer, table: LesionTable, reporter: Reporter) -> MapStore:
    """Maps of every row; originals are decoded a batch at a time and let go."""
    stores = []
    with reporter.bar("explaining") as advance:
        for start in range(0, len(table), BATCH):
            rows = np.arange(start, min(start + BATCH, len(table)))
            stores.append(explainer.maps([load_image(table, row) for row in rows], table.image_id[rows]))
            advance(int(rows[-1]) + 1, len(table))
    return MapStore.joined(stores)


def _headline(run: RunDirectory) -> list[tuple[str, Figure]]:
    """Sensitivity and specificity of the target at the frozen point, per image and per lesion, as evaluated.

    Beside them those where truth comes from histology alone.
    """
    if not run.evaluation.is_dir():
        return []
    evaluation = Evaluation.read(run.evaluation)
    found: list[tuple[str, Figure]] = []
    for group, where in ((evaluation.whole, evaluation.split), (evaluation.groups["histology"], "histology only")):
        for unit in ("image", "lesion"):
            for name in ("sensitivity", "specificity"):
                label = f"{name} for {evaluation.target_name}, per {unit} ({where})"
                figure = group if isinstance(group, NotApplicable) else _at_point(group, unit, name)
                found += [(label, figure)] if figure is not None else []
    return found


def _at_point(group: Group, unit: str, name: str) -> Figure | None:
    decision = group.decision("operating_point", unit)
    return decision.figures[name] if decision is not None else None

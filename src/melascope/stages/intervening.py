"""A trained run + images → what its answers hang on: parts hidden or kept, backgrounds changed, artefacts added."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from melascope.classes import CLASSES, MEL, RESEARCH_ONLY
from melascope.data.pixels import resize_image
from melascope.errors import ExplainError
from melascope.explain.answers import Asker
from melascope.explain.artefacts import Pairs, Specimen, ask_on_other_backgrounds, ask_with_artefacts
from melascope.explain.edit_sheet import edit_sheet
from melascope.explain.interventions import CONTROLS, Outcome, intervene
from melascope.explain.overlay import save_image
from melascope.explain.paired import FLOOR, PairedEffect
from melascope.explain.segment import SEGMENTER
from melascope.files import make_folder, write_json, write_manifest
from melascope.gallery.pictures import file_stems
from melascope.report.intervention_plot import save_case, save_effects
from melascope.stages.asking import AnswersImages, asker_of, specimens_of
from melascope.stages.engines import open_engine
from melascope.stages.map_makers import MapMaker, map_maker
from melascope.stages.reporting import Reporter
from melascope.stages.scoring import with_known_facts
from melascope.tables.interventions import NAN, CaseRow, EffectRow, PairRow, write_rows
from melascope.tables.lesions import LesionTable
from melascope.tables.results import Estimate, NotApplicable
from melascope.tables.runs import RunDirectory

MOST_CASES = 50
"""Pictures that are looked at one by one in one call: each takes up to a minute on a processor."""


def chosen_cases(table: LesionTable, image_ids: Sequence[str]) -> LesionTable:
    """The rows of these images; all, if none is named and they are few."""
    if image_ids:
        return table.subset(table.index_of(np.array(image_ids, dtype=object)))
    if len(table) > MOST_CASES:
        raise ExplainError(
            f"{len(table):,} images are too many to be looked at one by one.",
            expected=f"at most {MOST_CASES}, or named ones",
            fix="--cases ID,ID to name some, or --dataset to look at a whole split",
        )
    return table


def intervene_on_cases(
    run: RunDirectory,
    table: LesionTable,
    out: Path,
    reporter: Reporter,
    *,
    controls: int = CONTROLS,
    seed: int = 0,
    segmenter: str = SEGMENTER,
) -> list[str]:
    """Try every intervention on each picture; tables, pictures of the edits and plots go to `out`.

    Parameters
    ----------
    controls, seed : random placements of each region, and their key
    segmenter : row of `explain.segment.SEGMENTERS`, for pictures without a mask

    Returns
    -------
    lines : what to print: for each picture its answer and a sentence for each intervention
    """
    maker = map_maker(run)
    ask, out = asker_of(run, maker), make_folder(Path(out))
    load, stems, (_, split) = (
        specimens_of(table, segmenter=segmenter),
        file_stems(table.image_id),
        with_known_facts(table, run),
    )
    rows: list[CaseRow] = []
    lines = [RESEARCH_ONLY]
    with reporter.bar("intervening") as advance:
        for row in range(len(table)):
            specimen = load(row)
            maps = _maps_of(maker, specimen)
            try:
                outcomes = intervene(specimen, ask, maps, controls=controls, seed=seed, places=maker.places)
            except ExplainError as error:  # a lesion that fills its picture must not end the others' turn
                lines.append(f"{specimen.image_id}: skipped. {error.found}")
                continue
            own = [line for one in outcomes for line in case_rows(specimen, one)]
            title = f"{specimen.image_id}  truth {table.dx[row] or 'unknown'}  split {split[row] or 'unknown'}"
            title += f"  lesion mask: {specimen.mask_source}"
            _show_case(out, stems[specimen.image_id], title, specimen, outcomes, own, table.source)
            lines += [f"{title}  top class {outcomes[0].predicted[0]}", *(f"  {one.sentence()}" for one in outcomes)]
            rows += own
            advance(row + 1, len(table))
    if not rows:
        raise ExplainError(f"None of {len(table)} pictures could be edited.", where=table.root, expected=lines[-1])
    for ending in ("csv", "parquet"):
        write_rows(out / f"interventions.{ending}", rows)
    lines.append(f"Hot spots are those of the maps. {maker.sanity.words}")
    facts = _facts(run, maker, ask, table) | {"controls": controls, "seed": seed, "sentences": lines}
    write_json(out / "interventions.json", facts)
    write_manifest(out, run=run.name, source=table.source)
    return lines


def _show_case(
    out: Path,
    stem: str,
    title: str,
    specimen: Specimen,
    outcomes: Sequence[Outcome],
    rows: Sequence[CaseRow],
    source: str,
) -> None:
    """The edits side by side, and a plot for the target and for the predicted class."""
    save_image(out / f"{stem}_edits.jpg", edit_sheet(title, specimen.image, specimen.lesion, outcomes))
    for name in dict.fromkeys(("target", outcomes[0].predicted[0])):
        save_case(rows, out, class_name=name, name=f"{stem}_interventions_{name}", source=source)


def _maps_of(maker: MapMaker, specimen: Specimen) -> dict[str, np.ndarray]:
    """Maps of the predicted class and of melanoma."""
    pixels = resize_image(specimen.image, maker.card.input_width, maker.card.input_height)[None]
    store = maker.make(pixels, [specimen.image_id])
    return {CLASSES[column]: store.maps[0, column] for column in dict.fromkeys((int(store.logits[0].argmax()), MEL))}


def case_rows(specimen: Specimen, one: Outcome) -> list[CaseRow]:
    """An outcome as rows of its table: the target, then each class."""
    sides = ("", "") if isinstance(one.positive, NotApplicable) else tuple("yes" if p else "no" for p in one.positive)
    rows = []
    for name in ("target", *CLASSES):
        change = one.of(name)
        figures = {f: getattr(change, f) for f in ("control_mean", "control_low", "control_high", "p_value")}
        rows.append(
            CaseRow(
                image_id=specimen.image_id,
                intervention=one.name,
                fill=one.fill,
                class_name=name,
                area_share=one.area_share,
                before=change.before,
                after=change.after,
                control=one.control_name,
                n_controls=change.n_controls,
                predicted_before=one.predicted[0],
                predicted_after=one.predicted[1],
                positive_before=sides[0],
                positive_after=sides[1],
                mask_source=specimen.mask_source,
                **{f: NAN if isinstance(value, NotApplicable) else value for f, value in figures.items()},
            )
        )
    return rows


def intervene_on_split(
    run: RunDirectory,
    table: LesionTable,
    out: Path,
    reporter: Reporter,
    *,
    split: str = "test",
    seed: int = 0,
    segmenter: str = SEGMENTER,
) -> list[str]:
    """Artefacts added to, and backgrounds changed in, every picture of a split; tables and plots go to `out`.

    Returns
    -------
    lines : what to print: a line for each edit
    """
    table, sides = with_known_facts(table, run)
    table = table.subset(sides == split)
    if len(table) == 0:
        raise ExplainError(
            f"None of these images is in the run's split {split!r}.",
            where=run.root,
            expected="images that the run has seen, in one of: " + ", ".join(sorted(set(sides) - {""})),
        )
    model = open_engine(run.root)
    ask, out, load = asker_of(run, model), make_folder(Path(out)), specimens_of(table, segmenter=segmenter)
    effects, pairs, lines = [], [], [RESEARCH_ONLY]
    skipped: dict[str, list] = {}
    masks: dict[int, str] = {}

    def noted(row: int) -> Specimen:
        specimen = load(row)
        masks[row] = specimen.mask_source
        return specimen

    for audit, look, floor in (
        ("artefacts", ask_with_artefacts, FLOOR),
        ("backgrounds", ask_on_other_backgrounds, 0.0),
    ):
        with reporter.bar(f"asking: {audit}") as advance:
            found: Pairs = look(len(table), noted, ask, seed=seed, progress=advance)
        judged = found.effects(seed=seed)
        own = [line for one in judged for line in effect_rows(audit, one)]
        save_effects(own, out, floor=floor, name=audit, masks=_counted(masks), source=table.source)
        lines += [f"{audit}: {len(found.image_id):,} images, {len(found.skipped)} skipped"]
        lines += [f"  {effect_sentence(one)}" for one in judged]
        effects += own
        pairs += pair_rows(audit, found)
        skipped[audit] = [list(one) for one in found.skipped]
    for ending in ("csv", "parquet"):
        write_rows(out / f"effects.{ending}", effects)
    write_rows(out / "pairs.parquet", pairs)
    lines.append(f"lesion masks: {_counted(masks)}")
    facts = _facts(run, model, ask, table) | {"masks": dict(Counter(masks.values()))}
    write_json(out / "effects.json", facts | {"split": split, "seed": seed, "skipped": skipped, "sentences": lines})
    write_manifest(out, run=run.name, source=table.source)
    return lines


def _counted(masks: dict[int, str]) -> str:
    """How many pictures' lesion outlines come from where."""
    return ", ".join(f"{name} {count:,}" for name, count in Counter(masks.values()).items())


_FIGURES = ("change", "control", "excess", "moved", "control_moved", "p_change", "flipped", "control_flipped", "called")
_CORRECTED = ("change", "control", "excess")


def effect_rows(audit: str, one: PairedEffect) -> list[EffectRow]:
    """An effect as rows of its table, one a figure."""
    rows = []
    for name in _FIGURES:
        figure = getattr(one, name)
        if figure is None:
            continue
        ends = (figure.value, figure.low, figure.high) if isinstance(figure, Estimate) else (None, None, None)
        value, low, high = (NAN if end is None else end for end in ends)
        note = figure.reason if isinstance(figure, NotApplicable) else ""
        level = one.level if name in _CORRECTED else 0.95
        about = (one.n_images, one.n_lesions, one.verdict, note)
        rows.append(EffectRow(audit, one.name, name, value, low, high, level, *about))
    return rows


def effect_sentence(one: PairedEffect) -> str:
    """What an edit does over a split, in one line."""
    verdict = f"{one.verdict}: " if one.verdict else ""
    control = f"; inert control {one.control.value:+.3f}" if isinstance(one.control, Estimate) else ""
    flips = one.flipped if isinstance(one.flipped, NotApplicable) else f"{_percent(one.flipped)} of decisions flip"
    inert = f" (control {one.control_flipped.value:.1%})" if isinstance(one.control_flipped, Estimate) else ""
    change = one.change
    if isinstance(change, NotApplicable):
        return f"{one.name}: {verdict}{change}"
    return (
        f"{one.name}: {verdict}log-odds {change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]{control}; "
        f"{flips}{inert}; {one.switched_on} become positive, {one.switched_off} stop being it "
        f"(n={one.n_images} images of {one.n_lesions} lesions)"
    )


def _percent(figure: Estimate) -> str:
    ends = f" [{figure.low:.1%}, {figure.high:.1%}]" if figure.low is not None else ""
    return f"{figure.value:.1%}{ends}"


def pair_rows(audit: str, pairs: Pairs) -> list[PairRow]:
    """Every answer, so that effects can be worked out anew."""
    rows = []
    for version, answers in pairs.answers.items():
        positive = answers.is_positive
        for index, image_id in enumerate(pairs.image_id):
            said = "" if positive is None else ("yes" if positive[index] else "no")
            values = (float(answers.log_odds[index]), float(answers.p_target[index]))
            rows.append(PairRow(audit, image_id, pairs.lesion_key[index], version, *values, said))
    return rows


def _facts(run: RunDirectory, model: AnswersImages, ask: Asker, table: LesionTable) -> dict:
    return {
        "schema_version": 1,
        "notice": RESEARCH_ONLY,
        "run": run.name,
        "source": table.source,
        "checkpoint_sha256": model.card.weights_sha256,
        **{field.name: getattr(ask, field.name) for field in fields(ask) if field.name != "scorer"},
    }

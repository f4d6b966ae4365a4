"""What must a reader know before believing a comparison?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from melascope.evaluation.common_images import CommonImages, Entry
from melascope.evaluation.compared import COMPARED
from melascope.evaluation.comparison import Contender
from melascope.evaluation.intervals import MIN_LESIONS
from melascope.evaluation.record import plural
from melascope.evaluation.target import is_target, target_name

_SEEN = {
    "train": "These are training images: the models have seen them, and the figures are far too good.",
    "val": "These validation images chose checkpoint and threshold: the figures are optimistic.",
}


def notes_of(
    entries: Sequence[Entry],
    contenders: Sequence[Contender],
    common: CommonImages,
    target: tuple[str, ...],
    split: str,
) -> tuple[str, ...]:
    """Sentences that belong beside a comparison; gravest first."""
    notes = _about_images(entries, common, split)
    notes += _about_lesions(common, target)
    notes += _about_decisions(contenders)
    notes += _said_of([(entry.name, entry.threshold_note) for entry in entries if entry.threshold_note])
    notes += _said_of(list(common.unchecked) + [(e.name, note) for e in entries for note in e.predictions.notes])
    notes += _about_seeds(entries, contenders)
    return (*notes, *_about_chance(contenders))


def _about_images(entries: Sequence[Entry], common: CommonImages, split: str) -> list[str]:
    notes = []
    if any(entry.predictions.origin.source == "phantom" for entry in entries):
        notes.append("Phantom: synthetic images drawn by a computer; these are not real results.")
    unsplit = [entry.name for entry in entries if not (entry.predictions.split != "").any()]
    if split in _SEEN and len(unsplit) < len(entries):
        notes.append(_SEEN[split])
    if unsplit:
        notes.append(
            f"No splits are named by {', '.join(unsplit)}: its rows are judged whether the model was trained on them "
            "or not, which would flatter it."
        )
    if any(common.left_out.values()):
        more = _said_of([(name, f"{n:,} more") for name, n in common.left_out.items() if n])
        notes.append(f"All are judged on the {len(common.first):,} images that all have; left out: {'; '.join(more)}.")
    for what, fact in (("data sets", "dataset_fingerprint"), ("splits", "split_sha256")):
        notes += _parted(entries, what, lambda entry, fact=fact: getattr(entry.predictions.origin, fact))
    return notes


def _said_of(said: Sequence[tuple[str, str]]) -> list[str]:
    """Name and sentence of each, those with the same sentence together."""
    names: dict[str, list[str]] = {}
    for name, sentence in said:
        names.setdefault(sentence, []).append(name)
    return [f"{', '.join(alike)}: {sentence}" for sentence, alike in names.items()]


def _parted(entries: Sequence[Entry], what: str, fact_of: Callable[[Entry], str]) -> list[str]:
    """Say that entries come from different data sets or splits, or do not tell theirs."""
    by_fact: dict[str, list[str]] = {}
    for entry in entries:
        by_fact.setdefault(fact_of(entry), []).append(entry.name)
    unknown = by_fact.pop("", [])
    notes = [f"The {what} cannot be checked to be the same, untold by: {', '.join(unknown)}."] if unknown else []
    if len(by_fact) > 1:
        told = "; ".join(f"{fact[:12]}… of {', '.join(names)}" for fact, names in by_fact.items())
        notes.insert(0, f"The models come from different {what} ({told}): a difference may lie in that alone.")
    return notes


def _about_lesions(common: CommonImages, target: tuple[str, ...]) -> list[str]:
    notes, rows = [], common.first
    if common.dx_type_conflicts:
        notes.append(
            f"The tables differ on whether the truth of {plural(common.dx_type_conflicts, 'image')} comes from "
            "histology; the histology-only figures leave them out."
        )
    if common.lesions_from_others:
        notes.append(
            f"The lesion of {common.lesions_from_others:,} images is told by only some of the tables; it holds for all."
        )
    without = int((rows.lesion_id == "").sum())
    if without:
        notes.append(
            f"{without:,} of {len(rows):,} images name no lesion and count as one lesion each: "
            "if some show the same lesion, the intervals are too short."
        )
    n_target = len(set(rows.lesion_key[is_target(rows.labels, target)]))
    if n_target < MIN_LESIONS:
        notes.append(f"Only {n_target} lesions of {target_name(target)}: too few to compare models by.")
    return notes


_AT_THRESHOLD = ", ".join(one.label for one in COMPARED.values() if one.at == "operating_point")


def _about_decisions(contenders: Sequence[Contender]) -> list[str]:
    """Sensitivity and specificity compare models fairly only where they answer to the same rule."""
    kinds: dict[tuple[str, float], list[str]] = {}
    notes = []
    for contender in contenders:
        point = contender.members[0].operating_point
        if point:
            kinds.setdefault((point.rule, point.target_sensitivity), []).append(f"{contender.letter}: {contender.rule}")
            continue
        notes.append(
            f"{contender.letter} has no threshold: its {_AT_THRESHOLD} are missing, and so are the differences in "
            "them. What stands of it is the top class and what needs no threshold."
        )
    if len(kinds) > 1:
        told = "; ".join(one for alike in kinds.values() for one in alike)
        notes.append(
            f"The models decide by different rules ({told}). Sensitivity, specificity and false alarms differ by that "
            "choice too; AUROC, average precision and the figures of the top class do not."
        )
    return notes


def _about_seeds(entries: Sequence[Entry], contenders: Sequence[Contender]) -> list[str]:
    notes = []
    pooled = [f"{one.letter} is the mean of {len(one.members)} seeds" for one in contenders if len(one.members) > 1]
    single = [one.letter for one in contenders if len(one.members) == 1]
    if pooled:
        notes.append(
            f"{'; '.join(pooled)}: intervals tell how far other images would move a figure, the seed spread how far "
            "another seed would."
        )
    if single:
        notes.append(
            f"{', '.join(single)}: one seed or table each; whether another seed would change the order is not known."
        )
    seen: dict[str, str] = {}
    for entry in (entry for entry in entries if entry.recipe):
        recipe = entry.recipe.model_dump_json()
        if recipe in seen:
            notes.append(f"{seen[recipe]} and {entry.name} have the same recipe and seed: compared, not pooled.")
        seen.setdefault(recipe, entry.name)
    return notes


def _about_chance(contenders: Sequence[Contender]) -> list[str]:
    notes = ["Lesions count as independent: two lesions of one person cannot be told from those of two."]
    n_pairs = len(contenders) - 1
    if n_pairs:
        notes.append(
            f"{n_pairs * len(COMPARED)} differences stand here ({len(COMPARED)} figures, {n_pairs} "
            f"pair{'s' if n_pairs > 1 else ''}): of so many 95 % intervals about one in twenty misses the truth by "
            "chance alone. Settle beforehand which one counts."
        )
    return notes

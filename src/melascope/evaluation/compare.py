"""Which of several models misses fewer melanomas, at what price, and how sure is that: all on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase

import numpy as np

from melascope.errors import DataError, Problem, TableError
from melascope.evaluation.class_means import mean_difference_interval, mean_share_interval
from melascope.evaluation.common_images import CommonImages, Entry, common_images
from melascope.evaluation.compared import COMPARED
from melascope.evaluation.comparison import Comparison, Contender, Discordance, Member, Pair, SeedSpread
from melascope.evaluation.comparison_notes import notes_of
from melascope.evaluation.counting import lesion_numbers, n_distinct
from melascope.evaluation.decisions import DECISION_FIGURES
from melascope.evaluation.differences import difference_interval, paired_share_interval
from melascope.evaluation.evaluate import NO_HISTOLOGY
from melascope.evaluation.intervals import interval
from melascope.evaluation.metrics import METRICS, Sample
from melascope.evaluation.pools import OF_ALL_CLASSES, Basis, Judged, Pool
from melascope.evaluation.subject import spread_of
from melascope.evaluation.target import target_name
from melascope.files import canonical_json
from melascope.tables.results import Figure, NotApplicable

__all__ = ["Comparison", "Entry", "compare"]

NO_THRESHOLD = NotApplicable("no threshold")


def compare(
    entries: Sequence[Entry],
    *,
    split: str = "test",
    target: tuple[str, ...] = ("mel",),
    draws: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Judge several runs or tables on the images that all of them have, each against the first.

    Several seeds of one recipe (the same data set and split) are pooled: their figures are averaged, within each draw
    too, so that intervals hold the choice of images; what the seed moves is told apart.

    Parameters
    ----------
    entries : at least two, each under its own name; of one without an operating point every figure at a threshold is
        not applicable, and so are its differences.
    split : which rows; all of a table that names no splits.
    target : classes to be found where no entry has an operating point.
    draws, seed : of the lesion bootstrap; all entries get the same draws. 0 draws give no intervals.

    Raises
    ------
    DataError : fewer than two entries, a name twice, or no image common to all.
    TableError : entries with different targets, without rows of that split, with a point of another model; tables that
        differ about truth or lesion of an image: all problems of a kind at once.
    """
    target = _target_of(entries, target)
    common = common_images(entries, split)
    pools = _pools(entries, common, target, draws, seed)
    whole, alone = pools["all"], pools.get("histology", [None] * len(pools["all"]))
    contenders = _contenders(whole, alone)
    subject = whole[0].judged[0].subject
    return Comparison(
        split=split if any((entry.predictions.split != "").any() for entry in entries) else "all rows",
        target=target,
        draws=draws,
        seed=seed,
        n_images=len(common.first),
        n_lesions=subject.images.n_lesions,
        n_target_images=int(subject.truths["image"].sum()),
        n_target_lesions=int(subject.truths["lesion"].sum()),
        n_histology_images=int(common.histology.sum()),
        n_histology_lesions=n_distinct(subject.images.lesion[common.histology]),
        left_out=common.left_out,
        contenders=contenders,
        pairs=tuple(
            _pair((contenders[0], contenders[place]), (whole[0], whole[place]), (alone[0], alone[place]), common)
            for place in range(1, len(contenders))
        ),
        notes=notes_of(entries, contenders, common, target, split),
    )


def _pools(
    entries: Sequence[Entry], common: CommonImages, target: tuple[str, ...], draws: int, seed: int
) -> dict[str, list[Pool]]:
    """Judge every entry under the same draws, and put the seeds of one recipe together.

    Returns
    -------
    pools : of "all" images and, where there are any, of those with truth from "histology"
    """
    lesion = lesion_numbers(common.first.lesion_key)
    n_lesions = int(lesion.max()) + 1
    masks = {"all": np.ones(len(lesion), dtype=bool), "histology": common.histology}
    masks = {group: mask for group, mask in masks.items() if mask.any()}
    judged = {}
    for entry, rows in zip(entries, common.rows.values(), strict=True):
        for group, mask in masks.items():
            images = Sample(rows.labels[mask], rows.probabilities[mask], lesion[mask], n_lesions)
            judged[group, entry.name] = Judged.of(entry, images, target)
    for_draws = {key: one.for_draws() for key, one in judged.items()}
    spread = spread_of(for_draws, n_lesions, draws, seed)

    def pool(group: str, same: Sequence[Entry]) -> Pool:
        keys = [(group, entry.name) for entry in same]
        return Pool(tuple(same), tuple(judged[key] for key in keys), tuple(spread[key] for key in keys))

    return {group: [pool(group, same) for same in by_recipe(entries)] for group in masks}


def _target_of(entries: Sequence[Entry], otherwise: tuple[str, ...]) -> tuple[str, ...]:
    """What all frozen points look for; `otherwise` where there is none."""
    if len(entries) < 2:
        raise DataError(
            f"There is nothing to compare: {len(entries)} run or table was given.",
            expected="two or more",
            fix="melascope compare RUN_OR_TABLE RUN_OR_TABLE …",
        )
    names = [entry.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"Given twice: {', '.join(twice)}.", expected="each run or table once, under its own name")
    points = [(entry.name, entry.operating_point) for entry in entries if entry.operating_point]
    if not points:
        return otherwise
    first, target = points[0][0], points[0][1].target
    problems = [
        Problem(f"its operating point looks for {'+'.join(point.target)}, that of {first} for {'+'.join(target)}", name)
        for name, point in points
        if set(point.target) != set(target)
    ]
    if problems:
        raise TableError("Models that look for different classes cannot be compared", problems)
    return target


def by_recipe(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries that are seeds of one recipe stand together: same data set and split, every seed once."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_recipe_of(entry), []).append(entry)
    found = []
    for same in groups.values():
        seeds = {entry.recipe.seed for entry in same if entry.recipe}
        found += [same] if len(seeds) == len(same) else [[entry] for entry in same]
    return found


def _recipe_of(entry: Entry) -> str:
    """The same for two seeds of one recipe; a table, or a run of unknown data, is a kind of its own."""
    origin = entry.predictions.origin
    if not (entry.recipe and origin.dataset_fingerprint and origin.split_sha256):
        return entry.name
    recipe = entry.recipe.model_dump(mode="json", exclude={"seed"})
    data = [origin.dataset_fingerprint, origin.split_sha256, entry.operating_point is not None]
    return canonical_json([recipe, *data])


_MEANS_OF_RECALL = tuple(
    name for name, one in COMPARED.items() if one.key in OF_ALL_CLASSES and METRICS[one.key[1]].mean_of == "recall"
)


def _figures(pool: Pool | None) -> dict[str, Figure]:
    """Every figure of `COMPARED`; `None` stands for no image with truth from histology."""
    return {name: _figure(pool, name) if pool else NO_HISTOLOGY for name in COMPARED}


def _figure(pool: Pool, name: str) -> Figure:
    value, compared = pool.value(name), COMPARED[name]
    if np.isnan(value):
        return _undefined(name, pool)
    basis = Basis.of(name, pool)
    if name in _MEANS_OF_RECALL:
        shares = [one.share for one in pool.recalls()]
        return basis.estimate(name, value, mean_share_interval(shares, basis.n_lesions))
    n = basis.n if compared.is_share else None
    shape = {"is_share": compared.is_share, "n": n, "top": compared.top, "least": basis.least}
    return basis.estimate(name, value, interval(value, pool.spread(name), basis.weakest, **shape))


def _pair(
    letters: tuple[Contender, Contender],
    whole: tuple[Pool, Pool],
    alone: tuple[Pool | None, Pool | None],
    common: CommonImages,
) -> Pair:
    """Another contender against the first, on all images and on those with truth from histology."""
    at = "operating_point" if all(pool.has_threshold for pool in whole) else "argmax"
    return Pair(
        first=letters[0].letter,
        other=letters[1].letter,
        differences={name: _difference(*whole, name) for name in COMPARED},
        histology={name: _difference(*alone, name) if None not in alone else NO_HISTOLOGY for name in COMPARED},
        found=_found(*whole, common, at),
        found_at=at,
    )


def _difference(first: Pool, other: Pool, name: str) -> Figure:
    value = other.value(name) - first.value(name)
    if np.isnan(value):
        return _undefined(name, first if np.isnan(first.value(name)) else other)
    basis = Basis.of(name, first, other)
    drawn = other.spread(name) - first.spread(name)
    if COMPARED[name].is_share:
        ends = paired_share_interval(other.hits(name) - first.hits(name), drawn, basis.n_lesions)
    elif name in _MEANS_OF_RECALL:
        ends = mean_difference_interval(first.recalls(), other.recalls(), basis.n_lesions)
    else:
        ends = difference_interval(value, drawn, basis.weakest, COMPARED[name].top, least=basis.least)
    return basis.estimate(name, value, ends)


def _undefined(name: str, pool: Pool) -> NotApplicable:
    if COMPARED[name].at == "operating_point" and not pool.has_threshold:
        return NO_THRESHOLD
    subject, (unit, *_, figure) = pool.judged[0].subject, COMPARED[name].key
    what = target_name(subject.target)
    if COMPARED[name].at:
        reason = DECISION_FIGURES[figure].undefined.format(unit=unit, target=what)
    else:
        reason = f"n=0 {unit}s {'other than' if subject.truths[unit].any() else 'of'} {what}"
    undefined = sum(np.isnan(one.point[name]) for one in pool.judged)
    return NotApplicable(reason + (f" by {undefined} of {len(pool.judged)} seeds" if len(pool.judged) > 1 else ""))


def _found(first: Pool, other: Pool, common: CommonImages, at: str) -> dict[str, Discordance]:
    """Who finds which images, and which lesions, of the target, by the same kind of decision."""
    rows, subject = common.first, first.judged[0].subject
    ids = {"image": rows.image_id.astype(str), "lesion": np.unique(rows.lesion_key.astype(str))}
    found = {}
    for unit, truth in subject.truths.items():
        here, there, names = first.finds(unit, at)[truth], other.finds(unit, at)[truth], ids[unit][truth]
        found[unit] = Discordance(
            both=int((here & there).sum()),
            neither=int((~here & ~there).sum()),
            only_first=tuple(names[here & ~there].tolist()),
            only_other=tuple(names[~here & there].tolist()),
        )
    return found


def _contenders(pools: Sequence[Pool], histology: Sequence[Pool | None]) -> tuple[Contender, ...]:
    names = [_name(pool) for pool in pools]
    return tuple(
        Contender(
            letter=f"{ascii_uppercase[place % 26]}{place // 26 or ''}",
            name=name if names.count(name) == 1 else " + ".join(entry.name for entry in pool.entries),
            members=tuple(_member(entry, one) for entry, one in zip(pool.entries, pool.judged, strict=True)),
            figures=_figures(pool),
            histology=_figures(alone),
            seed_spread={figure: _seed_spread(pool, figure) for figure in COMPARED},
        )
        for place, (name, pool, alone) in enumerate(zip(names, pools, histology, strict=True))
    )


def _name(pool: Pool) -> str:
    first = pool.entries[0]
    return f"{first.recipe.name}, {len(pool.entries)} seeds" if len(pool.entries) > 1 else first.name


def _member(entry: Entry, judged: Judged) -> Member:
    values = {name: None if np.isnan(value) else value for name, value in judged.point.items()}
    seed = entry.recipe.seed if entry.recipe else None
    return Member(entry.name, seed, entry.predictions.origin, entry.operating_point, values)


def _seed_spread(pool: Pool, name: str) -> SeedSpread | NotApplicable:
    values = np.array([one.point[name] for one in pool.judged])
    if len(values) == 1:
        return NotApplicable("n=1 seed")
    if np.isnan(values).any():
        return _undefined(name, pool)
    low, high = float(values.min()), float(values.max())
    return SeedSpread(len(values), float(values.mean()), float(values.std(ddof=1)), low, high)

"""Which figures are asked of tested maps: for which map, over which images, and beside which baseline?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from melascope.classes import CLASSES
from melascope.evaluation.intervals import LEVEL
from melascope.explain.faithfulness import RANKED_BY
from melascope.explain.lesion_means import Difference, Mean, figures_by_lesion
from melascope.explain.mask_scores import MapScore, centred_gaussian, random_map_score, score_map
from melascope.explain.sanity import Likeness
from melascope.tables.cell_places import EVEN, CellPlaces
from melascope.tables.map_scores import MapFigure
from melascope.tables.results import Estimate, NotApplicable

MASK, FAITHFUL, SANE = "lesion mask", "faithfulness", "sanity"

MEASURES = {
    "share_inside": "bounded",
    "peak_inside": "share",
    "matched_iou": "bounded",
    "right_of_lesion": "difference",
    "below_lesion": "difference",
}
"""Of a map against a mask -> its scale. The last two tell whether maps are drawn where the network looked: how far the
middle of the positive evidence lies from the middle of the lesion, as a share of the picture's width and height. Over
many images they are 0 where each cell is drawn where it looks (`CellPlaces`)."""

BASELINES = ("area share", "centred Gaussian")


@dataclass(frozen=True)
class Images:
    """What is known of n images.

    Parameters
    ----------
    lesion_key, dx : (n,) object
    predicted : (n,) int, column of the top class
    missed, caught : (n,) bool, of a target class and below, or at and above, the frozen threshold; False without one
    target : name of the target, e.g. "mel"
    """

    lesion_key: np.ndarray
    dx: np.ndarray
    predicted: np.ndarray
    missed: np.ndarray
    caught: np.ndarray
    target: str

    def __len__(self) -> int:
        return len(self.dx)

    def groups(self) -> dict[str, np.ndarray]:
        """Name -> (n,) bool; the two of the target last."""
        named = {"all": np.ones(len(self), dtype=bool)}
        named |= {f"dx={name}": self.dx == name for name in CLASSES}
        return {**named, f"{self.target} missed": self.missed, f"{self.target} caught": self.caught}

    def columns(self) -> dict[str, np.ndarray]:
        """Whose map -> (n,) int column of it in each image, -1 where there is none."""
        known = {name: column for column, name in enumerate(CLASSES)}
        true = np.array([known.get(name, -1) for name in self.dx])
        named = {"predicted": self.predicted, "true": true}
        return {**named, **{name: np.full(len(self), column) for name, column in known.items()}}

    def subset(self, rows: np.ndarray) -> Images:
        arrays = (self.lesion_key, self.dx, self.predicted, self.missed, self.caught)
        return Images(*(array[rows] for array in arrays), self.target)


@dataclass(frozen=True)
class MaskScores:
    """Every class's map of n images against the lesion masks; NaN where a measure is undefined.

    Parameters
    ----------
    of_map : measure -> (n, 7)
    of_baseline : baseline -> measure -> (n,)
    nothing : (n, 7) bool, no positive evidence
    unusable : (n,) bool, a mask that is empty or covers the whole picture
    """

    of_map: dict[str, np.ndarray]
    of_baseline: dict[str, dict[str, np.ndarray]]
    nothing: np.ndarray
    unusable: np.ndarray


def score_all(maps: np.ndarray, masks: Sequence[np.ndarray], places: CellPlaces = EVEN) -> MaskScores:
    """Score maps (n, 7, h, w), whose cells lie at `places`, against n masks, each (height, width) bool."""
    shape = maps.shape[:2]
    of_map = {measure: np.full(shape, np.nan) for measure in MEASURES}
    of_baseline = {name: {measure: np.full(len(masks), np.nan) for measure in MEASURES} for name in BASELINES}
    nothing, unusable = (maps <= 0).all(axis=(2, 3)), np.array([mask.all() or not mask.any() for mask in masks])
    for row, mask in enumerate(masks):
        if unusable[row]:
            continue
        by_chance = random_map_score(float(mask.mean()))
        gaussian, away = centred_gaussian(*mask.shape), _middle(mask)
        in_middle = _values(score_map(gaussian, mask), _middle(gaussian) - away)
        for index, measure in enumerate(MEASURES):
            of_baseline["area share"][measure][row] = (*by_chance, *(0.5 - away))[index]
            of_baseline["centred Gaussian"][measure][row] = in_middle[index]
        for column in np.flatnonzero(~nothing[row]):
            evidence = maps[row, column]
            values = _values(score_map(evidence, mask, places), _middle(np.maximum(evidence, 0), places) - away)
            for measure, value in zip(MEASURES, values, strict=True):
                of_map[measure][row, column] = value
    return MaskScores(of_map, of_baseline, nothing, unusable)


def _values(score: MapScore, offset: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in (score.share_inside, score.peak_inside, score.matched_iou, *offset))


def _middle(weights: np.ndarray, places: CellPlaces = EVEN) -> np.ndarray:
    """(x, y) of the centre of mass of cells or pixels (h, w), as shares of the picture's sides."""
    total = weights.sum(dtype=np.float64)
    down, across = (places.share_at(side, axis) for axis, side in enumerate(weights.shape))
    return np.array([weights.sum(axis=0) @ across, weights.sum(axis=1) @ down]) / total


def mask_figures(scores: MaskScores, images: Images, *, draws: int, seed: int) -> list[MapFigure]:
    """Each measure for each map and group, beside both baselines on the same images."""
    asked: dict[tuple, Mean | Difference] = {}
    for map_of, column in images.columns().items():
        here, rows = column >= 0, np.arange(len(images))
        nothing = np.where(here & ~scores.unusable, scores.nothing[rows, column], np.nan)
        asked |= _over_groups("no_positive_evidence", map_of, {"": nothing}, {"": "share"}, images)
        for measure, scale in MEASURES.items():
            values = np.where(here, scores.of_map[measure][rows, column], np.nan)
            beside, scales = {"": values}, {"": scale}
            for name in BASELINES:
                theirs = np.where(np.isfinite(values), scores.of_baseline[name][measure], np.nan)
                by_case = "bounded" if (name, scale) == ("area share", "share") else scale
                beside |= {name: theirs, f"map - {name}": values - theirs}
                scales |= {name: by_case, f"map - {name}": "difference"}
            asked |= _over_groups(measure, map_of, beside, scales, images, reason="no positive evidence in any map")
    return _as_figures(MASK, asked, images, draws, seed)


def faithfulness_figures(
    found: Mapping[str, np.ndarray], images: Images, *, map_of: str, draws: int, seed: int
) -> list[MapFigure]:
    """Each figure (n, 3 of `RANKED_BY`) beside the controls, paired image by image."""
    asked: dict[tuple, Mean | Difference] = {}
    for name, values in found.items():
        scale = "difference" if name == "road" else "bounded"
        beside, scales = {"": values[:, 0]}, {"": scale}
        for index, control in enumerate(RANKED_BY[1:], start=1):
            beside |= {control: values[:, index], f"map - {control}": values[:, 0] - values[:, index]}
            scales |= {control: scale, f"map - {control}": "difference"}
        asked |= _over_groups(name, map_of, beside, scales, images, reason="no map has an order")
    return _as_figures(FAITHFUL, asked, images, draws, seed)


def sanity_figures(likenesses: Sequence[Likeness], lesion_key: np.ndarray) -> list[MapFigure]:
    """Mean correlation of each stage, with Student's t interval over the random draws: they, not the images, differ."""
    figures = []
    for stage in dict.fromkeys(one.stage for one in likenesses):
        drawn = [one.rho for one in likenesses if one.stage == stage]
        for name, values in (("rank_correlation", drawn), ("rank_correlation_size", [np.abs(rho) for rho in drawn])):
            figures.append(MapFigure(SANE, name, "all classes", stage, "", _over_draws(values, lesion_key)))
    return figures


def score_rows(scores: MaskScores, images: Images, facts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row an image and class, with its state; `facts` of each image come first."""
    rows = []
    for row, of_image in enumerate(facts):
        gaussian = scores.of_baseline["centred Gaussian"].items()
        beside = {f"gaussian_{measure}": float(theirs[row]) for measure, theirs in gaussian}
        for column, name in enumerate(CLASSES):
            state = "mask is empty or full" if scores.unusable[row] else "scored"
            state = "no positive evidence" if scores.nothing[row, column] else state
            named = {"map_of": name, "is_predicted": bool(images.predicted[row] == column), "state": state}
            values = {measure: float(of[row, column]) for measure, of in scores.of_map.items()}
            rows.append({**of_image, **named, **values, **beside})
    return rows


def faithfulness_rows(found: Mapping[str, np.ndarray], facts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row an image that was asked again: each figure of the map and of its controls."""
    n = len(next(iter(found.values())))
    return [
        {
            **of_image,
            **{
                f"{name}_{ranked_by.replace(' ', '_').lower()}": float(of[row, index])
                for name, of in found.items()
                for index, ranked_by in enumerate(RANKED_BY)
            },
        }
        for row, of_image in enumerate(facts[:n])
    ]


def _over_draws(drawn: Sequence[np.ndarray], lesion_key: np.ndarray) -> Estimate | NotApplicable:
    defined = [rho[np.isfinite(rho)] for rho in drawn]
    if not any(len(rho) for rho in defined):
        return NotApplicable("no map has two different cells")
    means = np.array([rho.mean() for rho in defined if len(rho)])
    counted = np.isfinite(drawn[0]).any(axis=1)
    low = high = None
    if len(means) > 1:
        half = float(stdtrit(len(means) - 1, (1 + LEVEL) / 2)) * float(means.std(ddof=1)) / np.sqrt(len(means))
        low, high = float(means.mean() - half), float(means.mean() + half)
    return Estimate(float(means.mean()), low, high, int(counted.sum()), len(set(lesion_key[counted])))


def _over_groups(
    name: str,
    map_of: str,
    beside: Mapping[str, np.ndarray],
    scales: Mapping[str, str],
    images: Images,
    reason: str = "n=0 images",
) -> dict[tuple, Mean | Difference]:
    asked: dict[tuple, Mean | Difference] = {}
    for against, values in beside.items():
        means = {}
        for group, among in images.groups().items():
            why = reason if among.any() else "n=0 images"
            means[group] = asked[name, map_of, group, against] = Mean(values, among, scales[against], why)
        missed, caught = (means[f"{images.target} {which}"] for which in ("missed", "caught"))
        asked[name, map_of, f"{images.target} missed - caught", against] = Difference(missed, caught)
    return asked


def _as_figures(
    test: str, asked: Mapping[tuple, Mean | Difference], images: Images, draws: int, seed: int
) -> list[MapFigure]:
    found = figures_by_lesion(asked, images.lesion_key, draws=draws, seed=seed)
    return [MapFigure(test, *key, figure) for key, figure in found.items()]

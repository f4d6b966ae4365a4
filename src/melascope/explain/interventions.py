"""What does the answer to one picture hang on: which part, hidden, kept or added, changes it more than chance would?

A map says where evidence was counted; only taking it away shows what the answer needs. Each intervention is set beside
its control, the same edit of a region of the same form and size placed at random in the same zone (or, for an added
artefact, the same pixels covered by skin colour), and has the empirical p of a random placement (Phipson & Smyth 2010,
Stat. Appl. Genet. Mol. Biol. 9, 39, eq. 2): p = (1 + #{|control| >= |observed|}) / (1 + k); where a region is kept, and
all else hidden, the controls that change as *little* are counted. No p is corrected for the number of interventions
tried on a picture. An edited picture is one that no camera took: what a model says of it may
tell more of the edit than of the part, which is why there are several fills, and a control for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from melascope.classes import CLASSES
from melascope.explain.answers import Answers, Asker
from melascope.explain.artefacts import Specimen
from melascope.explain.edits import ADDED, grown, hide, inert_twin, keep, margin_of, skin_colour, with_artefact
from melascope.explain.regions import (
    FOUND_ARTEFACTS,
    HOT_SHARE,
    Region,
    hot_spots_outside,
    hottest,
    placed_at_random,
    spots_outside,
)
from melascope.tables.cell_places import EVEN, CellPlaces
from melascope.tables.results import NotApplicable

CONTROLS = 99
"""Random placements of each region: p can fall to 0.01."""

PLACEMENTS = 20
"""Places at which an artefact is added; its effect is their mean."""

_REGION, _ADDED = 3, 4  # first of the random keys after the seed
_SPOTS = 3  # coloured spots, and hot spots of each map, that are looked at
_OVERLAP = 0.25  # of strands that span the picture, a mirrored one crosses some

Edit = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Intervention:
    """What is done to a picture, and its control.

    Parameters
    ----------
    name : e.g. "coloured spot 1 removed"
    fill : what stands in its place; `""` for an added artefact
    area_share : share of the picture that is hidden, kept or covered
    edited : the edited picture; for an added artefact one for each placement
    controls : pictures with the control; none where a region of this form fits nowhere else
    control_name : of the control in words
    keeps : whether the region is kept and all else hidden
    """

    name: str
    fill: str
    area_share: float
    edited: tuple[np.ndarray, ...]
    controls: tuple[np.ndarray, ...]
    control_name: str
    keeps: bool = False


@dataclass(frozen=True)
class Change:
    """How an intervention changes the probability of a class (or of the target).

    Parameters
    ----------
    before, after : probability; `after` is the mean over the placements of an added artefact
    control_mean, control_low, control_high : mean and middle 95 % of the changes by the controls
    n_controls : k
    p_value : see the top of this file
    """

    before: float
    after: float
    control_mean: float | NotApplicable
    control_low: float | NotApplicable
    control_high: float | NotApplicable
    n_controls: int
    p_value: float | NotApplicable

    @property
    def change(self) -> float:
        return self.after - self.before


@dataclass(frozen=True)
class Outcome:
    """What a model says before and after an intervention.

    Parameters
    ----------
    name, fill, area_share, control_name, keeps : of the intervention
    target : of the asker, summed to P(target)
    before, after : answers to the picture (1) and to the edited ones (1, or the number of placements)
    controls : answers to the k controls; None where there are none
    picture : (height, width, 3) uint8, the (first) edited picture
    """

    name: str
    fill: str
    area_share: float
    control_name: str
    keeps: bool
    target: tuple[str, ...]
    before: Answers
    after: Answers
    controls: Answers | None
    picture: np.ndarray

    @property
    def predicted(self) -> tuple[str, str]:
        """Top class before and after."""
        return CLASSES[int(self.before.predicted[0])], CLASSES[int(self.after.probabilities.mean(axis=0).argmax())]

    @property
    def positive(self) -> tuple[bool, bool] | NotApplicable:
        """The decision at the frozen threshold before and after (of an added artefact: at most of its placements)."""
        if self.before.is_positive is None or self.after.is_positive is None:
            return NotApplicable("no operating point is frozen")
        return bool(self.before.is_positive[0]), bool(self.after.is_positive.mean() > 0.5)

    def _decision(self) -> str:
        """What becomes of the decision at the frozen threshold, and for how many controls it does so too."""
        if isinstance(self.positive, NotApplicable):
            return ""
        before, after = self.positive
        words = f", decision {'stays' if before == after else 'becomes'} {'positive' if after else 'negative'}"
        if before == after or self.controls is None or self.controls.is_positive is None:
            return words
        turned = int((self.controls.is_positive != before).sum())
        return f"{words} (so in {turned} of {len(self.controls.is_positive)} controls)"

    def of(self, name: str) -> Change:
        """The change of one class's probability, or of "target"."""
        if name == "target":
            values = [one and one.p_target for one in (self.before, self.after, self.controls)]
        else:
            column = CLASSES.index(name)
            values = [one and one.probabilities[:, column] for one in (self.before, self.after, self.controls)]
        before, after = float(values[0][0]), float(values[1].mean())
        if values[2] is None:
            nothing = NotApplicable("no room for a control")
            return Change(before, after, nothing, nothing, nothing, 0, nothing)
        moved = values[2] - before
        low, high = np.quantile(moved, [0.025, 0.975])
        beyond = np.abs(moved) - abs(after - before)
        as_far = int(((beyond <= 0) if self.keeps else (beyond >= 0)).sum())
        return Change(
            before, after, float(moved.mean()), float(low), float(high), len(moved), (1 + as_far) / (1 + len(moved))
        )

    def sentence(self, name: str = "target") -> str:
        """One sentence that says what was done, what changed, and what the control changed."""
        change = self.of(name)
        shown = "+".join(self.target) if name == "target" else name
        how = f", {self.fill}" if self.fill else ""
        text = (
            f"{self.name[:1].upper()}{self.name[1:]} ({100 * self.area_share:.1f} % of the picture{how}): "
            f"P({shown}) from {change.before:.3f} to {change.after:.3f}{self._decision()}; "
        )
        if isinstance(change.p_value, NotApplicable):
            return text + f"{change.p_value.reason}."
        return text + (
            f"{self.control_name} changes it by {change.control_mean:+.3f} on average (middle 95 % "
            f"{change.control_low:+.3f} to {change.control_high:+.3f}, n={change.n_controls}, p={change.p_value:.3f})."
        )


def intervene(
    specimen: Specimen,
    ask: Asker,
    maps: Mapping[str, np.ndarray] | None = None,
    *,
    controls: int = CONTROLS,
    seed: int = 0,
    thorough: bool = True,
    places: CellPlaces = EVEN,
) -> list[Outcome]:
    """Try every intervention on one picture.

    Parameters
    ----------
    maps : class -> (map_height, map_width) signed, whose hot regions are removed
    controls : placements of each control
    seed : of the placements
    thorough : try every fill, and add artefacts; else one fill a part, and nothing is added
    places : where the maps' cells lie

    Returns
    -------
    outcomes : in a fixed order; an intervention that has nothing to work on (no hair, no hot spot) is left out
    """
    before = ask([specimen.image])
    outcomes = []
    how = {"controls": controls, "seed": seed, "thorough": thorough, "places": places}
    for one in interventions_on(specimen, maps or {}, **how):
        answers = ask([*one.edited, *one.controls])
        n = len(one.edited)
        outcomes.append(
            Outcome(
                name=one.name,
                fill=one.fill,
                area_share=one.area_share,
                control_name=one.control_name,
                keeps=one.keeps,
                target=ask.target,
                before=before,
                after=answers[:n],
                controls=answers[n:] if one.controls else None,
                picture=one.edited[0],
            )
        )
    return outcomes


def interventions_on(
    specimen: Specimen,
    maps: Mapping[str, np.ndarray],
    *,
    controls: int = CONTROLS,
    seed: int = 0,
    thorough: bool = True,
    places: CellPlaces = EVEN,
) -> Iterator[Intervention]:
    """The interventions on a picture, made one at a time; arguments as of `intervene`."""
    image, lesion = specimen.image, specimen.lesion
    number = 0

    def edits(region: Region, name: str, fills: tuple[str, ...], edit, overlap: float = 0.0) -> Iterator[Intervention]:
        nonlocal number
        number += 1
        elsewhere = placed_at_random(region.mask, region.zone, controls, [seed, _REGION, number], overlap=overlap)
        for fill in fills:
            yield Intervention(
                name=name,
                fill=fill,
                area_share=region.area_share,
                edited=(edit(image, region.mask, fill=fill, lesion=lesion),),
                controls=tuple(edit(image, mask, fill=fill, lesion=lesion) for mask in elsewhere),
                control_name=f"the same form placed at random {region.zone_name}",
                keeps=edit is keep,
            )

    for region, name, fills, edit, overlap in _planned(image, lesion, maps, places):
        yield from edits(region, name, fills if thorough else fills[:1], edit, overlap)
    if not thorough:
        return
    skin = skin_colour(image, lesion)
    for place, name in enumerate(ADDED):
        keys = [[seed, _ADDED, place, draw] for draw in range(PLACEMENTS)]
        yield Intervention(
            name=f"{name.replace('_', ' ')} added",
            fill="",
            area_share=float(np.mean([(with_artefact(image, name, key) != image).any(axis=2).mean() for key in keys])),
            edited=tuple(with_artefact(image, name, key) for key in keys),
            controls=tuple(inert_twin(image, name, key, skin) for key in keys),
            control_name="the same pixels covered by skin colour",
        )


_Planned = tuple[Region, str, tuple[str, ...], Callable, float]
_HIDING = ("in-painted", "mean skin", "blurred")


def _planned(
    image: np.ndarray, lesion: np.ndarray, maps: Mapping[str, np.ndarray], places: CellPlaces
) -> Iterator[_Planned]:
    """(region, name, fills, edit, overlap) of what is hidden or kept."""
    height, width = lesion.shape
    skin = ~grown(lesion, 2 * margin_of(image))
    if lesion.any() and not lesion.all():
        region = Region("lesion", lesion, skin, "on the skin")
        yield region, "lesion alone kept", ("mean skin", "blurred"), keep, 0.0
        yield region, "lesion removed", _HIDING, hide, 0.0
    for name, values in maps.items():
        hot = hottest(values, width, height, places=places)
        if not isinstance(hot, NotApplicable):
            title = f"hottest {100 * HOT_SHARE:.0f} % of the {name} map removed"
            yield _of_hot(hot, lesion, skin), title, _HIDING, hide, 0.0
        for place, spot in enumerate(hot_spots_outside(values, lesion, places=places)[:_SPOTS], start=1):
            region = Region("hot spot", spot, skin, "on the skin")
            yield region, f"hot spot {place} of the {name} map outside the lesion removed", _HIDING, hide, 0.0
    for place, spot in enumerate(spots_outside(image, lesion)[:_SPOTS], start=1):
        yield Region("spot", spot, skin, "on the skin"), f"coloured spot {place} beside it removed", _HIDING, hide, 0.0
    for name, find in FOUND_ARTEFACTS.items():
        mask = find(image)
        if mask.any() and not mask.all():
            region = Region(name, mask, np.ones_like(mask), "in the picture")
            yield region, f"{name.replace('_', ' ')} removed", ("in-painted",), hide, _OVERLAP


def _of_hot(hot: np.ndarray, lesion: np.ndarray, skin: np.ndarray) -> Region:
    """A hot region's controls lie where it lies: inside the lesion, or on the skin; else anywhere in the picture."""
    inside = float(lesion[hot].mean())
    for zone, name, is_here in ((lesion, "inside the lesion", inside > 0.9), (skin, "on the skin", inside < 0.1)):
        if is_here:
            return Region("hot", hot, zone, name)
    return Region("hot", hot, np.ones_like(lesion), "in the picture")

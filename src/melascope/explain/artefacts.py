"""Does a model listen to what is not the lesion: to rulers, ink, hair, or to the skin it happens to lie on?

Over a whole split: each picture is asked about as it is and with one thing changed, so that every image is its own
control, and beside it with an inert change of the same pixels. What counts as a finding stands in `paired.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from melascope.errors import ExplainError
from melascope.explain.answers import Answers, Asker
from melascope.explain.edits import (
    ADDED,
    blurred,
    hide,
    inert_twin,
    keep,
    on_other_skin,
    skin_colour,
    with_artefact,
)
from melascope.explain.paired import PairedEffect, Side, paired_effect

_ARTEFACT, _DONOR = 1, 2  # first of the random keys after the seed

CONTROL = "control"
_AT_ONCE = 8  # pictures whose versions are in memory together
_TRIES = 50
_LARGEST_DONOR = 0.6  # share of a picture: a larger lesion leaves no skin worth pasting
_NOTHING = np.empty(0)


@dataclass(frozen=True)
class Specimen:
    """A picture with its lesion: all that an audit edits.

    Parameters
    ----------
    image : (height, width, 3) uint8
    lesion : (height, width) bool
    mask_source : where the lesion comes from, see `explain.segment`
    """

    image_id: str
    lesion_key: str
    image: np.ndarray
    lesion: np.ndarray
    mask_source: str = "data set"


Load = Callable[[int], Specimen]
"""Row -> specimen; called anew for every row, so that a split need not fit into memory."""

Progress = Callable[[int, int], None]

BACKGROUNDS: tuple[str, ...] = ("mean skin", "blurred skin", "other skin", "other skin, same tone")
"""What the lesion is shown on instead of its own surroundings; the control is its own skin, mirrored."""


@dataclass(frozen=True)
class Pairs:
    """Answers to every version of every picture that could be edited.

    Parameters
    ----------
    image_id, lesion_key : (n,) object
    answers : version -> n answers; "original", and for each edit its name and, where there is one, its control's
    controls : edit -> version that is its control
    skipped : (image_id, reason) of pictures that could not be edited
    judged : whether the rule of `paired.py` gives a verdict on each edit
    """

    image_id: np.ndarray
    lesion_key: np.ndarray
    answers: dict[str, Answers]
    controls: dict[str, str]
    skipped: tuple[tuple[str, str], ...]
    judged: bool = True

    def effects(self, *, draws: int = 2000, seed: int = 0) -> list[PairedEffect]:
        """One effect an edit, at levels corrected for the number of edits."""
        sides = {name: Side(one.log_odds, one.p_target, one.is_positive) for name, one in self.answers.items()}
        return [
            paired_effect(
                name,
                sides["original"],
                sides[name],
                sides[control],
                self.lesion_key,
                looked_at=len(self.controls),
                judged=self.judged,
                draws=draws,
                seed=seed,
            )
            for name, control in self.controls.items()
        ]


def ask_with_artefacts(
    n: int,
    load: Load,
    ask: Asker,
    *,
    artefacts: Sequence[str] = tuple(ADDED),
    seed: int = 0,
    progress: Progress | None = None,
) -> Pairs:
    """Ask about n pictures as they are, with each artefact, and with its inert twin (the same pixels in skin colour).

    Where an artefact lies is drawn anew for every image, keyed by (seed, artefact, row): the same for every model.
    """
    unknown = set(artefacts) - set(ADDED)
    if unknown or not artefacts:
        raise ExplainError(f"There is no artefact {', '.join(sorted(unknown))!r}.", expected=", ".join(ADDED))
    names = {name: f"{name}: {CONTROL}" for name in artefacts}

    def versions(row: int, specimen: Specimen) -> dict[str, np.ndarray]:
        made, skin = {"original": specimen.image}, skin_colour(specimen.image, specimen.lesion)
        for name, control in names.items():
            key = [seed, _ARTEFACT, list(ADDED).index(name), row]
            made[name] = with_artefact(specimen.image, name, key)
            made[control] = inert_twin(specimen.image, name, key, skin)
        return made

    return _asked(n, load, ask, versions, names, progress)


def ask_on_other_backgrounds(
    n: int, load: Load, ask: Asker, *, seed: int = 0, progress: Progress | None = None
) -> Pairs:
    """Ask about n pictures whose lesion stays as it is while everything round it changes (`BACKGROUNDS`).

    Another skin comes from another of the n pictures, of another lesion, drawn by (seed, row), its own lesion
    in-painted. The control has all that pasting brings along (a seam, in-painting) on the lesion's own skin: mirrored.
    """
    if n < 2:
        raise ExplainError("A background to swap needs another picture.", expected="two images or more")
    mirrored = f"own skin, mirrored: {CONTROL}"

    def versions(row: int, specimen: Specimen) -> dict[str, np.ndarray]:
        image, lesion = specimen.image, specimen.lesion
        bare, donor = _bare(specimen), _donor(row, specimen.lesion_key, n, load, seed)
        return {
            "original": image,
            "mean skin": keep(image, lesion),
            "blurred skin": on_other_skin(image, lesion, blurred(bare, lesion, lesion).astype(np.uint8)),
            "other skin": on_other_skin(image, lesion, donor),
            "other skin, same tone": on_other_skin(image, lesion, donor, same_tone=True),
            mirrored: on_other_skin(image, lesion, bare[:, ::-1]),
        }

    pairs = _asked(n, load, ask, versions, dict.fromkeys(BACKGROUNDS, mirrored), progress)
    return replace(pairs, judged=False)


def _bare(specimen: Specimen) -> np.ndarray:
    """The picture without its lesion."""
    if not specimen.lesion.any():
        raise ExplainError("No lesion is marked in the picture.")
    return hide(specimen.image, specimen.lesion)


def _donor(row: int, lesion_key: str, n: int, load: Load, seed: int) -> np.ndarray:
    """Bare skin of another lesion's picture: the first usable one in an order drawn for this row."""
    for other in np.random.default_rng([seed, _DONOR, row]).permutation(n)[:_TRIES]:
        specimen = load(int(other))
        if specimen.lesion_key != lesion_key and specimen.lesion.any() and specimen.lesion.mean() < _LARGEST_DONOR:
            return _bare(specimen)
    raise ExplainError(f"None of {min(n, _TRIES)} other pictures has another lesion and enough skin.")


def _asked(
    n: int,
    load: Load,
    ask: Asker,
    versions: Callable[[int, Specimen], dict[str, np.ndarray]],
    controls: dict[str, str],
    progress: Progress | None,
) -> Pairs:
    """Make every version of every picture, ask about a few pictures at a time, and sort the answers by version."""
    names: tuple[str, ...] = ("original", *controls, *dict.fromkeys(controls.values()))
    kept: list[Specimen] = []
    skipped: list[tuple[str, str]] = []
    pieces: list[Answers] = []
    for rows in _chunks(n):
        pictures: list[np.ndarray] = []
        for row in rows:
            specimen = load(row)
            try:
                made = versions(row, specimen)
            except ExplainError as error:
                skipped.append((specimen.image_id, error.found))
                continue
            kept.append(replace(specimen, image=_NOTHING, lesion=_NOTHING))
            pictures += [made[name] for name in names]
        if pictures:
            pieces.append(ask(pictures))
        if progress is not None:
            progress(rows.stop, n)
    if not kept:
        raise ExplainError(f"None of {n} pictures could be edited.", expected=f"not: {skipped[0][1]}")
    answers = Answers.joined(pieces)
    return Pairs(
        image_id=np.array([one.image_id for one in kept], dtype=object),
        lesion_key=np.array([one.lesion_key for one in kept], dtype=object),
        answers={name: answers[place :: len(names)] for place, name in enumerate(names)},
        controls=controls,
        skipped=tuple(skipped),
    )


def _chunks(n: int) -> Iterator[range]:
    return (range(start, min(start + _AT_ONCE, n)) for start in range(0, n, _AT_ONCE))

"""Which images did several models judge, and do their tables agree on what these images show?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from melascope.classes import CLASSES
from melascope.config import Recipe
from melascope.errors import DataError, OperatingPointError, Problem, TableError
from melascope.evaluation.evaluate import evaluated_rows
from melascope.evaluation.operating_point import OperatingPoint
from melascope.tables.predictions import Predictions


@dataclass(frozen=True)
class Entry:
    """A run, or anybody's predictions table, that is to be compared.

    Parameters
    ----------
    name : by which the reader knows it; each entry has its own.
    predictions : its table.
    operating_point : its own frozen point; None leaves every figure at a threshold out.
    recipe : of a run; the seeds of one recipe are pooled.
    threshold_note : where a table's own point is from, or why it has none.
    """

    name: str
    predictions: Predictions
    operating_point: OperatingPoint | None = None
    recipe: Recipe | None = None
    threshold_note: str = ""


@dataclass(frozen=True)
class CommonImages:
    """The images that every entry judged.

    Parameters
    ----------
    rows : entry's name -> its predictions of these images, by rising image id, the same lesions in each.
    left_out : entry's name -> images with known truth that it judged and not all others did.
    lesions_from_others : images whose lesion only some of the tables tell.
    unchecked : (entry's name, what could not be checked about its operating point).
    histology : (n_images,) bool, truth from histology: some table says so and none says otherwise.
    dx_type_conflicts : images on whose way to the truth two tables differ.
    """

    rows: dict[str, Predictions]
    left_out: dict[str, int]
    lesions_from_others: int
    unchecked: tuple[tuple[str, str], ...]
    histology: np.ndarray
    dx_type_conflicts: int

    @property
    def first(self) -> Predictions:
        """The first entry's rows: truth, lesions and ids are those of all."""
        return next(iter(self.rows.values()))


def common_images(entries: Sequence[Entry], split: str) -> CommonImages:
    """The rows of one split that every entry has with known truth.

    Raises
    ------
    TableError : every entry without such rows or with a point of another model; else every image on whose truth or
        lesion two tables differ.
    DataError : no image is common to all.
    """
    judged, unchecked, problems = {}, [], []
    for entry in entries:
        try:
            judged[entry.name] = evaluated_rows(entry.predictions, split)
            fit = entry.operating_point.check_fits(entry.predictions) if entry.operating_point else ()
            if not entry.threshold_note:  # a point from the table's own rows is its own
                unchecked += [(entry.name, note) for note in fit]
        except (DataError, OperatingPointError) as error:
            problems.append(Problem(error.found, entry.name))
    if problems:
        raise TableError("Some tables cannot be compared", problems)
    ids = {name: rows.image_id.astype(str) for name, rows in judged.items()}
    common = reduce(np.intersect1d, ids.values())
    if len(common) == 0:
        shown = "; ".join(f"{name} has {len(one):,}, e.g. {one[0]}" for name, one in ids.items())
        raise DataError(
            f"No image is common to all: {shown}.",
            expected=f"tables about the same images of split {split!r}, under the same image ids",
            fix="score the same images with each model: melascope predict RUN IMAGES",
        )
    places = {name: np.intersect1d(one, common, return_indices=True)[1] for name, one in ids.items()}
    rows, borrowed = _agreeing({name: judged[name].subset(place) for name, place in places.items()})
    left_out = {name: len(one) - len(common) for name, one in ids.items()}
    return CommonImages(rows, left_out, borrowed, tuple(unchecked), *_histology(list(rows.values())))


def _histology(tables: Sequence[Predictions]) -> tuple[np.ndarray, int]:
    """Which of the same rows (n,) have their truth from histology, and on how many of them the tables differ."""
    told = np.array([one.dx_type != "" for one in tables])
    histo = np.array([one.dx_type == "histo" for one in tables])
    contradicted = histo.any(axis=0) & (told & ~histo).any(axis=0)
    return histo.any(axis=0) & ~contradicted, int(contradicted.sum())


def _agreeing(rows: dict[str, Predictions]) -> tuple[dict[str, Predictions], int]:
    """The same rows with the lesions that any of the tables tells, and for how many images not all of them do."""
    problems: list[Problem] = []
    (first, reference), *others = rows.items()
    lesion, told = reference.lesion_id.copy(), reference.lesion_id != ""
    tells = np.full(len(lesion), first, dtype=object)
    for name, one in others:
        for place in np.flatnonzero(one.labels != reference.labels):
            here, there = CLASSES[one.labels[place]], CLASSES[reference.labels[place]]
            problems.append(Problem(f"image {one.image_id[place]} is {here} here, {there} in {first}", name))
        known = one.lesion_id != ""
        for place in np.flatnonzero(known & (lesion != "") & (one.lesion_id != lesion)):
            here, there = one.lesion_id[place], lesion[place]
            message = f"image {one.image_id[place]} shows lesion {here} here, {there} in {tells[place]}"
            problems.append(Problem(message, name))
        new = known & (lesion == "")
        lesion[new], tells[new] = one.lesion_id[new], name
        told &= known
    if problems:
        fix = "compare tables of the same truth; if an image id means two images, rename one of them"
        raise TableError("The tables differ about the images themselves", problems, fix=fix)
    borrowed = int(((lesion != "") & ~told).sum())
    return {name: replace(one, lesion_id=lesion) for name, one in rows.items()}, borrowed

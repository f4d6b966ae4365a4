"""Can a result on this data set be trusted: what is in it twice, in conflict, rare or badly taken, and what leaks?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from melascope.classes import CLASSES, MEL, SPLITS
from melascope.data.archive import read_member
from melascope.data.decode import decode_image
from melascope.data.duplicates import DuplicateFinder, DuplicatePair
from melascope.data.leakage import RandomSplitLeak, random_split_leak
from melascope.data.quality import ImageQuality, QualityMeasure, image_quality, quality_measures
from melascope.data.split import Split
from melascope.errors import DataError, ImageError, Problem, TableError
from melascope.files import sha256_bytes
from melascope.tables.lesions import LesionTable
from melascope.tables.results import NotApplicable

AGE_BANDS = ((0, "under 30"), (30, "30 to 49"), (50, "50 to 69"), (70, "70 and over"))
"""First year of each band, and its name."""
UNKNOWN = "unknown"
ONE_TRUTH = ("dx", "dx_type", "sex", "localization")
"""Columns in which all images of a lesion should say the same; an empty cell is no contradiction."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class NamedPair:
    """Two images that show the same, though they are said to be of different lesions; both in the table's order.

    Parameters
    ----------
    image_id, lesion_id, dx, split : of the two; `split` is ("", "") where no split was given
    kind, agreement, scale, angle, mirrored : see `DuplicatePair`
    """

    image_id: tuple[str, str]
    lesion_id: tuple[str, str]
    dx: tuple[str, str]
    split: tuple[str, str]
    kind: str
    agreement: float
    scale: float
    angle: float
    mirrored: bool


@dataclass(frozen=True)
class Duplicates:
    """What is in the collection more than once.

    Parameters
    ----------
    within_lesions : kind -> pairs of one lesion's images: expected, a lesion is photographed several times
    across_lesions : pairs of different lesions, closest first; what is called `near` is for a person to look at
    """

    within_lesions: dict[str, int]
    across_lesions: tuple[NamedPair, ...]

    @property
    def across_splits(self) -> tuple[NamedPair, ...]:
        """Those whose images stand on two sides of the split: the test has seen them."""
        return tuple(pair for pair in self.across_lesions if pair.split[0] != pair.split[1])

    @property
    def across_labels(self) -> tuple[NamedPair, ...]:
        """Those whose images are labelled differently."""
        return tuple(pair for pair in self.across_lesions if pair.dx[0] != pair.dx[1] and all(pair.dx))

    def as_json(self) -> dict[str, Any]:
        return {
            "within_lesions": self.within_lesions,
            "across_lesions": [asdict(pair) for pair in self.across_lesions],
            "n_across_lesions": len(self.across_lesions),
            "n_across_splits": len(self.across_splits),
            "n_across_labels": len(self.across_labels),
        }


@dataclass(frozen=True)
class Conflict:
    """A lesion whose images say different things in `column`: `values`, each with one image that says it."""

    lesion_id: str
    column: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Share:
    """How much of the collection has one value of a column: images and lesions, and the melanomas among them."""

    value: str
    n_images: int
    n_lesions: int
    n_melanoma: int
    n_melanoma_lesions: int


@dataclass(frozen=True)
class Audit:
    """Everything that the audit of a data set found.

    Parameters
    ----------
    source, fingerprint : of the dataset table
    split_sha256 : of the split, or None
    n_images, n_lesions : size; an image without a lesion id counts as a lesion
    duplicates : what is in it more than once
    conflicts : lesions that contradict themselves
    balance : column (`dx`, `dx_type`, `sex`, `age`, `localization`, `dataset`, `split`) -> shares, largest first; the
        last two where they are known
    quality : each measure over all images, with the worst named
    random_split : what a random split of images would have leaked
    """

    source: str
    fingerprint: str
    split_sha256: str | None
    n_images: int
    n_lesions: int
    duplicates: Duplicates
    conflicts: tuple[Conflict, ...]
    balance: dict[str, tuple[Share, ...]]
    quality: tuple[QualityMeasure, ...]
    random_split: RandomSplitLeak | NotApplicable

    def as_json(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "source": self.source,
            "fingerprint": self.fingerprint,
            "split_sha256": self.split_sha256,
            "n_images": self.n_images,
            "n_lesions": self.n_lesions,
            "duplicates": self.duplicates.as_json(),
            "conflicts": [asdict(conflict) for conflict in self.conflicts],
            "balance": {column: [asdict(share) for share in shares] for column, shares in self.balance.items()},
            "quality": [measure.as_json() for measure in self.quality],
            "random_split": self.random_split.as_json(),
        }


def audit_dataset(
    table: LesionTable, split: Split | None = None, *, seed: int = 1, progress: Progress | None = None
) -> Audit:
    """Look into every image once, compare all with all, and count.

    Parameters
    ----------
    table : the data set; where its `sha256` is known, the files are checked against it
    split : its split, if there is one
    seed : keys the order in which images are read; the first thousand set the scale of the signatures
    progress : called with (images read or compared, twice the images)

    Raises
    ------
    DataError : the data set has no image.
    TableError : images that cannot be read, all at once.
    SplitError : the split lacks an image of the data set.
    """
    if len(table) == 0:
        raise DataError("There is no image to audit.", where=table.root)
    sides = split.of(table) if split is not None else np.full(len(table), "", dtype=object)
    qualities, finder = _look_at_all(table, seed, progress)
    pairs = finder.pairs(None if progress is None else lambda done, n: progress(n + done, 2 * n))
    return Audit(
        source=table.source,
        fingerprint=table.fingerprint,
        split_sha256=split.sha256 if split is not None else None,
        n_images=len(table),
        n_lesions=len(set(table.lesion_key)),
        duplicates=sort_pairs(table, sides, pairs),
        conflicts=conflicting(table),
        balance=balance(table, sides),
        quality=quality_measures(table.image_id, qualities),
        random_split=random_split_leak(table, split),
    )


def _look_at_all(
    table: LesionTable, seed: int, progress: Progress | None
) -> tuple[list[ImageQuality], DuplicateFinder]:
    """Read every image once, in an order of its own (a release is sorted by class)."""
    found: dict[int, ImageQuality] = {}
    problems: list[Problem] = []
    finder = DuplicateFinder(len(table))
    for done, row in enumerate(np.random.default_rng([seed, len(table)]).permutation(len(table)), start=1):
        try:
            data = read_member(table.root, table.path[row])
            sha256 = sha256_bytes(data)
            if table.sha256[row] not in ("", sha256):
                raise ImageError("the file has changed since the data set was validated")
            rgb = decode_image(data, name=table.path[row])
        except DataError as error:
            problems.append(Problem(error.found, table.path[row]))
            continue
        found[row] = image_quality(rgb)
        finder.add(int(row), rgb, sha256)
        if progress is not None:
            progress(done, 2 * len(table))
    if problems:
        raise TableError(
            "Images cannot be read",
            sorted(problems, key=str),
            where=table.root,
            fix=f"melascope data validate {table.root}",
        )
    return [found[row] for row in range(len(table))], finder


def sort_pairs(table: LesionTable, sides: np.ndarray, pairs: tuple[DuplicatePair, ...]) -> Duplicates:
    """Count the pairs within lesions, and name those across; `sides`: (n_images,) object, "" without a split."""
    lesion = table.lesion_key
    within = Counter(pair.kind for pair in pairs if lesion[pair.first] == lesion[pair.second])

    def two(column: np.ndarray, pair: DuplicatePair) -> tuple[str, str]:
        return str(column[pair.first]), str(column[pair.second])

    across = [
        NamedPair(
            image_id=two(table.image_id, pair),
            lesion_id=two(table.lesion_id, pair),
            dx=two(table.dx, pair),
            split=two(sides, pair),
            kind=pair.kind,
            agreement=pair.agreement,
            scale=pair.scale,
            angle=pair.angle,
            mirrored=pair.mirrored,
        )
        for pair in pairs
        if lesion[pair.first] != lesion[pair.second]
    ]
    return Duplicates(dict(sorted(within.items())), tuple(sorted(across, key=lambda pair: -pair.agreement)))


def conflicting(table: LesionTable) -> tuple[Conflict, ...]:
    """Lesions that contradict themselves, by column and id; images without a lesion id contradict nobody."""
    said: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for column in ONE_TRUTH:
        for lesion, image_id, value in zip(table.lesion_id, table.image_id, getattr(table, column), strict=True):
            if lesion != "" and value != "":
                said[column, lesion].setdefault(value, image_id)
    return tuple(
        Conflict(lesion, column, tuple(sorted(values.items())))
        for (column, lesion), values in sorted(said.items(), key=lambda item: (ONE_TRUTH.index(item[0][0]), item[0][1]))
        if len(values) > 1
    )


def balance(table: LesionTable, sides: np.ndarray) -> dict[str, tuple[Share, ...]]:
    """How images, lesions and melanomas lie over classes and subgroups; `sides` as in `sort_pairs`."""
    columns = {name: getattr(table, name) for name in ("dx", "dx_type", "sex", "localization")}
    if (table.dataset != "").any():
        columns["dataset"] = table.dataset
    columns["age"] = np.array([age_band(age) for age in table.age], dtype=object)
    shares = {name: _shares(table, values) for name, values in columns.items()}
    order = {name: rank for rank, name in enumerate(name for _, name in AGE_BANDS)}
    shares["age"] = tuple(sorted(shares["age"], key=lambda share: order.get(share.value, len(order))))
    if (sides != "").any():
        shares["split"] = tuple(sorted(_shares(table, sides), key=lambda share: SPLITS.index(share.value)))
    return shares


def age_band(age: float) -> str:
    """The name of the band that an age in years falls in; NaN is unknown."""
    names = [name for first, name in AGE_BANDS if age >= first]
    return names[-1] if names else UNKNOWN


def _shares(table: LesionTable, values: np.ndarray) -> tuple[Share, ...]:
    is_melanoma, lesion = table.dx == CLASSES[MEL], table.lesion_key
    found = []
    for value in sorted(set(values)):
        rows = values == value
        melanoma = rows & is_melanoma
        found.append(
            Share(
                value=str(value) or UNKNOWN,
                n_images=int(rows.sum()),
                n_lesions=len(set(lesion[rows])),
                n_melanoma=int(melanoma.sum()),
                n_melanoma_lesions=len(set(lesion[melanoma])),
            )
        )
    return tuple(sorted(found, key=lambda share: -share.n_images))

"""Which images train, choose, test or were set aside, so that no lesion stands on two sides?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from melascope.classes import CLASSES, SPLITS
from melascope.errors import DataError, RunError, SplitError
from melascope.files import read_json, sha256_bytes, sha256_file, write_json, write_text
from melascope.tables.columns import delimiter_of, read_csv_text
from melascope.tables.formulas import csv_line
from melascope.tables.lesions import LesionTable

SHOWN = 20


@dataclass(frozen=True)
class Split:
    """The side of every image.

    Parameters
    ----------
    image_id : (n_images,) object, in the order of the table it was made from
    split : (n_images,) object, each one of `SPLITS`
    how : how it was made: seed and fractions or the file, held-out lesions, dataset fingerprint, counts
    """

    image_id: np.ndarray
    split: np.ndarray
    how: dict[str, Any]

    @property
    def sha256(self) -> str:
        """See `sides_sha256`."""
        return sides_sha256(dict(zip(self.image_id, self.split, strict=True)))

    def of(self, table: LesionTable) -> np.ndarray:
        """(len(table),) object: the side of each row of `table`; an image that the split lacks is a `SplitError`."""
        side = dict(zip(self.image_id, self.split, strict=True))
        lacking = [image_id for image_id in table.image_id if image_id not in side]
        if lacking:
            raise SplitError(
                f"The split has no row for {len(lacking)} images, for example {', '.join(lacking[:5])}.",
                where=self.how.get("file"),
                expected="a split made from this data set",
            )
        return _objects([side[image_id] for image_id in table.image_id])

    def write(self, path: Path) -> Path:
        """Write `image_id,split` as CSV, and beside it, last, a JSON file that says how it was made."""
        write_sides(path, dict(zip(self.image_id, self.split, strict=True)))
        write_json(Path(path).with_suffix(".json"), {**self.how, "sha256": self.sha256})
        return Path(path)


def make_split(
    table: LesionTable,
    *,
    seed: int = 1,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    held_out_lesions: Iterable[str] = (),
) -> Split:
    """Split by lesion, each class in the same shares.

    Within a class the lesions are shuffled; each then goes to the side that is furthest behind its share of the
    images dealt so far. So no side prefers large lesions, and in every class a side's images differ from its share
    by less than twice the largest lesion of the class.

    Parameters
    ----------
    table : the data set; a lesion's class is that of its first image, an unknown one is a class of its own
    seed : keyed with the class, so that one class's lesions do not move another's
    fractions : shares of train, val and test; they sum to 1
    held_out_lesions : lesion ids that go to `held_out` whole

    Raises
    ------
    SplitError : impossible fractions, or a held-out lesion that the data set lacks.
    """
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.shape != (3,) or not ((shares >= 0).all() and shares[0] > 0 and abs(shares.sum() - 1) < 1e-9):
        raise SplitError(
            f"The fractions {tuple(fractions)} cannot be used.",
            where="fractions",
            expected="three numbers for train, val, test that sum to 1, with some for train",
        )
    held_out = _known_lesions(table, held_out_lesions)
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, lesion in enumerate(table.lesion_key):
        rows_of[lesion].append(row)
    split = np.full(len(table), "held_out", dtype=object)
    labels = table.labels
    for label in range(-1, len(CLASSES)):
        lesions = sorted(k for k, rows in rows_of.items() if labels[rows[0]] == label and k not in held_out)
        _deal([rows_of[lesion] for lesion in lesions], shares, np.random.default_rng([seed, label + 1]), split)
    how = {"seed": seed, "fractions": [float(share) for share in shares], **_facts(table, split, held_out)}
    return Split(table.image_id, split, how)


def _deal(lesions: list[list[int]], shares: np.ndarray, rng: np.random.Generator, split: np.ndarray) -> None:
    """Write the side of each lesion's rows into `split`."""
    counts = np.zeros(3)
    for index in rng.permutation(len(lesions)):
        behind = shares * counts.sum() - counts
        behind[shares == 0] = -np.inf
        side = rng.choice(3, p=shares) if not counts.any() else int(np.argmax(behind))
        split[lesions[index]] = SPLITS[side]
        counts[side] += len(lesions[index])


def read_split(path: Path, table: LesionTable, held_out_lesions: Iterable[str] = ()) -> Split:
    """Read any CSV with the columns `image_id` and `split`, and check it against the data set.

    Parameters
    ----------
    path : the CSV; `split` is one of `SPLITS`. Other columns are left alone.
    table : the data set; every image of it needs a row, every row an image
    held_out_lesions : lesion ids that go to `held_out`, whatever the file says

    Raises
    ------
    SplitError : rows or images without partner, unknown words, a lesion in two splits (with ids): all at once.
    """
    path = Path(path)
    columns = read_csv_text(path, delimiter_of(path))
    _check_columns(columns, path)
    held_out = _known_lesions(table, held_out_lesions)
    side, problems = _read_rows(columns, set(table.image_id))
    problems += [f"image {image_id} of the data set has no row" for image_id in table.image_id if image_id not in side]
    split = _objects([side.get(image_id, "") for image_id in table.image_id])
    split[np.isin(table.lesion_key.astype(str), sorted(held_out))] = "held_out"
    problems += _leaks(table, split)
    if problems:
        shown = "\n  - ".join(problems[:SHOWN])
        more = f"\n  … and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise SplitError(
            f"The split is not usable: {len(problems)} problem{'s' if len(problems) != 1 else ''}\n  - {shown}{more}",
            where=path,
            expected="each image of the data set once, each lesion on one side only",
            fix="make one: melascope data split DATA --out split.csv",
        )
    how = {"file": path.name, "file_sha256": sha256_file(path), **_made(path), **_facts(table, split, held_out)}
    return Split(table.image_id, split, how)


def read_sides(path: Path) -> dict[str, str]:
    """Side of each image in a CSV with `image_id` and `split`, of whatever data set.

    Raises
    ------
    SplitError : it lacks a column, or has a side that is none of `SPLITS`.
    """
    columns = read_csv_text(path, delimiter_of(path))
    _check_columns(columns, path)
    unknown = sorted(set(columns["split"].tolist()) - set(SPLITS))
    if unknown:
        raise SplitError(f"Unknown split {unknown[0]!r}.", where=path, expected=f"one of {', '.join(SPLITS)}")
    return dict(zip(columns["image_id"].tolist(), columns["split"].tolist(), strict=True))


def sides_sha256(side: Mapping[str, str]) -> str:
    """SHA-256 over the sorted lines `image_id,split`: the same split, however it was written down."""
    return sha256_bytes("".join(sorted(f"{image_id},{split}\n" for image_id, split in side.items())).encode())


def write_sides(path: Path, side: Mapping[str, str]) -> None:
    """Write the side of each image, by id, as `image_id,split`."""
    write_text(path, "".join(csv_line(row) for row in (("image_id", "split"), *sorted(side.items()))))


def merged_sides(several: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Of several trainings, one after the other: an image has the side on which the weights learned most of it."""
    merged: dict[str, str] = {}
    for side in several:
        for image_id, here in side.items():
            merged[image_id] = min(here, merged.get(image_id, here), key=SPLITS.index)
    return merged


def _check_columns(columns: dict[str, np.ndarray], path: Path) -> None:
    lacking = [name for name in ("image_id", "split") if name not in columns]
    if lacking:
        raise SplitError(f"The split has no column {' and '.join(lacking)}.", where=path, expected="image_id,split")


def _read_rows(columns: dict[str, np.ndarray], known: set[str]) -> tuple[dict[str, str], list[str]]:
    side: dict[str, str] = {}
    problems = []
    for row, (image_id, split) in enumerate(zip(columns["image_id"], columns["split"], strict=True), start=2):
        if image_id not in known:
            problems.append(f"row {row}: image {image_id!r} is not in the data set")
        elif image_id in side:
            problems.append(f"row {row}: image {image_id} has a row already")
        if split not in SPLITS:
            problems.append(f"row {row}: unknown split {split!r}; known are {', '.join(SPLITS)}")
        side.setdefault(image_id, split)
    return side, problems


def _leaks(table: LesionTable, split: np.ndarray) -> list[str]:
    sides: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for lesion, image_id, side in zip(table.lesion_key, table.image_id, split, strict=True):
        if side:
            sides[lesion][side].append(image_id)
    return [
        f"lesion {lesion} stands on {len(found)} sides: "
        + "; ".join(f"{side}: {', '.join(image_ids)}" for side, image_ids in found.items())
        for lesion, found in sides.items()
        if len(found) > 1
    ]


def _made(path: Path) -> dict[str, Any]:
    """How the file was made, if the JSON that `Split.write` puts beside it is there and readable."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        return {"made": read_json(beside)}
    except RunError as error:
        raise SplitError("The file that says how the split was made is broken.", where=beside) from error


def _known_lesions(table: LesionTable, lesion_ids: Iterable[str]) -> set[str]:
    held_out = set(lesion_ids)
    unknown = sorted(held_out - set(table.lesion_id))
    if unknown:
        raise SplitError(
            f"{len(unknown)} held-out lesion{'s are' if len(unknown) != 1 else ' is'} not in the data set: "
            f"{', '.join(unknown[:SHOWN])}.",
            where=table.root,
            expected="ids of the column lesion_id",
        )
    return held_out


def _facts(table: LesionTable, split: np.ndarray, held_out: set[str]) -> dict[str, Any]:
    counted = Counter(zip(split, table.dx, strict=True))
    counts = {side: {dx or "unknown": n for (s, dx), n in sorted(counted.items()) if s == side} for side in SPLITS}
    return {"held_out_lesions": sorted(held_out), "dataset_fingerprint": table.fingerprint, "counts": counts}


def read_lesion_ids(path: Path) -> list[str]:
    """Lesion ids of a text file, one a line; what follows a `#` is a comment."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The list of lesions cannot be read ({error}).", where=path, expected="a text file, a lesion id a line"
        ) from error
    return [lesion for line in lines if (lesion := line.split("#")[0].strip())]


def _objects(values: list[str]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array

"""How are the images that are not for testing dealt into folds, so that each of them validates once?"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from melascope.data.split import Split
from melascope.errors import SplitError
from melascope.tables.lesions import LesionTable


def deal_folds(table: LesionTable, split: Split, folds: int, *, seed: int = 1) -> list[Split]:
    """One split a fold: its own lesions are `val`, the other folds' are `train`; test and held out stay as they are.

    Lesions stay whole. Within a class they are shuffled, and each goes to the fold with the fewest images of it.

    Parameters
    ----------
    table : the data set
    split : its train and val are dealt anew
    folds : at least two
    seed : keyed with the class

    Raises
    ------
    SplitError : fewer lesions than folds.
    """
    side, labels = split.of(table), table.labels
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, lesion in enumerate(table.lesion_key):
        if side[row] in ("train", "val"):
            rows_of[lesion].append(row)
    if folds < 2 or len(rows_of) < folds:
        raise SplitError(f"{len(rows_of)} lesions cannot be dealt into {folds} folds.", expected="2 or more folds")
    fold = np.full(len(table), -1)
    for label in sorted({labels[rows[0]] for rows in rows_of.values()}):
        lesions = sorted(lesion for lesion, rows in rows_of.items() if labels[rows[0]] == label)
        counts = np.random.default_rng([seed, label + 1, folds]).uniform(0, 0.5, folds)  # who is first among equals
        for index in np.random.default_rng([seed, label + 1]).permutation(len(lesions)):
            chosen = int(np.argmin(counts))
            fold[rows_of[lesions[index]]] = chosen
            counts[chosen] += len(rows_of[lesions[index]])
    return [_one(table, split, side, fold, number, folds, seed) for number in range(folds)]


def _one(
    table: LesionTable, split: Split, side: np.ndarray, fold: np.ndarray, number: int, folds: int, seed: int
) -> Split:
    mine = side.copy()
    mine[fold >= 0] = "train"
    mine[fold == number] = "val"
    how = {"fold": number + 1, "folds": folds, "seed": seed, "dealt_from_split": split.sha256}
    return Split(table.image_id, mine, {**how, "dataset_fingerprint": table.fingerprint})

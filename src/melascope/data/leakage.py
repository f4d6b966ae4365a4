"""What would a random split of *images* have leaked, and what do first weights know of the images kept from training?

The former is exact, no draws: of N images, n_train go to training and n_test to test, all ways equally likely. A test
image of a lesion with k images has no sibling in training with the hypergeometric chance that none of its k - 1
siblings is among the n_train drawn from the other N - 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import gammaln

from melascope.classes import MEL, SPLITS
from melascope.data.split import Split
from melascope.errors import SplitError
from melascope.tables.lesions import LesionTable
from melascope.tables.results import NotApplicable

FRACTIONS = (0.8, 0.1, 0.1)
"""Shares of train, validation and test where no split says how large they are."""


@dataclass(frozen=True)
class RandomSplitLeak:
    """What a random image split of the same sizes leaks.

    Parameters
    ----------
    n_images, n_train, n_test : sizes
    share : expected share of test images whose lesion is in training too
    melanoma_share : the same for melanoma images (chance for one that is in test); undefined without any
    n_melanoma, n_melanoma_lesions : what the latter rests on
    """

    n_images: int
    n_train: int
    n_test: int
    share: float
    melanoma_share: float | NotApplicable
    n_melanoma: int
    n_melanoma_lesions: int

    def as_json(self) -> dict[str, Any]:
        share = self.melanoma_share
        return {**asdict(self), "melanoma_share": share.as_json() if isinstance(share, NotApplicable) else share}


def random_split_leak(table: LesionTable, split: Split | None = None) -> RandomSplitLeak | NotApplicable:
    """What a random image split would have leaked, of the sizes that `split` has, or of `FRACTIONS`.

    Images that `split` holds out count neither as training nor as test.
    """
    n_images = len(table)
    if split is None:
        n_train, n_test = round(FRACTIONS[0] * n_images), round(FRACTIONS[2] * n_images)
    else:
        sides = Counter(split.of(table))
        n_train, n_test = sides["train"], sides["test"]
    if n_test == 0 or n_train == 0:
        return NotApplicable(f"n={n_train} training and {n_test} test images")
    lesions = Counter(table.lesion_key)
    chance = sibling_in_training([lesions[key] for key in table.lesion_key], n_images, n_train)
    melanoma = table.labels == MEL
    return RandomSplitLeak(
        n_images=n_images,
        n_train=n_train,
        n_test=n_test,
        share=float(chance.mean()),
        melanoma_share=float(chance[melanoma].mean()) if melanoma.any() else NotApplicable("n=0 melanoma images"),
        n_melanoma=int(melanoma.sum()),
        n_melanoma_lesions=len(set(table.lesion_key[melanoma])),
    )


def sibling_in_training(lesion_size: Sequence[int], n_images: int, n_train: int) -> np.ndarray:
    """Chance that a test image has a sibling in training.

    Parameters
    ----------
    lesion_size : (n,) images of each one's lesion, itself counted
    n_images, n_train : images in all, and in training (fewer than all)

    Returns
    -------
    chance : (n,) float64, 1 - C(N - k, n_train) / C(N - 1, n_train)
    """
    size = np.asarray(lesion_size, dtype=np.int64)
    enough = n_images - size >= n_train  # else there is no room for all siblings outside training
    left = np.where(enough, n_images - size, n_train)
    log_none = gammaln(left + 1) - gammaln(left - n_train + 1) - gammaln(n_images) + gammaln(n_images - n_train)
    return np.where(enough, -np.expm1(np.minimum(log_none, 0)), 1.0)


def refuse_weights_that_saw(earlier: Mapping[str, str], where: Path, table: LesionTable, split: Split) -> None:
    """Refuse first weights from a training that knew what this one shall be judged by.

    Parameters
    ----------
    earlier : side of each image in the training whose weights are the first ones; it may be of another data set
    where : that training's run
    table, split : what is to be trained on them

    Raises
    ------
    SplitError : a lesion that the earlier training learned from or chose its epoch by is on the test or held-out side
        here, or one that it learned from is on the validation side. Told with the number of images, and some ids.
    """
    own = split.of(table)
    known = {side: set() for side in SPLITS}
    for image_id, lesion in zip(table.image_id, table.lesion_key, strict=True):
        known[earlier.get(image_id, "held_out")].add(lesion)
    told_by = {"val": known["train"], **dict.fromkeys(("test", "held_out"), known["train"] | known["val"])}
    found = [
        image_id
        for image_id, lesion, side in zip(table.image_id, table.lesion_key, own, strict=True)
        if lesion in told_by.get(side, ())
    ]
    if found:
        raise SplitError(
            f"The first weights come from a training that knew the lesions of {len(found)} images which are kept from "
            f"training here, for example {', '.join(found[:5])}.",
            where=where,
            expected="an earlier run on the same split: its figures on these images would be too good",
            fix="give --split the split.csv of that run, or start from other weights",
        )

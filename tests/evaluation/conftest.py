"""How does a plausible predictions table come to be for the tests: drawn, clustered by lesion, imperfect?"""

import numpy as np
import pytest

from melascope.classes import CLASSES
from melascope.tables.predictions import Predictions, PredictionsOrigin

SHARES = np.array([0.033, 0.051, 0.110, 0.011, 0.111, 0.670, 0.014])  # of HAM10000's images


def text(values) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = [str(value) for value in values]
    return array


def draw(n_lesions=400, seed=0, split="test", dx=None, skill=2.0, origin=None) -> Predictions:
    """Lesions with one to three images; the images of a lesion share most of their error."""
    rng = np.random.default_rng([seed, n_lesions])
    label = (
        rng.choice(7, n_lesions, p=SHARES / SHARES.sum()) if dx is None else np.array([CLASSES.index(d) for d in dx])
    )
    n_lesions = len(label)
    lesion = np.repeat(np.arange(n_lesions), rng.choice([1, 2, 3], n_lesions, p=[0.74, 0.2, 0.06]))
    n = len(lesion)
    logits = rng.normal(0, 1.0, (n_lesions, 7))[lesion] + rng.normal(0, 0.7, (n, 7))
    logits[np.arange(n), label[lesion]] += skill
    blank = text([""] * n)
    return Predictions(
        image_id=text([f"{split or 'all'}_{i:06d}" for i in range(n)]),
        lesion_id=text([f"L_{split}_{i:05d}" for i in lesion]),
        split=text([split] * n),
        dx=text([CLASSES[label[i]] for i in lesion]),
        age=np.full(n, np.nan),
        sex=blank,
        localization=blank,
        dx_type=text(["histo" if CLASSES[label[i]] == "mel" or i % 2 else "follow_up" for i in lesion]),
        logits=logits,
        origin=origin or PredictionsOrigin(source="ham10000", checkpoint_sha256="c" * 64, split_sha256="d" * 64),
    )


@pytest.fixture(scope="session")
def draw_table():
    return draw

"""Which small evaluation do the report's tests show?"""

from pathlib import Path

import numpy as np
import pytest

from melascope.classes import CLASSES
from melascope.evaluation.evaluate import evaluate
from melascope.evaluation.operating_point import choose_operating_point
from melascope.tables.predictions import Predictions, PredictionsOrigin
from run_folder import write_run


def column(values) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def predictions(split: str, source: str = "ham10000", classes: tuple[str, ...] = CLASSES) -> Predictions:
    """Twenty lesions of each class, two images each, noisily recognised."""
    dx = np.repeat(column(classes), 40)
    n = len(dx)
    rng = np.random.default_rng([len(split), n])
    logits = rng.normal(0, 1, (n, 7))
    logits[np.arange(n), [CLASSES.index(name) for name in dx]] += 1.5
    blank = column([""] * n)
    return Predictions(
        image_id=column([f"{split}{i}" for i in range(n)]),
        lesion_id=column([f"{split}{i // 2}" for i in range(n)]),
        split=column([split] * n),
        dx=dx,
        age=np.full(n, np.nan),
        sex=blank.copy(),
        localization=blank,
        dx_type=column(["histo"] * n),
        logits=logits,
        origin=PredictionsOrigin(source=source),
    )


@pytest.fixture
def validation() -> Predictions:
    """Twenty lesions of each class."""
    return predictions("val")


@pytest.fixture
def judge():
    """(source, classes, with_point, histology) -> evaluation and its predictions; half the lesions are of one sex."""

    def make(source="ham10000", classes=CLASSES, with_point=True, histology=True):
        point = choose_operating_point(predictions("val", source), rule="empirical") if with_point else None
        table = predictions("test", source, classes)
        table.sex[: len(table) // 2] = "female"
        if not histology:
            table.dx_type[:] = "follow_up"
        return evaluate(table, point, draws=50), table

    return make


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """A run without plots and gallery; tests that change it work on a copy."""
    return write_run(tmp_path_factory.mktemp("runs") / "drawn")

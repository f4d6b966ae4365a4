"""What is looked for: which classes are the target, how high does an image score for them, and what are they called?"""

from __future__ import annotations

import numpy as np

from melascope.classes import CLASS_NAMES, CLASSES
from melascope.tables.probabilities import steady


def target_name(target: tuple[str, ...]) -> str:
    """Target classes in words."""
    return " or ".join(CLASS_NAMES[name] for name in target)


def target_score(probabilities: np.ndarray, target: tuple[str, ...]) -> np.ndarray:
    """P(target) (n,), `steady`: the sum over the target classes, column by column, so no row depends on others."""
    score = np.zeros(len(probabilities))
    for name in target:
        score = score + probabilities[:, CLASSES.index(name)]
    return steady(score)


def is_called(score: np.ndarray, threshold: float) -> np.ndarray:
    """(n,) bool: P(target) reaches the threshold, rounded as scores are: older points stand at a float's precision."""
    return score >= steady(np.array(threshold))


def is_target(labels: np.ndarray, target: tuple[str, ...]) -> np.ndarray:
    """(n,) bool: the label (column in `CLASSES`) is of a target class."""
    return np.isin(labels, [CLASSES.index(name) for name in target])

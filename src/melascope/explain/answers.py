"""What does a model say to pictures of any size: P(target), its log-odds, the top class, and the frozen decision?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from melascope.classes import CLASSES
from melascope.data.pixels import resize_image
from melascope.errors import ExplainError
from melascope.evaluation.target import is_called, target_score
from melascope.tables.probabilities import probabilities_from_logits

Scorer = Callable[[np.ndarray], np.ndarray]
"""(n, input_height, input_width, 3) uint8 -> logits (n, 7) float, e.g. `Classifier.logits`."""

BATCH = 64


@dataclass(frozen=True)
class Answers:
    """What a model says to n pictures.

    Parameters
    ----------
    probabilities : (n, 7) float64
    p_target : (n,) float64, summed over the target classes
    log_odds : (n,) float64, log(P(target) / (1 - P(target))), from the logits, so that it is exact near 0 and 1
    is_positive : (n,) bool, P(target) >= the frozen threshold; None where no threshold is frozen
    """

    probabilities: np.ndarray
    p_target: np.ndarray
    log_odds: np.ndarray
    is_positive: np.ndarray | None

    def __len__(self) -> int:
        return len(self.p_target)

    @property
    def predicted(self) -> np.ndarray:
        """(n,) int: column of the top class."""
        return self.probabilities.argmax(axis=1)

    @classmethod
    def joined(cls, pieces: Sequence[Answers]) -> Answers:
        """The answers of several calls of one asker, one after the other."""
        columns = {field.name: [getattr(one, field.name) for one in pieces] for field in fields(cls)}
        return cls(**{name: None if parts[0] is None else np.concatenate(parts) for name, parts in columns.items()})

    def __getitem__(self, rows) -> Answers:
        """The pictures that `rows` (a slice, mask or indices) selects."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: None if value is None else value[rows] for name, value in named.items()})


@dataclass(frozen=True)
class Asker:
    """A scorer, what it wants to see, and how its logits become a decision.

    Parameters
    ----------
    scorer : (n, height, width, 3) uint8 -> logits (n, 7)
    width, height : pixels that the model sees; pictures of another size are stretched to them by the one rule
    temperature : of the softmax
    target : classes that are looked for
    threshold : frozen, on P(target); None where there is none
    """

    scorer: Scorer
    width: int
    height: int
    temperature: float = 1.0
    target: tuple[str, ...] = ("mel",)
    threshold: float | None = None

    def __call__(self, images: Sequence[np.ndarray]) -> Answers:
        """Ask about pictures (any height, any width, 3) uint8, in batches."""
        if len(images) == 0:
            raise ExplainError("There is no picture to ask about.", expected="at least one")
        pieces = []
        for start in range(0, len(images), BATCH):
            batch = [resize_image(image, self.width, self.height) for image in images[start : start + BATCH]]
            pieces.append(np.asarray(self.scorer(np.stack(batch)), dtype=np.float64))
        logits = np.concatenate(pieces)
        if logits.shape != (len(images), len(CLASSES)) or not np.isfinite(logits).all():
            raise ExplainError(
                f"The scorer gave {logits.shape} for {len(images)} pictures.",
                expected=f"finite logits ({len(images)}, {len(CLASSES)})",
            )
        return self.answers(logits)

    def answers(self, logits: np.ndarray) -> Answers:
        """Turn logits (n, 7) into answers."""
        probabilities = probabilities_from_logits(logits, self.temperature)
        wanted = np.isin(CLASSES, self.target)
        scaled = logits / self.temperature
        p_target = target_score(probabilities, self.target)
        log_odds = np.logaddexp.reduce(scaled[:, wanted], axis=1) - np.logaddexp.reduce(scaled[:, ~wanted], axis=1)
        positive = None if self.threshold is None else is_called(p_target, self.threshold)
        return Answers(probabilities, p_target, log_odds, positive)

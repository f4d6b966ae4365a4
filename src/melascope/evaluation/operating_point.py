"""At which P(melanoma) does the model say yes: chosen once, on validation images, then frozen?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from melascope.classes import CLASS_NAMES, CLASSES
from melascope.errors import OperatingPointError, RunError
from melascope.files import canonical_json, read_json, sha256_bytes, write_json
from melascope.tables.predictions import Predictions

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class OperatingPoint:
    """A frozen threshold: an image is positive if P(target) >= threshold.

    The threshold is a score that a validation image reached, at full precision; so on those very probabilities it
    gives exactly the sensitivity and specificity that stand here.

    Parameters
    ----------
    target : classes whose probabilities are summed to P(target), e.g. ("mel",).
    threshold : in [0, 1].
    rule : row of `RULES` that chose it.
    target_sensitivity : what the rule was asked for.
    sensitivity, specificity : what it reached on the validation images that chose it (so optimistic by a little).
    n_images, n_lesions : validation images with known truth, and their lesions.
    n_target_images, n_target_lesions : those of a target class.
    temperature : at which the logits were turned into probabilities.
    source, checkpoint_sha256, split_sha256, dataset_fingerprint : of the predictions; empty where unknown.
    """

    target: tuple[str, ...]
    threshold: float
    rule: str
    target_sensitivity: float
    sensitivity: float
    specificity: float
    n_images: int
    n_lesions: int
    n_target_images: int
    n_target_lesions: int
    temperature: float = 1.0
    source: str = ""
    checkpoint_sha256: str = ""
    split_sha256: str = ""
    dataset_fingerprint: str = ""

    @property
    def sha256(self) -> str:
        """SHA-256 over every field: the name of this very point in all that was computed with it."""
        return sha256_bytes(canonical_json({"schema_version": SCHEMA_VERSION, **asdict(self)}).encode())

    @property
    def target_name(self) -> str:
        """The target in words, e.g. "melanoma"."""
        return target_name(self.target)

    def score(self, probabilities: np.ndarray) -> np.ndarray:
        """P(target) (n,) of `probabilities` (n, 7)."""
        return target_score(probabilities, self.target)

    def is_positive(self, probabilities: np.ndarray) -> np.ndarray:
        """(n,) bool: the decision for each row of `probabilities` (n, 7)."""
        return self.score(probabilities) >= self.threshold

    def check_fits(self, predictions: Predictions) -> tuple[str, ...]:
        """Refuse a table that another model or temperature made; say what could not be checked.

        Returns
        -------
        caveats : sentences for the reader, none if everything was checked

        Raises
        ------
        OperatingPointError : the checkpoint or the temperature is another one.
        """
        origin = predictions.origin
        if origin.temperature != self.temperature:
            raise OperatingPointError(
                f"The operating point was chosen at temperature {self.temperature!r}; "
                f"the predictions carry {origin.temperature!r}.",
                expected="probabilities made in the same way",
                fix="use the run's own predictions.parquet (a CSV file cannot carry a temperature)",
            )
        if self.checkpoint_sha256 and origin.checkpoint_sha256 not in ("", self.checkpoint_sha256):
            raise OperatingPointError(
                f"The operating point belongs to checkpoint {self.checkpoint_sha256[:12]}…; "
                f"the predictions come from {origin.checkpoint_sha256[:12]}….",
                expected="predictions of the model whose validation images chose the threshold",
                fix="use the operating_point.json beside these predictions, or choose one from their validation rows",
            )
        caveats = []
        if not (self.checkpoint_sha256 and origin.checkpoint_sha256):
            caveats.append("That the threshold belongs to this very model could not be checked: a hash is missing.")
        if self.split_sha256 and origin.split_sha256 not in ("", self.split_sha256):
            caveats.append(
                "The threshold was chosen under another split: some of these images may have helped to choose it."
            )
        return tuple(caveats)

    def as_json(self) -> dict[str, Any]:
        """All fields and their hash."""
        fields = asdict(self) | {"target": list(self.target)}
        return {"schema_version": SCHEMA_VERSION, **fields, "sha256": self.sha256}

    @classmethod
    def from_json(cls, content: Any, where: Path | str = "operating point") -> OperatingPoint:
        """Read back what `as_json` wrote; content that does not match its hash is refused."""
        try:
            fields = {key: value for key, value in content.items() if key not in ("schema_version", "sha256")}
            point = cls(**{**fields, "target": tuple(fields["target"])})
            version, stated = content["schema_version"], content["sha256"]
            intact = stated == point.sha256 and version == SCHEMA_VERSION
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise OperatingPointError(
                f"This is not an operating point ({error!r}).", where=where, expected="a file written by melascope"
            ) from error
        if not intact:
            raise OperatingPointError(
                "The operating point was changed after it was frozen: its content does not match its SHA-256.",
                where=where,
                expected="the file as melascope wrote it",
                fix="restore it, or choose a point anew from the validation rows",
            )
        return point

    def write(self, path: Path) -> Path:
        """Freeze it in a JSON file."""
        return write_json(path, self.as_json())

    @classmethod
    def read(cls, path: Path) -> OperatingPoint:
        """Read a frozen point and verify its hash."""
        try:
            content = read_json(path)
        except RunError as error:
            raise OperatingPointError(error.found, where=path, expected="operating_point.json of a run") from error
        return cls.from_json(content, where=path)


def target_name(target: tuple[str, ...]) -> str:
    """Target classes in words."""
    return " or ".join(CLASS_NAMES[name] for name in target)


def target_score(probabilities: np.ndarray, target: tuple[str, ...]) -> np.ndarray:
    """P(target) (n,): sum over the target classes, column by column, so that a row's score never depends on others."""
    score = np.zeros(len(probabilities))
    for name in target:
        score = score + probabilities[:, CLASSES.index(name)]
    return score


def is_target(labels: np.ndarray, target: tuple[str, ...]) -> np.ndarray:
    """(n,) bool: the label (column in `CLASSES`) is of a target class."""
    return np.isin(labels, [CLASSES.index(name) for name in target])


@dataclass(frozen=True)
class Candidates:
    """What a rule may choose a threshold from: validation images with known truth.

    Parameters
    ----------
    scores : (n_images,) float64, P(target)
    truth : (n_images,) bool, of a target class; some are, some are not
    lesion : (n_images,) int64, number of the lesion
    """

    scores: np.ndarray
    truth: np.ndarray
    lesion: np.ndarray


def empirical_threshold(candidates: Candidates, target_sensitivity: float) -> float:
    """Highest score step, thus highest specificity, that finds at least the target share of the target images.

    It promises nothing about new images: with few melanomas the true sensitivity may well lie below the target.
    """
    falling = np.sort(candidates.scores[candidates.truth])[::-1]
    sensitivity = np.arange(1, len(falling) + 1) / len(falling)  # if the threshold is the score of this rank
    return float(falling[np.argmax(sensitivity >= target_sensitivity)])


RULES: dict[str, Callable[[Candidates, float], float]] = {"empirical": empirical_threshold}
"""How a threshold is chosen: (candidates, target_sensitivity) -> threshold. A new rule is a function and a row."""


def choose_operating_point(
    predictions: Predictions,
    *,
    target_sensitivity: float = 0.90,
    target: tuple[str, ...] = ("mel",),
    rule: str = "empirical",
) -> OperatingPoint:
    """Choose the threshold from validation images, at their exact score steps (no grid).

    Parameters
    ----------
    predictions : validation rows only: `predictions.of_split("val")`. Rows without known truth do not count.
    target_sensitivity : share of target images to find, in (0, 1].
    target : the class or classes to find.
    rule : row of `RULES`.

    Raises
    ------
    OperatingPointError : rows of another split, no target image or nothing but target images, impossible arguments.
    """
    _check_arguments(predictions, target_sensitivity, target, rule)
    known = predictions.subset(predictions.labels >= 0)
    truth = is_target(known.labels, target)
    for what, images in ((f"of {target_name(target)}", truth), (f"without {target_name(target)}", ~truth)):
        if not images.any():
            raise OperatingPointError(
                f"No threshold can be chosen: among {len(known)} validation images with known truth, none is {what}.",
                expected="validation images with and without the target",
                fix="put more lesions into the validation split, or choose another target",
            )
    scores = target_score(known.probabilities, target)
    lesion = np.unique(known.lesion_key.astype(str), return_inverse=True)[1]
    threshold = RULES[rule](Candidates(scores, truth, lesion), target_sensitivity)
    origin = predictions.origin
    return OperatingPoint(
        target=target,
        threshold=threshold,
        rule=rule,
        target_sensitivity=float(target_sensitivity),
        sensitivity=float((scores[truth] >= threshold).mean()),
        specificity=float((scores[~truth] < threshold).mean()),
        n_images=len(known),
        n_lesions=int(lesion.max()) + 1,
        n_target_images=int(truth.sum()),
        n_target_lesions=len(np.unique(lesion[truth])),
        temperature=float(origin.temperature),
        source=origin.source,
        checkpoint_sha256=origin.checkpoint_sha256,
        split_sha256=origin.split_sha256,
        dataset_fingerprint=origin.dataset_fingerprint,
    )


def _check_arguments(predictions: Predictions, target_sensitivity: float, target: tuple[str, ...], rule: str) -> None:
    foreign = sorted({split or "(none)" for split in predictions.split} - {"val"})
    if foreign:
        raise OperatingPointError(
            f"The rows to choose from are of other splits: {', '.join(foreign)}.",
            expected="rows of `val` only; a threshold chosen on test images would flatter every figure",
            fix='pass predictions.of_split("val")',
        )
    if not target or len(set(target)) != len(target) or not set(target) < set(CLASSES):
        raise OperatingPointError(
            f"The target is {target!r}.", expected=f"some, not all, of {', '.join(CLASSES)}, each once"
        )
    if rule not in RULES:
        raise OperatingPointError(f"There is no rule {rule!r}.", expected=f"one of {', '.join(RULES)}")
    if not 0 < target_sensitivity <= 1:
        raise OperatingPointError(
            f"The target sensitivity is {target_sensitivity}.", expected="a share above 0, at most 1"
        )

"""At which P(target) does the model say yes: chosen once, on validation images, then frozen?"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from melascope.errors import OperatingPointError, RunError
from melascope.evaluation.rules import choose_threshold, lower_bound, validation_candidates
from melascope.evaluation.target import is_called, is_target, target_name, target_score
from melascope.files import canonical_json, read_json, sha256_bytes, write_json
from melascope.tables.predictions import Predictions

__all__ = ["OperatingPoint", "choose_operating_point", "is_target", "target_name", "target_score"]

SCHEMA_VERSION = 2
"""2: tells the lesion-level sensitivity and its lower bound."""


@dataclass(frozen=True)
class OperatingPoint:
    """A frozen threshold: an image, or a lesion by its mean, is positive if P(target) >= threshold.

    The threshold lies half-way below a score that a validation image (rule `empirical`) or lesion (rule `guaranteed`)
    reached (`rules.half_way_below`); so on those very probabilities it gives exactly the figures that stand here, and
    also where the same network is run by another library. What `guaranteed` promises of new lesions is their
    sensitivity per lesion; nothing is promised per image.

    Parameters
    ----------
    target : classes whose probabilities are summed to P(target), e.g. ("mel",).
    threshold : in [0, 1].
    rule : row of `rules.RULES` that chose it.
    target_sensitivity : what the rule was asked for.
    sensitivity, specificity : what it reached on the validation images that chose it (so optimistic by a little).
    lesion_sensitivity : share of the target lesions that it found there, one result a lesion (`lesion_level`).
    lesion_sensitivity_lower_bound : one-sided 95 % Clopper-Pearson bound of that share; rule `guaranteed` chose the
        threshold so that it reaches the target, rule `empirical` did not look at it.
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
    lesion_sensitivity: float
    lesion_sensitivity_lower_bound: float
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

    @property
    def promise(self) -> str:
        """What validation lets us expect of new lesions like its own: one sentence for the reader."""
        bound, n = self.lesion_sensitivity_lower_bound, self.n_target_lesions
        asked = "as" if bound >= self.target_sensitivity else f"less than the {self.target_sensitivity:g}"
        return (
            f"Rule {self.rule}: of {n:,} {self.target_name} lesion{'' if n == 1 else 's'} in validation "
            f"{round(self.lesion_sensitivity * n):,} reach the threshold; of new ones like them at least "
            f"{math.floor(1000 * bound) / 1000:.3f} do (95 % confidence), {asked} asked for."
        )

    def score(self, probabilities: np.ndarray) -> np.ndarray:
        """P(target) (n,) of `probabilities` (n, 7)."""
        return target_score(probabilities, self.target)

    def is_positive(self, probabilities: np.ndarray) -> np.ndarray:
        """(n,) bool: the decision for each row of `probabilities` (n, 7)."""
        return is_called(self.score(probabilities), self.threshold)

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
        """Read back what `as_json` wrote; content of another version, or that its hash does not match, is refused."""
        _check_version(content, where)
        try:
            fields = {key: value for key, value in content.items() if key not in ("schema_version", "sha256")}
            point = cls(**{**fields, "target": tuple(fields["target"])})
            intact = content["sha256"] == point.sha256
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


def _check_version(content: Any, where: Path | str) -> None:
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        raise OperatingPointError(
            f"The operating point is of schema version {version}.",
            where=where,
            expected=f"version {SCHEMA_VERSION}, which also tells the lesion-level sensitivity and its lower bound",
            fix="choose it anew from the run's validation images; the weights stay: melascope train --resume RUN",
        )


def choose_operating_point(
    predictions: Predictions,
    *,
    target_sensitivity: float = 0.90,
    target: tuple[str, ...] = ("mel",),
    rule: str = "guaranteed",
) -> OperatingPoint:
    """Choose the threshold from validation images, at their exact score steps (no grid).

    Parameters
    ----------
    predictions : validation rows only: `predictions.of_split("val")`. Rows without known truth do not count.
    target_sensitivity : share to find, in (0, 1]: of target lesions (rule guaranteed) or of target images (empirical).
    target : the class or classes to find.
    rule : row of `rules.RULES`.

    Raises
    ------
    OperatingPointError : rows of another split, no target image or nothing but target images, impossible arguments,
        or fewer target lesions than the rule needs for what it promises.
    """
    candidates = validation_candidates(predictions, target)
    threshold = choose_threshold(candidates, rule, target_sensitivity)
    scores, truth = candidates.scores, candidates.truth
    found = candidates.lesion_scores[candidates.lesion_truth] >= threshold
    origin = predictions.origin
    return OperatingPoint(
        target=target,
        threshold=threshold,
        rule=rule,
        target_sensitivity=float(target_sensitivity),
        sensitivity=float((scores[truth] >= threshold).mean()),
        specificity=float((scores[~truth] < threshold).mean()),
        lesion_sensitivity=float(found.mean()),
        lesion_sensitivity_lower_bound=lower_bound(int(found.sum()), len(found)),
        n_images=len(scores),
        n_lesions=len(candidates.lesion_scores),
        n_target_images=int(truth.sum()),
        n_target_lesions=len(found),
        temperature=float(origin.temperature),
        source=origin.source,
        checkpoint_sha256=origin.checkpoint_sha256,
        split_sha256=origin.split_sha256,
        dataset_fingerprint=origin.dataset_fingerprint,
    )

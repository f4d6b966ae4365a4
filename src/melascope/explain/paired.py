"""How much does an edit move a model, how sure is that, and when is that a finding? Matched pairs, drawn by lesion.

Each image is its own control: the same picture with and without the edit. The draws are of lesions with all their
images (`evaluation/intervals.py`); the interval of a mean is mean ± t · standard error of the draws · sqrt(L / (L - 1))
for L lesions (Field & Welsh 2007), at any level; shares have the house's score intervals.

The rule, stated before anything was looked at; where m artefacts are looked at, at the level 1 - 0.05 / m (Bonferroni):

- found: the interval of the mean change of log-odds excludes 0, AND the mean is larger than `FLOOR`, AND it is larger
  than that of the matched inert control, with an interval of the paired difference that excludes 0 on the same side.
- none above the floor (absent): the whole interval lies within ± `FLOOR` (equivalence: Schuirmann 1987, J.
  Pharmacokin. Biopharm. 15, 657). A smaller effect may well be there; the interval says how large.
- undecided: neither. Too few lesions, a small effect, or one that the control has too.

A mean near 0 may hide changes both ways; `moved`, the mean without signs, and `flipped` tell. So the rule judges what
could be a shortcut (a ruler), and not a change of background, which pushes each image its own way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from melascope.evaluation.counting import unit_of
from melascope.evaluation.differences import paired_share_interval
from melascope.evaluation.intervals import LEVEL, MIN_LESIONS, lesion_draws, share_interval
from melascope.tables.results import Estimate, Figure, NotApplicable

FLOOR = math.log(2)
"""Mean change of log-odds below which an effect is called too small to matter: the odds neither doubled nor halved."""

FOUND, ABSENT, UNDECIDED = "found", "none above the floor", "undecided"


@dataclass(frozen=True)
class PairedEffect:
    """What an edit does to a model over many images.

    Parameters
    ----------
    name : of the edit, e.g. "ruler".
    n_images, n_lesions : pairs, and the distinct lesions among them.
    level : of the three intervals of log-odds: 1 - 0.05 / (number of edits looked at).
    change : mean of log-odds with the edit less without.
    control : the same of the matched control; None where the edit has none.
    excess : mean of the change less the control's, pair by pair.
    moved, control_moved : mean size of the change of log-odds, whichever its sign, 95 % interval.
    p_change : mean change of P(target), 95 % interval.
    flipped : share of images whose decision at the frozen threshold changes, 95 % interval.
    control_flipped : the same of the control.
    called : share called positive with the edit less without (McNemar's pairs), 95 % interval.
    switched_on, switched_off : images that become positive, and that stop being it; -1 without a threshold.
    verdict : `FOUND`, `ABSENT` or `UNDECIDED` by the rule at the top of this file; `""` where it is not asked.
    """

    name: str
    n_images: int
    n_lesions: int
    level: float
    change: Figure
    control: Figure | None
    excess: Figure | None
    moved: Figure
    control_moved: Figure | None
    p_change: Figure
    flipped: Figure
    control_flipped: Figure | None
    called: Figure
    switched_on: int
    switched_off: int
    verdict: str


@dataclass(frozen=True)
class Side:
    """One side of the pairs: log-odds and P(target) (n,) float, the decision (n,) bool or None."""

    log_odds: np.ndarray
    p_target: np.ndarray
    is_positive: np.ndarray | None


def paired_effect(
    name: str,
    before: Side,
    after: Side,
    control: Side | None,
    lesion_key: np.ndarray,
    *,
    looked_at: int = 1,
    judged: bool = True,
    draws: int = 2000,
    seed: int = 0,
) -> PairedEffect:
    """Compare pictures with and without an edit.

    Parameters
    ----------
    before, after, control : of the same n images: as they are, edited, with the inert control.
    lesion_key : (n,) object, the lesion of each image.
    looked_at : edits of this audit, for which the level is corrected.
    judged : whether the rule gives a verdict.
    """
    _, lesion = np.unique(lesion_key.astype(str), return_inverse=True)
    drawn = _Drawn(lesion, draws, seed)
    level = 1 - (1 - LEVEL) / looked_at
    moved = after.log_odds - before.log_odds
    change = drawn.mean(moved, level)
    inert = excess = inert_moved = inert_flipped = None
    if control is not None:
        inert_moved = drawn.mean(np.abs(control.log_odds - before.log_odds), LEVEL)
        inert = drawn.mean(control.log_odds - before.log_odds, level)
        excess = drawn.mean(after.log_odds - control.log_odds, level)
        inert_flipped = drawn.flipped(before.is_positive, control.is_positive)
    on, off = _switched(before.is_positive, after.is_positive)
    return PairedEffect(
        name=name,
        n_images=len(lesion),
        n_lesions=drawn.n_lesions,
        level=level,
        change=change,
        control=inert,
        excess=excess,
        moved=drawn.mean(np.abs(moved), LEVEL),
        control_moved=inert_moved,
        p_change=drawn.mean(after.p_target - before.p_target, LEVEL),
        flipped=drawn.flipped(before.is_positive, after.is_positive),
        control_flipped=inert_flipped,
        called=drawn.called(before.is_positive, after.is_positive),
        switched_on=on,
        switched_off=off,
        verdict=verdict_of(change, inert, excess) if judged else "",
    )


def verdict_of(change: Figure, control: Figure | None, excess: Figure | None) -> str:
    """The rule at the top of this file; without a control nothing is ever found, only measured."""
    if isinstance(change, NotApplicable) or change.low is None:
        return UNDECIDED
    if max(-change.low, change.high) < FLOOR:
        return ABSENT
    if not isinstance(control, Estimate) or not isinstance(excess, Estimate) or excess.low is None:
        return UNDECIDED
    sign = 1 if change.value > 0 else -1
    beyond_zero = all(min(sign * figure.low, sign * figure.high) > 0 for figure in (change, excess))
    large = abs(change.value) > max(FLOOR, abs(control.value))
    return FOUND if beyond_zero and large else UNDECIDED


class _Drawn:
    """Means over n images in each draw of their lesions."""

    def __init__(self, lesion: np.ndarray, draws: int, seed: int) -> None:
        self.n_lesions = int(lesion.max()) + 1
        self._unit, self._draws, self._seed = unit_of(lesion, self.n_lesions), draws, seed
        self._n = len(lesion)

    def values(self, of_image: np.ndarray) -> np.ndarray:
        """(draws,): the mean of `of_image` (n,) in each draw."""
        sums, counts = np.bincount(self._unit, of_image), np.bincount(self._unit)
        blocks = [
            (weights @ sums) / (weights @ counts) for weights in lesion_draws(self.n_lesions, self._draws, self._seed)
        ]
        return np.concatenate(blocks)

    def mean(self, of_image: np.ndarray, level: float) -> Figure:
        n = self.n_lesions
        if n < MIN_LESIONS:
            return NotApplicable(f"n={n} lesions, fewer than {MIN_LESIONS}")
        value = float(of_image.mean())
        half = float(stdtrit(n - 1, (1 + level) / 2)) * float(self.values(of_image).std()) * math.sqrt(n / (n - 1))
        return Estimate(value, value - half, value + half, self._n, n)

    def flipped(self, before: np.ndarray | None, after: np.ndarray | None) -> Figure:
        if before is None or after is None:
            return NotApplicable("no operating point is frozen")
        changed = (before != after).astype(np.float64)
        ends = share_interval(float(changed.mean()), self.values(changed), self._n, self.n_lesions)
        return self._estimate(changed, ends)

    def called(self, before: np.ndarray | None, after: np.ndarray | None) -> Figure:
        if before is None or after is None:
            return NotApplicable("no operating point is frozen")
        gains = after.astype(np.float64) - before
        return self._estimate(gains, paired_share_interval(gains, self.values(gains), self.n_lesions))

    def _estimate(self, of_image: np.ndarray, ends: tuple[float, float] | None) -> Estimate:
        low, high = ends or (None, None)
        return Estimate(float(of_image.mean()), low, high, self._n, self.n_lesions)


def _switched(before: np.ndarray | None, after: np.ndarray | None) -> tuple[int, int]:
    if before is None or after is None:
        return -1, -1
    return int((after & ~before).sum()), int((before & ~after).sum())

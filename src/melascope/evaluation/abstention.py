"""If the model may pass on the images it is unsure of, how often is it wrong on the rest, and which melanomas go by?

Confidence is the highest of an image's seven probabilities. The most confident images are accepted until a coverage
(share of all images) is first reached; equal confidences are accepted together, so the coverage reached may be higher.
The others go to a person. Three questions are asked of the accepted:

- *Risk*: share whose top class is wrong (El-Yaniv & Wiener 2010, JMLR 11, 1605). Its area over coverage is the AURC
  (Geifman, Uziel & El-Yaniv 2019).
- *Generalised risk*: share of all images that are wrong and accepted; its area is the AUGRC, the expected rate of
  silent failures (Traub et al. 2024, "Overcoming common flaws in the evaluation of selective classification
  systems"). It does not hang on the few images that the model is surest of, as the AURC does.
- *Melanomas missed among the accepted*: of a target class, accepted, and yet not called positive by the decision rule.
  Neither area knows of these: a model may be most confident where it takes a melanoma for a nevus.

Both areas are taken by trapezoids between the distinct confidences, from the surest images' risk on, as in the code of
Traub et al.; for the AUGRC that is what a random order of equal confidences gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.sparse import csc_array

from melascope.evaluation.counting import counts_by_lesion, each_once, n_distinct, ratio, weighted
from melascope.evaluation.intervals import interval, lesion_draws
from melascope.evaluation.operating_point import is_target, target_name
from melascope.tables.results import Estimate, Figure, NotApplicable, figure_from_json

COVERAGES: tuple[float, ...] = tuple(step / 20 for step in range(1, 21))
"""Coverages at which the accepted images are judged."""

HEADLINE_COVERAGES: tuple[float, ...] = (1.0, 0.9, 0.8, 0.7, 0.5)
"""Those of `COVERAGES` that are told in a text."""

ABSTENTION_NOTES: tuple[str, ...] = (
    "Which images are accepted was read off the judged images; a cut fixed beforehand reaches another coverage.",
    "An image that is passed on is neither found nor missed: somebody must read it.",
)
"""Sentences that belong beside every risk-coverage curve."""

STEPS = 2_000
"""Coverages that a bootstrap draw tells apart. Areas are exact of up to so many images, beyond that to 1e-4."""


@dataclass(frozen=True)
class Accepted:
    """The most confident images at one coverage.

    Parameters
    ----------
    coverage : that was asked for.
    confidence : lowest one that is accepted.
    n_images : accepted; equal confidences are accepted together.
    n_target, n_missed : target images among them; those of them that are not called positive.
    risk : share of the accepted whose top class is wrong.
    missed : `n_missed` as a share of the accepted target images.
    missed_of_all : `n_missed` as a share of all target images; it cannot be bettered by accepting easy ones.
    """

    coverage: float
    confidence: float
    n_images: int
    n_target: int
    n_missed: int
    risk: Estimate
    missed: Figure
    missed_of_all: Figure

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {name: getattr(self, name).as_json() for name in ("risk", "missed", "missed_of_all")}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Accepted:
        figures = {name: figure_from_json(content[name]) for name in ("risk", "missed", "missed_of_all")}
        return cls(**{**content, **figures})


@dataclass(frozen=True)
class RiskCoverage:
    """What abstaining by confidence brings.

    Parameters
    ----------
    target : classes that must not be missed.
    n_images, n_lesions : that were judged.
    n_target_images, n_target_lesions : of a target class.
    aurc, augrc : areas under risk and under generalised risk, over coverage 0 to 1; lower is better.
    levels : by rising coverage.
    """

    target: tuple[str, ...]
    n_images: int
    n_lesions: int
    n_target_images: int
    n_target_lesions: int
    aurc: Estimate
    augrc: Estimate
    levels: tuple[Accepted, ...]

    def at(self, coverage: float) -> Accepted:
        """What was accepted at one of `COVERAGES`."""
        return next(level for level in self.levels if level.coverage == coverage)

    def as_json(self) -> dict[str, Any]:
        fields = asdict(self) | {"target": list(self.target), "levels": [level.as_json() for level in self.levels]}
        return fields | {"notes": list(ABSTENTION_NOTES)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> RiskCoverage:
        fields = {name: value for name, value in content.items() if name != "notes"}
        fields["target"] = tuple(fields["target"])
        fields |= {name: Estimate(**content[name]) for name in ("aurc", "augrc")}
        return cls(**{**fields, "levels": tuple(Accepted.from_json(level) for level in content["levels"])})


def risk_coverage(
    probabilities: np.ndarray,
    labels: np.ndarray,
    called: np.ndarray,
    lesion: np.ndarray,
    *,
    target: tuple[str, ...] = ("mel",),
    draws: int,
    seed: int,
) -> RiskCoverage:
    """Judge the most confident images at each of `COVERAGES`, with lesion-bootstrap intervals.

    Parameters
    ----------
    probabilities : (n_images, 7) float64, n_images > 0
    labels : (n_images,) int64, column of the truth in `CLASSES`
    called : (n_images,) bool, called positive for the target: at the frozen operating point, or by top class
    lesion : (n_images,) int64, number of the lesion from 0
    target : classes that must not be missed.
    draws, seed : of the lesion bootstrap; 0 draws give no intervals.
    """
    tally = AcceptanceTally.of(probabilities, labels, called, lesion, int(lesion.max()) + 1, target)
    blocks = [tally.values(weights) for weights in lesion_draws(tally.n_units, draws, seed)]
    return tally.curve({name: np.concatenate([block[name] for block in blocks]) for name in (blocks or [{}])[0]})


@dataclass(frozen=True)
class AcceptanceTally:
    """Images ordered by confidence and counted by lesion, so that a bootstrap draw costs one product.

    Parameters
    ----------
    target : classes that must not be missed.
    confidence : (n_images,) float64
    wrong : (n_images,) bool, the top class is not the truth
    fate : (n_images,) int64, 0 of another class, 1 of a target class and called positive, 2 of it and missed
    lesion : (n_images,) int64, number of the lesion
    cells : (2 · 3 · `STEPS`, n_units) images by `wrong`, `fate` and the first of `STEPS` coverages that accepts them
    """

    target: tuple[str, ...]
    confidence: np.ndarray
    wrong: np.ndarray
    fate: np.ndarray
    lesion: np.ndarray
    cells: csc_array

    @classmethod
    def of(
        cls,
        probabilities: np.ndarray,
        labels: np.ndarray,
        called: np.ndarray,
        lesion: np.ndarray,
        n_lesions: int,
        target: tuple[str, ...] = ("mel",),
    ) -> AcceptanceTally:
        """Order images as `risk_coverage` takes them; `n_lesions` is how many lesions a draw has weights for."""
        confidence = probabilities.max(axis=1)
        wrong = probabilities.argmax(axis=1) != labels
        fate = np.where(is_target(labels, target), np.where(called, 1, 2), 0)
        step = np.searchsorted(-confidence_cuts(confidence, STEPS), -confidence)  # the first cut that is not above it
        cell = (wrong * 3 + fate) * STEPS + step
        cells = counts_by_lesion(cell, lesion, 6 * STEPS, n_lesions).tocsc()
        return cls(target, confidence, wrong, fate, lesion, cells)

    @property
    def n_units(self) -> int:
        """Units that a draw has weights for."""
        return self.cells.shape[1]

    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Every figure under lesion weights (draws, n_units); NaN where undefined.

        Returns
        -------
        aurc, augrc : (draws,)
        risk, missed, missed_of_all : (draws, n_coverages)
        """
        by_step = weighted(self.cells, weights).reshape(2, 3, STEPS, len(weights))
        aurc, augrc = areas(*by_step.sum(axis=1))
        right, wrong = np.moveaxis(accepted_at(COVERAGES, by_step), 3, 1)  # each (draws, 3, n_coverages)
        _, found, missed = np.moveaxis(right + wrong, 1, 0)
        return {
            "aurc": aurc,
            "augrc": augrc,
            "risk": ratio(wrong.sum(axis=1), (right + wrong).sum(axis=1)),
            "missed": ratio(missed, found + missed),
            "missed_of_all": ratio(missed, (found + missed)[:, -1:]),
        }

    def curve(self, spread: Mapping[str, np.ndarray]) -> RiskCoverage:
        """The figures with their intervals; `spread` is what `values` gave for all draws, {} without any."""
        point = self.values(each_once(self.n_units))
        point |= dict(zip(("aurc", "augrc"), self._exact_areas(), strict=True))
        spread = {name: spread.get(name, values[:0]) for name, values in point.items()}
        n_lesions, of_target = n_distinct(self.lesion), self.fate > 0
        weakest = min(n_distinct(self.lesion[self.wrong]), n_distinct(self.lesion[~self.wrong]))
        both = {}
        for name, top in (("aurc", 1.0), ("augrc", 0.5)):  # 0.5 if everything is wrong
            value = float(point[name][0])
            low, high = interval(value, spread[name], weakest, is_share=False, top=top) or (None, None)
            both[name] = Estimate(value, low, high, len(self.confidence), n_lesions)
        cuts = confidence_cuts(self.confidence, len(COVERAGES)).tolist()
        return RiskCoverage(
            target=self.target,
            n_images=len(self.confidence),
            n_lesions=n_lesions,
            n_target_images=int(of_target.sum()),
            n_target_lesions=n_distinct(self.lesion[of_target]),
            **both,
            levels=tuple(self._level(column, cut, point, spread) for column, cut in enumerate(cuts)),
        )

    def _exact_areas(self) -> tuple[np.ndarray, np.ndarray]:
        """AURC and AUGRC of the images themselves, each (1,), between all their distinct confidences."""
        _, step, images = np.unique(-self.confidence, return_inverse=True, return_counts=True)
        wrong = np.bincount(step, weights=self.wrong)
        return areas((images - wrong)[:, None], wrong[:, None])

    def _level(self, column: int, cut: float, point: dict[str, np.ndarray], spread: dict[str, np.ndarray]) -> Accepted:
        accepted, target = self.confidence >= cut, self.fate > 0
        under = {"risk": accepted, "missed": accepted & target, "missed_of_all": target}
        figures = {
            name: self._share(float(point[name][0, column]), spread[name][:, column], images)
            for name, images in under.items()
        }
        return Accepted(
            coverage=COVERAGES[column],
            confidence=cut,
            n_images=int(accepted.sum()),
            n_target=int((accepted & target).sum()),
            n_missed=int((accepted & (self.fate == 2)).sum()),
            **figures,
        )

    def _share(self, value: float, spread: np.ndarray, images: np.ndarray) -> Figure:
        if not images.any():
            accepted = "accepted " if (self.fate > 0).any() else ""
            return NotApplicable(f"n=0 {accepted}images of {target_name(self.target)}")
        n, n_lesions = int(images.sum()), n_distinct(self.lesion[images])
        low, high = interval(value, spread, n_lesions, is_share=True, n=n) or (None, None)
        return Estimate(value, low, high, n, n_lesions)


def confidence_cuts(confidence: np.ndarray, steps: int) -> np.ndarray:
    """Lowest accepted confidence (steps,) at the coverages 1/steps, 2/steps, … 1, for confidences (n_images,)."""
    ranks = -(-np.arange(1, steps + 1) * len(confidence) // steps)  # rounded up, without a float's error
    return np.sort(confidence)[::-1][ranks - 1]


def accepted_at(coverages: Sequence[float], by_step: np.ndarray) -> np.ndarray:
    """Weight of the accepted at each coverage, which every draw reaches at a confidence of its own.

    Parameters
    ----------
    by_step : (…, n_steps, draws) weight of the images by falling confidence

    Returns
    -------
    accepted : (…, n_coverages, draws) of the first steps that together hold the coverage
    """
    accepted = np.cumsum(by_step, axis=-2)
    everyone = accepted.reshape(-1, *accepted.shape[-2:]).sum(axis=0)
    share = everyone / np.where(everyone[-1] > 0, everyone[-1], 1.0)
    last = np.stack([(share < coverage - 1e-9).sum(axis=0) for coverage in coverages]).clip(max=len(share) - 1)
    return np.take_along_axis(accepted, np.broadcast_to(last, (*by_step.shape[:-2], *last.shape)), axis=-2)


def areas(right: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Areas under risk (AURC) and under generalised risk (AUGRC), as trapezoids between the steps of confidence.

    Parameters
    ----------
    right, wrong : (n_steps, draws) weight of the images with right and with wrong top class, by falling confidence

    Returns
    -------
    aurc, augrc : (draws,) NaN where there is no image
    """
    width = right + wrong
    errors, accepted = np.cumsum(wrong, axis=0), np.cumsum(width, axis=0)
    everyone = accepted[-1]
    risk = ratio(errors, accepted)
    before = np.concatenate([risk[:1], risk[:-1]])
    before = np.where(np.isnan(before), risk, before)  # from coverage 0 on, the risk among the first images
    aurc = np.where(width > 0, (before + risk) / 2 * width, 0.0).sum(axis=0)
    augrc = ((errors - wrong / 2) * width).sum(axis=0)
    return ratio(aurc, everyone), ratio(augrc, everyone**2)

"""What does a yes/no rule find, what does it miss, and how many false alarms does it raise for that?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from melascope.evaluation.counting import counts_by_lesion, ratio, weighted
from melascope.evaluation.intervals import ratio_interval
from melascope.tables.results import Figure, figures_as_json, figures_from_json

CELLS = ("tp", "fn", "fp", "tn")


@dataclass(frozen=True)
class DecisionFigure:
    """A row of `DECISION_FIGURES`: a quotient of cells of the 2×2 table.

    Parameters
    ----------
    over, under : cells summed above and below the line.
    is_share : the cells above are among those below.
    undefined : what there is none of when the figure is undefined; `{unit}` and `{target}` are filled in.
    """

    over: tuple[str, ...]
    under: tuple[str, ...]
    is_share: bool
    undefined: str


DECISION_FIGURES: dict[str, DecisionFigure] = {
    "sensitivity": DecisionFigure(("tp",), ("tp", "fn"), True, "n=0 {unit}s of {target}"),
    "specificity": DecisionFigure(("tn",), ("tn", "fp"), True, "n=0 {unit}s other than {target}"),
    "ppv": DecisionFigure(("tp",), ("tp", "fp"), True, "n=0 {unit}s called positive"),
    "npv": DecisionFigure(("tn",), ("tn", "fn"), True, "n=0 {unit}s called negative"),
    "false_alarms_per_found": DecisionFigure(("fp",), ("tp",), False, "n=0 {unit}s of {target} found"),
}
"""Every figure of a yes/no decision. PPV and NPV hold only at the prevalence of the images at hand."""

PREVALENCES = (0.01, 0.05, 0.20)
"""Shares of the target at which PPV and NPV are also told: as in screening, in a clinic, and among excised lesions."""


def predictive_values(
    sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float
) -> tuple[np.ndarray, np.ndarray]:
    """PPV and NPV at another prevalence, by Bayes' rule; they hold if sensitivity and specificity do not change there.

    Parameters
    ----------
    sensitivity, specificity : (draws,)
    prevalence : in (0, 1)
    """
    found, alarms = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    missed, spared = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    return ratio(found, found + alarms), ratio(spared, spared + missed)


def predictive_interval(
    name: str, sensitivity: tuple[float, float, float], specificity: tuple[float, float, float], prevalence: float
) -> tuple[float, float] | None:
    """95 % interval of PPV or NPV at another prevalence, from those of sensitivity and specificity.

    Both follow from a ratio, which `ratio_interval` knows: the odds against a positive are (1 - specificity) /
    sensitivity · (1 - prevalence) / prevalence, those against a negative (1 - sensitivity) / specificity · prevalence /
    (1 - prevalence). Target images and others are of different lesions, so their errors are independent.

    Parameters
    ----------
    name : "ppv" or "npv"
    sensitivity, specificity : (value, low, high); without ends there is no interval.
    """
    if None in (*sensitivity, *specificity):
        return None
    right, wrong = (sensitivity, specificity) if name == "ppv" else (specificity, sensitivity)
    value, low, high = wrong
    odds = (1 - prevalence) / prevalence if name == "ppv" else prevalence / (1 - prevalence)
    least, most = ratio_interval((1 - value, 1 - high, 1 - low), right)
    return 1 / (1 + odds * most), 1 / (1 + odds * least)


@dataclass(frozen=True)
class Calls:
    """Truth and decision of images, or of lesions.

    Parameters
    ----------
    truth, called : (n,) bool, is of the target; is called positive
    lesion : (n,) int64, number of the lesion, of `n_lesions` that a bootstrap draw has weights for
    """

    truth: np.ndarray
    called: np.ndarray
    lesion: np.ndarray
    n_lesions: int

    @cached_property
    def cell(self) -> np.ndarray:
        """(n,) int64: which of `CELLS` each row falls into."""
        return np.where(self.truth, np.where(self.called, 0, 1), np.where(self.called, 2, 3))

    @cached_property
    def by_lesion(self) -> csr_array:
        """(4, n_units) counts of `CELLS`."""
        return counts_by_lesion(self.cell, self.lesion, len(CELLS), self.n_lesions)

    def counts(self) -> dict[str, int]:
        """Rows in each of `CELLS`."""
        return dict(zip(CELLS, np.bincount(self.cell, minlength=len(CELLS)).tolist(), strict=True))

    def under(self, figure: DecisionFigure) -> np.ndarray:
        """(n,) bool: rows that the figure is a share or mean of."""
        return np.isin(self.cell, [CELLS.index(name) for name in figure.under])

    def figures(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Every figure (draws,) under lesion weights (draws, n_units), NaN where undefined.

        Those of `DECISION_FIGURES`, and PPV and NPV at each of `PREVALENCES` under the name of `at_prevalence`.
        """
        counts = dict(zip(CELLS, weighted(self.by_lesion, weights), strict=True))
        figures = {
            name: ratio(sum(counts[cell] for cell in figure.over), sum(counts[cell] for cell in figure.under))
            for name, figure in DECISION_FIGURES.items()
        }
        for prevalence in PREVALENCES:
            values = predictive_values(figures["sensitivity"], figures["specificity"], prevalence)
            names = (at_prevalence(name, prevalence) for name in ("ppv", "npv"))
            figures |= dict(zip(names, values, strict=True))
        return figures


def at_prevalence(name: str, prevalence: float) -> str:
    """Name of a figure at another prevalence, e.g. `ppv_at_0.05`."""
    return f"{name}_at_{prevalence:g}"


@dataclass(frozen=True)
class Decision:
    """The figures of one yes/no rule, as they are written down.

    Parameters
    ----------
    at : "argmax" (the top class is a target class) or "operating_point" (P(target) >= frozen threshold).
    unit : "image" or "lesion".
    tp, fn, fp, tn : counts of that unit; `fn` are missed, `fp` are false alarms.
    figures : name in `DECISION_FIGURES` -> figure.
    at_prevalence : prevalence -> {"ppv", "npv"} -> figure, if sensitivity and specificity hold there too.
    """

    at: str
    unit: str
    tp: int
    fn: int
    fp: int
    tn: int
    figures: dict[str, Figure]
    at_prevalence: dict[float, dict[str, Figure]]

    def as_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("at", "unit", *CELLS)}
        return counts | {
            "figures": figures_as_json(self.figures),
            "at_prevalence": {str(share): figures_as_json(figures) for share, figures in self.at_prevalence.items()},
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Decision:
        elsewhere = {float(share): figures_from_json(one) for share, one in content["at_prevalence"].items()}
        return cls(**{**content, "figures": figures_from_json(content["figures"]), "at_prevalence": elsewhere})


def threshold_steps(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sensitivity and specificity at every threshold that changes a decision.

    Parameters
    ----------
    scores : (n,) float64, P(target)
    truth : (n,) bool, with at least one of each kind

    Returns
    -------
    thresholds : (n_steps,) falling: infinity (nothing is positive), then each distinct score
    sensitivity, specificity : (n_steps,) of the decision `scores >= threshold`
    """
    falling = np.argsort(-scores, kind="stable")
    ordered = scores[falling]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # equal scores are decided together
    found = np.append(0, np.cumsum(truth[falling])[last])
    alarms = np.append(0, np.cumsum(~truth[falling])[last])
    return np.append(np.inf, ordered[last]), found / truth.sum(), 1 - alarms / (~truth).sum()

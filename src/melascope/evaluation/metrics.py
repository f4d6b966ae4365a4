"""How often is the classifier right, class by class: image-level metrics that take many bootstrap draws at once?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from melascope.classes import CLASSES
from melascope.evaluation import ranking
from melascope.evaluation.counting import counts_by_lesion, n_distinct, ratio, weighted
from melascope.evaluation.ranking import Ranking

N_CLASSES = len(CLASSES)


@dataclass(frozen=True)
class Sample:
    """Images with known truth; what does not depend on a draw is worked out once.

    Parameters
    ----------
    labels : (n_images,) int64, column of the truth in `CLASSES`
    probabilities : (n_images, 7) float64
    lesion : (n_images,) int64, which of the `n_lesions` lesions an image shows
    n_lesions : lesions that a draw has weights for; a sample of a subgroup may show only some of them
    max_steps : of a ranking, for draws; None ranks every distinct score
    """

    labels: np.ndarray
    probabilities: np.ndarray
    lesion: np.ndarray
    n_lesions: int
    max_steps: int | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def predicted(self) -> np.ndarray:
        """(n_images,) int64: class of the highest probability, the first of equals."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def cells(self) -> csr_array:
        """(49, n_units) counts: how many images of a lesion fall into each cell of the confusion matrix."""
        return counts_by_lesion(self.labels * N_CLASSES + self.predicted, self.lesion, N_CLASSES**2, self.n_lesions)

    @cached_property
    def rankings(self) -> tuple[Ranking, ...]:
        """One-vs-rest ranking of each class by its own probability."""
        return tuple(
            Ranking.of(
                *(self.labels == column, self.probabilities[:, column], self.lesion, self.n_lesions),
                max_steps=self.max_steps,
            )
            for column in range(N_CLASSES)
        )

    def lesions_among(self, images: np.ndarray) -> int:
        """How many lesions the images of a mask (n_images,) show."""
        return n_distinct(self.lesion[images])


@dataclass(frozen=True)
class Tally:
    """A sample counted under the weights of some draws.

    Parameters
    ----------
    sample : `Sample`
    weights : (draws, n_units); a row of ones is the sample itself, a bootstrap draw gives every
        lesion (and so each of its images) the number of times that it was drawn.
    """

    sample: Sample
    weights: np.ndarray

    @cached_property
    def confusion(self) -> np.ndarray:
        """(draws, 7, 7) float64: weight of the images by truth (rows) and predicted class (columns)."""
        return weighted(self.sample.cells, self.weights).T.reshape(-1, N_CLASSES, N_CLASSES)

    @cached_property
    def ranked(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Positives and negatives (n_steps, draws) by rising score, for each class; all areas share them."""
        return [one.weighted(self.weights) for one in self.sample.rankings]

    @property
    def row_shares(self) -> np.ndarray:
        """(draws, 7, 7): share of a class's images (rows) that are called each class (columns); NaN without images."""
        return ratio(self.confusion, self.true[:, :, None])

    @property
    def right(self) -> np.ndarray:
        """(draws, 7): correctly classified, by class."""
        return np.diagonal(self.confusion, axis1=1, axis2=2)

    @property
    def true(self) -> np.ndarray:
        """(draws, 7): images that are of the class."""
        return self.confusion.sum(axis=2)

    @property
    def called(self) -> np.ndarray:
        """(draws, 7): images that are predicted to be of the class."""
        return self.confusion.sum(axis=1)

    @property
    def total(self) -> np.ndarray:
        """(draws, 1): all images."""
        return self.confusion.sum(axis=(1, 2))[:, None]


def mean_over_present(values: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Mean (draws,) of per-class `values` (draws, 7) over the classes that occur in the truth (draws, 7)."""
    present = true > 0
    return ratio(np.where(present, values, 0.0).sum(axis=1), present.sum(axis=1))


def accuracy(tally: Tally) -> np.ndarray:
    """(draws,): share of images whose predicted class is the truth."""
    return ratio(tally.right.sum(axis=1), tally.total[:, 0])


def balanced_accuracy(tally: Tally) -> np.ndarray:
    """(draws,): mean recall over the classes present in the truth (Brodersen et al. 2010)."""
    return mean_over_present(recall(tally), tally.true)


def macro_f1(tally: Tally) -> np.ndarray:
    """(draws,): mean of F1 = 2 right / (true + called) over the classes present in the truth."""
    return mean_over_present(ratio(2 * tally.right, tally.true + tally.called), tally.true)


def recall(tally: Tally) -> np.ndarray:
    """(draws, 7): share of a class's images that are called so; its sensitivity at argmax."""
    return ratio(tally.right, tally.true)


def specificity(tally: Tally) -> np.ndarray:
    """(draws, 7): share of the other classes' images that are not called so, at argmax."""
    others = tally.total - tally.true
    return ratio(others - (tally.called - tally.right), others)


def ppv(tally: Tally) -> np.ndarray:
    """(draws, 7): share of the images that are called so which are of the class, at argmax."""
    return ratio(tally.right, tally.called)


def auroc(tally: Tally) -> np.ndarray:
    """(draws, 7): one class against the rest, by the probability of that class; needs no threshold."""
    return _areas(tally, ranking.auroc)


def average_precision(tally: Tally) -> np.ndarray:
    """(draws, 7): one class against the rest, by the probability of that class; its floor is the class's share."""
    return _areas(tally, ranking.average_precision)


def _areas(tally: Tally, figure: ranking.AreaFigure) -> np.ndarray:
    return np.stack([figure(*counted) for counted in tally.ranked], axis=1)


@dataclass(frozen=True)
class Metric:
    """A row of `METRICS`.

    Parameters
    ----------
    function : `Tally` -> (draws,) or, where `per_class`, (draws, 7); NaN where undefined.
    per_class : one figure a class, in the order of `CLASSES`.
    rests_on : which images the figure is a share or mean of: "all", "class" (those of the class), "others", or
        "called" (those that are predicted to be of it).
    is_share : it is a proportion of those images, so that an exact binomial interval exists.
    compares : it sets the class's images against the others, so that the rarer side says how sure it is.
    mean_of : "recall" or "f1", where it is their mean over the classes: `class_means` has its interval.
    """

    function: Callable[[Tally], np.ndarray]
    per_class: bool = False
    rests_on: str = "all"
    is_share: bool = False
    compares: bool = False
    mean_of: str = ""


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, is_share=True),
    "balanced_accuracy": Metric(balanced_accuracy, mean_of="recall"),
    "macro_f1": Metric(macro_f1, mean_of="f1"),
    "recall": Metric(recall, per_class=True, rests_on="class", is_share=True),
    "specificity": Metric(specificity, per_class=True, rests_on="others", is_share=True),
    "ppv": Metric(ppv, per_class=True, rests_on="called", is_share=True),
    "auroc": Metric(auroc, per_class=True, compares=True),
    "average_precision": Metric(average_precision, per_class=True, compares=True),
}
"""Every image-level metric. A new one is a function above and a row here."""

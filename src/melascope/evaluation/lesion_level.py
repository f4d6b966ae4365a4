"""What does the classifier say of a lesion that was photographed several times: one result a lesion.

The rule
--------
A lesion's probabilities are the mean of its images' probabilities. It is positive at the operating point if its mean
P(target) reaches the same frozen threshold, and at argmax if the class of its highest mean is a target class.
It is a target lesion if any of its images is labelled so (in HAM10000 a lesion's labels never differ).

Why the mean: it does not depend on how many images were taken. The two alternatives do. *Any image positive* flags a
lesion more readily the more often it was photographed, and in HAM10000 melanomas were photographed more often than
nevi (1.8 against 1.2 images a lesion), so part of its sensitivity would come from the photographer. *A majority of
images* is undefined for two that disagree, the commonest case. The mean is also what a reader does with two images
of one spot, and what test-time averaging does in this field.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from melascope.tables.probabilities import steady

LESION_RULE = "mean probability over the lesion's images, against the same threshold"


@dataclass(frozen=True)
class LesionScores:
    """One row a lesion that the images show.

    Parameters
    ----------
    lesion : (n,) int64, number of the lesion, rising
    truth : (n,) bool, any of its images is of a target class
    probabilities : (n, 7) float64, mean over its images, `steady`
    n_images : (n,) int64
    """

    lesion: np.ndarray
    truth: np.ndarray
    probabilities: np.ndarray
    n_images: np.ndarray


def lesion_scores(probabilities: np.ndarray, truth: np.ndarray, lesion: np.ndarray) -> LesionScores:
    """Bring images together by lesion.

    Parameters
    ----------
    probabilities : (n_images, 7) float64
    truth : (n_images,) bool, the image is of a target class
    lesion : (n_images,) int64, number of the lesion
    """
    shown, row = np.unique(lesion, return_inverse=True)
    n_images = np.bincount(row, minlength=len(shown))
    sums = np.stack([np.bincount(row, weights=column, minlength=len(shown)) for column in probabilities.T], axis=1)
    any_target = np.bincount(row, weights=truth, minlength=len(shown)) > 0
    means = steady(sums / n_images[:, None])
    return LesionScores(lesion=shown, truth=any_target, probabilities=means, n_images=n_images)


def lesion_labels(labels: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Class of each lesion that the images show, by rising lesion number: (n,) int64.

    Labels of one lesion do not differ in HAM10000; where they do, the most frequent one counts, the first of equals.

    Parameters
    ----------
    labels, lesion : (n_images,) int64
    """
    shown, row = np.unique(lesion, return_inverse=True)
    n_classes = int(labels.max()) + 1
    counts = np.bincount(row * n_classes + labels, minlength=len(shown) * n_classes)
    return counts.reshape(len(shown), n_classes).argmax(axis=1)


def conflicting_lesions(labels: np.ndarray, lesion: np.ndarray) -> int:
    """How many lesions have images with different labels; `labels`, `lesion`: (n_images,) int64."""
    pairs = np.unique(np.stack([lesion, labels], axis=1), axis=0)
    return int((np.unique(pairs[:, 0], return_counts=True)[1] > 1).sum())

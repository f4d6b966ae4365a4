"""Do intervals of balanced accuracy and macro-F1 hold the truth as often as they claim, with rare classes?"""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import f1_score, precision_score, recall_score

from melascope.evaluation.class_means import (
    ClassHits,
    ClassShare,
    f1,
    mean_difference_interval,
    mean_f1_interval,
    mean_share_interval,
)
from melascope.evaluation.intervals import lesion_draws

N_SIMULATIONS, DRAWS = 500, 300
CHANCE = 3 * np.sqrt(0.95 * 0.05 / N_SIMULATIONS)  # of the simulation itself, three standard errors
SHARES = np.array([228, 327, 727, 73, 614, 5403, 98]) / 7470  # of HAM10000's lesions
RECALLS = np.array([0.45, 0.56, 0.68, 0.40, 0.70, 0.95, 0.45])


def confusion() -> np.ndarray:
    """(7, 7): P(called) given the truth."""
    called = SHARES**0.7 * (1 - np.eye(7))
    return np.diag(RECALLS) + called / called.sum(axis=1, keepdims=True) * (1 - RECALLS)[:, None]


class Collections:
    """Lesions of one or two images, each called by its class's row of `confusion`, all images of a lesion `alike`."""

    def __init__(self, n_lesions: int, alike: float, seed: int):
        rng = np.random.default_rng([n_lesions, seed])
        size = (n_lesions, N_SIMULATIONS)
        self.truth = rng.choice(7, size, p=SHARES)
        self.there = np.stack([np.ones(size, dtype=bool), rng.random(size) < 0.3])
        luck = rng.random((2, *size))
        luck[1] = np.where(rng.random(size) < alike, luck[0], luck[1])
        called = (luck[..., None] > confusion().cumsum(axis=1)[self.truth]).sum(axis=3)
        self.called = called.clip(max=6)
        self.weights = np.concatenate(list(lesion_draws(n_lesions, DRAWS, seed=3))).astype(np.float64)

    def drawn(self, counted: np.ndarray) -> np.ndarray:
        """(draws, simulations): images of a mask (2, n_lesions, simulations) in each draw."""
        return self.weights @ (counted & self.there).sum(axis=0)

    def n(self, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images and lesions of a mask, (simulations,) each."""
        shown = counted & self.there
        return shown.sum(axis=(0, 1)), shown.any(axis=0).sum(axis=0)


def coverage(ends: list[tuple[float, float]], truths: np.ndarray) -> float:
    return float(np.mean([low <= truth <= high for (low, high), truth in zip(ends, truths, strict=True)]))


@pytest.mark.parametrize(("n_lesions", "alike"), [(60, 0.5), (250, 0.0), (250, 0.95)])
def test_intervals_of_balanced_accuracy_and_macro_f1_cover_what_they_claim(n_lesions, alike):
    """Nominal 95 % lies in 93 to 97 %, where most collections have classes of one to four lesions."""
    images = Collections(n_lesions, alike, seed=1)
    recalls, f1s = [], []
    joint = SHARES[:, None] * confusion()
    true_f1 = 2 * np.diag(joint) / (joint.sum(axis=0) + SHARES)
    truth = np.broadcast_to(images.truth, images.called.shape)
    for column in range(7):
        of_class, called = truth == column, images.called == column
        right, true, all_called = (images.drawn(one) for one in (of_class & called, of_class, called))
        with np.errstate(invalid="ignore"):
            recalls.append((right / true, *images.n(of_class), images.n(of_class & called)[0]))
            f1s.append((2 * right / (true + all_called), *images.n(of_class | called), images.n(called)[0]))
    ends = {"recall": [], "f1": []}
    means = {"recall": [], "f1": []}
    for one in range(N_SIMULATIONS):
        present = [column for column in range(7) if recalls[column][1][one]]
        shares, overlaps = [], []
        for column in present:
            (drawn, n, lesions, right), (drawn_f1, union, union_lesions, called) = recalls[column], f1s[column]
            shares.append(ClassShare(right[one] / n[one], drawn[:, one], int(n[one]), int(lesions[one])))
            value = 2 * right[one] / (n[one] + called[one])
            overlaps.append(ClassShare(value, drawn_f1[:, one], int(union[one]), int(union_lesions[one])))
        ends["recall"].append(mean_share_interval(shares, n_lesions))
        ends["f1"].append(mean_f1_interval(overlaps, n_lesions))
        means["recall"].append(RECALLS[present].mean())
        means["f1"].append(true_f1[present].mean())
    for name, found in ends.items():
        assert 0.93 - CHANCE <= coverage(found, np.array(means[name])) <= 0.97 + CHANCE, name


@pytest.mark.parametrize("n_lesions", [60, 250])
def test_intervals_of_a_difference_of_balanced_accuracy_are_never_too_short(n_lesions):
    """Two models that err apart; with few images that tell them apart it may be too wide, as for a single share."""
    first, other = Collections(n_lesions, 0.5, seed=1), Collections(n_lesions, 0.5, seed=1)
    other.called = Collections(n_lesions, 0.5, seed=2).called
    rng = np.random.default_rng(5)
    better = rng.random(other.called.shape) < 0.3  # finds the truth whatever the first says
    other.called = np.where(better, other.truth, np.where(rng.random(better.shape) < 0.4, first.called, first.truth))
    gain = 0.7 * 0.6 * 1.0 + 0.3  # P(right | wrong by the first); it never loses
    ends, truths = [], []
    hits = [[(model.called == column) & (first.truth == column) for column in range(7)] for model in (first, other)]
    sizes = [np.broadcast_to(first.truth == column, first.called.shape) for column in range(7)]
    drawn_n = [first.drawn(one) for one in sizes]
    with np.errstate(invalid="ignore"):
        drawn = [[first.drawn(hit) / n for hit, n in zip(model, drawn_n, strict=True)] for model in hits]
    for one in range(N_SIMULATIONS):
        present = [column for column in range(7) if (first.truth[:, one] == column).any()]
        models = [
            [
                ClassHits(
                    hits[model][column][:, :, one][(sizes[column] & first.there)[:, :, one]].astype(float),
                    drawn[model][column][:, one],
                    int((first.truth[:, one] == column).sum()),
                )
                for column in present
            ]
            for model in (0, 1)
        ]
        ends.append(mean_difference_interval(*models, n_lesions))
        truths.append((gain * (1 - RECALLS[present])).mean())
    assert coverage(ends, np.array(truths)) >= 0.93 - CHANCE


def test_of_single_images_it_is_the_published_interval():
    """Price & Bonett 2004, written out for three proportions of independent images."""
    found, n = np.array([3, 8, 20]), np.array([4, 10, 40])
    p = (found + 2 / 3) / (n + 4 / 3)
    half = norm.ppf(0.975) * np.sqrt((p * (1 - p) / (n + 4 / 3)).sum()) / 3
    rng = np.random.default_rng(0)
    shares = [
        ClassShare(one / size, rng.normal(one / size, 1e-3, 50), int(size), int(size))
        for one, size in zip(found, n, strict=True)
    ]
    assert mean_share_interval(shares, 54) == pytest.approx((p.mean() - half, p.mean() + half))


def test_all_right_is_not_taken_for_certainty_and_the_figure_is_inside():
    perfect = [ClassShare(1.0, np.ones(50), n, n) for n in (1, 4, 60)]
    low, high = mean_share_interval(perfect, 65)
    assert 0.5 < low < 0.9 and high == 1.0
    low, high = mean_f1_interval(perfect, 65)
    assert 0.4 < low < 0.9 and high == 1.0
    same = [ClassHits(np.ones(n), np.ones(50), n) for n in (4, 60)]
    low, high = mean_difference_interval(same, same, 64)
    assert -0.5 < low < -0.02 and high == pytest.approx(-low)
    assert mean_share_interval(perfect, 9) is None and mean_f1_interval(perfect, 9) is None
    assert mean_difference_interval(same, same, 9) is None
    assert mean_share_interval([ClassShare(1.0, np.empty(0), 20, 20)], 20) is None  # no draws, no interval


def test_f1_is_scikit_learns():
    rng = np.random.default_rng(0)
    truth, called = rng.integers(0, 3, 60), rng.integers(0, 3, 60)
    recall, ppv = (one(truth, called, average=None) for one in (recall_score, precision_score))
    assert f1(recall, ppv) == pytest.approx(f1_score(truth, called, average=None), abs=1e-12)
    assert f1(np.array([0.0, np.nan]), np.array([np.nan, 0.5])) == pytest.approx([0.0, np.nan], nan_ok=True)

"""How often do intervals of a share, and of a difference of two, hold the truth, from 5 lesions to 300?

Run on one core: `OMP_NUM_THREADS=1 python benchmarks/share_coverage.py [--repeats 1000]`; some minutes.

Lesions have one to three images. A share: images found, their chance drawn per lesion from a beta distribution whose
intraclass correlation is `alike`. A difference: two models find an image if a normal score of it falls below a limit;
part of the score is of the image (`together`), part of the model's own, and `alike` of each part of the lesion.
Bootstrap draws, effective numbers and intervals are the product's. Printed: lowest, mean and highest coverage of all
settings with so many lesions, in %.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
from scipy.special import ndtri

from melascope.evaluation.differences import paired_share_interval
from melascope.evaluation.intervals import lesion_draws, share_interval

LESIONS = (5, 8, 12, 20, 40, 72, 150, 300)
SHARES = (0.7, 0.83, 0.9, 0.97)
ALIKE = (0.02, 0.5, 0.95)
PAIRS = ((0.9, 0.97), (0.83, 0.83), (0.62, 0.68), (0.7, 0.9))
TOGETHER = (0.3, 0.8)
DRAWS = 300


def images_of(n_lesions: int, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """(n_lesions, repeats) images of each lesion."""
    return rng.choice([1, 2, 3], (n_lesions, repeats), p=[0.5, 0.35, 0.15])


def share_coverage(n_lesions: int, share: float, alike: float, weights: np.ndarray, repeats: int) -> float:
    """Of intervals of a share, in %."""
    rng = np.random.default_rng([1, n_lesions, round(100 * share), round(100 * alike)])
    images, scale = images_of(n_lesions, repeats, rng), (1 - alike) / alike
    found = rng.binomial(images, rng.beta(share * scale, (1 - share) * scale, images.shape))
    drawn, n = (weights @ found) / (weights @ images), images.sum(axis=0)
    held = 0
    for one in range(repeats):
        low, high = share_interval(found[:, one].sum() / n[one], drawn[:, one], int(n[one]), n_lesions)
        held += low <= share <= high
    return 100 * held / repeats


def difference_coverage(
    n_lesions: int, pair: tuple[float, float], together: float, alike: float, weights: np.ndarray, repeats: int
) -> float:
    """Of intervals of the difference between two models' shares of the same images, in %."""
    rng = np.random.default_rng([2, n_lesions, round(100 * pair[0]), round(100 * together), round(100 * alike)])
    images = images_of(n_lesions, repeats, rng)
    there = np.arange(3)[:, None, None] < images

    def scores() -> np.ndarray:
        return np.sqrt(alike) * rng.normal(size=images.shape) + np.sqrt(1 - alike) * rng.normal(size=there.shape)

    both = np.sqrt(together) * scores()
    first, other = (there & (both + np.sqrt(1 - together) * scores() < ndtri(share)) for share in pair)
    gains = other.astype(float) - first
    drawn = (weights @ gains.sum(axis=0)) / (weights @ images)
    held = 0
    for one in range(repeats):
        low, high = paired_share_interval(gains[:, :, one][there[:, :, one]], drawn[:, one], n_lesions)
        held += low <= pair[1] - pair[0] <= high
    return 100 * held / repeats


def main() -> None:
    """Simulate every setting and print a line for each number of lesions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1000, help="collections a setting")
    repeats = parser.parse_args().repeats
    print("| lesions | share | difference of two |\n|---|---|---|")
    for n_lesions in LESIONS:
        weights = np.concatenate(list(lesion_draws(n_lesions, DRAWS, seed=3))).astype(np.float64)
        shares = [share_coverage(n_lesions, *one, weights, repeats) for one in product(SHARES, ALIKE)]
        settings = product(PAIRS, TOGETHER, ALIKE)
        pairs = [difference_coverage(n_lesions, *one, weights, repeats // 2) for one in settings]
        told = [f"{min(one):.1f} – {np.mean(one):.1f} – {max(one):.1f}" for one in (shares, pairs)]
        print(f"| {n_lesions} | {told[0]} | {told[1]} |", flush=True)


if __name__ == "__main__":
    main()

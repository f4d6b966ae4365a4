"""Does the quick imputation solve ROAD's linear system, and leave kept pixels alone?"""

import numpy as np
import pytest
from scipy import ndimage
from scipy.sparse import lil_array
from scipy.sparse.linalg import spsolve

from melascope.explain.imputation import imputed

H, W = 48, 64


def _exact(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Rong et al. 2022, written out: one equation a removed pixel."""
    places = np.argwhere(removed)
    number = {tuple(place): index for index, place in enumerate(places)}
    system, right = lil_array((len(places), len(places))), np.zeros((len(places), 3))
    for index, (row, column) in enumerate(places):
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                beside, weight = (row + down, column + across), (1 / 6 if down == 0 or across == 0 else 1 / 12)
                if (down == across == 0) or not (0 <= beside[0] < H and 0 <= beside[1] < W):
                    continue
                system[index, index] += weight
                if beside in number:
                    system[index, number[beside]] -= weight
                else:
                    right[index] += weight * image[beside]
    filled = image.astype(float).copy()
    filled[removed] = spsolve(system.tocsc(), right)
    return filled


def _picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(0, 1, (H, W, 3)), (6, 6, 0)) * 700 + 140
    smooth[20:36, 24:50] -= 60
    return np.clip(smooth + rng.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("sigma", [0.0, 8.0])
def test_equals_the_sparse_solution(share, sigma):
    image = _picture()
    field = np.random.default_rng(1).normal(size=(H, W))
    field = ndimage.gaussian_filter(field, sigma) if sigma else field
    removed = field > np.quantile(field, 1 - share)
    found = imputed(image, removed[None], np.random.default_rng(2), noise=0)[0].astype(float)
    error = np.abs(found - _exact(image, removed))[removed]
    within = 2 if sigma and share == 0.9 else 0.5  # rounding alone: 0.25; one hole of nine tenths is hardest
    assert error.mean() < within and np.quantile(error, 0.99) < 3 * within


def test_kept_pixels_stay_and_noise_is_as_told():
    image = np.full((H, W, 3), 100, np.uint8)
    removed = np.zeros((2, H, W), bool)
    removed[0, 10:30, 10:40] = True
    pictures = imputed(image, removed, np.random.default_rng(0), noise=3)
    assert (pictures[~removed] == 100).all()
    inside = pictures[removed].astype(float)
    assert inside.mean() == pytest.approx(100, abs=0.3) and inside.std() == pytest.approx(3, abs=0.3)


def test_the_whole_picture_cannot_be_imputed():
    with pytest.raises(ValueError, match="whole"):
        imputed(_picture(), np.ones((1, H, W), bool), np.random.default_rng(0))

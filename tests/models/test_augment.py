"""Does augmentation do what its recipe says, no more and no less?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from melascope.config import AugmentRecipe
from melascope.models.augment import augment, normalise
from melascope.models.order import keyed_generator

OFF = {"flip": False, "rotate_degrees": 0, "scale": 0, "brightness": 0, "contrast": 0, "saturation": 0}
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # mean and std that leave pixels in 0 … 1
ORIENTATIONS = {
    "as it is": lambda pixels: pixels,
    "left-right": lambda pixels: np.flip(pixels, axis=1),
    "up-down": lambda pixels: np.flip(pixels, axis=0),
    "both": lambda pixels: np.flip(pixels, axis=(0, 1)),
}


def noise(n: int, height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def augmented(pixels: np.ndarray, *, key: int = 1, **on: object) -> np.ndarray:
    """(n, height, width, 3) float in 0 … 1, varied only by what is `on`."""
    batch = augment(torch.from_numpy(pixels), AugmentRecipe(**{**OFF, **on}), *PLAIN, keyed_generator("augment", key))
    return batch.permute(0, 2, 3, 1).numpy()


def test_normalise_is_the_textbook_formula():
    pixels, mean, std = noise(3), (0.5, 0.4, 0.3), (0.2, 0.3, 0.1)
    expected = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)
    found = normalise(torch.from_numpy(pixels), mean, std)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    assert found.is_contiguous()


def test_flips_give_each_of_the_four_orientations_about_equally_often_and_nothing_else():
    pixels = noise(400)
    found = augmented(pixels, flip=True)
    seen = dict.fromkeys(ORIENTATIONS, 0)
    for image, original in zip(found, pixels, strict=True):
        fits = [name for name, turned in ORIENTATIONS.items() if np.allclose(image, turned(original) / 255, atol=1e-4)]
        assert len(fits) == 1
        seen[fits[0]] += 1
    assert all(60 <= times <= 140 for times in seen.values()), seen  # 100 expected, ± 4.6 sigma


def test_without_strength_nothing_changes():
    np.testing.assert_allclose(augmented(noise(8)), noise(8) / 255, atol=1e-4)


def test_turns_and_flips_are_rigid_in_pixels_although_the_picture_is_not_square():
    """A disc stays as round, as large and as far from the centre, and comes to lie all around it."""
    y, x = np.mgrid[:48, :80] - np.array([23.5, 39.5])[:, None, None]
    disc = 1 / (1 + np.exp(2 * (np.hypot(x - 12, y) - 5)))
    pixels = np.repeat(np.round(255 * disc).astype(np.uint8)[None, ..., None], 3, axis=-1).repeat(64, axis=0)
    found = augmented(pixels, flip=True, rotate_degrees=180)[..., 0].astype(np.float64)
    found *= np.hypot(x, y) < 24  # further out lie its mirror images
    area = found.sum((1, 2))
    np.testing.assert_allclose(area, disc.sum(), rtol=0.02)
    centre = np.stack([(found * x).sum((1, 2)), (found * y).sum((1, 2))]) / area
    np.testing.assert_allclose(np.hypot(*centre), 12, atol=0.1)
    for axis, place in zip((x, y), centre, strict=True):
        spread = (found * (axis - place[:, None, None]) ** 2).sum((1, 2)) / area
        np.testing.assert_allclose(spread, (disc * y**2).sum() / disc.sum(), rtol=0.1)
    assert len(set(np.arctan2(centre[1], centre[0]) // (np.pi / 4))) == 8


def test_zoom_stays_within_its_strength():
    y, x = np.mgrid[:64, :64]
    pixels = np.where(np.hypot(x - 31.5, y - 31.5) < 16, 255, 0).astype(np.uint8)
    batch = np.repeat(pixels[None, ..., None], 3, axis=-1).repeat(64, axis=0)
    radii = np.sqrt(augmented(batch, scale=0.25)[..., 0].sum((1, 2)) / np.pi)
    assert radii.min() > 15.5 / 1.25
    assert radii.max() < 16.5 / 0.75
    assert np.ptp(radii) > 4


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_light_varies_by_its_own_rule_alone(name):
    pixels = (noise(50) // 4 + 96).astype(np.uint8)  # middle tones: nothing is clipped
    plain, varied = pixels / 255, augmented(pixels, **{name: 0.2})
    luma = plain @ (0.299, 0.587, 0.114)
    centre = {"brightness": np.zeros((50, 1, 1, 1)), "contrast": luma.mean((1, 2))[:, None, None, None]}
    around = centre.get(name, luma[..., None])
    factors = ((varied - around) * (plain - around)).sum((1, 2, 3)) / ((plain - around) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(varied, around + factors[:, None, None, None] * (plain - around), atol=1e-4)
    assert (np.abs(factors - 1) <= 0.2 + 1e-4).all()
    assert np.ptp(factors) > 0.25


def test_images_do_not_share_a_draw_and_the_key_alone_decides():
    pixels = noise(1).repeat(6, axis=0)
    once, twice, other = (augmented(pixels, key=key, rotate_degrees=20, brightness=0.1) for key in (1, 1, 2))
    np.testing.assert_array_equal(once, twice)
    assert len({image.tobytes() for image in once}) == 6
    assert (once != other).any()

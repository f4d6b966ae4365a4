"""Does augmentation do what its recipe says, no more and no less?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from melascope.config import AugmentRecipe
from melascope.models.augment import AUGMENTATIONS, augment, normalise
from melascope.models.mixing import MIXING, Mixture, draw_mixture
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


STRENGTHS = {  # row of AUGMENTATIONS -> a recipe that turns it on
    "geometry": {"crop": 0.4},
    "hair": {"hair": 1.0},
    "ruler": {"ruler": 1.0},
    "light": {"brightness": 0.3},
    "gamma": {"gamma": 0.4},
    "white_balance": {"white_balance": 0.2},
    "vignette": {"vignette": 0.6},
    "blur": {"blur": 2.0},
    "dark_corners": {"dark_corners": 1.0},
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_changes_the_images_stays_in_range_and_follows_its_key(name):
    pixels = noise(6, 48, 64)
    found, again, other = (augmented(pixels, key=key, **STRENGTHS[name]) for key in (1, 1, 2))
    np.testing.assert_array_equal(found, again)
    assert (found != other).any()
    assert found.min() >= -1e-5 and found.max() <= 1 + 1e-5
    assert (np.abs(found - pixels / 255).max((1, 2, 3)) > 0.01).all()


ON_BY_DEFAULT = {"flip", "rotate_degrees", "scale", "brightness", "contrast", "saturation"}  # as in the seed's project


def test_what_was_added_is_off_where_a_recipe_does_not_ask_for_it():
    keys = {key for keys, _ in AUGMENTATIONS.values() for key in keys} | set(MIXING)
    assert keys == set(AugmentRecipe.model_fields)
    assert all(getattr(AugmentRecipe(), key) == 0 for key in keys - ON_BY_DEFAULT)


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name not in ("geometry", "light")])
def test_an_augmentation_that_is_turned_on_does_not_move_the_draws_of_the_others(name):
    pixels = (noise(4, 48, 64) // 4 + 96).astype(np.uint8)
    alone = augmented(pixels, flip=True, rotate_degrees=180, brightness=0.1)
    if name in ("hair", "ruler"):  # these come before the light: what is left uncovered must be the same
        found = augmented(pixels, flip=True, rotate_degrees=180, brightness=0.1, **STRENGTHS[name])
        assert np.isclose(found, alone, atol=1e-6).all(-1).mean() > 0.5
    else:
        zero_like = augmented(pixels, flip=True, rotate_degrees=180, brightness=0.1, **{name: 1e-6})
        np.testing.assert_allclose(zero_like, alone, atol=1e-3)


def test_processes_that_share_a_batch_see_the_images_that_one_would_see():
    pixels = torch.from_numpy(noise(7, 48, 64))
    recipe = AugmentRecipe(rotate_degrees=180, **{key: value for on in STRENGTHS.values() for key, value in on.items()})
    whole = augment(pixels, recipe, *PLAIN, keyed_generator("augment", 1))
    for kept in (np.array([0, 2, 4, 6]), np.array([1, 3, 5])):
        part = augment(pixels[kept], recipe, *PLAIN, keyed_generator("augment", 1), of_batch=(7, kept))
        torch.testing.assert_close(part, whole[kept], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["hair", "ruler", "dark_corners"])
def test_only_the_asked_share_of_the_images_is_covered(name):
    pixels = np.full((300, 24, 32, 3), 200, dtype=np.uint8)
    touched = (np.abs(augmented(pixels, **{name: 0.3}) - 200 / 255) > 1e-4).any((1, 2, 3))
    assert 60 <= touched.sum() <= 120  # 90 expected, ± 3.8 sigma


def test_gamma_white_balance_and_vignette_are_their_formulas():
    pixels = (noise(40) // 4 + 96).astype(np.uint8)
    exponent = np.log(augmented(pixels, gamma=0.3)) / np.log(pixels / 255)
    np.testing.assert_allclose(exponent, exponent[:, :1, :1, :1].repeat(24, 1).repeat(32, 2).repeat(3, 3), rtol=1e-3)
    assert np.abs(np.log(exponent)).max() <= 0.3 + 1e-3 and np.ptp(np.log(exponent)) > 0.4
    gain = augmented(pixels, white_balance=0.1) / (pixels / 255)
    np.testing.assert_allclose(gain, gain[:, :1, :1].repeat(24, 1).repeat(32, 2), rtol=1e-4)
    assert np.abs(gain - 1).max() <= 0.1 + 1e-4 and (np.ptp(gain, axis=-1)[:, 0, 0] > 0.01).mean() > 0.9
    left = augmented(np.full((40, 24, 32, 3), 255, dtype=np.uint8), vignette=0.5)[..., 0]
    assert (left[:, 10:14, 14:18].mean((1, 2)) >= left[:, [0, 0, -1, -1], [0, -1, 0, -1]].min(1)).all()
    assert left.min() >= 0.5 - 1e-4 and left.min() < 0.7 and left.max() <= 1


def test_blur_keeps_the_mean_and_spreads_a_dot_by_its_sigma():
    pixels = np.zeros((50, 33, 33, 3), dtype=np.uint8)
    pixels[:, 16, 16] = 255
    found = augmented(pixels, blur=2.0)[..., 0].astype(np.float64)
    np.testing.assert_allclose(found.sum((1, 2)), 1, atol=1e-4)
    y = np.arange(33)[:, None] - 16
    sigma = np.sqrt((found * y**2).sum((1, 2)))
    assert sigma.max() <= 2.01 and np.ptp(sigma) > 1.5


def test_a_crop_keeps_the_promised_share_of_each_side():
    x = np.arange(64, dtype=np.uint8)
    pixels = np.broadcast_to(x[None, None, :, None] * 4, (80, 48, 64, 3)).copy()
    found = augmented(pixels, crop=0.4)[:, 24, :, 0] * 255 / 4  # which column is seen where
    shown = (found[:, 40] - found[:, 20]) / 20
    assert shown.min() >= 0.6 - 0.02 and shown.max() <= 1.02 and np.ptp(shown) > 0.25
    assert found.min() >= 0 and found.max() <= 63


@pytest.mark.parametrize("name", MIXING)
def test_a_mixture_holds_its_share_of_each_image(name):
    own, partner = torch.zeros(2, 3, 20, 30), torch.ones(2, 3, 20, 30)
    for step in range(30):
        mixture = draw_mixture(AugmentRecipe(**{name: 1.0}), 2, 1, 0, step)
        mixed, share = MIXING[name](own, partner, mixture)
        assert mixed.mean().item() == pytest.approx(1 - share, abs=1e-5)
        assert sorted(mixture.partner) == [0, 1]
        assert set(mixed.unique().tolist()) <= {0.0, 1.0} or name == "mixup"


def test_mixtures_are_keyed_and_absent_unless_asked_for():
    assert draw_mixture(AugmentRecipe(), 8, 1, 0, 0) is None
    both = AugmentRecipe(mixup=0.4, cutmix=1.0)
    drawn = [draw_mixture(both, 8, 1, 0, step) for step in range(40)]
    assert {mixture.method for mixture in drawn} == set(MIXING)
    again = draw_mixture(both, 8, 1, 0, 3)
    assert isinstance(again, Mixture) and again.share == drawn[3].share and (again.partner == drawn[3].partner).all()

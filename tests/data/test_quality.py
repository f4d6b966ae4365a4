"""Do the measures of a picture say what was done to it?"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage
from small_release import picture

from melascope.data.quality import (
    LUMA,
    QUALITY_SIDE,
    WORST,
    WORST_IS,
    ImageQuality,
    fitted_size,
    image_quality,
    quality_measures,
)
from melascope.data.sources.phantom import add_dark_corners

SIZE = (144, 192)  # measured as it is


def grey(level: int) -> np.ndarray:
    return np.full((*SIZE, 3), level, dtype=np.uint8)


def skin() -> np.ndarray:
    """Smooth structure, nowhere clipped."""
    noise = np.random.default_rng(1).normal(0, 1, (*SIZE, 3))
    smooth = ndimage.gaussian_filter(noise, (1, 1, 0))
    return (150 + 25 * smooth / smooth.std()).clip(20, 240).astype(np.uint8)


def test_sharpness_is_the_variance_of_the_laplacian():
    rgb = picture(1, *SIZE[::-1])
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=float)
    expected = ndimage.convolve(rgb.astype(float) @ LUMA.astype(float), kernel)[1:-1, 1:-1].var()
    assert image_quality(rgb).sharpness == pytest.approx(expected, rel=1e-4)


def test_blur_lowers_sharpness_step_by_step():
    image = Image.fromarray(skin())
    sharpness = [
        image_quality(np.asarray(image.filter(ImageFilter.GaussianBlur(radius)))).sharpness for radius in (0, 1, 2, 4)
    ]
    assert sharpness == sorted(sharpness, reverse=True) and sharpness[0] > 3 * sharpness[1]


def test_a_flat_picture_has_no_sharpness_and_its_own_luminance():
    assert image_quality(grey(102)) == ImageQuality(0.0, pytest.approx(0.4), 0.0, 0.0, 0.0)
    assert image_quality(grey(0)) == ImageQuality(0.0, 0.0, 1.0, 0.0, 1.0)
    assert image_quality(grey(255)) == ImageQuality(0.0, pytest.approx(1.0), 0.0, 1.0, 0.0)


def test_a_pixel_is_clipped_only_if_all_its_channels_are():
    red = grey(100)
    red[..., 0] = 255
    assert image_quality(red).clipped_white == 0
    half = grey(100)
    half[:, :96] = 255
    assert image_quality(half).clipped_white == pytest.approx(0.5, abs=0.01)


def test_dark_corners_count_only_outside_the_ellipse():
    before, after = skin(), add_dark_corners(skin(), np.random.default_rng(1))
    assert image_quality(before).dark_corners == 0
    assert image_quality(after).dark_corners > 0.1
    y, x = (np.indices(SIZE) + 0.5) / np.reshape(SIZE, (2, 1, 1)) * 2 - 1
    round_picture = np.where((x**2 + y**2 <= 1)[..., None], before, 0).astype(np.uint8)
    assert image_quality(round_picture).dark_corners == 1
    assert image_quality(round_picture).luminance == image_quality(before).luminance
    middle = skin()
    middle[60:80, 80:100] = 0
    assert image_quality(middle).dark_corners == 0 and image_quality(middle).clipped_black > 0.01


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (450, 600), (150, 200)])
def test_any_size_is_measured_at_the_stated_one(size):
    rgb = picture(1, *size[::-1])
    assert max(fitted_size(rgb, QUALITY_SIDE)) == QUALITY_SIDE and min(fitted_size(rgb, QUALITY_SIDE)) >= 8
    assert 0 < image_quality(rgb).luminance < 1


def test_worst_images_are_named_worst_first():
    ids = [f"ISIC_{number:02}" for number in range(30)]
    qualities = [ImageQuality(float(n), 0.5 + (n - 15) / 100, 0.0, n / 100, 0.0) for n in range(30)]
    measures = {measure.name: measure for measure in quality_measures(ids, qualities)}
    assert set(measures) == set(WORST_IS)
    assert measures["sharpness"].worst == tuple((ids[n], float(n)) for n in range(WORST))
    assert [name for name, _ in measures["clipped_white"].worst[:2]] == ["ISIC_29", "ISIC_28"]
    assert {name for name, _ in measures["luminance"].worst[:2]} == {"ISIC_29", "ISIC_00"}
    assert measures["dark_corners"].worst == ()  # all alike: none is worst
    assert measures["sharpness"].median == 14.5

"""Are the numbers of a picture's look the ones that they are named for?"""

from __future__ import annotations

import numpy as np

from melascope.data.appearance import FAINTEST, appearance


def test_a_plain_picture_has_its_colour_everywhere_and_no_roughness():
    numbers = appearance(np.full((1, 36, 48, 3), (200, 100, 50), np.uint8))[0]
    colour = np.array([200, 100, 50]) / 255
    np.testing.assert_allclose(numbers[:3], colour, rtol=1e-5)
    np.testing.assert_allclose(numbers[3:6], 0, atol=1e-5)
    np.testing.assert_allclose(numbers[6:9], np.log(FAINTEST), atol=1e-3)
    np.testing.assert_allclose(numbers[9:13], [100 / 255, 0, 100 / 255, 0], atol=1e-5)
    np.testing.assert_allclose(numbers[13:49].reshape(3, 4, 3), np.broadcast_to(colour, (3, 4, 3)), rtol=1e-5)
    np.testing.assert_allclose(numbers[49:56], colour.mean(), rtol=1e-5)


def test_stripes_are_rough_across_and_smooth_down():
    stripes = np.zeros((1, 36, 48, 3), np.uint8)
    stripes[:, :, ::2] = 255
    numbers = appearance(stripes)[0]
    np.testing.assert_allclose(numbers[59:], np.log(1 + FAINTEST), atol=1e-5)
    np.testing.assert_allclose(numbers[6:8], [np.log(1 + FAINTEST), np.log(FAINTEST)], atol=1e-5)


def test_a_picture_does_not_hang_on_its_batch():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(appearance(pixels)[1], appearance(pixels[1:2])[0])
    assert appearance(pixels).shape == (3, 71)


def test_roughness_is_told_where_it_lies():
    picture = np.full((1, 36, 48, 3), 128, np.uint8)
    picture[0, 1:11, 37:47:2] = 255  # upper right
    grid = appearance(picture)[0, 59:].reshape(3, 4)
    assert grid.argmax() == 3 and (np.delete(grid.ravel(), 3) < np.log(2 * FAINTEST)).all()

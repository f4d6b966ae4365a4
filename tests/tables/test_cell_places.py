"""Is a map's cell put where it is said to lie, on a picture of any size, and is nonsense refused?"""

from __future__ import annotations

import numpy as np
import pytest

from melascope.tables.cell_places import EVEN, PIXELS, UNKNOWN, CellPlaces


def test_even_cells_fill_the_picture():
    np.testing.assert_allclose(EVEN.share_at(4, 0), [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(EVEN.cell_at(8, 4, 1), np.arange(8) / 2 - 0.25)


def test_known_answer_of_a_padded_stride_and_a_size_that_is_no_multiple_of_it():
    """Cells at pixels 0, 32 … 288 (their middles at 0.5 …) of an input of 300 px."""
    places = CellPlaces.of_pixels((0.5, 16.0), (32, 32), (10, 7), (300, 224), PIXELS)
    np.testing.assert_allclose(places.share_at(10, 0) * 300, 0.5 + 32 * np.arange(10))
    np.testing.assert_allclose(places.share_at(7, 1) * 224, 16 + 32 * np.arange(7))
    assert places.offset[1] == 0 and places.pitch[1] == 1 and places.source == PIXELS
    assert places.offset[0] == pytest.approx(0.5 / 30 - 0.5) and places.pitch[0] == pytest.approx(32 / 30)


@pytest.mark.parametrize("axis", [0, 1])
def test_pixels_and_cells_are_each_others_inverse(axis):
    places = CellPlaces((-0.4, 0.3), (1.1, 0.9))
    pixels = places.share_at(5, axis) * 1000 - 0.5
    found = np.interp(pixels, np.arange(1000), places.cell_at(1000, 5, axis))
    np.testing.assert_allclose(found, np.arange(5), atol=1e-9)


def test_what_is_written_is_read_and_what_is_missing_is_not_known():
    places = CellPlaces((-0.484375, 0.1), (1.0, 1.25), PIXELS)
    assert CellPlaces.from_json(places.as_json()) == places and places.is_known
    assert CellPlaces.from_json(None) == UNKNOWN and not UNKNOWN.is_known and EVEN.is_known


@pytest.mark.parametrize("given", [{"offset": (np.nan, 0.0)}, {"pitch": (1.0, 0.0)}, {"pitch": (-1.0, 1.0)}])
def test_nonsense_is_refused(given):
    with pytest.raises(ValueError, match="pitch above 0"):
        CellPlaces(**given)

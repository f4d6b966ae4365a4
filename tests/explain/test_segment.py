"""Does the classical segmenter find a known lesion despite dark corners and hair, and say when there is none?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from melascope.data.archive import read_member
from melascope.data.decode import decode_image, decode_mask
from melascope.data.sources import read_dataset
from melascope.data.sources.phantom import write_phantom
from melascope.data.sources.phantom.artefacts import add_dark_corners, add_hair
from melascope.errors import ExplainError
from melascope.explain import segment
from melascope.explain.segment import CLASSICAL, SEGMENTER, cie_lab, find_lesion, otsu_threshold, segment_lesion

SKIN, LESION = (224, 172, 150), (120, 70, 60)


def _disc(height: int = 120, width: int = 160, centre: tuple[int, int] = (60, 80), radius: int = 28):
    rows, columns = np.mgrid[:height, :width]
    mask = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
    image = np.where(mask[..., None], LESION, SKIN).astype(float)
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), mask


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("artefact", [None, add_dark_corners, add_hair])
def test_a_dark_disc_is_found(artefact):
    image, mask = _disc()
    if artefact:
        image = artefact(image, np.random.default_rng(1))
    assert _dice(segment_lesion(image), mask) > 0.9


def test_a_ring_is_filled_and_a_speck_left_out():
    image, mask = _disc()
    image[50:70, 70:90] = SKIN  # pale middle
    image[8:14, 8:14] = LESION
    found = segment_lesion(image)
    assert found[60, 80] and not found[:20, :20].any() and _dice(found, mask) > 0.9


def test_a_glint_is_no_lesion():
    image, mask = _disc()
    image[90:118, 120:155] = 255
    assert _dice(segment_lesion(image), mask) > 0.9


@pytest.mark.parametrize("colour", [SKIN, (0, 0, 0), (255, 255, 255)])
def test_a_plain_picture_has_no_lesion(colour):
    found = segment_lesion(np.full((60, 80, 3), colour, dtype=np.uint8))
    assert found.shape == (60, 80) and not found.any()


def test_size_does_not_matter():
    image, mask = _disc()
    large = image.repeat(4, axis=0).repeat(4, axis=1)
    assert _dice(segment_lesion(large), mask.repeat(4, axis=0).repeat(4, axis=1)) > 0.9


def test_known_colours():
    lab = cie_lab(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [119, 119, 119]], dtype=np.uint8))
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [50.03, 0, 0]]  # Lindbloom's tables, D65
    assert lab == pytest.approx(np.array(expected), abs=0.02)


@given(st.floats(1, 50), st.integers(20, 200), st.integers(20, 200))
def test_otsu_lies_between_two_heaps(apart, low, high):
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.uniform(0, 0.1, low), apart + rng.uniform(0, 0.1, high)])
    assert 0.05 <= otsu_threshold(values) <= apart + 0.05


def test_phantom_lesions(tmp_path):
    """Known masks of painted lesions; nothing here is tuned to them."""
    write_phantom(tmp_path, n_images=24, seed=5, workers=1)
    table = read_dataset(tmp_path)
    dice = []
    for path, mask_path in zip(table.path, table.mask_path, strict=True):
        image = decode_image(read_member(table.root, path), name=path)
        dice.append(_dice(segment_lesion(image), decode_mask(read_member(table.root, mask_path), name=mask_path)))
    assert np.mean(dice) > 0.7


def test_what_is_no_picture_is_refused():
    with pytest.raises(ExplainError):
        segment_lesion(np.zeros((5, 5), np.uint8))


def test_who_found_the_lesion_is_told():
    image, mask = _disc()
    for name in (SEGMENTER, CLASSICAL):
        lesion, source = find_lesion(image, name)
        assert source == name and _dice(lesion, mask) > 0.8
    with pytest.raises(ExplainError, match="nobody"):
        find_lesion(image, "nobody")


@pytest.mark.parametrize(("share", "why"), [(False, "nothing"), (True, "the whole picture")])
def test_a_segmenter_that_finds_nothing_or_everything_is_passed_over(monkeypatch, share, why):
    image, mask = _disc()
    monkeypatch.setitem(segment.SEGMENTERS, SEGMENTER, lambda picture: np.full(picture.shape[:2], share))
    lesion, source = find_lesion(image)
    assert source == f"classical (the segmenter found {why})" and _dice(lesion, mask) > 0.9

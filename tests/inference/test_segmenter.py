"""Does a probability become one lesion without holes, and does the shipped segmenter find real lesions?"""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from melascope.data.lesion_masks import read_lesion_mask
from melascope.data.sources import read_dataset
from melascope.data.split import read_split
from melascope.errors import ExplainError, ExportError
from melascope.explain.mask_agreement import agreement_of
from melascope.inference.segmenter import SHIPPED, Segmenter, lesion_from, shipped_segmenter
from melascope.stages.scoring import load_image

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "ham10000"
FLOOR, IMAGES = 0.92, 50


def test_one_blob_without_holes_at_any_size():
    probability = np.zeros((24, 32), np.float32)
    probability[6:18, 8:24] = 0.9
    probability[10:13, 14:17] = 0.1  # a hole
    probability[0:3, 0:3] = 0.99  # a speck
    lesion = lesion_from(probability, 320, 240, threshold=0.5)
    assert lesion.shape == (240, 320) and lesion.dtype == bool
    assert lesion[115, 155] and not lesion[:40, :40].any()
    assert lesion.mean() == pytest.approx(12 * 16 / (24 * 32), rel=0.05)


def test_the_edge_lies_between_coarse_pixels():
    """A blob of 0.75 beside 0: the line at 0.5 lies a sixth of a pixel inside the middle between them."""
    probability = np.zeros((1, 8), np.float32)
    probability[:, :4] = 0.75
    assert lesion_from(probability, 8000, 1, threshold=0.5).sum() == pytest.approx(3500 + 1000 / 3, abs=2)


def test_nothing_is_found_where_nothing_is_likely():
    assert not lesion_from(np.full((6, 8), 0.3, np.float32), 80, 60, threshold=0.5).any()


def test_the_shipped_file_is_small_and_tells_its_facts():
    segmenter, data = shipped_segmenter(), SHIPPED.read_bytes()
    card = segmenter.card
    assert len(data) <= 5_000_000
    assert card.source == "ham10000" and "CC BY-NC 4.0" in card.licence and "Research only" in card.intended_use
    for side, images in (("val", 1000), ("test", 1003)):
        assert card.figures[side]["dice"]["n"] == images and card.figures[side]["dice"]["value"] > FLOOR
    document = Path(__file__).parents[2] / "docs" / "segmenter.md"
    assert hashlib.sha256(data).hexdigest() in document.read_text(encoding="utf-8")


def test_the_shipped_segmenter_finds_a_painted_lesion():
    rows, columns = np.mgrid[:300, :400]
    disc = (rows - 150) ** 2 + (columns - 190) ** 2 < 70**2
    image = np.where(disc[..., None], (115, 75, 62), (222, 175, 152)).astype(np.float64)
    image = np.clip(image + np.random.default_rng(0).normal(0, 5, image.shape), 0, 255).astype(np.uint8)
    assert agreement_of(shipped_segmenter().lesion(image), disc).dice > 0.8


def test_what_is_no_picture_or_no_segmenter_is_refused(tmp_path):
    with pytest.raises(ExplainError):
        shipped_segmenter().lesion(np.zeros((5, 5), np.uint8))
    with pytest.raises(ExportError):
        Segmenter.open(tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(SHIPPED.read_bytes()[:1000])
    with pytest.raises(ExportError):
        Segmenter.open(tmp_path / "broken.onnx")


@pytest.mark.skipif(not REAL.is_dir(), reason=f"needs the real images under {REAL}")
def test_real_validation_images():
    table = read_dataset(REAL)
    side = read_split(REAL / "baseline_split.csv", table).of(table)
    rows = np.random.default_rng(1).choice(np.flatnonzero(side == "val"), IMAGES, replace=False)
    dice = []
    for row in rows:
        mask = read_lesion_mask(table, row)
        found = shipped_segmenter().lesion(load_image(table, row), width=mask.shape[1], height=mask.shape[0])
        dice.append(agreement_of(found, mask).dice)
    assert np.mean(dice) > FLOOR

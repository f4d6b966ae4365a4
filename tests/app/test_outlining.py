"""Does the page get an outline of the lesion, with the name of who drew it?"""

import numpy as np
import pytest

from melascope.app import outlining
from melascope.explain.segment import CLASSICAL, SEGMENTER


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (SEGMENTER, "melascope's segmenter"),
        (f"{CLASSICAL} (the segmenter found nothing)", "the classical segmenter (the segmenter found nothing)"),
    ],
)
def test_a_large_picture_is_outlined_at_the_size_of_a_page(monkeypatch, source, words):
    def quarter(image):
        assert max(image.shape[:2]) == 300
        lesion = np.zeros(image.shape[:2], bool)
        lesion[: image.shape[0] // 2, : image.shape[1] // 2] = True
        return lesion, source

    monkeypatch.setattr(outlining, "find_lesion", quarter)
    told = outlining.outlined(np.zeros((900, 1200, 3), np.uint8))
    assert told["source"] == words and told["area_share"] == pytest.approx(0.25, abs=0.01)
    assert told["outline"].startswith("M")


def test_nothing_found_has_no_outline(monkeypatch):
    monkeypatch.setattr(outlining, "find_lesion", lambda image: (np.zeros(image.shape[:2], bool), CLASSICAL))
    assert outlining.outlined(np.zeros((30, 40, 3), np.uint8))["outline"] == ""

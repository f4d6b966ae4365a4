"""Does the reliability plot hold n, intervals and what the figures say, also where there is no melanoma?"""

import re

import numpy as np
import pytest
from PIL import Image

from melascope.classes import CLASSES, RESEARCH_ONLY
from melascope.evaluation.calibration import measure_calibration
from melascope.evaluation.record import with_interval
from melascope.report import canvas as canvas_module
from melascope.report.calibration_plot import save_calibration_plot


@pytest.fixture(autouse=True)
def text_in_svg(monkeypatch):
    monkeypatch.setitem(canvas_module._STYLE, "svg.fonttype", "none")


@pytest.fixture
def draw(judge, tmp_path):
    """(classes, target, **words) -> calibration, text of the SVG, paths."""

    def make(classes=CLASSES, target=("mel",), **words):
        _, table = judge(classes=classes, with_point=False)
        calibration = measure_calibration(table, target, draws=50)
        paths = save_calibration_plot(calibration, tmp_path, split="test", **words)
        text = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "reliability.svg").read_text()))
        return calibration, text, paths

    return make


def test_it_is_saved_as_png_and_svg_and_not_blank(draw, tmp_path):
    _, _, paths = draw()
    assert paths == [tmp_path / "reliability.png", tmp_path / "reliability.svg"]
    with Image.open(paths[0]) as image:
        assert min(image.size) > 700 and np.asarray(image.convert("L")).std() > 5
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in draw()[2]] == first


def test_n_figures_and_notice_stand_in_it(draw):
    calibration, text, _ = draw()
    assert "280 images of 140 lesions" in text and "melanoma: 40 images of 20 lesions" in text
    for name in ("slope", "in_the_large"):
        assert with_interval(calibration.figures[f"target_calibration_{name}"]) in text
    assert with_interval(calibration.figures["target_expected_calibration_error"], 3) in text
    assert f"{calibration.if_perfect['target_expected_calibration_error'].value:.3f}" in text
    assert "15 bins of 18 to 19 images" in text
    assert RESEARCH_ONLY in text and "PHANTOM" not in text


def test_a_phantom_is_named_and_several_classes_by_their_short_names(draw):
    _, text, _ = draw(target=("akiec", "mel"), source="phantom")
    assert "PHANTOM" in text and "P(akiec+mel)" in text


def test_without_melanoma_it_says_so(draw):
    _, text, _ = draw(classes=("nv", "bcc"))
    assert "not applicable (n=0 images of melanoma)" in text
    assert "logistic recalibration" not in text

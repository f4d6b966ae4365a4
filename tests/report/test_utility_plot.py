"""Does the decision curve's picture hold its n, its interval, its prevalence, and where the model is of use?"""

import re
from pathlib import Path

import numpy as np
import pytest

from melascope.classes import RESEARCH_ONLY
from melascope.evaluation.utility import decision_curve
from melascope.report import canvas as canvas_module
from melascope.report.utility_plot import save_decision_curve
from melascope.tables.results import NotApplicable


@pytest.fixture(autouse=True)
def text_in_svg(monkeypatch):
    """Keep text as text in the SVG, so that a test can read it."""
    monkeypatch.setitem(canvas_module._STYLE, "svg.fonttype", "none")


def text_of(path: Path) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text()))


def curve(scores=None, **more):
    truth = np.arange(300) % 5 == 0
    spread = np.random.default_rng(0).uniform(0, 0.5, 300)
    scores = np.where(truth, 0.4, 0.0) + spread if scores is None else scores
    return decision_curve(scores, truth, np.arange(300) // 2, draws=100, seed=0, **more)


def test_n_prevalence_and_interval_stand_in_the_picture(tmp_path):
    paths = save_decision_curve(curve(), tmp_path, target_name="melanoma", split="test")
    assert paths == [tmp_path / "decision_curve.png", tmp_path / "decision_curve.svg"]
    text = text_of(paths[1])
    for words in (
        *("test: 300 images of 150 lesions", "melanoma: 60 images of 60 lesions", "95 % interval by lesion"),
        *("20.0%", "not of a clinic", "treat all", "treat nobody", RESEARCH_ONLY),
    ):
        assert words in text
    assert "PHANTOM" not in text


def test_the_thresholds_of_use_are_told(tmp_path):
    found = curve()
    low, high = found.useful_ranges()[0]
    assert f"intervals above 0: {low:.2f} to {high:.2f}" in text_of(
        save_decision_curve(found, tmp_path, target_name="melanoma")[1]
    )
    useless = save_decision_curve(curve(scores=np.full(300, 0.9)), tmp_path, target_name="melanoma", file_name="none")
    assert useless[1].name == "none.svg"
    assert "at no threshold" in text_of(useless[1])


def test_a_stated_prevalence_is_told_and_a_phantom_named(tmp_path):
    text = text_of(save_decision_curve(curve(prevalence=0.02), tmp_path, target_name="melanoma", source="phantom")[1])
    assert "prevalence 2.0% (stated, P not recalibrated to it)" in text
    assert "PHANTOM" in text


def test_without_melanoma_the_picture_says_why(tmp_path):
    reason = NotApplicable("n=0 images of the target")
    assert str(reason) in text_of(save_decision_curve(reason, tmp_path, target_name="melanoma")[1])


def test_the_same_curve_gives_the_same_bytes(tmp_path):
    first, second = (save_decision_curve(curve(), tmp_path / name, target_name="melanoma") for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_one_threshold_without_intervals_is_drawn(tmp_path):
    truth = np.arange(20) < 5
    few = decision_curve(truth * 0.5, truth, np.arange(20), draws=0, seed=0, thresholds=[0.2])
    assert all(path.stat().st_size > 1000 for path in save_decision_curve(few, tmp_path, target_name="melanoma"))

"""Does the risk-coverage picture hold its n, its intervals, and how many melanomas of how many are missed?"""

import re
from pathlib import Path

import numpy as np
import pytest

from melascope.classes import CLASSES, MEL, RESEARCH_ONLY
from melascope.evaluation.abstention import HEADLINE_COVERAGES, risk_coverage
from melascope.report import canvas as canvas_module
from melascope.report.abstention_plot import save_risk_coverage

NV = CLASSES.index("nv")


@pytest.fixture(autouse=True)
def text_in_svg(monkeypatch):
    """Keep text as text in the SVG, so that a test can read it."""
    monkeypatch.setitem(canvas_module._STYLE, "svg.fonttype", "none")


def text_of(path: Path) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text()))


def curve(draws=100, melanoma=MEL, every=5):
    rng = np.random.default_rng(0)
    labels = np.where(np.arange(300) % every == 0, melanoma, NV)
    logits = rng.normal(0, 1, (300, 7))
    logits[np.arange(300), labels] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return risk_coverage(probabilities, labels, probabilities[:, MEL] > 0.15, np.arange(300) // 2, draws=draws, seed=0)


def test_n_areas_and_counts_stand_in_the_picture(tmp_path):
    found = curve()
    paths = save_risk_coverage(found, tmp_path, rule="threshold 0.15, frozen on validation", split="test")
    assert paths == [tmp_path / "risk_coverage.png", tmp_path / "risk_coverage.svg"]
    text = text_of(paths[1])
    for words in (
        *("test: 300 images of 150 lesions", "melanoma: 60 images of 60 lesions", "95 % interval by lesion"),
        *(f"AUGRC {found.augrc.value:.3f} [", "threshold 0.15, frozen on validation", RESEARCH_ONLY),
    ):
        assert words in text
    for coverage in HEADLINE_COVERAGES:
        level = found.at(coverage)
        assert f"{level.n_missed} of" in text and f"{level.n_target}" in text
    assert "PHANTOM" not in text


def test_a_phantom_is_named(tmp_path):
    assert "PHANTOM" in text_of(save_risk_coverage(curve(), tmp_path, rule="top class", source="phantom")[1])


def test_without_melanoma_the_risk_is_drawn_and_the_reason_told(tmp_path):
    text = text_of(save_risk_coverage(curve(melanoma=NV), tmp_path, rule="top class")[1])
    assert "melanoma missed: not applicable (n=0 images of melanoma)" in text
    assert "top class wrong" in text


def test_a_share_of_few_melanomas_is_not_drawn(tmp_path):
    text = text_of(save_risk_coverage(curve(every=60), tmp_path, rule="top class")[1])
    assert "melanoma missed: too few (5 images)" in text and "of accepted melanoma images" not in text
    assert "from 10 lesions on" in text_of(save_risk_coverage(curve(every=20), tmp_path, rule="top class")[1])


def test_the_same_curve_gives_the_same_bytes_also_without_intervals(tmp_path):
    first, second = (save_risk_coverage(curve(draws=0), tmp_path / name, rule="top class") for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]

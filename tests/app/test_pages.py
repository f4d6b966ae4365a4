"""Does the page say what the threshold buys in the run's own figures, and where the words have room?"""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from melascope.app import pages
from melascope.app.examples import SHOWN, example_jpeg, examples
from melascope.app.folders import NOTHING, policy_of
from melascope.app.pages import what_it_buys
from melascope.app.server import create_app
from melascope.classes import CLASSES
from melascope.stages.answering import Answerer
from melascope.stages.reference import reference_run
from melascope.stages.reporting import Reporter
from melascope.tables.results import Estimate, NotApplicable
from served_page import POINT


def decision(unit: str, tp: int, fn: int, fp: int, sensitivity, alarms) -> SimpleNamespace:
    return SimpleNamespace(
        at="operating_point", unit=unit, tp=tp, fn=fn, fp=fp,
        figures={"sensitivity": sensitivity, "false_alarms_per_found": alarms},
    )  # fmt: skip


def evaluated(monkeypatch, *decisions, sha256=POINT.sha256) -> None:
    whole = SimpleNamespace(decision=lambda _, unit: next((one for one in decisions if one.unit == unit), None))
    found = SimpleNamespace(split="test", whole=whole, operating_point=SimpleNamespace(sha256=sha256))
    monkeypatch.setattr(pages.Evaluation, "read", lambda _: found)


LESIONS = decision(
    "lesion",
    66,
    6,
    224,
    Estimate(0.9167, 0.8262, 0.9622, 72, 72, "lesion"),
    Estimate(3.394, 2.647, 4.597, 66, 66, "lesion"),
)
IMAGES = decision("image", 110, 14, 364, Estimate(0.887, 0.795, 0.941, 124, 72), Estimate(3.3, 2.5, 4.6, 110, 68))


def test_the_words_are_the_figures(world, monkeypatch):
    evaluated(monkeypatch, LESIONS, IMAGES)
    assert what_it_buys(world.answerer.run, POINT) == (
        "In the test split it finds 66 of 72 melanoma lesions and misses 6: about 9 of 10 "
        "(92 %, 95 % interval 83 to 96 %).",
        "For each one found it raises about 3.4 false alarms (95 % interval 2.6 to 4.6), 224 in all.",
        "Picture by picture, as here: 110 of 124 melanoma images (89 %, 95 % interval 80 to 94 %).",
    )


def test_figures_of_another_threshold_are_not_told(world, monkeypatch):
    evaluated(monkeypatch, LESIONS, sha256="other")
    assert "never judged" in what_it_buys(world.answerer.run, POINT)[0]


def test_what_is_undefined_says_why(world, monkeypatch):
    none = NotApplicable("n=0 melanoma lesions")
    evaluated(monkeypatch, decision("lesion", 0, 0, 5, none, none))
    told = what_it_buys(world.answerer.run, POINT)
    assert len(told) == 2 and all("n=0 melanoma lesions" in sentence for sentence in told)


@pytest.mark.parametrize("threshold", [0.0005, 0.08, 0.5, 0.97])
def test_numbers_below_the_scale_do_not_touch(threshold):
    places = sorted([0.0, 0.5, 1.0, *(place for place, _ in pages._ticks(threshold))])
    assert min(after - before for before, after in pairwise(places)) >= 0.07


def test_examples_are_of_the_classes_that_they_name():
    assert [one.dx for one in examples()] == list(SHOWN) and set(SHOWN) <= set(CLASSES)
    assert len({one.image for one in examples()}) == len(SHOWN) and example_jpeg(0)[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    "policy",
    [
        "", "script-src *", "default-src 'none'; script-src 'unsafe-inline'", "default-src *",
        "default-src 'none'; img-src https://evil.example", "default-src 'self'",
    ],
)  # fmt: skip
def test_a_loose_policy_is_replaced_by_none_at_all(policy):
    page = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'.encode()
    assert policy_of(page) == NOTHING


def test_the_page_of_the_shipped_model_says_whose_it_is_and_shows_no_picture_of_the_data_set():
    run = reference_run()
    answerer = Answerer.open(run, Reporter.silent())
    page = pages.page_html(answerer, max_bytes=2**20, keeps=False)
    assert f"the reference model that melascope ships ({run.name}), for research only" in page
    assert "CC BY-NC 4.0" in page and "Their pictures are not part of this model" in page
    assert '"validation_pictures":false' in page.replace(" ", "") and what_it_buys(run, answerer.point)[0] in page
    with TestClient(create_app(answerer), base_url="http://127.0.0.1") as client:
        assert client.get("/validation/0.jpg").status_code == 404

"""Does the report open from disk with no error and no request, for everybody, and run nothing that a table says?"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from browser import chromium, listen, needs_chromium, serious_findings
from hostile_words import HOSTILE
from melascope.report.run_record import Beside
from melascope.stages.writing_report import report_run
from run_folder import hostile, write_run

pytestmark = needs_chromium

PAPER = (182, 266)
"""Width and height in mm that A4 leaves between the margins of `report.css`."""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    run = write_run(tmp_path_factory.mktemp("runs") / "drawn", plots=True, gallery=True)
    return report_run(run).page


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


def test_it_opens_without_an_error_or_a_request_and_every_id_stands_once(browser, place):
    window = browser.new_page()
    heard = listen(window)
    window.goto(place.as_uri())
    assert window.inner_text("h1") == "What does this model miss, for whom, and how sure is that?"
    assert heard.errors == [] and heard.dialogs == []
    assert all(url == place.as_uri() or url.startswith("data:") for url in heard.requests)
    ids = window.eval_on_selector_all("[id]", "all => all.map(one => one.id)")
    assert [one for one, count in Counter(ids).items() if count > 1] == []
    referred = re.findall(r'(?:href="#|url\(#|aria-labelledby="|aria-describedby=")([^")]+)', place.read_text())
    assert set(referred) <= set(ids)
    assert window.locator("figure.plot svg").count() == 12
    boxes = window.eval_on_selector_all("figure.plot svg", "all => all.map(one => one.getBBox().width)")
    assert all(
        width > 100 for width in boxes
    )  # style attributes that the policy forbids would leave them black or empty
    assert window.locator("article img").evaluate_all("all => all.every(one => one.naturalWidth > 50)")
    assert window.locator("script").count() == 0 and "script-src" not in place.read_text()
    window.close()


def test_the_contents_lead_to_every_section(browser, place):
    window = browser.new_page()
    window.goto(place.as_uri())
    anchors = window.eval_on_selector_all(".contents a", "all => all.map(one => one.getAttribute('href').slice(1))")
    sections = window.eval_on_selector_all("main section", "all => all.map(one => one.id)")
    assert anchors == sections and len(sections) == 17
    window.close()


@pytest.mark.parametrize(("width", "scheme"), [(1200, "dark"), (390, "light")])
def test_nobody_is_kept_out(browser, place, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    window = context.new_page()
    window.goto(place.as_uri())
    assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")
    window.evaluate(
        "document.querySelectorAll('.drawing svg').forEach(one => one.replaceChildren())"
    )  # hidden from axe
    assert serious_findings(window) == []
    context.close()


def test_each_plot_has_its_numbers_in_words(browser, place):
    window = browser.new_page()
    window.goto(place.as_uri())
    for drawing in window.locator(".drawing").all():
        words = window.inner_text(f"[id='{drawing.get_attribute('aria-describedby')}']")
        assert re.search(r"\d", words) or "above" in words
    told = window.inner_text("[id='evaluation-roc-words']")
    assert re.search(r"0\.\d\d \[0\.\d\d,\s\d\.\d\d\], n = 126 images of 84 lesions", told)
    window.close()


def test_on_paper_no_plot_is_cut_and_nothing_runs_off_the_side(browser, place):
    context = browser.new_context(viewport={"width": round(PAPER[0] / 25.4 * 96), "height": 1000})
    window = context.new_page()
    window.emulate_media(media="print")
    window.goto(place.as_uri())
    assert window.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")
    heights = window.eval_on_selector_all(
        ".plot", "all => all.map(one => [one.offsetHeight, getComputedStyle(one).breakInside])"
    )
    assert all(kept == "avoid" and height < PAPER[1] / 25.4 * 96 for height, kept in heights)
    paper = window.pdf(prefer_css_page_size=True)
    assert paper.startswith(b"%PDF") and 8 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 40
    context.close()


def test_a_hundred_hostile_words_stay_words(browser, tmp_path):
    """Ids, lesions, sexes, sites and ways to the truth of somebody's table, and the run's own name."""
    words = [f"{one}{number}" for number in range(4) for one in HOSTILE]
    name = "<img src=x onerror=alert(2)>"
    run = write_run(tmp_path / name, gallery=True, change=lambda predictions: hostile(predictions, words))
    page = report_run(run, beside=Beside(), out=tmp_path / "out").page
    window = browser.new_page()
    heard = listen(window)
    window.goto(page.as_uri())
    assert (
        heard.errors == []
        and heard.dialogs == []
        and heard.requests == [page.as_uri()] + [url for url in heard.requests if url.startswith("data:")]
    )
    assert window.locator("script, iframe, img[src=x], b, main style").count() == 0
    seen = window.inner_text("#subgroups")
    assert sum(" ".join(word.split()) in seen for word in words) > 90
    assert name in window.inner_text(".eyebrow")
    text = page.with_name("report.md").read_text(encoding="utf-8")
    for line in text.splitlines():
        bare = re.sub(r"`[^`]*`", "", line)
        assert not re.search(r"<(script|img|svg|iframe|style)|\]\(javascript", bare), line
    window.close()

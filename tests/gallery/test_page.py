"""Does the gallery's page do in a browser what its buttons promise, and run nothing that a table says?"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from browser import chromium, listen, needs_chromium, serious_findings, until
from hiding_a_spot import SPOT
from hostile_words import HOSTILE
from melascope.app.folders import Folder
from melascope.explain.overlay import render_overlay
from melascope.explain.segment import CLASSICAL
from melascope.gallery.facts import gallery_facts
from melascope.gallery.gathering import build_cases
from melascope.gallery.render import write_gallery
from melascope.gallery.selection import select_cases
from melascope.gallery.tags import Tagged, read_tags
from melascope.tables.cell_places import CellPlaces

pytestmark = needs_chromium

MELANOMAS_MISSED = ["MEL_MISSED_B", "MEL_MISSED_A"]


def cases_of(world):
    selections = select_cases(world.predictions, world.point, image_ids=list(world.predictions.image_id))
    return build_cases(selections, world.predictions, world.point, world.maps, world.table, segmenter=CLASSICAL)


def facts_of(world):
    return gallery_facts(world.predictions, world.point, world.maps, world.table, run="run <img src=x>")


@pytest.fixture(scope="module")
def place(world, tmp_path_factory) -> Path:
    tags = {"NV_CORRECT": Tagged(("for teaching",), "built in")}
    return write_gallery(cases_of(world), tmp_path_factory.mktemp("out") / "gallery", facts=facts_of(world), tags=tags)


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser, place):
    """A fresh window on the gallery; it must end without an error, an alert or a request off the disk."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    window = context.new_page()
    heard = listen(window)
    window.goto(place.as_uri())
    window.wait_for_selector("article")
    yield window
    assert heard.errors == [] and heard.dialogs == []
    assert all(url.startswith(("file:", "blob:")) for url in heard.requests)
    context.close()


def ids(page) -> list[str]:
    return page.eval_on_selector_all("#cases [data-case]", "all => all.map(one => facts.id[one.dataset.case])")


def scroll_to_end(page, n: int) -> None:
    """Scroll until `n` cases are drawn."""
    for _ in range(60):
        if len(ids(page)) == n:
            return
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(30)
    raise AssertionError(f"{len(ids(page))} cases are drawn, not {n}")


def counted(page) -> str:
    return page.inner_text("#count")


def test_all_cases_are_drawn_as_the_reader_scrolls_missed_melanomas_first(page):
    scroll_to_end(page, 11)
    assert ids(page)[:2] == MELANOMAS_MISSED and counted(page) == "All 11 images of 9 lesions"
    assert page.inner_text(".section h2 >> nth=0") == "Missed melanomas"
    assert "One lesion, 2 pictures: PAIR" in page.inner_text(".lesion.many >> nth=0")
    assert page.locator("article.missed canvas").count() == 6


def test_the_app_serves_it_under_a_policy_that_lets_it_work(browser, place):
    """The page's own digests stand in the header too: scripts run, pictures are shown, nothing else is asked for."""
    served = Folder(place.parent)

    def answer(route) -> None:
        response = served.response(urlsplit(route.request.url).path.removeprefix("/gallery/") or "index.html")
        route.fulfill(status=response.status_code, headers=dict(response.headers), body=bytes(response.body))

    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.route("http://127.0.0.1:1/gallery/**", answer)
    window = context.new_page()
    heard = listen(window)
    window.goto("http://127.0.0.1:1/gallery/")
    window.wait_for_selector("article")
    scroll_to_end(window, 11)
    until(window, "document.querySelector('article img').naturalWidth")
    assert window.locator("article.missed canvas").count() == 6
    assert "default-src 'none'" in served.response("index.html").headers["content-security-policy"]
    assert heard.errors == [] and all(url.startswith(("http://127.0.0.1:1/", "blob:")) for url in heard.requests)
    context.close()


@pytest.mark.parametrize(
    ("control", "value", "expected"),
    [
        ("f-section", "missed", MELANOMAS_MISSED),
        ("f-dx", "bcc", ["BCC_SURE_WRONG"]),
        ("f-predicted", "vasc", MELANOMAS_MISSED),
        ("f-above", "1", ["MEL_BY_THRESHOLD", "MEL_FOUND", "NV_ALARM"]),
        ("f-split", "train", ["MEL_TRAINING"]),
        ("f-sex", "unknown", ["MEL_BY_THRESHOLD"]),
        ("f-age", "1", ["NV_ALARM", "NV_CORRECT", "NV_CORRECT_2"]),
        ("f-map_place", "no evidence", ["MEL_MISSED_B"]),
        ("f-map_place", "not known", ["BCC_SURE_WRONG"]),
        ("f-tag", "for teaching", ["NV_CORRECT"]),
    ],
)
def test_each_filter_keeps_what_it_names(page, control, value, expected):
    page.evaluate("showFilters(true)")
    page.select_option(f"#{control}", value)
    until(page, f"shown.length === {len(expected)} && document.querySelectorAll('article').length")
    assert sorted(ids(page)) == sorted(expected)
    assert "(of 11 images)" in counted(page)
    page.click("#reset")
    assert counted(page).startswith("All 11")


def test_search_finds_images_and_lesions_and_says_when_nothing_is_found(page):
    page.keyboard.press("/")
    page.keyboard.type("pair")
    until(page, "shown.length === 2")
    assert ids(page) == MELANOMAS_MISSED
    page.fill("#search", "no such thing")
    page.wait_for_selector("text=No case passes these filters.")


def test_sorting_keeps_a_lesions_pictures_together(page):
    page.select_option("#sort", "p_mel")
    scroll_to_end(page, 11)
    found = page.evaluate("shown.map(i => facts.p_mel[i])")
    order = ids(page)
    assert order[0] == "MEL_FOUND" and order.index("MEL_MISSED_A") + 1 == order.index("MEL_MISSED_B")
    assert abs(order.index("NV_CORRECT") - order.index("NV_CORRECT_2")) == 1 and found[0] == max(found)
    page.select_option("#sort", "map_share")
    scroll_to_end(page, 11)
    assert set(ids(page)[-2:]) >= {"BCC_SURE_WRONG"}  # a share that is not defined comes last


def test_the_contact_sheet_shows_every_case_small(page):
    page.click("#view-tiles")
    until(page, "document.querySelectorAll('.tile').length === 11")
    assert page.locator("article").count() == 0 and "view=tiles" in page.evaluate("location.hash")
    page.click(".tile >> nth=1")
    page.wait_for_selector("dialog#case[open]")
    assert "MEL_MISSED_A" in page.inner_text("#case h2")


def test_the_light_box_walks_through_the_cases_by_keyboard(page):
    until(page, "document.querySelectorAll('article').length > 1")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog#case[open]")
    assert page.inner_text("#case h2") == "MEL_MISSED_B" and "1 of 11" in page.inner_text(".case-head")
    page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('#case h2').innerText === 'MEL_MISSED_A'")
    page.keyboard.press("5")  # mel
    until(page, "document.querySelector('.stage-title').innerText === 'Map of melanoma'")
    assert "cells speak for melanoma, the strongest in the" in page.inner_text(".map-says")
    page.keyboard.press("ArrowLeft")  # after a digit too: focus does not go to the buttons of the maps
    until(page, "document.querySelector('#case h2').innerText === 'MEL_MISSED_B'")
    page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('#case h2').innerText === 'MEL_MISSED_A'")
    page.keyboard.press("0")
    until(page, "document.querySelector('.stage-title').innerText === 'No map'")
    assert page.locator(".stage canvas").count() == 0
    page.keyboard.press("c")
    until(page, "document.querySelector('.stage-title').innerText.startsWith('Why not melanoma')")
    assert page.locator(".stage .outline").count() == 1
    page.keyboard.press("o")
    until(page, "!document.querySelector('.stage .outline')")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog#case", state="hidden")
    until(page, "!location.hash.includes('case=')")  # the dialog tells of its end a moment later
    page.keyboard.press("?")
    page.wait_for_selector("dialog#help[open]")


def test_opacity_fades_the_map(page):
    page.click("article .pictures figure:nth-child(2) a")
    page.wait_for_selector("dialog#case[open] canvas")
    page.eval_on_selector("#opacity", "slider => { slider.value = 0.4; slider.dispatchEvent(new Event('input')); }")
    assert page.eval_on_selector(".stage canvas", "canvas => getComputedStyle(canvas).opacity") == "0.4"


def test_a_map_without_evidence_says_so(page):
    page.goto(page.url.split("#")[0] + "#case=MEL_MISSED_B&map=mel")
    page.wait_for_selector("dialog#case[open]")
    assert page.inner_text(".stage-title") == "Map of melanoma: no positive evidence"


def test_a_link_leads_to_its_case_and_view(browser, place):
    window = browser.new_page()
    window.goto(f"{place.as_uri()}#dx=mel&case=MEL_MISSED_A&map=why")
    window.wait_for_selector("dialog#case[open]")
    assert window.inner_text("#case h2") == "MEL_MISSED_A" and "of 5" in window.inner_text(".case-head")
    assert window.is_checked("input[name=map][value=why]")
    window.goto(f"{place.as_uri()}#case=NO_SUCH")
    window.reload()
    window.wait_for_selector("text=The case “NO_SUCH” is not in this gallery")
    window.close()


def test_tags_go_out_as_csv_and_come_back(page, world, tmp_path):
    page.click("article .pictures a >> nth=0")
    page.wait_for_selector("dialog#case[open]")
    page.check("text=label doubtful")
    page.fill("[aria-label='Another tag']", "=2+5; <b>odd</b>")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.fill("#comment", '+SUM(A1), "quoted"\nsecond line')
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.reload()
    page.wait_for_selector("article .tag")
    assert page.locator("article >> nth=0").locator(".tag").all_inner_texts()[0] == "label doubtful"
    with page.expect_download() as started:
        page.click("#export")
    path = tmp_path / "tags.csv"
    started.value.save_as(path)
    rows = list(csv.reader(path.open(newline="", encoding="utf-8")))
    assert rows[0] == ["image_id", "tags", "comment"] and not any(
        cell[:1] in "=+-@" for row in rows for cell in row if cell
    )
    assert read_tags(path, world.predictions.image_id) == {
        "MEL_MISSED_B": Tagged(("label doubtful", "=2+5  <b>odd</b>"), '+SUM(A1), "quoted"\nsecond line'),
        "NV_CORRECT": Tagged(("for teaching",), "built in"),
    }


def as_drawn(page) -> np.ndarray:
    """(225, 300, 3) float: the page's canvas of a map, over grey."""
    drawn = page.evaluate(
        """async () => { const i = numberOf.get("MEL_MISSED_A"); const canvas = document.createElement("canvas");
        drawMap(canvas, await detailsOf(i), "vasc", 300, 225);
        return [...canvas.getContext("2d").getImageData(0, 0, 300, 225).data]; }"""
    )
    rgba = np.array(drawn, dtype=float).reshape(225, 300, 4)
    alpha = rgba[..., 3:] / 255
    return 128 * (1 - alpha) + rgba[..., :3] * alpha


def test_the_page_draws_a_map_as_the_overlay_does(page, world):
    case = next(case for case in cases_of(world) if case.image_id == "MEL_MISSED_A")
    found, grey = as_drawn(page), np.full((225, 300, 3), 128, dtype=np.uint8)
    expected = render_overlay(grey, case.cells("vasc"), scale=case.scale).astype(float)
    assert np.abs(found - expected).max() <= 3 and np.abs(expected - 128).max() > 40


def test_the_page_draws_cells_where_they_lie(page, world):
    """Up and right, and a little closer together than evenly: as the overlay does."""
    assert page.evaluate("about.map_cells") == world.maps.places.as_json()
    places = CellPlaces((-0.5, 0.3), (1.0, 0.9), "known")
    page.evaluate("given => Object.assign(about.map_cells, given)", places.as_json())
    found = as_drawn(page)
    case = next(case for case in cases_of(world) if case.image_id == "MEL_MISSED_A")
    grey, values = np.full((225, 300, 3), 128, dtype=np.uint8), case.cells("vasc")
    expected = render_overlay(grey, values, scale=case.scale, places=places).astype(float)
    assert np.abs(found - expected).max() <= 3
    assert np.abs(found - render_overlay(grey, values, scale=case.scale)).max() > 40


def test_no_word_of_a_hostile_table_runs(page, hostile_id):
    page.fill("#search", "evil")
    until(page, "shown.length === 1")
    page.wait_for_selector("article")
    assert page.inner_text("article h3") == hostile_id.replace("`", "'") or hostile_id in page.inner_text("article h3")
    page.click("article .pictures a >> nth=0")
    page.wait_for_selector("dialog#case[open]")
    assert page.locator("img[src=x], script:not([type]) ~ script, b").count() == 0


@pytest.mark.parametrize("look", [{"width": 1200, "height": 900}, {"width": 390, "height": 800}])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out(browser, place, look, scheme):
    context = browser.new_context(viewport=look, color_scheme=scheme)
    window = context.new_page()
    window.goto(place.as_uri())
    window.wait_for_selector("article")
    window.evaluate("showFilters(true)")
    assert serious_findings(window) == []
    assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")
    window.click("article .pictures a >> nth=0")
    window.wait_for_selector("dialog#case[open]")
    assert serious_findings(window) == []
    context.close()


def test_without_script_the_reader_is_led_to_the_notes(browser, place):
    context = browser.new_context(java_script_enabled=False)
    window = context.new_page()
    window.goto(place.as_uri())
    assert "The same notes as text: FIGURES.md" in window.inner_text("body")
    context.close()


def test_a_hundred_hostile_words_stay_words(browser, world, tmp_path):
    """Ids, lesions and sites of somebody's table, each a try to run something."""
    words = [f"{one}{number}" for number in range(4) for one in HOSTILE]
    case = next(case for case in cases_of(world) if case.image_id == "MEL_MISSED_A")
    cases = [
        replace(case, image_id=word, lesion_id=f"L{word}", localization=word, sex=word, split=word, dx_type=word)
        for word in words
    ]
    page_path = write_gallery(cases, tmp_path / "gallery", facts=facts_of(world))
    window = browser.new_page()
    heard = listen(window)
    window.goto(f"{page_path.as_uri()}#view=tiles")
    scroll_to_end(window, 100)
    assert window.evaluate("facts.id") == [one.image_id for one in cases]
    window.click("#view-cards")
    scroll_to_end(window, 100)
    for number in range(0, 100, 9):
        window.evaluate(f"openCase({number}, 'mel')")
        until(window, f"opened === {number}")
    assert heard.errors == [] and heard.dialogs == []
    assert window.locator("article script, article iframe, article style, article img[src=x]").count() == 0
    window.close()


def test_pictures_fill_their_frames(page, place):
    size = Image.open(place.parent / "images" / "MEL_MISSED_A_image.jpg").size
    frame = page.eval_on_selector("article .frame", "one => [one.clientWidth, one.clientHeight]")
    assert frame[0] / frame[1] == pytest.approx(size[0] / size[1], rel=0.02)


def test_cases_are_found_by_site_by_basis_of_the_truth_and_by_what_hiding_parts_did(browser, world, tmp_path):
    first, second, third = cases_of(world)[:3]
    cases = [
        replace(first, tests=(SPOT,), localization="face", dx_type="histo"),
        replace(second, tests=(replace(SPOT, above=(False, False)),), localization="back", dx_type="follow_up"),
        replace(third, localization="back", dx_type="consensus"),
    ]
    window = browser.new_page()
    window.goto(write_gallery(cases, tmp_path / "gallery", facts=facts_of(world)).as_uri())
    window.wait_for_selector("article")
    window.evaluate("showFilters(true)")
    for control, value, found in (
        ("f-site", "back", cases[1:]),
        ("f-dx_type", "follow_up", cases[1:2]),
        ("f-flips", "any", cases[:1]),
        ("f-flips", SPOT.name, cases[:1]),
        ("f-flips", "none", cases[1:2]),
        ("f-flips", "untested", cases[2:]),
    ):
        window.select_option(f"#{control}", value)
        until(window, f"shown.length === {len(found)}")
        assert sorted(ids(window)) == sorted(case.image_id for case in found), (control, value)
        window.click("#reset")
    window.close()


@pytest.mark.parametrize("order", ["confidence", "-confidence", "p_mel", "-p_mel", "map_share", "-map_share"])
def test_each_order_is_that_of_its_column(page, order):
    """Cases of one lesion stand together where its first one stands: a lesion's first cases are in order."""
    page.evaluate("showFilters(true)")
    page.select_option("#sort", order)
    until(page, f"state.sort === {order!r}")
    column = order.removeprefix("-")
    found = page.evaluate(f"groups.map((group) => facts[{column!r}][group[0]]).filter((value) => value !== null)")
    assert len(found) > 3 and found == sorted(found, reverse=not order.startswith("-"))

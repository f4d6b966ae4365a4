"""Does the local page do in a browser what it promises, for everybody, and run nothing that a file says?"""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from browser import chromium, listen, needs_chromium, serious_findings, until
from melascope.explain.overlay import render_overlay
from served_page import HOSTILE, HOSTILE_WORDS, SANITY, look

pytestmark = needs_chromium

READY = "!document.getElementById('result').hidden"
REFUSED = "document.getElementById('problem').childElementCount"
LOOKS = [{"width": 1200, "height": 900}, {"width": 390, "height": 800}]


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser, served):
    """A fresh window; it must end without an error, an alert, or a request to anybody else."""
    context = browser.new_context(viewport=LOOKS[0])
    window = context.new_page()
    window.heard = listen(window)
    window.goto(served.base)
    yield window
    wrong = [text for text in window.heard.errors if "the server responded with a status of 4" not in text]
    assert wrong == [] and window.heard.dialogs == []
    assert all(url.startswith((served.base, "blob:")) for url in window.heard.requests)
    context.close()


def send(page, data: bytes, name: str = "picture.jpg", kind: str = "image/jpeg") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": data})


def title(page) -> str:
    return page.inner_text("#result-title")


def test_a_good_picture_is_answered_with_all_that_is_promised(page, good):
    send(page, good)
    until(page, READY)
    assert "the frozen threshold" in title(page) and page.evaluate("document.activeElement.id") == "result"
    told = page.inner_text("#result")
    assert "frozen threshold 0.2000" in told and "finds 9 of 10 melanoma lesions" in told
    assert page.locator("#result table >> nth=0").locator("tr").count() == 3
    assert page.locator(".near li").count() == 6
    until(page, "[...document.querySelectorAll('.near img')].every(one => one.complete && one.naturalWidth)")
    assert "Scale of P(mel)" in page.get_attribute(".scale-plot svg", "aria-label")
    assert page.locator("#result img").first.evaluate("one => one.naturalWidth") == 600


def test_the_answer_is_on_the_right_side_of_the_scale(page, world):
    for red in (230, 90):
        picture = world.train[0].astype(float) * [red / 160, 0.9, 0.9]
        send(page, _jpeg(picture.clip(0, 255).astype(np.uint8)))
        page.wait_for_timeout(300)
        if "Not classified" in title(page):
            continue
        side = float(page.get_attribute(".scale-plot .value", "cx").rstrip("%"))
        assert (side >= 50) is title(page).startswith("Called")


def _jpeg(rgb: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", **options)
    return stream.getvalue()


def test_maps_are_switched_and_faded_and_told_in_words(page, good):
    send(page, good)
    until(page, READY)
    assert "1 of 12 cells speak for melanoma, the strongest in the upper left" in page.inner_text("#map-says")
    page.focus("input[name=map][value=mel]")
    page.keyboard.press("ArrowRight")  # by keyboard: nv
    assert "melanocytic nevus, the strongest in the lower right" in page.inner_text("#map-says")
    page.check("input[name=map][value=df]")
    assert page.inner_text("#map-says") == "No cell speaks for dermatofibroma."
    page.check("input[name=map][value=why]")
    assert "melanoma rather than" in page.inner_text("#map-says") and "green: for melanoma" in page.inner_text("#stage")
    page.check("input[name=map][value='']")
    assert page.is_hidden("#stage canvas")
    assert page.inner_text("#stage .notice") == SANITY.warning, "beside every map, where the gate failed"
    page.eval_on_selector("#opacity", "one => { one.value = 0.4; one.dispatchEvent(new Event('input')); }")
    assert page.eval_on_selector("#stage canvas", "one => one.style.opacity") == "0.4"


def test_the_map_is_drawn_as_the_overlay_is(page, good):
    send(page, good)
    until(page, READY)
    size = page.eval_on_selector("#stage canvas", "one => [one.height, one.width]")
    drawn = page.eval_on_selector(
        "#stage canvas", "one => [...one.getContext('2d').getImageData(0, 0, one.width, one.height).data]"
    )
    rgba = np.array(drawn, dtype=float).reshape(*size, 4)
    grey = np.full((*size, 3), 128, dtype=np.uint8)
    alpha = rgba[..., 3:] / 255
    found = 128 * (1 - alpha) + rgba[..., :3] * alpha
    values = look(np.zeros((1, 2, 2, 3), np.uint8)).maps[0]
    expected = render_overlay(grey, values[4], scale=float(values.max())).astype(float)
    assert np.abs(found - expected).max() <= 3 and np.abs(expected - 128).max() > 40


def test_a_cat_is_told_so_and_not_classified(page, cat):
    send(page, cat, "chelsea.jpg")
    until(page, READY)
    assert title(page).startswith("Not classified") and "no sign that it is harmless" in page.inner_text("#result")
    assert "P(mel)" not in page.inner_text("#result") and page.locator("#result canvas, .near").count() == 0


@pytest.mark.parametrize(
    ("data", "name", "word"),
    [
        (b"only text", "notes.txt", "not read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "x.svg", "not read"),
        (b"\xff\xd8\xff\xe0 broken", "broken.jpg", "refused"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_to_do(page, good, data, name, word):
    send(page, good)
    until(page, READY)
    send(page, data, name)
    until(page, REFUSED)
    assert word in page.inner_text("#problem") and "Save it as JPEG or PNG" in page.inner_text("#problem")
    assert page.is_hidden("#result")  # an older answer does not stand beside the refusal


def test_a_huge_file_is_not_even_sent(page):
    before = len(page.heard.requests)
    send(page, b"\xff\xd8" + b"x" * (2 * 2**20))
    until(page, REFUSED)
    assert "larger than 2 MiB" in page.inner_text("#problem") and len(page.heard.requests) == before


def test_an_example_a_dropped_and_a_pasted_picture_are_answered(page, good):
    page.click("[data-example='0']")
    until(page, READY)
    handle = page.evaluate_handle(
        """bytes => { const all = new DataTransfer();
        all.items.add(new File([new Uint8Array(bytes)], "dropped.jpg", { type: "image/jpeg" })); return all; }""",
        list(good),
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": handle})
    until(page, "document.querySelector('#stage img')?.alt === 'The picture: dropped.jpg'")
    page.evaluate("all => dispatchEvent(new ClipboardEvent('paste', { clipboardData: all }))", handle)
    until(page, "document.querySelector('#stage img').alt === 'The picture: the pasted picture'")


def test_a_server_that_has_ended_is_told(page, good):
    page.route("**/answer", lambda route: route.abort())
    send(page, good)
    until(page, REFUSED)
    assert "gave no answer" in page.inner_text("#problem")
    page.heard.errors.clear()  # the browser's own word on the broken connection


def test_a_hundred_hostile_words_stay_words(page, world):
    """In the name of the file, in its EXIF and in its text; and the neighbours' ids are hostile too."""
    small = np.asarray(Image.fromarray(world.train[0]).resize((48, 36), Image.Resampling.BILINEAR))
    for number, word in enumerate(HOSTILE_WORDS):
        send(page, _with(small, word, number), f"{word}.jpg".replace("/", "∕"))
        until(page, f"document.querySelector('#stage img')?.alt.includes({ascii(word[:6]).replace('/', '∕')})")
    assert HOSTILE in page.inner_text(".near")
    assert page.locator("img[src=x], #result script, #result iframe, #result style, #result b").count() == 0
    assert page.evaluate("document.title").startswith("[phantom")


def _with(rgb: np.ndarray, word: str, number: int) -> bytes:
    exif, words, stream = Image.Exif(), PngInfo(), io.BytesIO()
    exif[0x010E] = exif[0x013B] = word.encode("ascii", "replace").decode()
    words.add_itxt("Comment", word)
    if number % 2:
        return _jpeg(rgb, quality=95, exif=exif, comment=word.encode())
    Image.fromarray(rgb).save(stream, "PNG", exif=exif, pnginfo=words)
    return stream.getvalue()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out(browser, served, good, cat, look, scheme):
    context = browser.new_context(viewport=look, color_scheme=scheme)
    window = context.new_page()
    window.goto(served.base)
    for data, ready in ((None, "true"), (good, READY), (cat, "document.querySelector('.unlike')"), (b"no", REFUSED)):
        if data is not None:
            send(window, data)
        until(window, ready)
        window.wait_for_timeout(50)
        assert serious_findings(window) == []
        assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_gallery_is_one_click_away(page):
    page.click("text=Gallery: which melanomas it misses")
    assert page.inner_text("h1") == "The gallery"


def test_without_script_the_reader_is_told(browser, served):
    context = browser.new_context(java_script_enabled=False)
    window = context.new_page()
    window.goto(served.base)
    assert "This page needs JavaScript" in window.inner_text("body")
    context.close()

"""Does the server answer for pictures alone, to its own page alone, and keep nothing?"""

from __future__ import annotations

import contextlib
import io
import json
import struct
import subprocess
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from melascope.app import running
from melascope.app.guards import is_known_host
from melascope.app.running import is_loopback, listening
from melascope.classes import CLASSES, RESEARCH_ONLY
from melascope.errors import MelascopeError
from served_page import serving

PATHS = ("/", "/app.js", "/app.css", "/examples/0.jpg", "/validation/0.jpg", "/gallery/", "/none", "/answer")


def test_a_picture_like_the_training_images_is_answered_in_full(served, good):
    reply = served.ask("POST", "/answer", good)
    answer = reply.json()
    found = answer["classified"]
    assert reply.status == 200 and answer["likeness"]["is_alike"] and answer["notice"] == RESEARCH_ONLY
    assert answer["image"] == {"width": 600, "height": 450}
    assert sum(found["probabilities"].values()) == pytest.approx(1) and len(found["top"]) == 3
    assert found["called"] is (found["p_target"] >= found["threshold"])
    assert set(found["maps"]["values"]) == set(CLASSES) and found["maps"]["values"]["mel"][0][0] == 1
    similarities = [one["similarity"] for one in found["neighbours"]]
    assert similarities == sorted(similarities, reverse=True) and len(similarities) == 6


def test_the_answer_is_the_same_each_time(served, good):
    assert served.ask("POST", "/answer", good).body == served.ask("POST", "/answer", good).body


def test_a_cat_text_a_blank_and_noise_are_told_so_and_not_classified(served, cat):
    rng = np.random.default_rng(0)
    blank = np.full((60, 80, 3), 255, np.uint8)
    text = blank.copy()
    text[10:50:4, 8:72:2] = 0
    noise = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for data in (cat, png(blank), png(text), png(noise)):
        answer = served.ask("POST", "/answer", data).json()
        assert answer["classified"] is None and answer["likeness"]["strangeness"] > answer["likeness"]["limit"]
        assert b"probabilit" not in json.dumps(answer).encode()


def png(rgb: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG", **options)
    return stream.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes that claims 60,000 × 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "status", "word"),
    [
        (b"", 415, "empty"),
        (b"not a picture", 415, "not read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", 415, "not read"),
        (b"%PDF-1.7", 415, "not read"),
        (bomb(), 422, "megapixels"),
        (png(np.zeros((20, 20, 4), np.uint8)), 422, "transparent"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_reason_and_what_to_do(served, data, status, word):
    reply = served.ask("POST", "/answer", data)
    assert reply.status == status and word in reply.json()["error"] and reply.json()["fix"]


def test_a_cut_picture_is_refused(served, good):
    reply = served.ask("POST", "/answer", good[: len(good) // 2])
    assert reply.status == 422 and "truncated" in reply.json()["error"]


def test_sixteen_bits_and_a_turned_picture_are_read_as_everywhere(served):
    deep = io.BytesIO()
    Image.fromarray(np.full((30, 40), 40_000, np.uint16)).save(deep, "PNG")
    assert served.ask("POST", "/answer", deep.getvalue()).status == 200
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = io.BytesIO()
    Image.new("RGB", (40, 20)).save(turned, "JPEG", exif=exif)
    assert served.ask("POST", "/answer", turned.getvalue()).json()["image"] == {"width": 20, "height": 40}


def test_too_many_bytes_are_refused_by_what_is_announced_and_by_what_comes(served):
    announced = served.ask("POST", "/answer", b"x", Content_Length=str(10**9))
    assert announced.status == 413 and "2 MiB" in announced.json()["error"]
    pieces = (b"x" * 2**16 for _ in range(40))  # chunked: 2.5 MiB, announced by nobody
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may hang up before all was sent
        assert served.ask("POST", "/answer", pieces).status == 413
    assert served.ask("POST", "/answer", b"x" * (2 * 2**20)).status == 415  # the largest that is looked at


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_carries_the_headers(served, path):
    headers = served.ask("GET", path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "unsafe" not in headers["content-security-policy"] and "server" not in headers
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer" and headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_no_page_of_the_framework_is_shown(served, path):
    assert served.ask("GET", path).status == 404


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:8765", True), ("localhost:1", True), ("[::1]:8765", True), ("10.1.2.3", True), ("mine:80", True),
        ("evil.example", False), ("127.0.0.1.evil.example", False), ("localhost.evil.example:8765", False),
        ("", False), ("[", False), ("a@127.0.0.1.nip.io", False),
    ],
)  # fmt: skip
def test_a_name_that_can_be_pointed_here_is_not_answered(served, host, known):
    assert is_known_host(host, {"localhost", "mine"}) is known
    if not known and host:
        assert served.ask("GET", "/", Host=host).status == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "SELF", "Sec_Fetch_Site": "same-origin"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
    ],
)
def test_another_page_cannot_send_pictures(served, good, headers, status):
    sent = {name: served.base if value == "SELF" else value for name, value in headers.items()}
    assert served.ask("POST", "/answer", good, **sent).status == status


@pytest.mark.parametrize(
    "path",
    [
        *("/gallery/../run.json", "/gallery/%2e%2e/run.json", "/gallery/..%2frun.json", "/gallery//etc/passwd"),
        *(
            "/gallery/" + "a" * 3000,
            "/gallery/%00",
            "/gallery/none.html",
            "/report/",
            "/validation/99.jpg",
            "/validation/-1.jpg",
        ),
        *("/examples/99.jpg", "/examples/-1.jpg"),
    ],
)
def test_nothing_beside_the_folders_is_shown(served, path):
    assert served.ask("GET", path).status in (404, 422)


def test_a_link_out_of_the_gallery_is_not_followed(served, world):
    link = world.answerer.run.gallery / "link.json"
    link.symlink_to(world.answerer.run.root / "run.json")
    assert served.ask("GET", "/gallery/link.json").status == 404


def test_the_gallery_comes_under_its_own_policy_and_a_foreign_page_may_do_nothing(served):
    ours, foreign = served.ask("GET", "/gallery/"), served.ask("GET", "/gallery/foreign.html")
    assert b"The gallery" in ours.body and "style-src 'sha256-abc'" in ours.headers["content-security-policy"]
    assert foreign.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_nothing_is_kept_unless_asked_for_and_then_pixels_alone(world, good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serving(world.answerer) as quiet:
        assert quiet.ask("POST", "/answer", good).status == 200
    assert list(tmp_path.iterdir()) == []
    exif, words = Image.Exif(), PngInfo()
    exif[0x010E] = "SECRET"
    words.add_text("Comment", "SECRET")
    data = png(world.train[1], exif=exif, pnginfo=words)
    assert b"SECRET" in data
    with serving(world.answerer, keep=tmp_path / "kept") as keeping:
        assert keeping.ask("POST", "/answer", data).status == 200
        assert b"are kept" in keeping.ask("GET", "/").body
    kept = sorted((tmp_path / "kept").iterdir())
    assert [one.suffix for one in kept] == [".json", ".png"] and kept[0].stem == kept[1].stem
    assert all(b"SECRET" not in one.read_bytes() for one in kept)
    np.testing.assert_array_equal(np.asarray(Image.open(kept[1])), world.train[1])


def test_the_page_tells_what_the_threshold_buys_whose_data_it_is_and_that_it_is_research(served):
    page = served.ask("GET", "/").body.decode()
    assert "phantom (synthetic images)" in page and RESEARCH_ONLY in page
    assert "finds 9 of 10 melanoma lesions" in page and "never judged on other images" in page


def test_an_address_in_use_is_told_before_anything_is_loaded(served):
    with pytest.raises(MelascopeError, match="cannot be listened on"):
        listening("127.0.0.1", served.port)


@pytest.mark.parametrize(
    ("host", "alone"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("a.b", False)]
)
def test_other_addresses_are_known_to_be_open(host, alone):
    assert is_loopback(host) is alone


def test_the_server_is_loaded_without_torch():
    program = (
        "import sys, melascope.app.server; print([m for m in sys.modules if m.split('.')[0] in ('torch', 'timm')])"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_the_address_is_printed_and_an_open_one_is_warned_of(world, monkeypatch, capsys, host, warned):
    served = {}
    monkeypatch.setattr(running.Answerer, "open", lambda *_, **__: world.answerer)
    quiet = SimpleNamespace(run=lambda sockets: served.update(port=sockets[0].getsockname()[1]))
    monkeypatch.setattr(running, "server_of", lambda _: quiet)
    said = []
    running.run_app(world.answerer.run, SimpleNamespace(say=said.append), host=host, port=0)
    assert capsys.readouterr().out == f"http://{host}:{served['port']}/\n"
    assert any("can be reached from other computers" in line for line in said) is warned

"""Does a release arrive whole over bad lines, and never anything else under its name? Against a local server."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from melascope.data import download
from melascope.data.download import HAM10000_FILES, ReleaseFile, by_hand, fetch_ham10000
from melascope.errors import DownloadError, OutputError

CONTENT = {"1?format=original": b"lesion_id,image_id,dx\n" * 200, "2": bytes(range(256)) * 2000}


def files(**changes: str) -> tuple[ReleaseFile, ...]:
    return tuple(
        ReleaseFile(f"file_{id_[0]}", id_, len(data), changes.get(id_[0], hashlib.md5(data).hexdigest()))
        for id_, data in CONTENT.items()
    )


class Server(ThreadingHTTPServer):
    """Serves `CONTENT` under its ids; `mode` says how badly."""

    mode = "good"
    requests: list[tuple[str, str | None]]
    allow_reuse_address = True
    daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_args) -> None:
        pass

    def do_GET(self) -> None:
        server, name = self.server, self.path.lstrip("/")
        server.requests.append((name, self.headers.get("Range")))
        if server.mode == "redirect" and not name.startswith("stored/"):
            self.send_response(303)
            self.send_header("Location", f"/stored/{name}")
            self.end_headers()
            return
        data, begin = CONTENT[name.removeprefix("stored/")], 0
        if server.mode == "busy once" and len(server.requests) == 1:
            self.send_error(503)
            return
        if server.mode == "forbidden":
            self.send_error(403)
            return
        if server.mode == "other bytes":
            data = bytes(len(data))
        if server.mode == "a page":
            data = b"<html>log in</html>"
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked and server.mode != "no ranges":
            begin = int(asked[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        if server.mode != "endless":
            self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        body = data[begin:]
        if (server.mode == "breaks" and len(body) > 60_000) or (
            server.mode == "no ranges" and len(server.requests) == 2
        ):
            body = body[: 1 + len(body) // 3]
        if server.mode == "dead":
            body = b""
        try:
            self.wfile.write(body)
            while server.mode == "endless":
                self.wfile.write(body)
        except OSError:
            pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "HAM10000_FILES", files())
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    server = Server(("127.0.0.1", 0), Handler)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def fetched(folder: Path) -> list[bytes]:
    return [(folder / file.name).read_bytes() for file in files()]


@pytest.mark.parametrize("mode", ["good", "redirect", "busy once", "breaks", "no ranges"])
def test_the_release_arrives_whole(server, tmp_path, mode):
    server.mode = mode
    seen = []
    assert fetch_ham10000(tmp_path / "new", base_url=server.url, progress=lambda *n: seen.append(n)) == tmp_path / "new"
    assert fetched(tmp_path / "new") == list(CONTENT.values())
    total = sum(map(len, CONTENT.values()))
    assert seen[-1] == (total, total) and all(here <= total for here, _ in seen)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["file_1", "file_2"]


def test_a_second_call_downloads_nothing(server, tmp_path):
    fetch_ham10000(tmp_path, base_url=server.url)
    server.requests.clear()
    fetch_ham10000(tmp_path, base_url=server.url)
    assert server.requests == []


def test_a_later_call_goes_on_with_the_part_file(server, tmp_path):
    (tmp_path / "file_2.part").write_bytes(CONTENT["2"][:1000])
    fetch_ham10000(tmp_path, base_url=server.url, only=["file_2"])
    assert server.requests == [("2", "bytes=1000-")]
    assert (tmp_path / "file_2").read_bytes() == CONTENT["2"]


def test_a_whole_part_file_needs_no_server(server, tmp_path):
    (tmp_path / "file_2.part").write_bytes(CONTENT["2"])
    fetch_ham10000(tmp_path, base_url=server.url, only=["file_2"])
    assert server.requests == [] and (tmp_path / "file_2").exists()


def test_an_interrupted_download_keeps_what_it_has(server, tmp_path):
    def interrupt(here: int, _total: int) -> None:
        if here > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_ham10000(tmp_path, base_url=server.url, only=["file_2"], progress=interrupt)
    assert not (tmp_path / "file_2").exists() and (tmp_path / "file_2.part").stat().st_size > 100_000
    fetch_ham10000(tmp_path, base_url=server.url, only=["file_2"])
    assert server.requests[-1][1] is not None and (tmp_path / "file_2").read_bytes() == CONTENT["2"]


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("other bytes", "its MD5 differs"),
        ("a page", "it has 19 bytes"),
        ("endless", "it has more bytes"),
        ("dead", "broke again and again"),
        ("forbidden", "the server says 403"),
    ],
)
def test_what_is_not_the_release_is_refused_and_not_kept(server, tmp_path, mode, says):
    server.mode = mode
    with pytest.raises(DownloadError, match=says) as caught:
        fetch_ham10000(tmp_path, base_url=server.url)
    assert not (tmp_path / "file_1").exists()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0
    assert "melascope data validate" in caught.value.fix and "doi.org/10.7910/DVN/DBW86T" in caught.value.fix
    server.mode = "good"
    fetch_ham10000(tmp_path, base_url=server.url)
    assert fetched(tmp_path) == list(CONTENT.values())


def test_damage_inside_a_part_file_is_found(server, tmp_path):
    (tmp_path / "file_2.part").write_bytes(b"?" * 1000)
    with pytest.raises(DownloadError, match="MD5"):
        fetch_ham10000(tmp_path, base_url=server.url, only=["file_2"])
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_file_of_that_name_is_left_alone(server, tmp_path):
    (tmp_path / "file_1").write_bytes(b"mine")
    with pytest.raises(DownloadError, match="not the published one"):
        fetch_ham10000(tmp_path, base_url=server.url)
    assert (tmp_path / "file_1").read_bytes() == b"mine"


def test_without_a_network_it_says_what_to_do_by_hand(server, tmp_path):
    (tmp_path / "file_1").write_bytes(CONTENT["1?format=original"])
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError) as caught:
        fetch_ham10000(tmp_path, base_url="http://127.0.0.1:9")
    text = str(caught.value)
    assert "there is no connection" in text and "https://doi.org/10.7910/DVN/DBW86T" in text
    assert "file_2" in text and "file_1  (" not in text  # what is here already need not be fetched
    assert f"put them into {tmp_path}" in text and f"melascope data validate {tmp_path}" in text


def test_an_unknown_name_and_a_full_disk_are_told_before_anything_is_fetched(server, tmp_path, monkeypatch):
    with pytest.raises(DownloadError, match="no file nothing"):
        fetch_ham10000(tmp_path, base_url=server.url, only=["nothing.zip"])
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: type("Disk", (), {"free": 10})())
    with pytest.raises(OutputError, match="GiB free"):
        fetch_ham10000(tmp_path, base_url=server.url)
    assert server.requests == []


def test_the_published_files_are_written_down_alike_here_and_in_the_document():
    document = (Path(__file__).parents[2] / "docs/formats.md").read_text()
    for file in HAM10000_FILES:
        row = next(line for line in document.splitlines() if line.startswith(f"| `{file.name}`"))
        assert file.md5 in row and f"{file.size:,}" in row and file.file_id.split("?")[0] in row
    assert len(by_hand(Path("nowhere")).splitlines()) == 7

"""How long from choosing a picture to its answer on the local page, in a browser, and how much of that is the model?

    python benchmarks/app_speed.py RUN [--images FOLDER_OR_ZIP] [--repeats 20] [--threads 2]

Pictures are sent one after another through the page itself (Chromium): from the file's choice until the answer stands
on the page with its map drawn and all thumbnails there. Beside it: the same pictures asked over HTTP without a browser,
and decoded and answered without a server.
"""

from __future__ import annotations

import argparse
import http.client
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SHOWN = (
    "!document.getElementById('result').hidden && document.querySelector('#stage canvas, .unlike') && "
    "[...document.querySelectorAll('#result img')].every(one => one.complete)"
)


def pictures(place: Path | None, n: int) -> list[bytes]:
    """JPEG files of a zip or folder; phantom images where none is named."""
    if place is None:
        from melascope.data.sources.phantom.lesions import images
        from melascope.data.sources.phantom.render import encode, render

        return [encode(*render(77, image, lesion))[0] for image, lesion in images(77, n)]
    if place.is_dir():
        return [path.read_bytes() for path in sorted(place.glob("*.jpg"))[:n]]
    import zipfile

    with zipfile.ZipFile(place) as archive:
        return [archive.read(name) for name in sorted(archive.namelist()) if name.endswith(".jpg")][:n]


def told(name: str, seconds: list[float]) -> None:
    low, high = np.percentile(seconds, [5, 95])
    print(f"{name:34s} median {1000 * np.median(seconds):6.0f} ms, 5 to 95 %: {1000 * low:.0f} to {1000 * high:.0f} ms")


def timed(act: Callable[[bytes], None], files: list[bytes]) -> list[float]:
    act(files[0])  # the first is not counted
    seconds = []
    for data in files:
        start = time.perf_counter()
        act(data)
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # before torch is loaded

    from melascope.app.running import listening, server_of
    from melascope.app.server import create_app
    from melascope.data.decode import decode_image
    from melascope.stages.answering import Answerer
    from melascope.stages.reporting import Reporter
    from melascope.tables.runs import RunDirectory

    files = pictures(arguments.images, arguments.repeats)
    start = time.perf_counter()
    answerer = Answerer.open(RunDirectory.open(arguments.run), Reporter())
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"loaded in {time.perf_counter() - start:.1f} s; {answerer.looker.engine}, {arguments.threads} threads")
    cpu = time.process_time()
    told("decode and answer", timed(lambda data: answerer.answer(decode_image(data, name="")), files))
    print(f"{'':34s} processor time {1000 * (time.process_time() - cpu) / (len(files) + 1):.0f} ms each")
    listener = listening("127.0.0.1", 0)
    port, server = listener.getsockname()[1], server_of(create_app(answerer))
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()

    def post(data: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/answer", data)
        connection.getresponse().read()

    told("over HTTP", timed(post, files))
    told("in the browser, until all is shown", in_browser(port, files))
    server.should_exit = True


def in_browser(port: int, files: list[bytes]) -> list[float]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or sys.exit("no Chromium here")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")

        def send(data: bytes) -> None:
            page.evaluate("document.getElementById('result').hidden = true")
            page.set_input_files("#file", {"name": "one.jpg", "mimeType": "image/jpeg", "buffer": data})
            while not page.evaluate(SHOWN):
                time.sleep(0.005)

        seconds = timed(send, files)
        browser.close()
    return seconds


if __name__ == "__main__":
    main()

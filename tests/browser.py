"""A real browser for tests of pages: the machine's Chromium, without network."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: apt-get install chromium")


@dataclass
class Heard:
    """What a page said to the console and asked of the network."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


@contextmanager
def chromium() -> Iterator:
    """A browser of Playwright's."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def listen(page) -> Heard:
    """Note errors, requests and alerts of a page from now on."""
    heard = Heard()
    page.on("pageerror", lambda error: heard.errors.append(str(error)))
    page.on("console", lambda message: heard.errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: heard.requests.append(request.url))

    def dismiss(dialog) -> None:
        heard.dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    return heard


def until(page, expression: str, seconds: float = 15) -> None:
    """Wait for a JavaScript expression to become true; asked from outside, so the page's policy may forbid `eval`."""
    end = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({expression})"):
        assert time.monotonic() < end, f"still not true: {expression}"
        page.wait_for_timeout(30)


def serious_findings(page) -> list[str]:
    """What axe-core calls serious or critical on the page as it stands."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']} ({node['html'][:120]})"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]

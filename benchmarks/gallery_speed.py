"""How long does a gallery of 10,000 cases take to write, and how long until a reader can use it?

Run: `python benchmarks/gallery_speed.py [--cases 10000]`. Images and masks are the phantom's, 600×450; their maps and
logits are random, since forward passes are not what is measured. With Chromium at hand the page is opened, too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from melascope.classes import CLASSES
from melascope.data.sources import read_dataset
from melascope.data.sources.phantom import write_phantom
from melascope.evaluation.operating_point import choose_operating_point
from melascope.gallery.facts import gallery_facts
from melascope.gallery.gathering import build_cases, workers_for
from melascope.gallery.render import write_gallery
from melascope.gallery.selection import EVERY, select_cases
from melascope.tables.lesions import LesionTable
from melascope.tables.maps import MapStore
from melascope.tables.predictions import Predictions, PredictionsOrigin

PICTURES = 60


def repeated(table: LesionTable, n: int) -> LesionTable:
    """`n` images under their own names, about four of three lesions; the files behind them repeat."""
    rows = table.subset(np.arange(n) % len(table))
    numbers = np.arange(n)
    return replace(
        rows,
        image_id=np.array([f"ISIC_{number:07d}" for number in numbers], dtype=object),
        lesion_id=np.array([f"HAM_{number * 3 // 4:07d}" for number in numbers], dtype=object),
        dx=rows.dx[numbers * 3 // 4],  # one truth a lesion
    )


def answers(table: LesionTable, seed: int) -> tuple[Predictions, MapStore]:
    """Plausible logits with maps of 7×7 cells that add up to them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (len(table), 7))
    logits[np.arange(len(table)), [CLASSES.index(dx) for dx in table.dx]] += 2
    lesion = np.arange(len(table)) * 3 // 4
    split = np.where(rng.random(len(table))[lesion] < 0.1, "val", "test").astype(object)
    facts = {
        name: getattr(table, name) for name in ("image_id", "lesion_id", "dx", "age", "sex", "localization", "dx_type")
    }
    maps = rng.normal(0, 0.1, (len(table), 7, 7, 7)) + logits[:, :, None, None] / 49
    store = MapStore(table.image_id, logits.astype(np.float32), maps.astype(np.float32), "gradcam", "bn2", 224, 224, "")
    return Predictions(split=split, logits=logits, origin=PredictionsOrigin(source="phantom"), **facts), store


def opened(page: Path) -> list[tuple[str, float]]:
    """Seconds until the first cards stand on the page, and until a filter, a sort and a search are answered."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        window = browser.new_page()
        window.goto("about:blank")
        start = time.perf_counter()
        window.goto(page.as_uri(), wait_until="commit")
        window.wait_for_selector("article")
        found = [("opened, first cards drawn", time.perf_counter() - start)]
        for name, script in (
            ("filter", "set('dx', 'mel')"),
            ("sort", "set('sort', 'p_mel')"),
            ("search", "set('search', '00012')"),
            ("all again", "reset()"),
            ("contact sheet", "set('view', 'tiles')"),
        ):
            found.append(
                (
                    name,
                    window.evaluate(
                        f"(() => {{ const t = performance.now(); {script}; return performance.now() - t; }})()"
                    )
                    / 1000,
                )
            )
        browser.close()
    return found


def processor_time() -> float:
    """Seconds that this process and its ended children have worked."""
    return sum(os.times()[:4])


def main() -> None:
    """Time writing, and opening if a browser is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = write_phantom(Path(folder) / "phantom", n_images=PICTURES, seed=1)
        table = repeated(read_dataset(root), options.cases)
        predictions, maps = answers(table, seed=2)
        point = choose_operating_point(predictions.of_split("val"), rule="empirical")
        selections = select_cases(predictions, point, image_ids=list(predictions.image_id))
        workers = workers_for(options.cases)
        start, busy = time.perf_counter(), processor_time()
        cases = build_cases(selections, predictions, point, maps, table, workers=workers)
        built = time.perf_counter()
        facts = gallery_facts(predictions, point, maps, table, run="benchmark")
        cases = [replace(case, reasons=(EVERY,)) for case in cases]
        page = write_gallery(cases, Path(folder) / "gallery", facts=facts, workers=workers)
        end, used = time.perf_counter(), processor_time() - busy
        print(
            f"{options.cases:,} cases: gathered {built - start:.1f} s, written {end - built:.1f} s by the clock; "
            f"{used:.1f} s of processor time, {1000 * used / options.cases:.1f} ms a case"
        )
        print(f"index.html: {page.stat().st_size / 2**20:.1f} MiB")
        if shutil.which("chromium"):
            for name, seconds in opened(page):
                print(f"{name}: {seconds:.2f} s")


if __name__ == "__main__":
    main()

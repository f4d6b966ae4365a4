"""Killed again and again, does batch scoring still give every input exactly once, as a result or as a reason?

python benchmarks/kill_predict.py GRAPH.onnx [--files 10000] [--bad 0.05] [--kills 20] [--engine ray]

Draws 200 phantom images, links each under many names, makes a share of the files bad (truncated, empty, text, another
format, a broken header), then starts `melascope predict GRAPH FOLDER --out OUT` and kills it with SIGKILL at a time
drawn at random, until it has been killed so often; the last start runs to its end. Checked against the folder: every
file stands in the parts once; refused are the bad ones and no other; logits are those of a run that nobody disturbed.
Told of that run, which always has the plain engine: time by the clock, processor time, peak memory.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds

from melascope.data.sources.phantom import write_phantom


def bad_bytes(kind: int, good: bytes) -> bytes:
    """One of five ways to be no image."""
    return (good[: len(good) // 2], b"", b"a text, no image", b"GIF89a" + good[6:], b"\xff\xd8" + good[40:])[kind % 5]


def draw(folder: Path, files: int, bad: float) -> set[str]:
    """Write `files` files; returns the names of the bad ones."""
    write_phantom(folder / "phantom", n_images=200, seed=0)
    pictures = sorted((folder / "phantom").rglob("ISIC_*.jpg")) or sorted((folder / "phantom").rglob("*.jpg"))
    photos = folder / "photos"
    broken = set(random.Random(0).sample(range(files), round(bad * files)))
    names = set()
    for number in range(files):
        path = photos / f"{number // 1000:02d}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = pictures[number % len(pictures)]
        if number in broken:
            path.write_bytes(bad_bytes(number, picture.read_bytes()))
            names.add(str(path))
        else:
            os.link(picture, path)
    return names


def command(graph: Path, folder: Path, out: Path, engine: str = "auto") -> list[str]:
    program = "from melascope.cli import main; main()"
    photos = str(folder / "photos")
    return [sys.executable, "-c", program, "predict", str(graph), photos, "--out", str(out), "--engine", engine]


def undisturbed(words: list[str], files: int) -> float:
    """Seconds that a start takes which nobody kills."""
    began = time.monotonic()
    started = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(started.pid, 0)
    assert status == 0, words
    whole, processor = time.monotonic() - began, usage.ru_utime + usage.ru_stime
    print(
        f"undisturbed: {files} files in {whole:.0f} s, {processor:.0f} s of processor time "
        f"({1000 * processor / files:.1f} ms a file), peak {usage.ru_maxrss / 1024:.0f} MiB",
        flush=True,
    )
    return whole


def rows_of(out: Path) -> dict[str, tuple]:
    table = ds.dataset(sorted(out.glob("part-*.parquet"))).to_table().to_pydict()
    logits = np.array([table[name] for name in table if name.startswith("logit_")], dtype=float).T
    rows = list(zip(table["input"], table["refused"], logits.tolist(), strict=True))
    found = {name: (refused, one) for name, refused, one in rows}
    assert len(found) == len(rows), "an input stands twice"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--bad", type=float, default=0.05)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--engine", default="auto", help="of the starts that are killed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bad = draw(folder, options.files, options.bad)
        whole = undisturbed(command(options.graph, folder, folder / "calm"), options.files)
        dice, kills = random.Random(1), 0
        while kills < options.kills:
            started = subprocess.Popen(
                command(options.graph, folder, folder / "killed", options.engine),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                started.wait(dice.uniform(2, 2 + 3 * whole / options.kills))
            except subprocess.TimeoutExpired:
                started.send_signal(signal.SIGKILL)
                started.wait()
                kills += 1
                continue
            shutil.rmtree(folder / "killed")  # it was done before all kills were spent: begin anew
            print(f"begun anew after {kills} kills", flush=True)
        last = command(options.graph, folder, folder / "killed", options.engine)
        subprocess.run(last, check=True, capture_output=True)
        calm, killed = rows_of(folder / "calm"), rows_of(folder / "killed")
        wanted = {str(path) for path in (folder / "photos").rglob("*.jpg")}
        assert set(killed) == wanted == set(calm), "an input is missing"
        assert {name for name, (refused, _) in killed.items() if refused} == bad, "another input was refused"
        same = sum(str(calm[one]) == str(killed[one]) for one in wanted)
        print(
            f"{options.kills} kills: {len(killed)} inputs, each once; {len(bad)} refused, which are the bad ones; "
            f"{same} rows as in the undisturbed run, bit by bit"
        )


if __name__ == "__main__":
    main()

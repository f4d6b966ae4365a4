"""Workers killed again and again, then the command itself: are the parts still those of one undisturbed process?

python benchmarks/kill_ray.py GRAPH.onnx FOLDER [--part-rows 16] [--workers-killed 6] [--kills 2]

Scores FOLDER with the plain engine; then on a Ray cluster of this machine with two workers, one of which is killed
with SIGKILL whenever a few more parts are done; each so many parts the command itself is killed instead, and started
again. Checked: the parts are those of the plain engine, byte by byte, and no process of a killed command is left.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from melascope.data.inputs import Source
from melascope.stages.batch_scoring import score_inputs
from melascope.stages.engines import open_engine
from melascope.stages.reporting import Reporter

PROGRAM = """
import sys
from pathlib import Path
from melascope.data.inputs import Source
from melascope.stages import ray_scoring
from melascope.stages.reporting import Reporter
ray_scoring.cores = lambda: 2
graph, folder, out, rows = sys.argv[1:]
ray_scoring.score_inputs_on_ray(Path(graph), Source.of(folder), Path(out), Reporter(), part_rows=int(rows))
"""


def descendants(process: int) -> dict[int, str]:
    """Names of all processes below one, by id."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        try:
            stat = (entry / "stat").read_text() if entry.name.isdecimal() else ""
            name = (entry / "cmdline").read_bytes().decode(errors="replace") if stat else ""
        except OSError:
            continue
        if stat:
            parents[int(entry.name)], names[int(entry.name)] = int(stat.rpartition(")")[2].split()[1]), name
    found, last = {}, {process}
    while last:
        last = {one for one, parent in parents.items() if parent in last}
        found |= {one: names[one] for one in last}
    return found


def parts_in(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("part-*.parquet")}


def victims(started: subprocess.Popen, out: Path, parts: int) -> tuple[list[int], list[int]]:
    """Workers that make a part, as soon as so many others are done, and all processes of the command."""
    while started.poll() is None:
        below = descendants(started.pid)
        workers = [process for process, title in below.items() if title.startswith("ray::_made")]
        if workers and len(list(out.glob("part-*.parquet"))) >= parts:
            return workers, list(below)
        time.sleep(0.05)
    raise SystemExit("it was done before this kill")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part-rows", type=int, default=16)
    parser.add_argument("--workers-killed", type=int, default=6)
    parser.add_argument("--kills", type=int, default=2)
    options = parser.parse_args()
    dice = random.Random(0)
    whom = ["worker"] * options.workers_killed + ["command"] * options.kills
    dice.shuffle(whom)
    with tempfile.TemporaryDirectory() as name:
        plain, out = Path(name, "plain"), Path(name, "ray")
        source, silent = Source.of(str(options.folder)), Reporter.silent()
        score_inputs(open_engine(options.graph, threads=1), source, plain, silent, part_rows=options.part_rows)
        wanted = parts_in(plain)
        words = [sys.executable, "-c", PROGRAM, str(options.graph), source.text, str(out), str(options.part_rows)]
        started, killed = subprocess.Popen(words, stderr=subprocess.DEVNULL), []
        for number, one in enumerate(whom, start=1):
            workers, below = victims(started, out, number * len(wanted) // (len(whom) + 1))
            os.kill(dice.choice(workers) if one == "worker" else started.pid, signal.SIGKILL)
            killed.append(one)
            if one == "command":
                started.wait()
                time.sleep(10)
                left = [process for process in below if Path(f"/proc/{process}").exists()]
                print(f"command killed: {len(left)} of its {len(below)} processes left after 10 s", flush=True)
                started = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        assert started.wait() == 0
        assert parts_in(out) == wanted, "parts differ from those of the plain engine"
        print(
            f"{killed.count('worker')} workers and {killed.count('command')} commands killed: "
            f"{len(wanted)} parts, byte by byte those of the plain engine"
        )


if __name__ == "__main__":
    main()

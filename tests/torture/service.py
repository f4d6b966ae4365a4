"""Does the service hold at full size? Each row of the hardening table that is the service's, measured.

    python tests/torture/service.py all --full                   # every row; about 20 minutes on two quiet cores
    python tests/torture/service.py overload --full --run RUN    # 64 clients, 60 s, on a run of one's own
    python tests/torture/service.py slow|soak|openapi|privacy|paths [--full]

Without --run it serves a run with a tiny graph, drawn for the purpose. The exit code is 1 where a row does not hold.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from melascope.data.decode import decode_image
from melascope.stages.answering import Answerer
from melascope.stages.reporting import Reporter
from melascope.tables.runs import RunDirectory
from running_service import service_process, serving_service
from served_page import as_bytes
from tiny_run import pictures, write_tiny_run
from torture import service_load, service_words

SEED = 11
NOISE = np.random.default_rng(SEED).integers(0, 256, (90, 120, 3), dtype=np.uint8)


class Bench:
    """A run, pictures to send it, and a folder of its own."""

    def __init__(self, run: Path | None, images: Path | None, folder: Path, full: bool) -> None:
        self.folder, self.full = folder, full
        self.run = run or write_tiny_run(folder / "run").root
        files = sorted(images.glob("*.jpg"))[:16] if images else []
        self.drawn = [decode_image(path.read_bytes(), name=str(path)) for path in files] or pictures()[:13]
        self.bodies = [path.read_bytes() for path in files] or [as_bytes(rgb) for rgb in self.drawn]

    def size(self, full: int, small: int) -> int:
        return full if self.full else small

    def process(self, *options: str):
        return service_process(self.run, self.folder, *options)

    def overload(self) -> list[str]:
        asked = [("/v1/predict", body) for body in self.bodies] + [("/v1/explain?format=jpeg", self.bodies[0])]
        with self.process("--no-log") as process:
            found = service_load.overload(
                process.port, asked, clients=self.size(64, 16), seconds=self.size(60, 5), deadline=10, pause=0.05
            )
        print(f"overload: {found}")
        return found.failures()

    def slow(self) -> list[str]:
        with self.process("--no-log") as process:
            found = service_load.slow_senders(process.port, self.bodies[0], sockets=self.size(200, 16))
        print(f"slow senders: {found}")
        return found.failures()

    def soak(self) -> list[str]:
        asked = [("POST", "/v1/predict", body) for body in self.bodies[:4]]
        asked += [("POST", "/v1/explain", self.bodies[0]), ("POST", "/v1/explain?format=jpeg", self.bodies[1])]
        asked += [("POST", "/v1/predict", as_bytes(NOISE, "PNG")), ("POST", "/v1/predict", self.bodies[0][:2000])]
        asked += [("POST", "/v1/predict", b"no picture"), ("GET", "/health", b""), ("GET", "/metrics", b"")]
        with self.process("--no-log") as process:
            found = service_load.soak(process.port, process.pid, asked, n=self.size(50_000, 2000))
        print(f"soak: {found}")
        return found.failures()

    def openapi(self) -> list[str]:
        failures, key = [], "k" * 32
        for name, options, given in (("open", (), ""), ("with a key", ("--api-key-file", str(self._keys(key))), key)):
            with self.process("--no-log", *options) as process:
                code, said = service_words.against_openapi(process.port, examples=self.size(300, 10), key=given)
            summary = said[said.find("Test cases:") :].strip() or said
            print(f"schemathesis, {name}: exit code {code}; {' '.join(summary.split())}")
            failures += [f"{name}: {said}"] if code else []
        return failures

    def _keys(self, key: str) -> Path:
        path = self.folder / "keys"
        path.write_text(key)
        return path

    def privacy(self) -> list[str]:
        from served_page import Served

        n = self.size(100, 9)
        with self.process() as process:  # with its log
            found = service_words.privacy(Served(process.port), self.drawn, [self.folder], n=n)
            lines = process.said.read_text().count("\n")
        print(f"privacy: {n} pictures, each asked 14 times; {lines} lines of log, {len(found)} findings")
        return found

    def paths(self) -> list[str]:
        answerer, n = Answerer.open(RunDirectory.open(self.run), Reporter()), self.size(200, 40)
        with serving_service(answerer) as served:
            found = service_words.hostile_paths(served, self.bodies[0], n=n)
        print(f"paths: {n} names in 7 places each; {len(found)} findings")
        return found


ROWS: dict[str, Callable[[Bench], list[str]]] = {
    "overload": Bench.overload,
    "slow": Bench.slow,
    "soak": Bench.soak,
    "openapi": Bench.openapi,
    "privacy": Bench.privacy,
    "paths": Bench.paths,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=[*ROWS, "all"])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--images", type=Path, help="folder of .jpg to send; phantom pictures if left out")
    arguments = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments.run, arguments.images, Path(folder), arguments.full)
        for row in ROWS if arguments.row == "all" else [arguments.row]:
            start = time.perf_counter()
            failures = ROWS[row](bench)
            failed += failures
            verdict = "holds" if not failures else "DOES NOT HOLD: " + "; ".join(failures[:5])
            took = time.perf_counter() - start
            print(
                f"  {row} {verdict} ({took:.0f} s, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f})", flush=True
            )
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()

"""Do files hold at full size? Each row of the hardening table that is about files, measured.

    python tests/torture/files.py all --full        # every row; about 20 minutes on two cores that others use too
    python tests/torture/files.py pictures|formats|tables|hostile|paths|privacy|formulas [--full]

The exit code is 1 where a row does not hold. The service's rows: service.py.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(1, str(Path(__file__).parents[1] / "data"))

from melascope.tables.runs import RunDirectory


@cache
def _drawn_run() -> tuple[tempfile.TemporaryDirectory, Path]:
    from tiny_run import write_tiny_run

    place = tempfile.TemporaryDirectory()
    return place, write_tiny_run(Path(place.name) / "run").root


def tiny_run(folder: Path) -> Path:
    """A copy of a run with a tiny graph, which is drawn once."""
    return Path(shutil.copytree(_drawn_run()[1], folder / "run"))


def pictures(folder: Path, full: bool) -> list[str]:
    from torture import costly_pictures, pictures, predicted

    found = pictures.mutations(100_000 if full else 200, chunk=500 if full else 100)
    print(f"spoilt pictures: {found}")
    for reason, count in found.refused.most_common(12):
        print(f"    {count:6,} × {reason}")
    heavy, lines = pictures.heavy(costly_pictures.costly(full))
    print(f"costly pictures: {heavy}", *lines, sep="\n    ")
    said, failures = predicted.through_predict(folder, 2000 if full else 40, tiny_run(folder))
    print(f"through predict: {said}")
    return [*found.failures(), *heavy.failures(), *failures]


def hostile(folder: Path, full: bool) -> list[str]:
    from torture import hostile_files, hostile_graphs

    lines, failures = hostile_files.opened(
        folder, (*hostile_files.FAMILIES, *hostile_graphs.FAMILIES), every=1 if full else 4
    )
    print(f"hostile files: {len(lines)} opened", *(lines if full else []), sep="\n    ")
    return failures


def tables(folder: Path, full: bool) -> list[str]:
    from torture import tables

    found = tables.mutations(folder, 5000 if full else 144)
    print(f"spoilt tables and recipes: {found}")
    for kind in sorted({*found.read, *found.refused}):
        print(f"    {kind}: {found.read[kind]} read, {found.refused[kind]} refused")
    return found.faults


def formats(folder: Path, full: bool) -> list[str]:
    from torture import formats

    said, failures = formats.table()
    print(f"formats: {said}")
    return failures


def formulas(folder: Path, full: bool) -> list[str]:
    from torture import formulas

    said, failures = formulas.neutralised(folder, 100 if full else 33)
    print(f"formulas: {said}")
    return failures


def paths(folder: Path, full: bool) -> list[str]:
    from torture import paths

    said, failures = paths.hostile_paths(folder / "data", 200 if full else 9, RunDirectory(tiny_run(folder)))
    print(f"paths: {said}")
    return failures


def privacy(folder: Path, full: bool) -> list[str]:
    from tiny_run import pictures
    from torture import privacy

    run = RunDirectory(tiny_run(folder))
    said, failures = privacy.canaries(folder, pictures()[:13], 100 if full else 3, run)
    print(f"privacy: {said}")
    return failures


ROWS: dict[str, Callable[[Path, bool], list[str]]] = {
    one.__name__: one for one in (pictures, formats, tables, hostile, formulas, paths, privacy)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=[*ROWS, "all"])
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    failed = []
    for row in ROWS if arguments.row == "all" else [arguments.row]:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            failures = ROWS[row](Path(folder), arguments.full)
        failed += failures
        verdict = "holds" if not failures else f"DOES NOT HOLD: {len(failures)}: " + "; ".join(failures[:5])
        took = time.perf_counter() - start
        print(f"  {row} {verdict} ({took:.0f} s, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f})", flush=True)
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()

"""The whole main job in one sitting: the real release where it is at hand, else a phantom drawn for the purpose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from melascope.config import read_recipe
from melascope.data.sources.ham10000 import find_metadata
from melascope.data.sources.phantom import write_phantom
from melascope.data.split import make_split
from melascope.files import make_folder
from melascope.stages.auditing import audit_run
from melascope.stages.data import read_validated
from melascope.stages.reporting import Reporter
from melascope.stages.training import start_run, train_run
from melascope.stages.writing_report import report_run
from melascope.tables.runs import RunDirectory

TESTED = 4
"""Notes that the demo tests by hiding parts of the picture: it shall end within five minutes."""


@dataclass(frozen=True)
class DemoResult:
    """Where the demo's run directory, its gallery's first page and its report lie."""

    run: Path
    page: Path
    report: Path


def run_demo(out: Path, *, data: Path, recipe: Path, reporter: Reporter, images: int = 1200) -> DemoResult:
    """Data → split → training → predictions → operating point → evaluation → maps → gallery → report.

    Parameters
    ----------
    out : folder for the phantom, the split and the run
    data : a HAM10000 release, used if its metadata is there
    images : of the phantom that is drawn otherwise
    """
    make_folder(out)
    place = data if data.is_dir() and find_metadata(data) else out / "phantom"
    if place != data:
        reporter.say(f"no release in {data}: drawing a phantom (synthetic images) instead")
        with reporter.bar("drawing phantom images") as advance:
            write_phantom(place, n_images=images, seed=1, progress=advance)
    _next(reporter, f"melascope data split {place} --out {out / 'split.csv'}")
    split = make_split(read_validated(place, None, None, reporter), seed=1).write(out / "split.csv")
    _next(reporter, f"melascope train {recipe} --data {place} --split {split} --runs {out / 'runs'}")
    run: RunDirectory = start_run(read_recipe(recipe), data=place, split=split, runs=out / "runs")
    train_run(run, reporter, fresh=True)
    _next(reporter, f"melascope evaluate {run.root}")
    _next(reporter, f"melascope gallery {run.root}")
    page = audit_run(run, reporter, most_tests=TESTED)
    _next(reporter, f"melascope report {run.root}")
    return DemoResult(run.root, page, report_run(run.root).page)


def _next(reporter: Reporter, command: str) -> None:
    """What the demo does now, as the command that does it alone."""
    reporter.say(f"next: {command}")

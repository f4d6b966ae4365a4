"""`melascope explain RUN --test`: what are the maps of a run worth?"""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from melascope.cli.flags import next_command, torch_needed
from melascope.stages.reporting import Reporter

GATE_FAILED = 3
"""Exit code where the sanity gate fails: nothing went wrong, but the maps say nothing of the model."""


def show_map_tests(run: Path, out: Path | None, *, split: str, images: int, method: str, segmenter: str) -> None:
    """Test the maps of a run on held-out images, draw, print, and fail where the gate fails."""
    with torch_needed():
        from melascope.stages.map_tests import finish, run_map_tests
    from melascope.report.map_test_plot import save_map_tests
    from melascope.report.map_test_text import print_map_tests
    from melascope.tables.runs import RunDirectory

    opened = RunDirectory.open(run)
    folder = out or opened.map_tests
    tests = run_map_tests(
        opened, Reporter(), split=split, images=images, method=method, segmenter=segmenter, out=folder
    )
    save_map_tests(tests, folder)
    finish(folder, tests)
    print_map_tests(tests, Console())
    print(f"tables and plots: {folder}")
    if folder != opened.map_tests:
        print(f"explain, gallery, page and service tell a verdict that lies in {opened.map_tests}, not this one")
    next_command(f"melascope gallery {run}")  # a page of before does not tell this verdict
    if not tests.passed:
        raise typer.Exit(GATE_FAILED)

"""`melascope report`: one page on a run that can be printed, and the same as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.flags import RunFolder, next_command


def report(
    run: RunFolder,
    compare: Annotated[
        Path | None, typer.Option(help="Folder of `melascope compare`; RUN/comparison, or comparison beside the run.")
    ] = None,
    audit: Annotated[Path | None, typer.Option(help="Folder of `melascope data audit`; RUN/audit if left out.")] = None,
    interventions: Annotated[
        Path | None, typer.Option(help="Folder of `melascope intervene`; RUN/interventions if left out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of report.html and report.md [RUN/report].")] = None,
) -> None:
    """One HTML file with every figure, plot and case of a run, its checklist and model card; and Markdown."""
    from melascope.report.run_record import Beside
    from melascope.stages.writing_report import report_run

    written = report_run(run, beside=Beside(audit, compare, interventions), out=out)
    print(written.page)
    if written.next_command:
        next_command(written.next_command)

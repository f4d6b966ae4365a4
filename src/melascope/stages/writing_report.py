"""A run's files → one page that can be printed, and Markdown: what it misses, and how sure that is; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from melascope.report.build import build_report
from melascope.report.pages import write_report
from melascope.report.run_record import Beside, read_run


@dataclass(frozen=True)
class WrittenReport:
    """Where a report lies, and the command that would fill its first gap ("" if there is none)."""

    page: Path
    next_command: str


def report_run(path: Path, *, beside: Beside | None = None, out: Path | None = None) -> WrittenReport:
    """Write the report of a run from what lies on disk; nothing is computed anew.

    Parameters
    ----------
    beside : where an audit, a comparison or interventions lie, if not in the run
    out : folder of `report.html` and `report.md`; `<run>/report` by default

    Raises
    ------
    RunError : no run, or one that was not evaluated at its frozen threshold.
    OutputError : the folder cannot be written, or holds something else.
    """
    record = read_run(path, beside)
    report = build_report(record)
    page = write_report(report, record, Path(out or record.run.root / "report"))
    wanted = next((gap.command for gap in report.gaps if gap.command), "")
    data = str(record.facts.get("data") or "DATA")
    return WrittenReport(page, wanted.replace("RUN", str(path)).replace("DATA", data))

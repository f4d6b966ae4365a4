"""Which plot of a run stands in a section, and what if it was not drawn?"""

from __future__ import annotations

from melascope.report.document import Gap, Plot, Text
from melascope.report.inline_svg import inline_svg
from melascope.report.run_record import RunRecord
from melascope.report.wording import plot_prefix


def plot(
    record: RunRecord, file: str, title: str, words: Text, *, command: str = "melascope evaluate RUN"
) -> Plot | Gap:
    """A plot of the disk with its words, or the command that draws it.

    Parameters
    ----------
    file : of the SVG, below the run directory or in a folder of `Traces.places`.
    words : what the plot shows, with its numbers, n and interval: also for who cannot see it.
    """
    path = record.traces.path(file)
    if not path.is_file():
        return Gap(title, command, "the plot was not drawn")
    prefix = plot_prefix(file)
    return Plot(prefix, title, file, inline_svg(path, f"{prefix}."), words)

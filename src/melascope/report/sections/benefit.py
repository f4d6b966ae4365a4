"""At which threshold probabilities is acting on the model better than acting on all, or on nobody?"""

from __future__ import annotations

from melascope.report.document import Block, Bullets, Gap, Section, Table, Text, told
from melascope.report.run_record import RunRecord
from melascope.report.sections.answer import JSON
from melascope.report.sections.plots_of import plot
from melascope.tables.results import NotApplicable

SHOWN = (0.05, 0.10, 0.20, 0.50)
"""Threshold probabilities that the table tells; the plot has all."""


def section(record: RunRecord) -> Section:
    """Net benefit at some thresholds, the decision curve, and what to know before believing it."""
    title, curve = "Is acting on the model better than acting on all, or on nobody?", record.evaluation.decision_curve
    if isinstance(curve, NotApplicable):
        return Section("benefit", title, (Gap("Net benefit", why=str(curve)),))
    blocks: list[Block] = [
        _table(record),
        plot(record, "evaluation/decision_curve.svg", "Net benefit (decision curve)", _words(record)),
        Bullets(tuple(told("{note}", note=note) for note in curve.notes)),
    ]
    return Section("benefit", title, tuple(blocks))


def _table(record: RunRecord) -> Table:
    rows: list[tuple[Text, ...]] = []
    for place, point in enumerate(record.evaluation.decision_curve.points):
        if any(abs(point.threshold - shown) < 1e-9 for shown in SHOWN):
            path = ("decision_curve", "points", place)
            rows.append(
                (
                    (record.traces.number(JSON, *path, "threshold", form="percent"),),
                    (record.traces.count(JSON, *path, "found"), " / ", record.traces.count(JSON, *path, "alarms")),
                    (record.traces.number(JSON, *path, "net_benefit", digits=3),),
                    (record.traces.number(JSON, *path, "treat_all", digits=3),),
                    (record.traces.number(JSON, *path, "over_treat_all", digits=3),),
                )
            )
    columns = ("act from a probability of", "found / false alarms", "net benefit", "of acting on all", "gain over that")
    return Table("Net benefit for each image judged", columns, tuple(rows))


def _words(record: RunRecord) -> Text:
    curve = record.evaluation.decision_curve
    ranges = ", ".join(f"{low:.0%} to {high:.0%}" for low, high in curve.useful_ranges()) or "none"
    return told(
        "Threshold probabilities at which the intervals lie above both acting on all and acting on nobody: {ranges} "
        "(field net_benefit and over_treat_all of each point). n = {n} images of {lesions} lesions.",
        ranges=ranges,
        n=record.traces.count(JSON, "decision_curve", "n_images"),
        lesions=record.traces.count(JSON, "decision_curve", "n_lesions"),
    )

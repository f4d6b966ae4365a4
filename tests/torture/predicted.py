"""Does `melascope predict` tell every spoilt picture of a folder once: as scored, or as refused with a reason?"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from melascope.data.inputs import Source
from melascope.stages.batch_scoring import score_inputs
from melascope.stages.engines import open_engine
from melascope.stages.reporting import Reporter
from torture.pictures import as_files, is_read


def through_predict(folder: Path, n: int, run: Path) -> tuple[str, list[str]]:
    """Score `n` spoilt pictures with `run`; what was said, and what does not hold."""
    spoilt, out = folder / "spoilt", folder / "scores"
    spoilt.mkdir()
    paths = as_files(spoilt, n)
    result = score_inputs(open_engine(run), Source.of(str(spoilt)), out, Reporter(), part_rows=250)
    rows = [row for part in sorted(out.glob("part-*.parquet")) for row in pq.read_table(part).to_pylist()]
    read = {str(path) for path in paths if is_read(path)}
    failures = [] if sorted(row["input"] for row in rows) == sorted(map(str, paths)) else ["not every input once"]
    for row in rows:
        scored = row["logit_mel"] is not None
        if scored != (row["input"] in read) or scored == bool(row["refused"]):
            failures.append(f"{row['input']}: scored {scored}, refused {row['refused']!r}")
        elif not scored and len(row["refused"]) < 8:
            failures.append(f"{row['input']}: no reason, {row['refused']!r}")
    return f"{n:,} files, {result.scored:,} scored, {result.refused:,} refused with a reason", failures

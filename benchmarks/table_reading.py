"""How long does a predictions table of 1,000,000 rows take to read, and how much memory?

Run: `OMP_NUM_THREADS=1 python benchmarks/table_reading.py [--rows 1000000] [--folder /tmp]`.

Each file is read in a process of its own, whose peak resident memory and CPU time (all threads) are the figures;
the process that only imports the package is shown for comparison.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from melascope.classes import CLASSES

READ = """
import json, resource, sys, time
from pathlib import Path
from melascope.tables.predictions import Predictions
start, cpu = time.perf_counter(), time.process_time()
rows = len(Predictions.read(Path(sys.argv[1]))) if len(sys.argv) > 1 else 0
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
print(json.dumps([rows, time.perf_counter() - start, time.process_time() - cpu, peak]))
"""


def synthetic(n_rows: int, scores: str) -> pa.Table:
    """Lesions of one or two images with every fact; `scores` is the prefix of the seven columns."""
    rng = np.random.default_rng(1)
    rows = np.arange(n_rows)
    lesion = rows // 10 * 7 + np.minimum(rows % 10, 6)  # ten images of seven lesions

    def words(*choices: str) -> np.ndarray:
        return np.array(choices, dtype=object)[rng.integers(0, len(choices), n_rows)]

    logits = rng.normal(0, 3, (n_rows, len(CLASSES)))
    if scores != "logit_":
        logits = np.exp(logits)
        logits /= logits.sum(axis=1, keepdims=True)
    split = np.array(["train", "val", "test"], dtype=object)[lesion % 3]
    return pa.table(
        {
            "image_id": [f"ISIC_{row:08d}" for row in rows],
            "lesion_id": [f"HAM_{one:08d}" for one in lesion],
            "split": split,
            "dx": words(*CLASSES, ""),
            "age": rng.integers(1, 18, n_rows) * 5.0,
            "sex": words("male", "female", "unknown"),
            "localization": words("back", "face", "lower extremity", "trunk", "unknown"),
            "dx_type": words("histo", "follow_up", "consensus", "confocal"),
            **{f"{scores}{name}": logits[:, column] for column, name in enumerate(CLASSES)},
        }
    )


def measure(*arguments: str) -> list[float]:
    """Rows, seconds, CPU seconds and peak MiB of one reading in a new process."""
    done = subprocess.run([sys.executable, "-c", READ, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Write the tables, read each, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        _, _, _, peak = measure()
        print(f"nothing read: peak {peak:.0f} MiB")
        for scores in ("logit_", "probability_"):
            table = synthetic(options.rows, scores)
            csv, parquet = Path(folder) / f"{scores}.csv", Path(folder) / f"{scores}.parquet"
            pacsv.write_csv(table, csv)
            pq.write_table(table, parquet, compression="zstd")
            del table
            for path in (csv, parquet):
                rows, wall, cpu, peak = measure(str(path))
                size = path.stat().st_size / 1e6
                print(f"{path.name}: {rows:,} rows, {size:.0f} MB: {wall:.1f} s, CPU {cpu:.1f} s, peak {peak:.0f} MiB")


if __name__ == "__main__":
    main()

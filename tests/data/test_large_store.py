"""Does a store larger than memory cost a process no more than a batch?"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from melascope.data.pixels import Rows, gather

GIB = 2**30
READER = """
import sys
import numpy as np
from melascope.data.pixels import Rows, gather

def resident():
    with open("/proc/self/status") as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith("VmRSS")) / 1024

pixels = np.lib.format.open_memmap(sys.argv[1], mode="r")
rng, before, most = np.random.default_rng(0), resident(), 0.0
for _ in range(20):
    batch = gather(pixels, rng.integers(0, len(pixels), 64))
    most = max(most, resident())
whole = Rows(pixels, np.arange(0, len(pixels), 200))
for start in range(0, len(whole), 64):
    batch = whole[start : start + 64]
    most = max(most, resident())
print(most - before, len(pixels) * pixels[0].nbytes / 2**30)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="resident memory is read from /proc")
def test_ten_gibibytes_are_read_with_a_few_batches_in_memory(tmp_path):
    """A sparse file: its pages are zeros that lie on no disk, and would fill memory if the map kept them."""
    shape = (10 * GIB // (224 * 224 * 3) + 1, 224, 224, 3)
    path = tmp_path / "pixels.npy"
    with open(path, "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        stream.truncate(stream.tell() + int(np.prod(shape)))
    if path.stat().st_blocks * 512 > GIB:
        pytest.skip("this file system knows no sparse files")
    done = subprocess.run([sys.executable, "-c", READER, str(path)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    more, size = map(float, done.stdout.split())
    assert size > 10
    assert more < 100, f"{more:.0f} MiB more than before"  # the rows read make 0.25 GiB


def test_gathered_rows_are_copies_of_any_array(tmp_path):
    values = np.arange(10 * 2 * 2 * 3, dtype=np.uint8).reshape(10, 2, 2, 3)
    np.save(tmp_path / "a.npy", values)
    for pixels in (values, np.load(tmp_path / "a.npy", mmap_mode="r")):
        found = gather(pixels, np.array([7, 2, 2]))
        np.testing.assert_array_equal(found, values[[7, 2, 2]])
        assert found.flags.writeable and found.base is None
        rows = Rows(pixels, np.array([9, 0, 4]))
        assert len(rows) == 3
        np.testing.assert_array_equal(rows[1:3], values[[0, 4]])

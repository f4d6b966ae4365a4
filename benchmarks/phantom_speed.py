"""How many phantom images a second does one core draw, and what share of the time is encoding?

python benchmarks/phantom_speed.py --images 400 --repeats 5
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

import numpy as np
import PIL
import scipy

from melascope.data.sources.phantom.lesions import images
from melascope.data.sources.phantom.render import encode, render

WARM_UP = 80  # images before the clock starts: each process computes its texture tiles once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()

    start = time.process_time()
    jobs = list(images(chosen.seed, WARM_UP + chosen.images))
    for image, lesion in jobs[:WARM_UP]:
        encode(*render(chosen.seed, image, lesion))
    print(f"warm-up    {time.process_time() - start:.1f} s for {WARM_UP} images and the texture tiles")
    speeds = []
    for repeat in range(1, chosen.repeats + 1):
        drawing = encoding = 0.0
        before = time.perf_counter()
        for image, lesion in jobs[WARM_UP:]:
            began = time.process_time()
            rgb, mask = render(chosen.seed, image, lesion)
            drawn = time.process_time()
            encode(rgb, mask)
            drawing += drawn - began
            encoding += time.process_time() - drawn
        clock = time.perf_counter() - before
        speeds.append(chosen.images / (drawing + encoding))
        print(
            f"repeat {repeat}   {speeds[-1]:.1f} images/s a core by processor time "
            f"({chosen.images / clock:.1f} by the clock, beside whatever else runs); "
            f"{1000 * drawing / chosen.images:.1f} ms drawing, {1000 * encoding / chosen.images:.1f} ms JPEG and PNG"
        )
    print(f"median     {statistics.median(speeds):.1f} images/s a core by processor time")
    print(
        f"on         {platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"SciPy {scipy.__version__}, Pillow {PIL.__version__}"
    )
    print(
        f"again      python benchmarks/phantom_speed.py --images {chosen.images} --repeats {chosen.repeats} "
        f"--seed {chosen.seed}"
    )


if __name__ == "__main__":
    main()

"""How much processor time does an image cost, decoded and resized, and scored by an exported graph, on one core?

OMP_NUM_THREADS=1 python benchmarks/scoring_rate.py GRAPH.onnx FOLDER [FOLDER …] [--images 124] [--rounds 4]

Processor time, which other work on the machine stretches less than the clock; medians of the rounds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import numpy as np

from melascope.data.decode import decode_image
from melascope.data.inputs import read_input
from melascope.data.pixels import resize_image
from melascope.inference.session import Session


def rates(session: Session, files: list[Path], rounds: int) -> tuple[float, float]:
    """Milliseconds of processor time an image: decode and resize, forward in batches of 16."""
    card, decoding, computing = session.card.checkpoint, [], []
    for _ in range(rounds):
        began = time.process_time()
        names = list(map(str, files))
        images = [decode_image(read_input(name), name=name) for name in names]
        pixels = np.stack([resize_image(image, card.input_width, card.input_height) for image in images])
        decoded = time.process_time()
        session.logits(pixels, batch_size=16)
        decoding.append(decoded - began)
        computing.append(time.process_time() - decoded)
    return 1000 * median(decoding) / len(files), 1000 * median(computing) / len(files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=124)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    session = Session.open(options.graph, threads=1)
    card = session.card.checkpoint
    for folder in options.folders:
        files = sorted(folder.rglob("*.jpg"))[: options.images]
        decode, forward = rates(session, files, options.rounds)
        kilobytes = sum(file.stat().st_size for file in files) / len(files) / 1000
        print(
            f"{folder}: {len(files)} images of {kilobytes:.0f} kB; decode and resize {decode:.1f} ms, "
            f"forward {forward:.1f} ms at {card.input_width}×{card.input_height}; "
            f"{1000 / (decode + forward):.0f} images/s a core"
        )


if __name__ == "__main__":
    main()

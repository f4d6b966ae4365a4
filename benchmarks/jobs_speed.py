"""One training with all threads, or several at once with a share each: which sees more images a second?

    python benchmarks/jobs_speed.py --backbones regnetx_004 efficientnet_b0 --jobs 2 --rounds 7

Every round takes, in turn, a few steps of one process with all threads and the same steps of `jobs` processes with
their share, all at once. The model is fed one constant batch at 128×96 (what augmentation costs beside it:
training_speed.py). Figures are medians over the rounds, quartiles in brackets; the ratio is taken within a round.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from multiprocessing.connection import Connection

import numpy as np

BATCH, WIDTH, HEIGHT = 32, 128, 96


def train_when_told(backbone: str, threads: int, told: Connection) -> None:
    """Take as many steps as the pipe says, and answer when they are done; 0 ends it."""
    import timm
    import torch

    torch.set_num_threads(threads)
    network = timm.create_model(backbone, num_classes=7).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), foreach=True)
    batch = torch.rand(BATCH, 3, HEIGHT, WIDTH).contiguous(memory_format=torch.channels_last)
    truth = torch.arange(BATCH) % 7
    while steps := told.recv():
        for _ in range(steps):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(batch), truth).backward()
            optimizer.step()
        told.send(steps)


def seconds(pipes: list[Connection], steps: int) -> float:
    """How long it takes until all have taken their steps."""
    began = time.perf_counter()
    for pipe in pipes:
        pipe.send(steps)
    for pipe in pipes:
        pipe.recv()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["regnetx_004", "resnet10t", "efficientnet_b0"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for backbone in options.backbones:
        pipes = []
        for threads in (options.threads, *[max(1, options.threads // options.jobs)] * options.jobs):
            ours, theirs = context.Pipe()
            context.Process(target=train_when_told, args=(backbone, threads, theirs), daemon=True).start()
            pipes.append(ours)
        one, several = pipes[:1], pipes[1:]
        seconds(pipes, 2)  # warm
        rates = np.array(
            [
                [len(who) * options.steps * BATCH / seconds(who, options.steps) for who in (one, several)]
                for _ in range(options.rounds)
            ]
        )
        low, ratio, high = np.percentile(rates[:, 1] / rates[:, 0], [25, 50, 75])
        alone, together = np.median(rates, axis=0)
        print(
            f"{backbone}: one training with {options.threads} threads {alone:.0f} images/s, {options.jobs} at once "
            f"{together:.0f} together; {ratio:.2f}× ({low:.2f}-{high:.2f})",
            flush=True,
        )
        for pipe in pipes:
            pipe.send(0)


if __name__ == "__main__":
    main()

"""What makes a step cheaper on this processor: bfloat16, small images, a fused optimizer, one averaging, memory order?

    OMP_WAIT_POLICY=PASSIVE python benchmarks/step_speed.py --backbones regnetx_004 --threads 1 --rounds 9

Every round takes, in turn, a few steps of each kind: float32 at 128×96, which is the measure, bfloat16
(`train.precision = "bf16-mixed"`), and bfloat16 on images of three quarters and of half the side (`train.resizing`);
then the optimizer's part alone (AdamW as torch chooses it on a CPU, and fused) and that of the averaged weights (tensor
by tensor, and all at once), and last a prediction with weights and images in torch's own memory order and channels last
(`Classifier.load`). Each is fed one constant batch. Figures are medians over the rounds, quartiles in brackets;
ratios are taken within a round. bfloat16 pays only where the processor has instructions for it: `lscpu | grep bf16`.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable

import numpy as np
import timm
import torch

from melascope.models.averaging import Average

BATCH, WIDTH, HEIGHT = 32, 128, 96


def a_step(network: torch.nn.Module, *, share: float, half: bool) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    batch = torch.rand(BATCH, 3, round(HEIGHT * share), round(WIDTH * share))
    batch, truth = batch.contiguous(memory_format=torch.channels_last), torch.arange(BATCH) % 7

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = network(batch)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits.float(), truth).backward()
        optimizer.step()

    return step


def an_update(network: torch.nn.Module, *, fused: bool) -> Callable[[], None]:
    network = copy.deepcopy(network)
    for parameter in network.parameters():
        parameter.grad = torch.rand_like(parameter)
    return torch.optim.AdamW(network.parameters(), fused=fused or None).step


def an_averaging(network: torch.nn.Module, *, at_once: bool) -> Callable[[], None]:
    average = Average(network, 0.998)

    @torch.no_grad()
    def one_by_one() -> None:
        for mean, value in zip(average.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 0.002)
            else:
                mean.copy_(value)

    return (lambda: average.update(network, 10_000)) if at_once else one_by_one


def an_answer(network: torch.nn.Module, order: torch.memory_format) -> Callable[[], None]:
    """A prediction; a batch sets BatchNorm's statistics, or numbers would fade until they are slow to compute with."""
    network = copy.deepcopy(network).to(memory_format=order)
    batch = torch.rand(BATCH, 3, HEIGHT, WIDTH)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0

    @torch.inference_mode()
    def answer() -> None:
        network(batch)

    answer()
    network.eval()
    return answer


def seconds(do: Callable[[], None], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        do()
    return (time.perf_counter() - began) / times


def compare(kinds: dict[str, Callable[[], None]], rounds: int, times: int) -> None:
    """Print each kind's median milliseconds, and how many times as fast as the first it is."""
    for do in kinds.values():
        do()
    taken = np.array([[seconds(do, times) for do in kinds.values()] for _ in range(rounds)])
    for name, mine in zip(kinds, taken.T, strict=True):
        low, ratio, high = np.percentile(taken[:, 0] / mine, [25, 50, 75])
        print(f"  {name:<38} {1000 * np.median(mine):7.1f} ms   {ratio:.2f}× ({low:.2f}-{high:.2f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["regnetx_004"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for backbone in options.backbones:
        network = timm.create_model(backbone, num_classes=7).to(memory_format=torch.channels_last).train()
        print(f"{backbone}, a batch of {BATCH}, threads: {options.threads}")
        kinds = {
            f"float32, {WIDTH}×{HEIGHT}": a_step(network, share=1, half=False),
            f"bfloat16, {WIDTH}×{HEIGHT}": a_step(network, share=1, half=True),
            f"bfloat16, {WIDTH * 3 // 4}×{HEIGHT * 3 // 4}": a_step(network, share=0.75, half=True),
            f"bfloat16, {WIDTH // 2}×{HEIGHT // 2}": a_step(network, share=0.5, half=True),
        }
        compare(kinds, options.rounds, options.steps)
        updates = {
            "AdamW, torch's choice": an_update(network, fused=False),
            "AdamW, fused": an_update(network, fused=True),
        }
        compare(updates, options.rounds, 5 * options.steps)
        averagings = {
            "averaged weights, one by one": an_averaging(network, at_once=False),
            "averaged weights, at once": an_averaging(network, at_once=True),
        }
        compare(averagings, options.rounds, 5 * options.steps)
        answers = {
            "a prediction, torch's memory order": an_answer(network, torch.contiguous_format),
            "a prediction, channels last": an_answer(network, torch.channels_last),
        }
        compare(answers, options.rounds, options.steps)


if __name__ == "__main__":
    main()

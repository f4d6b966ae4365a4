"""What do maps cost, here and elsewhere? Every figure of the maps' speed, in one run, as Markdown.

    pip install --no-deps --target /tmp/rivals grad-cam torchcam captum ttach opencv-python-headless    # for this only
    PYTHONPATH=/tmp/rivals python benchmarks/map_rivals.py --rounds 9 --threads 2

pytorch-grad-cam, torch-cam and Captum, each as its README shows, with every parameter frozen (a graph then begins at
the input), and at its best: all frozen but the explained layer's last parameter, so that nothing before it is
differentiated. Every competitor has a copy of the network to itself, so that no hook of one slows another. Times are
taken in turns, forwards and backwards; ratios are of the same round, to a plain prediction at the same precision and
layout. Peak memory is that of a process that does nothing else, less that of one that only predicts. Overlays are timed
by processor time. `--no-memory` and `--no-overlays` leave parts out.
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from map_speed import FAST_PLAIN, PLAIN, Call, both_clocks, interleaved, network_and_batch, pictures, plainly
from torch import nn

from melascope.explain.maps import MapEngine
from melascope.explain.running import fast_copy

CLASSES, LAST, EARLIER = range(7), "bn2", "blocks.4"
README, FROZEN, BEST = "as its README shows", "parameters frozen", "at its best"


def melascope(model: nn.Module, layer: str, batch: torch.Tensor, **options) -> Call:
    general, classes = options.pop("general", False), options.pop("classes", None)
    engine = MapEngine(model, layer=layer, **options)
    engine.path = "autograd" if general else engine.path
    return lambda: engine(batch, classes=classes)


def predicting_fast(model: nn.Module, _layer: str, batch: torch.Tensor) -> Call:
    return plainly(fast_copy(model), batch.to(torch.bfloat16, memory_format=torch.channels_last))


def pytorch_grad_cam(model: nn.Module, layer: str, batch: torch.Tensor) -> Call:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    cam = GradCAM(model=model, target_layers=[model.get_submodule(layer)])
    return lambda: [cam(input_tensor=batch, targets=[ClassifierOutputTarget(k)] * len(batch)) for k in CLASSES]


def torch_cam(model: nn.Module, layer: str, batch: torch.Tensor) -> Call:
    from torchcam.methods import GradCAM

    cam = GradCAM(model, layer)

    def call() -> list[torch.Tensor]:
        """One forward pass, many backward passes."""
        scores = model(batch)
        return [
            cam(class_idx=[k] * len(batch), scores=scores, retain_graph=k < 6, normalized=False)[0] for k in CLASSES
        ]

    return call


def captum(model: nn.Module, layer: str, batch: torch.Tensor) -> Call:
    from captum.attr import LayerGradCam

    cam = LayerGradCam(model, model.get_submodule(layer))
    return lambda: [cam.attribute(batch, target=k) for k in CLASSES]


@dataclass(frozen=True)
class Competitor:
    """One row: how it is made, from which layer, with what frozen, and which plain prediction it stands beside."""

    make: Callable[..., Call]
    layer: str = LAST
    way: str = ""
    plain: str = PLAIN

    def prepared(self, model: nn.Module, batch: torch.Tensor) -> Call:
        """On a copy of the network, with gradients asked for where that way asks for them."""
        model, batch = copy.deepcopy(model), batch.clone()
        if self.way in (FROZEN, BEST):
            model.requires_grad_(False)
        if self.way == FROZEN:
            batch.requires_grad_()
        if self.way == BEST:
            list(model.get_submodule(self.layer).parameters())[-1].requires_grad_()  # the graph begins there
        return self.make(model, self.layer, batch)


def _ours(**options) -> Callable[..., Call]:
    return lambda model, layer, batch: melascope(model, layer, batch, **options)


OURS = "melascope, seven maps and logits, closed form"
COMPETITORS: dict[str, Competitor] = {
    PLAIN: Competitor(lambda model, _layer, batch: plainly(model, batch)),
    OURS: Competitor(_ours()),
    "melascope, the same without the closed form": Competitor(_ours(general=True)),
    FAST_PLAIN: Competitor(predicting_fast),
    "melascope, seven maps, fast=True": Competitor(_ours(fast=True), plain=FAST_PLAIN),
    "melascope, blocks[4], one class": Competitor(_ours(classes=[4]), EARLIER),
    "melascope, blocks[4], seven classes": Competitor(_ours(), EARLIER),
    "torch-cam, blocks[4], seven classes, at its best": Competitor(torch_cam, EARLIER, BEST),
    **{
        f"{name}, {way}": Competitor(make, LAST, way)
        for name, make in (("pytorch-grad-cam ×7", pytorch_grad_cam), ("torch-cam", torch_cam), ("Captum ×7", captum))
        for way in (README, FROZEN, BEST)
    },
}


def show_times(seconds: dict[str, np.ndarray], memory: dict[str, int], batch_size: int) -> None:
    print("\n| | × plain forward | quartiles | by processor time | × melascope | ms an image | peak MiB above plain |")
    print("|---|---|---|---|---|---|---|")
    for name, values in seconds.items():
        plain = seconds[COMPETITORS[name].plain]
        low, wall, high = np.percentile(values.real / plain.real, (25, 50, 75))
        cpu, ours = np.median(values.imag / plain.imag), np.median(values.real / seconds[OURS].real)
        if COMPETITORS[name].plain != PLAIN:
            name += f" (beside {COMPETITORS[name].plain})"
        above = f"{memory[name.split(' (beside')[0]] - memory[PLAIN]:+d}" if memory else "not measured"
        each = 1e3 * np.median(values.real) / batch_size
        print(f"| {name} | {wall:.3f} | {low:.3f} … {high:.3f} | {cpu:.3f} | {ours:.2f} | {each:.1f} | {above} |")
    fast = np.median(seconds["melascope, seven maps, fast=True"].real / seconds[PLAIN].real)
    print(f"\nfast=True beside the plain forward in float32: {fast:.2f}")


def own_peak() -> int:
    """MiB that this process has held at most; `ru_maxrss` would begin with those of the process that started it."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


def peak_memory(name: str, batch_size: int, threads: int) -> int:
    """MiB of a process of its own, two calls; the network, batch and packages are in every figure."""
    command = [sys.executable, __file__, "--only", name, "--batch-size", str(batch_size), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr}")
    return int(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--no-overlays", action="store_true")
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    model, batch = network_and_batch("efficientnet_b0", chosen.batch_size)
    if chosen.only:
        call = COMPETITORS[chosen.only].prepared(model, batch)
        call()
        call()
        print(own_peak())
        return
    print(f"efficientnet_b0, 224 px, batch {chosen.batch_size}, {chosen.threads} threads, {chosen.rounds} rounds")
    names = [] if chosen.no_memory else COMPETITORS  # first: what is timed holds 15 GiB of graphs at batch 16
    memory = {name: peak_memory(name, chosen.batch_size, chosen.threads) for name in names}
    calls = {name: one.prepared(model, batch) for name, one in COMPETITORS.items()}
    seconds = interleaved(calls, chosen.rounds, both_clocks)
    show_times(seconds, memory, chosen.batch_size)
    if not chosen.no_overlays:
        pictures(min(4 * chosen.rounds, 20))


if __name__ == "__main__":
    main()

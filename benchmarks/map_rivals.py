"""How do seven maps cost elsewhere: pytorch-grad-cam, torch-cam and Captum, each as its README shows and at its best?

    pip install --no-deps grad-cam torchcam captum ttach && pip install opencv-python-headless    # for this script only
    python benchmarks/map_rivals.py --rounds 9 --threads 2
    python benchmarks/map_rivals.py --memory

Every competitor has a copy of the network to itself, so that no hook of one slows another. Times are taken in turns;
ratios are of the same round. "Frozen" is every parameter frozen, so that a graph must begin at the input; "at its best"
freezes all but the explained layer's own parameters, so that nothing before it is differentiated. Peak memory is that
of a process that does nothing else.
"""

from __future__ import annotations

import argparse
import copy
import resource
import subprocess
import sys
from collections.abc import Callable

import torch
from map_speed import PLAIN, Call, both_clocks, interleaved, network_and_batch, plainly, table
from torch import nn

from melascope.explain.maps import MapEngine

CLASSES = range(7)
README, FROZEN, BEST = "as its README shows", "parameters frozen", "at its best"
Maker = Callable[[nn.Module, str, torch.Tensor], Call]


def ours(model: nn.Module, layer: str, batch: torch.Tensor) -> Call:
    engine = MapEngine(model, layer=layer)
    return lambda: engine(batch)


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


RIVALS: dict[str, Maker] = {"pytorch-grad-cam ×7": pytorch_grad_cam, "torch-cam": torch_cam, "Captum ×7": captum}


def prepared(model: nn.Module, layer: str, batch: torch.Tensor, way: str) -> tuple[nn.Module, torch.Tensor]:
    """A copy of the network, and the batch, with gradients asked for where that way asks for them."""
    model, batch = copy.deepcopy(model), batch.clone()
    if way != README:
        model.requires_grad_(False)
    if way == FROZEN:
        batch.requires_grad_()
    if way == BEST:
        own = list(model.get_submodule(layer).parameters())
        own[-1].requires_grad_()  # the last of its own: the graph begins there
    return model, batch


def competitors(layer: str, batch_size: int, only: str = "") -> dict[str, Call]:
    """All of them, or the one whose name is `only`."""
    model, batch = network_and_batch("efficientnet_b0", batch_size)
    auto = "auto" if layer == "bn2" else layer
    found: dict[str, Call] = {}
    if only in ("", PLAIN):
        found[PLAIN] = plainly(model, batch)
    if only in ("", "melascope"):
        found["melascope"] = ours(copy.deepcopy(model), auto, batch)
    for rival, make in RIVALS.items():
        for way in (README, FROZEN, BEST):
            if only in ("", name := f"{rival}, {way}"):
                own, its_batch = prepared(model, layer, batch, way)
                found[name] = make(own, layer, its_batch)
    return found


def memory(layer: str, batch_size: int, threads: int) -> None:
    """Peak memory of each in a process of its own, two calls; the network, batch and packages are in every figure."""
    names = [PLAIN, "melascope", *(f"{rival}, {way}" for rival in RIVALS for way in (README, FROZEN, BEST))]
    print(f"\nefficientnet_b0, {layer}, batch {batch_size}\n\n| | peak MiB |\n|---|---|")
    for name in names:
        command = [sys.executable, __file__, "--only", name, "--layer", layer, "--batch-size", str(batch_size)]
        done = subprocess.run([*command, "--threads", str(threads)], capture_output=True, text=True, check=True)
        print(f"| {name} | {done.stdout.split()[-1]} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", default="bn2", help="bn2 or blocks.4")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.memory:
        memory(chosen.layer, chosen.batch_size, chosen.threads)
    elif chosen.only:
        (call,) = competitors(chosen.layer, chosen.batch_size, chosen.only).values()
        call()
        call()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    else:
        calls = competitors(chosen.layer, chosen.batch_size)
        about = f"efficientnet_b0, {chosen.layer}, seven classes, 224 px, batch {chosen.batch_size}, "
        about += f"{chosen.threads} threads, {chosen.rounds} rounds"
        seconds = interleaved(calls, chosen.rounds, both_clocks)
        table(about, seconds, PLAIN, chosen.batch_size)
        table("the same beside melascope", seconds, "melascope", chosen.batch_size)


if __name__ == "__main__":
    main()

"""How much faster than torch is an exported graph, and how long does one image with all seven maps take?

python benchmarks/export_speed.py [--backbone efficientnet_b0] [--width 224 --height 224] [--threads 2] [--rounds 15]

Random weights, norms that have seen the pictures (phantoms) on which all are timed: where they have not, activations
fade to denormal numbers, at which torch alone is slow. Each backend lives in a process of its own and is asked in
turn, one after another in each round, because the libraries' threads disturb one another in one process. Batch 16 and
batch 1; torch is asked for logits alone (its plain forward pass without gradients, in its own memory layout and in
the one that suits it best) and for logits with seven maps (`MapEngine`); every graph gives logits, features and maps.
Printed: median milliseconds a batch, quartiles, the median of the rounds' ratios to torch's plain forward pass, and
the largest difference of logits.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

BATCHES = (16, 1)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BACKENDS = {
    "torch, logits alone": ("torch", "plain"),
    "torch channels last, logits alone": ("torch", "plain channels last"),
    "torch channels last, logits and maps": ("torch", "maps channels last"),
    "ONNX Runtime f32": ("model.onnx", "float32"),
    "ONNX Runtime int8": ("int8.onnx", "float32"),
    "OpenVINO f32": ("model.xml", "float32"),
    "OpenVINO bf16": ("model.xml", "bfloat16"),
    "OpenVINO int8": ("int8.xml", "float32"),
}


def pictures(n: int, width: int, height: int) -> np.ndarray:
    """(n, height, width, 3) uint8: phantoms, the same each time."""
    from PIL import Image

    from melascope.data.sources.phantom import write_phantom

    with tempfile.TemporaryDirectory() as name:
        write_phantom(Path(name), n_images=n, seed=3, workers=1)
        files = sorted(path for path in Path(name).rglob("*.jpg"))[:n]
        return np.stack([np.asarray(Image.open(file).convert("RGB").resize((width, height))) for file in files])


def export(folder: Path, backbone: str, width: int, height: int) -> None:
    """Write all graphs of a network with random weights."""
    import torch

    from melascope.config import ModelRecipe
    from melascope.inference.formats import write_int8, write_openvino
    from melascope.models.augment import normalise
    from melascope.models.backbones import build_network
    from melascope.stages.exporting import card_of, graph_of
    from melascope.tables.runs import CheckpointCard

    network = build_network(ModelRecipe(backbone=backbone, pretrained=False), seed=0)
    pixels = pictures(32, width, height)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the plain mean over what it sees
        for start in range(0, 32, 8):
            network(normalise(torch.from_numpy(pixels[start : start + 8]), MEAN, STD))
    network.eval()
    checkpoint = CheckpointCard(
        weights="none", weights_sha256="", backbone=backbone, dropout=0, drop_path=0,
        class_order=("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"), input_width=width, input_height=height,
        mean=MEAN, std=STD, epoch=0, step=0, figures={}, recipe={},
        source="none", dataset_fingerprint="", split_sha256="",
    )  # fmt: skip
    from melascope.models.export import write_onnx

    graph, maps = graph_of(network, checkpoint, views="one")
    card = card_of(checkpoint, run="benchmark", source="none", views="one", maps=maps, point=None)
    write_onnx(graph, card, folder / "model.onnx")
    torch.save(network.state_dict(), folder / "weights.pt")
    write_int8(folder / "model.onnx", card, folder / "int8.onnx", [pixels[:16], pixels[16:]])
    write_openvino(folder / "model.onnx", card, folder / "model.xml")
    write_openvino(folder / "int8.onnx", card, folder / "int8.xml")


def worker(pipe: Connection, folder: Path, what: tuple[str, str], options: argparse.Namespace) -> None:
    """Wait for a batch size, run once, send back seconds and the first logits."""
    run = _torch_run(folder, what[1], options) if what[0] == "torch" else _graph_run(folder / what[0], what[1], options)
    batches = {size: pictures(size, options.width, options.height) for size in BATCHES}
    for size in BATCHES:
        for _ in range(3):
            run(batches[size])
    pipe.send("ready")
    while (size := pipe.recv()) is not None:
        start = time.perf_counter()
        logits = run(batches[size])
        pipe.send((time.perf_counter() - start, np.asarray(logits)))


def _graph_run(path: Path, precision: str, options: argparse.Namespace):
    from melascope.inference.session import Session

    session = Session.open(path, threads=options.threads, precision=precision)
    return lambda pixels: session(pixels).logits


def _torch_run(folder: Path, what: str, options: argparse.Namespace):
    import torch

    from melascope.config import ModelRecipe
    from melascope.explain.maps import MapEngine
    from melascope.models.augment import normalise
    from melascope.models.backbones import build_network

    torch.set_num_threads(options.threads)
    network = build_network(ModelRecipe(backbone=options.backbone, pretrained=False), seed=0).eval()
    network.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    layout = torch.channels_last if what.endswith("channels last") else torch.contiguous_format
    network = network.to(memory_format=layout)
    engine = MapEngine(network, probe_size=(options.height, options.width)) if what.startswith("maps") else None

    def shown(pixels: np.ndarray) -> torch.Tensor:
        return normalise(torch.from_numpy(pixels), MEAN, STD).contiguous(memory_format=layout)

    @torch.inference_mode()
    def plain(pixels: np.ndarray) -> np.ndarray:
        return network(shown(pixels)).numpy()

    def maps(pixels: np.ndarray) -> np.ndarray:
        return engine(shown(pixels))[0].numpy()

    return maps if engine else plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="efficientnet_b0")
    parser.add_argument("--width", type=int, default=224)
    parser.add_argument("--height", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--passive", action="store_true", help="torch's threads sleep between operations")
    options = parser.parse_args()
    if options.passive:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    else:
        os.environ.pop("OMP_WAIT_POLICY", None)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        exporter = context.Process(target=export, args=(folder, options.backbone, options.width, options.height))
        exporter.start()
        exporter.join()
        if exporter.exitcode:
            sys.exit("the export failed")
        pipes = {}
        for backend, what in BACKENDS.items():
            here, there = context.Pipe()
            context.Process(target=worker, args=(there, folder, what, options), daemon=True).start()
            pipes[backend] = here
        for pipe in pipes.values():
            pipe.recv()
        for size in BATCHES:
            show(size, measured(pipes, size, options.rounds), options)
        for pipe in pipes.values():
            pipe.send(None)


def measured(pipes: dict[str, Connection], size: int, rounds: int) -> dict[str, list[tuple[float, np.ndarray]]]:
    """Ask every backend in turn, the first of a round another each time."""
    found: dict[str, list] = {backend: [] for backend in pipes}
    for number in range(rounds):
        names = list(pipes)
        for backend in names[number % len(names) :] + names[: number % len(names)]:
            pipes[backend].send(size)
            found[backend].append(pipes[backend].recv())
    return found


def show(size: int, found: dict[str, list], options: argparse.Namespace) -> None:
    first = next(iter(found.values()))
    network = f"{options.backbone} {options.width}×{options.height}"
    print(f"\n{network}, batch {size}, {options.threads} threads, {options.rounds} rounds\n")
    print(
        "| backend | ms a batch (quartiles) | times as fast as torch's logits | logits differ by |\n|---|---|---|---|"
    )
    for backend, rows in found.items():
        seconds = [1000 * row[0] for row in rows]
        low, middle, high = statistics.quantiles(seconds, n=4)
        ratio = statistics.median(base[0] / row[0] for base, row in zip(first, rows, strict=True))
        differ = float(np.abs(rows[0][1] - first[0][1]).max())
        print(f"| {backend} | {middle:.1f} ({low:.1f}–{high:.1f}) | {ratio:.2f} | {differ:.1e} |")


if __name__ == "__main__":
    main()

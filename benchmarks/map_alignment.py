"""Does a cell of a map lie where the overlay draws it? A bright square is moved over pictures, its effect noted.

For each column of cells: at which place of the square does the layer's answer change most (centre of mass of the change
over the square's places, above its median)? The overlay assumes the middle of the cell. Rows likewise. Only cells at
least `EDGE` cells from the border count, where the square can pass on both sides.

    python benchmarks/map_alignment.py [--run RUN --data DATA] [--backbones resnet18 convnext_atto]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import timm
import torch

from melascope.data.pixels import resize_image
from melascope.data.sources import read_dataset
from melascope.explain.layers import last_grid, trace
from melascope.explain.running import run_and_keep
from melascope.models.augment import normalise
from melascope.models.classifier import Classifier
from melascope.stages.scoring import load_image
from melascope.tables.runs import RunDirectory

SIDE, SQUARE, STEP, EDGE = 256, 16, 8, 2


def offsets(network: torch.nn.Module, pictures: np.ndarray, mean: tuple, std: tuple) -> dict[str, np.ndarray]:
    """Axis -> offset in pixels of each inner cell: where it answers less where it is drawn. Negative: left, or up."""
    batch = normalise(torch.from_numpy(pictures), mean, std)
    layer = last_grid(network, trace(network, (SIDE, SIDE), torch.zeros(1)))
    module = network.get_submodule(layer)

    def cells(pixels: np.ndarray) -> np.ndarray:
        return run_and_keep(network, module, normalise(torch.from_numpy(pixels), mean, std))[1].numpy()

    before = run_and_keep(network, module, batch)[1].numpy()
    n = before.shape[2]
    starts = np.arange(0, SIDE - SQUARE + 1, STEP)
    found = {}
    for axis in ("x", "y"):
        answers = []
        for start in starts:
            edited = pictures.copy()
            across = slice(SIDE // 2 - SQUARE, SIDE // 2 + SQUARE)
            place = (across, slice(start, start + SQUARE)) if axis == "x" else (slice(start, start + SQUARE), across)
            edited[(slice(None), *place)] = 255
            change = np.abs(cells(edited) - before).sum(axis=(0, 1))
            answers.append(change.sum(axis=0 if axis == "x" else 1))
        answers = np.stack(answers)  # (places, cells)
        above = np.maximum(answers - np.median(answers, axis=0), 0)
        middles = starts + (SQUARE - 1) / 2
        centre = (above * middles[:, None]).sum(axis=0) / above.sum(axis=0)
        drawn = (np.arange(n) + 0.5) * SIDE / n - 0.5
        found[axis] = (centre - drawn)[EDGE : n - EDGE]
    return found


def _pictures(data: Path, n: int) -> np.ndarray:
    table = read_dataset(data)
    rows = np.random.default_rng(0).integers(0, len(table), n)
    return np.stack([resize_image(load_image(table, int(row)), SIDE, SIDE) for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/ham10000"))
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--backbones", nargs="*", default=["resnet18", "convnext_atto"])
    arguments = parser.parse_args()
    torch.manual_seed(0)
    pictures, networks = _pictures(arguments.data, arguments.images), {}
    if arguments.run:
        loaded = Classifier.load(RunDirectory.open(arguments.run))
        networks[f"{loaded.card.backbone}, trained"] = loaded.network
    for name in arguments.backbones:
        networks[f"{name}, random weights"] = timm.create_model(name, num_classes=7).eval()
    for name, network in networks.items():
        found = offsets(network, pictures, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        for axis, of in found.items():
            print(
                f"{name}, {axis}: {of.mean():+.1f} px (cells {np.round(of, 1).tolist()}), a cell is 32 px", flush=True
            )


if __name__ == "__main__":
    main()

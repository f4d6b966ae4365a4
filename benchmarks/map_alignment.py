"""Does a cell of a map lie where it is drawn? A bright square is moved over pictures, its effect on each cell noted.

For each of the middle cells: at which place of the square does its answer change most (centre of mass of the change
over the square's places, less the median, which is what squeeze-and-excitation sends everywhere)? From that the middle
of the cell is taken as it is drawn now (`MapEngine.places`) and as a grid drawn evenly would have it. Pictures are
large, so that little of what a cell sees is cut off. Some minutes for an EfficientNet-B0.

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
from melascope.explain.maps import MapEngine
from melascope.explain.running import run_and_keep
from melascope.models.augment import normalise
from melascope.models.classifier import Classifier
from melascope.stages.scoring import load_image
from melascope.tables.cell_places import EVEN
from melascope.tables.runs import RunDirectory

SIDE, SQUARE, STEP, MIDDLE = 512, 16, 16, 4


def found_and_drawn(network: torch.nn.Module, pictures: np.ndarray, mean: tuple, std: tuple) -> dict[str, dict]:
    """Axis -> where the `MIDDLE` cells look, and where they are drawn now and evenly: (MIDDLE,) pixels each."""
    engine = MapEngine(network, probe_size=(SIDE, SIDE))
    module, places = network.get_submodule(engine.layer), engine.places(SIDE, SIDE)

    def cells(pixels: np.ndarray) -> np.ndarray:
        output = run_and_keep(network, module, normalise(torch.from_numpy(pixels), mean, std))[1]
        return engine._grid.cells(output, (SIDE, SIDE)).numpy()

    before, starts = cells(pictures), np.arange(0, SIDE - SQUARE + 1, STEP)
    n, across, found = before.shape[2], slice(SIDE // 2 - SQUARE, SIDE // 2 + SQUARE), {}
    few = slice((n - MIDDLE) // 2, (n + MIDDLE) // 2)
    for axis, name in enumerate("yx"):
        answers = []
        for start in starts:
            edited, along = pictures.copy(), slice(start, start + SQUARE)
            edited[(slice(None), along, across) if axis == 0 else (slice(None), across, along)] = 255
            change = np.abs(cells(edited) - before).sum(axis=(0, 1))
            answers.append((change[:, few].sum(axis=1) if axis == 0 else change[few].sum(axis=0))[few])
        above = np.maximum(np.stack(answers) - np.median(answers, axis=0), 0)  # (places, cells)
        looks = (above * (starts + SQUARE / 2)[:, None]).sum(axis=0) / above.sum(axis=0)
        drawn = {kind: one.share_at(n, axis)[few] * SIDE for kind, one in (("now", places), ("evenly", EVEN))}
        found[name] = {"looks": looks, **drawn}
    return found


def _pictures(data: Path, n: int) -> np.ndarray:
    table = read_dataset(data)
    rows = np.random.default_rng(0).integers(0, len(table), n)
    return np.stack([resize_image(load_image(table, int(row)), SIDE, SIDE) for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/ham10000"))
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backbones", nargs="*", default=["resnet18", "resnet10t", "efficientnet_b0", "convnext_atto"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    pictures, networks = _pictures(arguments.data, arguments.images), {}
    if arguments.run:
        loaded = Classifier.load(RunDirectory.open(arguments.run))
        networks[f"{loaded.card.backbone}, trained"] = loaded.network
    for name in arguments.backbones:
        networks[f"{name}, random weights"] = timm.create_model(name, num_classes=7).eval()
    print(f"mean over the {MIDDLE} middle cells, pixels of {SIDE}; negative: the cell looks further left, or up")
    print("\n| network | drawn now: x | y | evenly: x | y | spread over cells, x, y |\n|---|---|---|---|---|---|")
    for name, network in networks.items():
        found = found_and_drawn(network, pictures, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        off = {kind: [found[axis]["looks"] - found[axis][kind] for axis in "xy"] for kind in ("now", "evenly")}
        means = " | ".join(f"{one.mean():+.1f}" for kind in ("now", "evenly") for one in off[kind])
        print(f"| {name} | {means} | {', '.join(f'{one.std():.1f}' for one in off['now'])} |", flush=True)


if __name__ == "__main__":
    main()

"""How near is an epoch to the speed of the model itself, and how much faster than torchvision with a DataLoader?

    python benchmarks/training_speed.py --images 192 --rounds 5 --threads 2

Every round trains one epoch in each of these ways, in turn, so that a busy machine slows all of them alike: the model
fed one constant batch (the limit), melascope's step from the decoded store, the same with every augmentation turned on,
and a plain torchvision pipeline that decodes 600×450 JPEG files in 2 worker processes. Equal network, batch, size,
optimizer and loss; flips, rotation, zoom and colour for all. Figures are medians and quartiles over the rounds of
ratios taken within a round, by the clock and by processor time (workers' included): on a machine that others use the
latter says more. Validation is the same for all and left out.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from melascope.config import Recipe, validated
from melascope.data.pixels import PixelStore
from melascope.data.sources import read_dataset
from melascope.data.sources.phantom import write_phantom
from melascope.models import train
from melascope.models.train import Trainer, TrainingData
from melascope.tables.lesions import LesionTable
from melascope.tables.runs import RunDirectory

LIMIT, OURS, ALL, THEIRS = "one constant batch", "melascope", "melascope, every augmentation", "torchvision, 2 workers"
EVERY = {"crop": 0.2, "gamma": 0.2, "white_balance": 0.06, "vignette": 0.3, "blur": 1, "hair": 0.3, "ruler": 0.2}
EVERY |= {"dark_corners": 0.2, "cutmix": 1.0}


class JpegFiles(Dataset):
    """A data set as every tutorial writes it."""

    def __init__(self, table: LesionTable, recipe: Recipe) -> None:
        augment = recipe.augment
        self.paths, self.labels = [table.root / path for path in table.path], table.labels
        self.transform = v2.Compose(
            [
                v2.Resize((recipe.input.height, recipe.input.width)),
                v2.RandomHorizontalFlip(),
                v2.RandomVerticalFlip(),
                v2.RandomAffine(augment.rotate_degrees, scale=(1 - augment.scale, 1 + augment.scale)),
                v2.ColorJitter(augment.brightness, augment.contrast, augment.saturation),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(recipe.input.mean, recipe.input.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.paths[row]) as image:
            return self.transform(image.convert("RGB")), int(self.labels[row])


def recipe_of(backbone: str, size: tuple[int, int], batch: int, **augment: float) -> Recipe:
    content = {
        "name": "speed",
        "model": {"backbone": backbone, "pretrained": False},
        "input": {"width": size[0], "height": size[1]},
        "augment": {"rotate_degrees": 180, **augment},
        "train": {"batch_size": batch},
    }
    return validated(Recipe, content, where="benchmark")


def trainer_of(recipe: Recipe, data: TrainingData, place: Path) -> Trainer:
    return Trainer(recipe, data, RunDirectory(place), lambda *_: {}, accelerator="cpu")


def ours(trainer: Trainer) -> None:
    """The steps of one epoch, of `Trainer` itself."""
    trainer.state.step_in_epoch = 0
    for rows in trainer._remaining_batches():
        trainer._step(rows)
    trainer.state.epoch = (trainer.state.epoch + 1) % trainer.recipe.train.epochs  # of any number of rounds


def limit(trainer: Trainer) -> None:
    """The same steps, fed the same batch again and again."""
    real, kept = train.training_batch, {}

    def constant(pixels, labels, rows, *arguments, **named):
        if len(rows) not in kept:
            kept[len(rows)] = constant_batch(trainer, len(rows))
        return kept[len(rows)]

    train.training_batch = constant
    try:
        ours(trainer)
    finally:
        train.training_batch = real


def constant_batch(trainer: Trainer, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    size = trainer.recipe.input
    noise = torch.randn(n, 3, size.height, size.width, generator=torch.Generator().manual_seed(0))
    return noise.contiguous(memory_format=torch.channels_last), torch.eye(7)[torch.arange(n) % 7]


def theirs(trainer: Trainer, files: JpegFiles) -> None:
    """The usual loop over a DataLoader; network, optimizer and loss are the trainer's."""
    loader = DataLoader(files, trainer.recipe.train.batch_size, shuffle=True, num_workers=2)
    trainer.network.train()
    for batch, labels in loader:
        batch = batch.contiguous(memory_format=torch.channels_last)
        trainer._descend(batch, torch.nn.functional.one_hot(labels, 7).float())
        trainer.state.step_in_epoch += 1


def clocks() -> np.ndarray:
    """Seconds by the clock, and of processors: this process and its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return np.array([time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)])


def interleaved(competitors: dict[str, Callable[[], None]], rounds: int) -> dict[str, np.ndarray]:
    """(rounds, 2) seconds of each, by both clocks, after one round of warming up."""
    seconds: dict[str, list[np.ndarray]] = {name: [] for name in competitors}
    for round_ in range(rounds + 1):
        for name, call in list(competitors.items())[:: 1 if round_ % 2 else -1]:  # to and fro: who follows whom varies
            began = clocks()
            call()
            if round_:
                seconds[name].append(clocks() - began)
    return {name: np.array(values) for name, values in seconds.items()}


def compare(backbone: str, table: LesionTable, store: PixelStore, chosen: argparse.Namespace, folder: Path) -> None:
    size, rows = (chosen.width, chosen.height), np.arange(len(table))
    data = TrainingData(store.pixels, table.labels, rows, rows[:7], "phantom", "f" * 64, "5" * 64)
    recipe = recipe_of(backbone, size, chosen.batch)
    trainers = {
        name: trainer_of(recipe_of(backbone, size, chosen.batch, **(EVERY if name == ALL else {})), data, folder / name)
        for name in (LIMIT, OURS, ALL, THEIRS)
    }
    files = JpegFiles(table, recipe)
    seconds = interleaved(
        {
            LIMIT: lambda: limit(trainers[LIMIT]),
            OURS: lambda: ours(trainers[OURS]),
            ALL: lambda: ours(trainers[ALL]),
            THEIRS: lambda: theirs(trainers[THEIRS], files),
        },
        chosen.rounds,
    )
    print(f"\n{backbone}, {size[0]}×{size[1]}, batch {chosen.batch}, {len(rows)} images of 600×450, ", end="")
    print(
        f"{chosen.threads} threads, {chosen.rounds} rounds\n\n| an epoch of | times the limit by processor time ",
        end="",
    )
    print("(quartiles) | by the clock | images/s by the clock |\n|---|---|---|---|")
    for name, values in seconds.items():
        ratio = values / seconds[LIMIT]
        clock, processor = (np.percentile(ratio[:, column], (25, 50, 75)) for column in (0, 1))
        told = [f"{middle:.2f} ({low:.2f} … {high:.2f})" for low, middle, high in (processor, clock)]
        print(f"| {name} | {told[0]} | {told[1]} | {len(rows) / np.median(values[:, 0]):.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["efficientnet_b0", "resnet10t"])
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--height", type=int, default=96)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as folder:
        write_phantom(Path(folder) / "phantom", n_images=chosen.images, seed=1, workers=1)
        table = read_dataset(Path(folder) / "phantom")
        began = clocks()
        store = PixelStore.build(table, chosen.width, chosen.height, Path(folder) / "store")
        clock, processor = clocks() - began
        each = 1e3 * processor / len(table)
        print(f"decoded once: {len(table)} images in {clock:.1f} s, {each:.1f} ms of a processor each", flush=True)
        for backbone in chosen.backbones:
            compare(backbone, table, store, chosen, Path(folder) / backbone)


if __name__ == "__main__":
    main()

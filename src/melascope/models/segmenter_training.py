"""How does a recipe become a lesion segmenter: one loop, keyed random numbers, exact resume after any step?"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import nn

from melascope.config import SegmenterRecipe
from melascope.data.pixels import gather
from melascope.errors import CheckpointError, DataError, RecipeError, RunError
from melascope.files import read_json, sha256_bytes, write_bytes, write_json, write_text
from melascope.models.augment import normalise
from melascope.models.averaging import Average
from melascope.models.interruption import Interruption
from melascope.models.order import batches, epoch_order, key, keyed_generator
from melascope.models.schedule import learning_rate
from melascope.models.segmenter import build_segmenter, dice_and_cross_entropy, vary_pair
from melascope.models.train import Progress

SAVE_EVERY_SECONDS = 120.0
_BATCH = 50


@dataclass(frozen=True)
class SegmenterData:
    """What the training of a segmenter reads.

    Parameters
    ----------
    pixels : (n_images, height, width, 3) uint8, memory-mapped
    masks : (n_images, height, width) uint8, 255 where all of a pixel is lesion
    train, val : rows of each split
    facts : source, dataset_fingerprint, split_sha256: ride in the checkpoint
    """

    pixels: np.ndarray
    masks: np.ndarray
    train: np.ndarray
    val: np.ndarray
    facts: dict[str, str]

    def __post_init__(self) -> None:
        for name in ("train", "val"):
            if len(getattr(self, name)) < 2:
                raise DataError(
                    f"The split {name!r} has {len(getattr(self, name))} images.",
                    expected="at least two",
                    fix="make another split: melascope data split",
                )


@dataclass
class _State:
    """Where a training stands."""

    epoch: int = 0
    step: int = 0
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    images_seen: int = 0
    best_dice: float = -1.0
    best_epoch: int = 0


class SegmenterTrainer:
    """One training of one recipe in one folder, from where its checkpoint `last` stands, if there is one.

    Raises
    ------
    RunError : the checkpoint `last` was made from another recipe, data set or split.
    CheckpointError : the checkpoint `last` is damaged.
    """

    def __init__(self, recipe: SegmenterRecipe, data: SegmenterData, folder: Path) -> None:
        self.recipe, self.data, self.folder = recipe, data, Path(folder)
        self.network = build_segmenter(recipe).to(memory_format=torch.channels_last)
        self.average = Average(self.network, recipe.train.ema_decay)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.train.learning_rate, weight_decay=recipe.train.weight_decay
        )
        self.steps_per_epoch = len(self._batches(np.arange(len(data.train))))
        self.state = self._resumed() if (self.folder / "last.json").is_file() else _State()
        self._saved_at = time.monotonic()

    def fit(self, progress: Progress | None = None, *, until: int = 0) -> None:
        """Train to the end of the epoch `until` (0: of the recipe); a SIGTERM saves and raises `KeyboardInterrupt`."""
        with Interruption() as interruption:
            while self.state.epoch < min(until or self.recipe.train.epochs, self.recipe.train.epochs):
                for rows in self._remaining():
                    loss = self._step(rows)
                    if progress:
                        progress.step(self.state.epoch, self.state.step_in_epoch, self.steps_per_epoch, loss)
                    if interruption.asked or time.monotonic() - self._saved_at > SAVE_EVERY_SECONDS:
                        self._save("last")
                    if interruption.asked:
                        raise KeyboardInterrupt
                row = self._finish_epoch()
                if progress:
                    progress.epoch(row)

    def _batches(self, order: np.ndarray) -> list[np.ndarray]:
        return batches(order, self.recipe.train.batch_size)

    def _remaining(self) -> list[np.ndarray]:
        train = self.data.train
        same = np.zeros(len(train), dtype=np.int64)
        order = epoch_order(same, sampler="shuffle", seed=self.recipe.seed, epoch=self.state.epoch)
        return [train[positions] for positions in self._batches(order)[self.state.step_in_epoch :]]

    def _step(self, rows: np.ndarray) -> float:
        recipe, state = self.recipe, self.state
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, state.step, self.steps_per_epoch)
        batch, truth = vary_pair(
            torch.from_numpy(gather(self.data.pixels, rows)),
            torch.from_numpy(gather(self.data.masks, rows)),
            recipe.augment,
            keyed_generator("segmenter augment", recipe.seed, state.epoch, state.step_in_epoch),
        )
        batch = _standardised(batch, recipe).contiguous(memory_format=torch.channels_last)
        with torch.random.fork_rng(devices=[]):  # dropout can be given no generator of its own
            torch.manual_seed(key("segmenter dropout", recipe.seed, state.epoch, state.step_in_epoch))
            self.network.train()
            loss = dice_and_cross_entropy(self.network(batch), truth)
            self.optimizer.zero_grad()
            loss.backward()
        self.optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise RecipeError(
                f"The training loss became {value} in epoch {state.epoch + 1}.",
                where=self.folder,
                fix="lower train.learning_rate in a new training",
            )
        state.step += 1
        state.step_in_epoch += 1
        state.loss_sum += value * len(rows)
        state.images_seen += len(rows)
        self.average.update(self.network, state.step)
        return value

    def _finish_epoch(self) -> dict[str, float]:
        """Validate, keep the best weights, and return the row that was added to `results.csv`."""
        state = self.state
        row = {
            "epoch": state.epoch + 1,
            "step": state.step,
            "train_loss": state.loss_sum / state.images_seen,
            **{f"val_{name}": value for name, value in self._validate().items()},
        }
        state.epoch, state.step_in_epoch, state.loss_sum, state.images_seen = state.epoch + 1, 0, 0.0, 0
        if row["val_dice"] > state.best_dice:
            state.best_dice, state.best_epoch = row["val_dice"], state.epoch
            self._save("best")
        self._append(row)
        self._save("last")
        return row

    def _validate(self) -> dict[str, float]:
        """Mean loss and mean Dice at half, at the network's size, of the averaged weights."""
        dice, losses = [], []
        network = self.average.network.eval()
        for start in range(0, len(self.data.val), _BATCH):
            rows = self.data.val[start : start + _BATCH]
            pixels = torch.from_numpy(gather(self.data.pixels, rows))
            truth = torch.from_numpy(gather(self.data.masks, rows)).to(torch.float32)[:, None] / 255
            with torch.no_grad():
                logits = network(normalise(pixels, self.recipe.input.mean, self.recipe.input.std))
            losses.append(float(dice_and_cross_entropy(logits, truth)) * len(rows))
            found, lesion = logits > 0, truth > 0.5
            both, areas = (found & lesion).sum((1, 2, 3)), found.sum((1, 2, 3)) + lesion.sum((1, 2, 3))
            dice.append(torch.where(areas > 0, 2 * both / areas, 1.0))
        return {"loss": sum(losses) / len(self.data.val), "dice": float(torch.cat(dice).mean())}

    def _append(self, row: dict[str, float]) -> None:
        """Add a row to `results.csv`; rows that the checkpoint does not know are written again."""
        path = self.folder / "results.csv"
        known = path.read_text(encoding="utf-8").splitlines()[: self.state.epoch] if path.is_file() else [",".join(row)]
        write_text(path, "".join(f"{line}\n" for line in (*known, ",".join(repr(value) for value in row.values()))))

    def _save(self, which: str) -> None:
        """Tensors first, under a name that holds their digest; then the card; then older tensors go."""
        tensors = {f"average.{name}": tensor for name, tensor in self.average.network.state_dict().items()}
        if which == "last":
            tensors |= {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
            moments = self.optimizer.state_dict()["state"]
            tensors |= {f"adam.{i}.{name}": torch.as_tensor(v) for i, of in moments.items() for name, v in of.items()}
        data = save({name: tensor.detach().contiguous() for name, tensor in tensors.items()})
        digest = sha256_bytes(data)
        name = f"{which}-{digest[:12]}.safetensors"
        write_bytes(self.folder / name, data)
        write_json(
            self.folder / f"{which}.json",
            {**self._begun_with(), **asdict(self.state), "tensors": name, "tensors_sha256": digest},
        )
        for path in self.folder.glob(f"{which}-*.safetensors"):
            if path.name != name:
                path.unlink()
        self._saved_at = time.monotonic()

    def _begun_with(self) -> dict[str, Any]:
        return {"recipe": self.recipe.model_dump(mode="json"), **self.data.facts}

    def _resumed(self) -> _State:
        card, tensors = read_checkpoint(self.folder, "last")
        others = [name for name, value in self._begun_with().items() if card.get(name) != value]
        if others:
            raise RunError(
                f"This training began with another {' and another '.join(others)}.",
                where=self.folder,
                expected="recipe, images and split as they were",
                fix="put them back, or train into another folder",
            )
        self.network.load_state_dict(_part(tensors, "network"))
        self.average.network.load_state_dict(_part(tensors, "average"))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in _part(tensors, "adam").items():
            index, field = name.split(".", 1)
            moments.setdefault(int(index), {})[field] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        return _State(**{name: card[name] for name in asdict(_State())})


def read_checkpoint(folder: Path, which: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Card and tensors of the checkpoint `best` or `last`; damage is a `CheckpointError`."""
    path = Path(folder) / f"{which}.json"
    if not path.is_file():
        raise CheckpointError("There is no such checkpoint.", where=path, fix="melascope segmenter train …")
    card = read_json(path)
    file = Path(folder) / Path(card["tensors"]).name
    data = file.read_bytes() if file.is_file() else b""
    if sha256_bytes(data) != card["tensors_sha256"]:
        raise CheckpointError("The weights are missing or damaged.", where=file, expected=card["tensors_sha256"][:12])
    return card, load(data)


def best_segmenter(folder: Path, recipe: SegmenterRecipe) -> tuple[dict[str, Any], nn.Module]:
    """Card and network of the best epoch, ready to be asked."""
    card, tensors = read_checkpoint(folder, "best")
    network = build_segmenter(recipe)
    network.load_state_dict(_part(tensors, "average"))
    return card, network.eval()


def _part(tensors: dict[str, torch.Tensor], of: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"{of}."): tensor for name, tensor in tensors.items() if name.startswith(f"{of}.")}


def _standardised(batch: torch.Tensor, recipe: SegmenterRecipe) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (recipe.input.mean, recipe.input.std))
    return (batch - mean) / std

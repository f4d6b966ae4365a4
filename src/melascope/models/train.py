"""How does a recipe become a classifier: one loop, that can be read in one sitting, stopped at any moment, resumed?"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import nn

from melascope.classes import CLASSES
from melascope.config import Recipe, validated
from melascope.errors import DataError, RecipeError, RunError
from melascope.files import write_text
from melascope.models.augment import augment
from melascope.models.backbones import build_network
from melascope.models.checkpoint import load_training_state, save_checkpoint
from melascope.models.classifier import predict_logits
from melascope.models.interruption import Interruption
from melascope.models.losses import Loss, build_loss
from melascope.models.order import batches, epoch_order, key, keyed_generator
from melascope.tables.runs import CheckpointCard, RunDirectory, read_card

SAVE_EVERY_SECONDS = 120.0
LOWER_IS_BETTER = frozenset({"nll"})

FiguresOf = Callable[[np.ndarray, np.ndarray], dict[str, float]]
"""(labels (n,), logits (n, 7)) -> validation figures by name; evaluation's, handed in from the floor above."""


@dataclass(frozen=True)
class TrainingData:
    """What a training reads.

    Parameters
    ----------
    pixels : (n_images, height, width, 3) uint8, memory-mapped
    labels : (n_images,) int64
    train, val : rows of each split
    source, dataset_fingerprint, split_sha256 : ride in the checkpoint
    """

    pixels: np.ndarray
    labels: np.ndarray
    train: np.ndarray
    val: np.ndarray
    source: str
    dataset_fingerprint: str
    split_sha256: str

    def __post_init__(self) -> None:
        for name in ("train", "val"):
            if len(getattr(self, name)) < 2:
                raise DataError(
                    f"The split {name!r} has {len(getattr(self, name))} labelled images.",
                    expected="at least two",
                    fix="make another split: melascope data split",
                )


class Progress(Protocol):
    """Who listens to a training: the terminal's bars, or nobody."""

    def step(self, epoch: int, step: int, n_steps: int, loss: float) -> None: ...
    def epoch(self, row: dict[str, float]) -> None: ...


@dataclass
class _State:
    """Where a training stands; everything else follows from recipe and keys."""

    epoch: int = 0  # epochs finished
    step: int = 0  # steps finished, over all epochs
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    images_seen: int = 0
    best: float | None = None
    figures: dict[str, float] = field(default_factory=dict)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Rate at a step: linear warm-up, then constant or half a cosine to zero (Loshchilov & Hutter 2017, eq. 5)."""
    train = recipe.train
    warmup = train.warmup_epochs * steps_per_epoch
    if step < warmup:
        return train.learning_rate * min(1.0, (step + 1) / warmup)  # a warm-up may end in the middle of a step
    if train.schedule == "constant":
        return train.learning_rate
    share = (step - warmup) / max(1.0, train.epochs * steps_per_epoch - warmup)
    return train.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def _one_device(accelerator: str, precision: str) -> Fabric:
    """The device that was asked for, or a refusal; never another one, nor another precision."""
    try:
        fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    except (RuntimeError, ValueError, ImportError) as error:  # Fabric's answers to an absent or unknown device
        raise RecipeError(
            f"The device {accelerator!r} cannot be used ({error})", where="--device", expected="auto, cpu, cuda or mps"
        ) from error
    if precision == "16-mixed" and fabric.device.type == "cpu":  # Fabric would take bf16-mixed instead
        raise RecipeError("A CPU does not train in 16-mixed.", where="train.precision", expected="32-true, bf16-mixed")
    return fabric


class Trainer:
    """One training of one recipe into one run directory, from where its checkpoint `last` stands, if there is one.

    Raises
    ------
    RecipeError : device, precision, backbone or loss cannot be used.
    RunError : the checkpoint `last` was made from another recipe, data set or split.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        run: RunDirectory,
        figures_of: FiguresOf,
        *,
        accelerator: str = "auto",
    ) -> None:
        self.recipe, self.data, self.run, self.figures_of = recipe, data, run, figures_of
        last = run.checkpoints / "last.json"
        card = self._own(read_card(last)) if last.is_file() else None
        self.fabric = _one_device(accelerator, recipe.train.precision)
        network = build_network(recipe.model, seed=key("weights", recipe.seed), download=card is None)
        if recipe.train.channels_last:
            network = network.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=recipe.train.learning_rate, weight_decay=recipe.train.weight_decay
        )
        self.network, self.optimizer = self.fabric.setup(network, optimizer)
        counts = np.bincount(data.labels[data.train], minlength=len(CLASSES))
        self.loss: Loss = build_loss(recipe.loss, counts)
        self.steps_per_epoch = len(batches(np.arange(len(data.train)), recipe.train.batch_size))
        self.state = self._resumed(card) if card else _State()
        self._drop_later_rows()
        self._saved_at = time.monotonic()

    @property
    def device(self) -> str:
        return str(self.fabric.device)

    def _own(self, card: CheckpointCard) -> CheckpointCard:
        """The card, if it was made from this recipe, data set and split: training goes on with those or not at all."""
        begun_with = {
            "recipe": (validated(Recipe, card.recipe, where=self.run.checkpoints / "last.json"), self.recipe),
            "data set": (card.dataset_fingerprint, self.data.dataset_fingerprint),
            "split": (card.split_sha256, self.data.split_sha256),
        }
        others = [name for name, (then, now) in begun_with.items() if then != now]
        if others:
            raise RunError(
                f"This training began with another {' and another '.join(others)}.",
                where=self.run.root,
                expected="recipe.toml, split.csv and images as they were",
                fix="put them back, or start a new run: melascope train RECIPE --data DATA --split SPLIT.csv",
            )
        return card

    def _resumed(self, card: CheckpointCard) -> _State:
        load_training_state(
            self.run.checkpoints, card, self._bare(), self.optimizer, scaler=self.fabric.strategy.precision
        )
        return _State(
            card.epoch, card.step, card.step_in_epoch, card.loss_sum, card.images_seen, card.best_figure, card.figures
        )

    def _drop_later_rows(self) -> None:
        """Rows of `results.csv` that the checkpoint does not know come again: a kill may fall between the two."""
        if self.run.results.is_file():
            lines = self.run.results.read_text(encoding="utf-8").splitlines()
            write_text(self.run.results, "".join(f"{line}\n" for line in lines[: 1 + self.state.epoch]))

    def fit(self, progress: Progress | None = None) -> None:
        """Train until the recipe's last epoch.

        Raises
        ------
        KeyboardInterrupt : on Ctrl-C or SIGTERM, after the step or the epoch is finished and `last` is saved.
        RecipeError : the loss, or validation's logits, are no longer finite; the checkpoints are from before.
        """
        with Interruption() as interruption:
            while self.state.epoch < self.recipe.train.epochs:
                for rows in self._remaining_batches():
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
                if interruption.asked:
                    raise KeyboardInterrupt

    def _remaining_batches(self) -> Iterator[np.ndarray]:
        recipe, labels = self.recipe, self.data.labels[self.data.train]
        order = epoch_order(labels, sampler=recipe.train.sampler, seed=recipe.seed, epoch=self.state.epoch)
        for positions in batches(order, recipe.train.batch_size)[self.state.step_in_epoch :]:
            yield self.data.train[positions]

    def _step(self, rows: np.ndarray) -> float:
        recipe, state, device = self.recipe, self.state, self.fabric.device
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, state.step, self.steps_per_epoch)
        generator = keyed_generator("augment", recipe.seed, state.epoch, state.step_in_epoch)
        pixels = torch.from_numpy(self.data.pixels[rows]).to(device)
        labels = torch.from_numpy(self.data.labels[rows]).to(device)
        batch = augment(pixels, recipe.augment, recipe.input.mean, recipe.input.std, generator)
        if recipe.train.channels_last:
            batch = batch.contiguous(memory_format=torch.channels_last)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            # dropout can be given no generator of its own: the global one is keyed for this step, then given back
            torch.manual_seed(key("dropout", recipe.seed, state.epoch, state.step_in_epoch))
            self.network.train()
            loss = self.loss(self.network(batch), labels)
            self.optimizer.zero_grad()
            self.fabric.backward(loss)
        self.optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise self._diverged(f"The training loss became {value} at step {state.step_in_epoch + 1}")
        state.step += 1
        state.step_in_epoch += 1
        state.loss_sum += value * len(rows)
        state.images_seen += len(rows)
        return value

    def _diverged(self, what: str) -> RecipeError:
        return RecipeError(
            f"{what} of epoch {self.state.epoch + 1}.",
            where=self.run.recipe,
            fix="lower train.learning_rate, or use precision 32-true, in a new run",
        )

    def _finish_epoch(self) -> dict[str, float]:
        """Validate, keep the best weights, and return the row that was added to `results.csv`."""
        state, data = self.state, self.data
        rate = learning_rate(self.recipe, state.step - 1, self.steps_per_epoch)
        logits = predict_logits(
            self.network, _Rows(data.pixels, data.val), self.recipe.input.mean, self.recipe.input.std
        )
        if not np.isfinite(logits).all():
            raise self._diverged("Validation met logits that are not finite at the end")
        state.figures = self.figures_of(data.labels[data.val], logits)
        row = {
            "epoch": state.epoch + 1,
            "step": state.step,
            "learning_rate": rate,
            "train_loss": state.loss_sum / state.images_seen,
            **{f"val_{name}": value for name, value in state.figures.items()},
        }
        state.epoch, state.step_in_epoch, state.loss_sum, state.images_seen = state.epoch + 1, 0, 0.0, 0
        figure = state.figures[self.recipe.train.select_by]
        sign = -1 if self.recipe.train.select_by in LOWER_IS_BETTER else 1
        if state.best is None or sign * figure > sign * state.best:
            state.best = figure
            self._save("best")
        self._append(row)
        self._save("last")
        return row

    def _append(self, row: dict[str, float]) -> None:
        """Add a row to `results.csv` (rewritten whole, so that a kill leaves no half line)."""
        path = self.run.results
        text = path.read_text(encoding="utf-8") if path.is_file() else ",".join(row) + "\n"
        write_text(path, text + ",".join(repr(value) for value in row.values()) + "\n")

    def _save(self, which: str) -> None:
        recipe, state, data = self.recipe, self.state, self.data
        card: dict[str, Any] = {
            "backbone": recipe.model.backbone,
            "dropout": recipe.model.dropout,
            "drop_path": recipe.model.drop_path,
            "class_order": CLASSES,
            "input_width": recipe.input.width,
            "input_height": recipe.input.height,
            "mean": recipe.input.mean,
            "std": recipe.input.std,
            "epoch": state.epoch,
            "step": state.step,
            "step_in_epoch": state.step_in_epoch,
            "loss_sum": state.loss_sum,
            "images_seen": state.images_seen,
            "figures": state.figures,
            "best_figure": state.best,
            "recipe": recipe.model_dump(mode="json"),
            "source": data.source,
            "dataset_fingerprint": data.dataset_fingerprint,
            "split_sha256": data.split_sha256,
        }
        resumable = {"optimizer": self.optimizer, "scaler": self.fabric.strategy.precision} if which == "last" else {}
        save_checkpoint(self.run.checkpoints, which, self._bare(), card, **resumable)
        self._saved_at = time.monotonic()

    def _bare(self) -> nn.Module:
        return self.network.module


class _Rows:
    """Rows of a memory map, gathered a batch at a time, never all at once."""

    def __init__(self, pixels: np.ndarray, rows: np.ndarray) -> None:
        self.pixels, self.rows = pixels, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> np.ndarray:
        return self.pixels[self.rows[part]]

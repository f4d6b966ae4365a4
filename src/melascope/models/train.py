"""How does a recipe become a classifier: one loop, that can be read in one sitting, stopped at any moment, resumed?"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from melascope.classes import CLASSES
from melascope.config import Recipe, validated
from melascope.data.pixels import Rows
from melascope.errors import DataError, RecipeError, RunError
from melascope.files import write_text
from melascope.models.averaging import Average
from melascope.models.backbones import build_network
from melascope.models.batch import training_batch
from melascope.models.checkpoint import digest_of, load_training_state, save_checkpoint
from melascope.models.classifier import predict_logits
from melascope.models.head import with_centred_head
from melascope.models.interruption import Interruption
from melascope.models.losses import Loss, build_loss
from melascope.models.order import batches, epoch_order, key
from melascope.models.processes import gathered, open_fabric, share_of, share_statistics, summed
from melascope.models.schedule import learning_rate
from melascope.models.selection import rank
from melascope.tables.runs import CheckpointCard, RunDirectory, read_card

SAVE_EVERY_SECONDS = 120.0

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
    best: dict[str, float] = field(default_factory=dict)  # figures of the epoch that is kept; none yet: empty
    figures: dict[str, float] = field(default_factory=dict)


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
        self.fabric = open_fabric(accelerator, recipe.train.precision)
        network = build_network(recipe.model, seed=key("weights", recipe.seed), download=card is None)
        self.first_weights_sha256 = digest_of(network) if card is None else ""  # a resumed one starts from its own
        if recipe.train.channels_last:
            network = network.to(memory_format=torch.channels_last)
        network = share_statistics(network, self.fabric)
        optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=recipe.train.learning_rate,
            weight_decay=recipe.train.weight_decay,
            fused=True if self.fabric.device.type == "cpu" else None,  # 2.6 times as fast (docs/performance.md)
        )
        self.network, self.optimizer = self.fabric.setup(network, optimizer)
        self.average = Average(self._bare(), recipe.train.ema_decay) if recipe.train.ema_decay else None
        self.forward = torch.compile(self.network) if recipe.train.compile else self.network
        counts = np.bincount(data.labels[data.train], minlength=len(CLASSES))
        self.loss: Loss = build_loss(recipe.loss, counts)
        self.steps_per_epoch = len(self._batches(np.arange(len(data.train))))
        self.state = self._resumed(card) if card else _State()
        if self.first:
            self._drop_later_rows()
        self._saved_at = time.monotonic()

    @property
    def device(self) -> str:
        return str(self.fabric.device)

    @property
    def first(self) -> bool:
        """Whether this process writes the files; each of several computes."""
        return self.fabric.is_global_zero

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
        average = self.average.network if self.average else None
        precision = self.fabric.strategy.precision
        load_training_state(self.run.checkpoints, card, self._bare(), self.optimizer, scaler=precision, average=average)
        best = card.best_figures
        if not best and card.best_figure is not None:  # a checkpoint of version 0.2 or older, which knew no floor
            best = {self.recipe.train.select_by: card.best_figure}
        return _State(card.epoch, card.step, card.step_in_epoch, card.loss_sum, card.images_seen, best, card.figures)

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
        progress = progress if self.first else None
        with Interruption() as interruption:
            while self.state.epoch < self.recipe.train.epochs:
                for rows in self._remaining_batches():
                    loss = self._step(rows)
                    if progress:
                        progress.step(self.state.epoch, self.state.step_in_epoch, self.steps_per_epoch, loss)
                    asked = self._anywhere(interruption.asked)
                    if asked or time.monotonic() - self._saved_at > SAVE_EVERY_SECONDS:
                        self._save("last")
                    if asked:
                        raise KeyboardInterrupt
                row = self._finish_epoch()
                if progress:
                    progress.epoch(row)
                if self._anywhere(interruption.asked):
                    raise KeyboardInterrupt

    def _anywhere(self, asked: bool) -> bool:
        """Whether any process was asked to stop: they do so after the same step."""
        return bool(summed(torch.tensor(float(asked), device=self.fabric.device), self.fabric))

    def _batches(self, order: np.ndarray) -> list[np.ndarray]:
        return batches(order, self.recipe.train.batch_size, least=max(2, self.fabric.world_size))

    def _remaining_batches(self) -> Iterator[np.ndarray]:
        recipe, labels = self.recipe, self.data.labels[self.data.train]
        order = epoch_order(labels, sampler=recipe.train.sampler, seed=recipe.seed, epoch=self.state.epoch)
        for positions in self._batches(order)[self.state.step_in_epoch :]:
            yield self.data.train[positions]

    def _step(self, rows: np.ndarray) -> float:
        """One step of the optimizer on a batch; with several processes, on this one's share of it."""
        recipe, state, fabric = self.recipe, self.state, self.fabric
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, state.step, self.steps_per_epoch)
        batch, truth = training_batch(
            self.data.pixels,
            self.data.labels,
            rows,
            recipe,
            epoch=state.epoch,
            step=state.step_in_epoch,
            mine=share_of(len(rows), fabric),
            device=fabric.device,
        )
        if recipe.train.channels_last:
            batch = batch.contiguous(memory_format=torch.channels_last)
        value = self._descend(batch, truth)
        if not math.isfinite(value):
            raise self._diverged(f"The training loss became {value} at step {state.step_in_epoch + 1}")
        state.step += 1
        state.step_in_epoch += 1
        state.loss_sum += value * len(rows)
        state.images_seen += len(rows)
        if self.average:
            self.average.update(self._bare(), state.step)
        return value

    def _descend(self, batch: torch.Tensor, truth: torch.Tensor) -> float:
        """Change the weights, and return the loss of the whole batch."""
        fabric, state = self.fabric, self.state
        rank_key = (fabric.global_rank,) if fabric.world_size > 1 else ()
        with torch.random.fork_rng(devices=[fabric.device] if fabric.device.type == "cuda" else []):
            # dropout can be given no generator of its own: the global one is keyed for this step, then given back
            torch.manual_seed(key("dropout", self.recipe.seed, state.epoch, state.step_in_epoch, *rank_key))
            self.network.train()
            terms, weights = self.loss(self.forward(batch), truth)
            total = summed(weights.sum(), fabric)
            loss = terms.sum() / total
            self.optimizer.zero_grad()
            fabric.backward(loss * fabric.world_size)  # processes' gradients are averaged, ours are parts of a sum
        self.optimizer.step()
        return float(summed(loss.detach(), fabric))

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
        logits = self._validation_logits()
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
        train = self.recipe.train
        if not state.best or rank(state.figures, train) > rank(state.best, train):
            state.best = state.figures
            self._save("best")
        if self.first:
            self._append(row)
        self._save("last")
        return row

    def _validation_logits(self) -> np.ndarray:
        """(n_val, 7) float32 of the weights that would be kept, from one view: four would cost a third of an epoch.

        Each process looks at its share. Threshold and temperature are chosen after training, under the recipe's views.
        """
        recipe, val = self.recipe, self.data.val
        mine = Rows(self.data.pixels, val[share_of(len(val), self.fabric)])
        logits = predict_logits(self._kept(), mine, recipe.input.mean, recipe.input.std)
        return gathered(logits, len(val), self.fabric)

    def _append(self, row: dict[str, float]) -> None:
        """Add a row to `results.csv` (rewritten whole, so that a kill leaves no half line)."""
        path = self.run.results
        text = path.read_text(encoding="utf-8") if path.is_file() else ",".join(row) + "\n"
        names = text.split("\n", 1)[0].split(",")  # a run of an older version goes on under its own header
        write_text(path, text + ",".join(repr(row.get(name, "")) for name in names) + "\n")

    def _save(self, which: str) -> None:
        """Write the checkpoint `best`, or `last`, from which training can go on."""
        self._saved_at = time.monotonic()
        if not self.first:
            return
        training = {}
        if which == "last":
            average = self._bare() if self.average else None  # what is kept stands in `weights`, this beside it
            training = {"optimizer": self.optimizer, "scaler": self.fabric.strategy.precision, "unaveraged": average}
        kept = self._kept() if which == "last" else with_centred_head(self._kept())  # training goes on as it was
        save_checkpoint(self.run.checkpoints, which, kept, self._card(), **training)
        self._saved_at = time.monotonic()

    def _card(self) -> dict[str, Any]:
        recipe, state, data = self.recipe, self.state, self.data
        return {
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
            "best_figure": state.best.get(recipe.train.select_by),
            "best_figures": state.best,
            "recipe": recipe.model_dump(mode="json"),
            "source": data.source,
            "dataset_fingerprint": data.dataset_fingerprint,
            "split_sha256": data.split_sha256,
        }

    def _bare(self) -> nn.Module:
        """The network that is trained, without what Fabric wraps it in."""
        return self.network.module

    def _kept(self) -> nn.Module:
        """The network that is judged and kept: the average, where the recipe asks for one."""
        return self.average.network if self.average else self._bare()

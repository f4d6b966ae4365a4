"""What does a person see while a stage runs? Bars and sentences on stderr, so that results alone go to stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True)
class Reporter:
    """Where a stage tells how far it is; `Reporter.silent()` tells nobody."""

    console: Console = field(default_factory=lambda: Console(stderr=True))

    @classmethod
    def silent(cls) -> Reporter:
        return cls(Console(quiet=True))

    def say(self, text: str) -> None:
        """One line, as it is (square brackets are no markup)."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def bar(self, description: str) -> Iterator[Advance]:
        """A progress bar for as long as the block runs."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(description, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    @contextmanager
    def counter(self, description: str) -> Iterator[Callable[[int], None]]:
        """As `bar`, where nobody knows how many there will be: called with how many more are done."""
        columns = (TextColumn("{task.description}: {task.completed:,}"), TimeElapsedColumn())
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(description, total=None)
            yield lambda more: progress.advance(task, more)

    @contextmanager
    def working(self, description: str) -> Iterator[None]:
        """A sign of life where nothing can be counted."""
        with self.console.status(description):
            yield

    @contextmanager
    def training(self, epochs: int) -> Iterator[TrainingBars]:
        """Two facts a training shows: how far this epoch is, and what each epoch brought."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console) as progress:
            yield TrainingBars(progress, epochs)


class TrainingBars:
    """Listens to `models.train.Trainer` and draws."""

    def __init__(self, progress: Progress, epochs: int) -> None:
        self._progress, self._epochs = progress, epochs
        self._task = progress.add_task("training", total=None)

    def step(self, epoch: int, step: int, n_steps: int, loss: float) -> None:
        description = f"epoch {epoch + 1}/{self._epochs}, loss {loss:.3f}"
        self._progress.update(self._task, description=description, completed=step, total=n_steps)

    def epoch(self, row: dict[str, float]) -> None:
        figures = ", ".join(
            f"{name.removeprefix('val_').replace('_', ' ')} {value:.3f}"
            for name, value in row.items()
            if name.startswith("val_")
        )
        self._progress.console.print(
            f"epoch {row['epoch']}/{self._epochs}: train loss {row['train_loss']:.3f}; validation: {figures}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

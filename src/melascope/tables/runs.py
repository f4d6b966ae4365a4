"""What lies where in a run directory, and what travels with the weights?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melascope.classes import CLASSES
from melascope.config import Strict, validated
from melascope.errors import CheckpointError, RecipeError, RunError
from melascope.files import read_json, sha256_file, write_json


class CheckpointCard(Strict):
    """The JSON beside the weights: everything that is needed to use them; nobody retypes an image size.

    `weights` names a safetensors file in the same folder by its content. The card is replaced last and
    in one step, so it always points at a whole file.
    """

    schema_version: int = 1
    weights: str
    weights_sha256: str
    training_state: str = ""  # optimizer tensors, only beside `last`
    training_state_sha256: str = ""
    backbone: str
    dropout: float
    drop_path: float
    class_order: tuple[str, ...]
    input_width: int
    input_height: int
    resize: str = "stretch"  # the whole image, bilinear with antialias, to width × height
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    temperature: float = 1.0
    epoch: int  # finished epochs
    step: int  # finished optimizer steps, over all epochs
    step_in_epoch: int = 0  # a checkpoint `last` may stand in the middle of an epoch
    loss_sum: float = 0.0  # over the images_seen of that epoch
    images_seen: int = 0
    figures: dict[str, float]  # validation figures of this epoch
    best_figure: float | None = None  # of the best epoch so far, by recipe.train.select_by
    best_figures: dict[str, float] = {}  # all validation figures of that epoch
    recipe: dict[str, Any]
    source: str
    dataset_fingerprint: str
    split_sha256: str


@dataclass(frozen=True)
class RunDirectory:
    """Paths of a run directory `runs/<UTC YYYYmmdd_HHMMSS>__<name>-s<seed>/`."""

    root: Path

    recipe = property(lambda self: self.root / "recipe.toml")
    facts = property(lambda self: self.root / "run.json")
    split = property(lambda self: self.root / "split.csv")
    knew_before = property(lambda self: self.root / "knew_before.csv")  # images that its first weights learned from
    results = property(lambda self: self.root / "results.csv")
    checkpoints = property(lambda self: self.root / "checkpoints")
    predictions = property(lambda self: self.root / "predictions.parquet")
    temperature = property(lambda self: self.root / "temperature.json")
    operating_point = property(lambda self: self.root / "operating_point.json")
    evaluation = property(lambda self: self.root / "evaluation")
    maps = property(lambda self: self.root / "maps")
    map_tests = property(lambda self: self.root / "map_tests")
    gallery = property(lambda self: self.root / "gallery")
    export = property(lambda self: self.root / "export")
    likeness = property(lambda self: self.root / "likeness.npz")

    @property
    def name(self) -> str:
        return self.root.name

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run directory; anything else is a `RunError`."""
        run = cls(Path(path))
        if not run.facts.is_file():
            found = (
                "This is not a run directory: it has no run.json." if run.root.is_dir() else "There is no such folder."
            )
            raise RunError(
                found,
                where=path,
                expected="a folder made by `melascope train`, e.g. runs/20260220_192847__baseline-effnetb0-s1",
                fix="melascope train recipes/baseline.toml --data DATA --split SPLIT.csv",
            )
        return run

    def read_facts(self) -> dict[str, Any]:
        """`run.json`: source, data folder, versions, device, hashes."""
        return read_json(self.facts)

    def card(self, which: str = "best") -> CheckpointCard:
        """What stands beside the weights of the checkpoint `best` or `last`, wherever these are.

        Raises
        ------
        CheckpointError : there is none, or its class order is another.
        """
        path = self.checkpoints / f"{which}.json"
        if not path.is_file():
            raise CheckpointError(
                f"The run has no checkpoint {which!r}.",
                where=self.root,
                expected=f"checkpoints/{which}.json and the weights it names",
                fix=f"finish its training: melascope train --resume {self.root}",
            )
        return read_card(path)

    def checkpoint(self, which: str = "best") -> tuple[CheckpointCard, Path]:
        """Card and verified weights file of the checkpoint `best` or `last`.

        Raises
        ------
        CheckpointError : there is none, its class order is another, or the weights differ from their digest.
        """
        card = self.card(which)
        return card, verified(self.checkpoints / card.weights, card.weights_sha256)

    def has_weights(self) -> bool:
        """False in a packed run (`melascope pack`), which answers through its graph alone; True where it is unknown."""
        path = self.checkpoints / "best.json"
        return not path.is_file() or (self.checkpoints / read_card(path).weights).is_file()

    def set_temperature(self, temperature: float, which: str = "best") -> None:
        """Let a checkpoint carry the temperature that validation has fitted; its card is replaced in one step."""
        path = self.checkpoints / f"{which}.json"
        write_json(path, read_card(path).model_copy(update={"temperature": temperature}).model_dump(mode="json"))


def read_card(path: Path) -> CheckpointCard:
    """Read a checkpoint's JSON and check that its classes are ours, in our order."""
    try:
        card = validated(CheckpointCard, read_json(path), where=path)
    except (RecipeError, RunError) as error:
        raise CheckpointError(f"The checkpoint's card cannot be used: {error.found}", where=path) from error
    if card.class_order != CLASSES:
        raise CheckpointError(
            f"The checkpoint's class order is {', '.join(card.class_order)}.",
            where=path,
            expected=", ".join(CLASSES),
            fix="a model of other classes cannot be read as one of ours; train one, or score its predictions table",
        )
    if Path(card.weights).name != card.weights or Path(card.training_state).name != card.training_state:
        raise CheckpointError(
            "The checkpoint's card points outside its own folder.", where=path, expected="a file name"
        )
    return card


def verified(path: Path, sha256: str) -> Path:
    """`path`, if its bytes have this SHA-256; else a `CheckpointError`."""
    if not path.is_file():
        raise CheckpointError("The weights are missing.", where=path, expected="the file that the card beside it names")
    found = sha256_file(path)
    if found != sha256:
        raise CheckpointError(
            f"The weights are damaged: their SHA-256 begins with {found[:12]}.",
            where=path,
            expected=f"{sha256[:12]}…, as written at training",
            fix="copy the file again, or use the run's other checkpoint",
        )
    return path

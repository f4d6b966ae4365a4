"""What do the commands share: their flags, the next command, and a word on a missing package?"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from melascope.errors import MelascopeError

if TYPE_CHECKING:
    from melascope.data.sources.image_folder import Labels

DataFolder = Annotated[
    Path, typer.Argument(help="Folder of a HAM10000 release, a phantom, an ISIC collection, or loose images.")
]
RunFolder = Annotated[Path, typer.Argument(help="A run directory made by `melascope train`.")]
LabelsFile = Annotated[Path | None, typer.Option("--labels", help="CSV with the truth of loose images.")]
ColumnMap = Annotated[
    str | None, typer.Option("--map-columns", help="Its columns under our names: image_id=file,dx=diagnosis")
]
WordMap = Annotated[str | None, typer.Option("--map-labels", help="Its words as our classes: melanoma=mel,nevus=nv")]
EngineName = Annotated[
    str, typer.Option("--engine", help="auto (the run's exported graph if there is one), graph or torch.")
]
SegmenterName = Annotated[
    str,
    typer.Option(
        "--segmenter", help="Who outlines a lesion that has no mask: segmenter (docs/segmenter.md) or classical."
    ),
]
Source = Annotated[str | None, typer.Option(help="ham10000, isic, phantom or image_folder; recognised if left out.")]

TORCH_PACKAGES = frozenset({"torch", "torchvision", "timm", "lightning", "safetensors", "segmentation_models_pytorch"})


@contextmanager
def torch_needed() -> Iterator[None]:
    """Say which extra is missing, where the core was installed alone."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in TORCH_PACKAGES:
            raise
        raise MelascopeError(
            f"This command needs {error.name}, which is not installed.", fix="pip install 'melascope[train]'"
        ) from None


def labels_from(file: Path | None, columns: str | None, words: str | None) -> Labels | None:
    """What the three flags about the truth of loose images say together."""
    from melascope.data.sources.image_folder import Labels

    if file is None and (columns or words):
        raise MelascopeError(
            "Columns or words are mapped, but there is no CSV.", where="--map-columns", fix="add --labels FILE.csv"
        )
    return Labels(file, pairs(columns, "--map-columns"), pairs(words, "--map-labels")) if file else None


def pairs(text: str | None, flag: str) -> dict[str, str]:
    """`"a=b,c=d"` as a dict."""
    pairs: dict[str, str] = {}
    for part in filter(str.strip, (text or "").split(",")):
        name, _, value = map(str.strip, part.partition("="))
        if not name or not value or name in pairs:
            wrong = f"{name!r} stands twice" if value and name in pairs else f"{part.strip()!r} is no pair"
            raise MelascopeError(f"{wrong}.", where=flag, expected="NAME=NAME, separated by commas, each name once")
        pairs[name] = value
    return pairs


def data_flags(file: Path | None, columns: str | None, words: str | None, source: str | None) -> str:
    """What was said of a data set, as it must stand in the next command too."""
    given = {"--labels": file, "--map-columns": columns, "--map-labels": words, "--source": source}
    return "".join(f" {flag} {shlex.quote(str(value))}" for flag, value in given.items() if value)


def next_command(command: str) -> None:
    Console(stderr=True).print(f"next: {command}", markup=False, highlight=False, soft_wrap=True)

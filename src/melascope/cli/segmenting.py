"""`melascope segmenter`: train the network that outlines lesions, and compare its outlines with published masks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.flags import Source, next_command, torch_needed
from melascope.stages.reporting import Reporter

DataWithMasks = Annotated[Path, typer.Option("--data", help="Folder of a data set that has lesion masks.")]
SplitFile = Annotated[Path, typer.Option("--split", help="CSV with image_id,split.")]


def train(
    data: DataWithMasks,
    split: SplitFile,
    recipe: Annotated[Path, typer.Option(help="TOML file.")] = Path("recipes/segmenter.toml"),
    seed: Annotated[int | None, typer.Option(help="In place of the recipe's.")] = None,
    until: Annotated[int, typer.Option(min=0, help="Stop after this epoch; 0 trains them all.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder; a training that lies there goes on.")] = Path("runs/segmenter"),
    source: Source = None,
) -> None:
    """Train a lesion segmenter on the split's training images; validation chooses the epoch and the threshold."""
    from melascope.config import read_segmenter_recipe

    with torch_needed():
        import melascope.models.segmenter_training  # noqa: F401 - says which extra is missing
        from melascope.stages.segmenting import train_segmenter
    wanted = read_segmenter_recipe(recipe, seed=seed)
    try:
        graph = train_segmenter(wanted, data, split, out, Reporter(), source=source, until=until)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        raise typer.Exit(130) from None
    print(graph)
    next_command(f"melascope segmenter evaluate --data {data} --split {split} --graph {graph}")


def evaluate(
    data: DataWithMasks,
    split: SplitFile,
    graph: Annotated[Path | None, typer.Option(help="A segmenter; the one inside the package if left out.")] = None,
    side: Annotated[str, typer.Option(help="Of the split: test, val or train.")] = "test",
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("segmentation"),
    stamp: Annotated[bool, typer.Option("--stamp", help="Write the means into the segmenter's own file too.")] = False,
    source: Source = None,
) -> None:
    """Compare a segmenter's outlines, and the classical ones, with the published masks: Dice, IoU, intervals."""
    from melascope.inference.segmenter import SHIPPED
    from melascope.stages.segmenting import evaluate_segmenters

    graph = graph or SHIPPED
    with torch_needed():
        lines = evaluate_segmenters(data, split, out, Reporter(), graph=graph, side=side, source=source, stamp=stamp)
    print("\n".join(lines))
    print(f"figures: {out}")

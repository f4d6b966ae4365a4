"""`melascope intervene`: hide, keep or add parts of pictures and ask again: the test of what `explain` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.flags import RunFolder, SegmenterName, torch_needed
from melascope.errors import MelascopeError
from melascope.stages.reporting import Reporter


def intervene(
    run: RunFolder,
    images: Annotated[
        Path | None, typer.Argument(help="An image, a folder, or a data set; the run's own data set if left out.")
    ] = None,
    cases: Annotated[str, typer.Option(help="Image ids, separated by commas.")] = "",
    dataset: Annotated[
        bool, typer.Option("--dataset", help="A whole split: artefacts added, backgrounds changed, in matched pairs.")
    ] = False,
    split: Annotated[str, typer.Option(help="With --dataset: of the run.")] = "test",
    controls: Annotated[int, typer.Option(min=1, help="Random placements of each region; p >= 1 / (1 + that).")] = 99,
    seed: Annotated[int, typer.Option(min=0, help="Of all placements.")] = 0,
    segmenter: SegmenterName = "segmenter",
    out: Annotated[Path, typer.Option(help="Folder for tables, pictures and plots.")] = Path("interventions"),
) -> None:
    """What does an answer hang on? Parts hidden, kept or added, each beside a matched control."""
    with torch_needed():
        from melascope.stages import intervening
        from melascope.stages.asking import own_images
        from melascope.stages.scoring import read_images
    from melascope.tables.runs import RunDirectory

    if dataset and cases:
        raise MelascopeError("--cases names single images, --dataset takes a split.", fix="leave one of them out")
    opened = RunDirectory.open(run)
    table = read_images(images) if images else own_images(opened)
    if dataset:
        lines = intervening.intervene_on_split(
            opened, table, out, Reporter(), split=split, seed=seed, segmenter=segmenter
        )
    else:
        ids = [name.strip() for name in cases.split(",") if name.strip()]
        chosen = intervening.chosen_cases(table, ids)
        lines = intervening.intervene_on_cases(
            opened, chosen, out, Reporter(), controls=controls, seed=seed, segmenter=segmenter
        )
    print("\n".join(lines))
    print(f"tables, pictures and plots: {out}")

"""`melascope data`: get, make, check and split a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.flags import (
    ColumnMap,
    DataFolder,
    LabelsFile,
    Source,
    WordMap,
    data_flags,
    labels_from,
    next_command,
)
from melascope.errors import MelascopeError
from melascope.stages.reporting import Reporter


def fetch(
    release: Annotated[str, typer.Argument(help="ham10000")] = "ham10000",
    out: Annotated[Path, typer.Option(help="Where to put the files.")] = Path("data/ham10000"),
) -> None:
    """Download the HAM10000 release (about 3 GB, CC BY-NC 4.0); goes on where an earlier call stopped."""
    from melascope.data.download import fetch_ham10000

    if release != "ham10000":
        raise MelascopeError(f"There is no release {release!r} to fetch.", expected="ham10000")
    with Reporter().bar("downloading") as advance:
        print(fetch_ham10000(out, progress=advance))
    next_command(f"melascope data validate {out}")


def phantom(
    out: Annotated[Path, typer.Option(help="Folder of the new release.")] = Path("data/phantom"),
    images: Annotated[int, typer.Option(min=14, help="How many images.")] = 1200,
    seed: Annotated[int, typer.Option(min=0)] = 1,
) -> None:
    """Draw a phantom: synthetic dermoscopy in exactly the form of a HAM10000 release."""
    from melascope.data.sources.phantom import write_phantom

    with Reporter().bar("drawing phantom images") as advance:
        print(write_phantom(out, n_images=images, seed=seed, progress=advance))
    next_command(f"melascope data validate {out}")


def validate(
    data: DataFolder,
    labels: LabelsFile = None,
    map_columns: ColumnMap = None,
    map_labels: WordMap = None,
    source: Source = None,
) -> None:
    """Look into every file and row; all problems at once."""
    from melascope.data.sources import read_dataset
    from melascope.data.validate import validate as look

    with Reporter().bar("validating") as advance:
        validation = look(read_dataset(data, source, labels_from(labels, map_columns, map_labels)), progress=advance)
    for note in validation.notes:
        print(f"note: {note}")
    table = validation.usable()
    print(f"{len(table)} images of {len(set(table.lesion_key))} lesions, source {table.source}")
    print(f"fingerprint {validation.fingerprint}")
    flags = data_flags(labels, map_columns, map_labels, source)
    next_command(f"melascope data split {data} --out {data.name}-split.csv{flags}")


def split(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="CSV to write: image_id,split.")] = Path("split.csv"),
    given: Annotated[Path | None, typer.Option(help="Check and take over this split instead of drawing one.")] = None,
    hold_out_lesions: Annotated[
        Path | None, typer.Option(help="Lesion ids, one a line, kept out of all splits.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    labels: LabelsFile = None,
    map_columns: ColumnMap = None,
    map_labels: WordMap = None,
    source: Source = None,
) -> None:
    """Split by lesion, each class in the same shares: 80 % train, 10 % val, 10 % test."""
    from melascope.data.split import make_split, read_lesion_ids, read_split
    from melascope.stages.data import read_validated

    table = read_validated(data, source, labels_from(labels, map_columns, map_labels), Reporter())
    held_out = read_lesion_ids(hold_out_lesions) if hold_out_lesions else []
    result = read_split(given, table, held_out) if given else make_split(table, seed=seed, held_out_lesions=held_out)
    print(result.write(out))
    for name, counts in result.how["counts"].items():
        print(f"{name:>8}: {sum(counts.values()):6d} images  " + "  ".join(f"{dx} {n}" for dx, n in counts.items()))
    flags = data_flags(labels, map_columns, map_labels, source)
    next_command(f"melascope train recipes/demo.toml --data {data} --split {out}{flags}")


def audit(
    data: DataFolder,
    split: Annotated[
        Path | None, typer.Option(help="CSV with image_id,split: is a lesion or a copy on two sides?")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of AUDIT.md and audit.json.")] = None,
    labels: LabelsFile = None,
    map_columns: ColumnMap = None,
    map_labels: WordMap = None,
    source: Source = None,
) -> None:
    """Copies under other names, contradictions, balance, image quality, and what a random split would leak."""
    from melascope.data.split import read_split
    from melascope.stages.data import audit_data, read_validated

    table = read_validated(data, source, labels_from(labels, map_columns, map_labels), Reporter())
    sides = read_split(split, table) if split else None
    text, path = audit_data(table, sides, out or Path(f"{data.resolve().name}-audit"), Reporter())
    print(text)
    print(f"audit: {path}")

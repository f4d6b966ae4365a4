"""`melascope predict`: one table of some images, or parts of any number of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.flags import ColumnMap, LabelsFile, WordMap, labels_from, next_command
from melascope.cli.models import ModelOrImages, is_graph, model_and_images, run_or_reference
from melascope.data.inputs import Source
from melascope.errors import MelascopeError
from melascope.stages.reporting import Reporter
from melascope.tables.runs import RunDirectory

TABLES = (".parquet", ".csv")


def predict(
    model: ModelOrImages = None,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGES",
            help="An image, a folder, a data set; or, with --out FOLDER, also a pattern in quotes, a list (.txt: a "
            "path a line) or a manifest (.csv, .parquet).",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="One predictions table (.parquet, .csv), or a folder: parts, any number of images.")
    ] = Path("predictions.parquet"),
    labels: LabelsFile = None,
    map_columns: ColumnMap = None,
    map_labels: WordMap = None,
    engine: Annotated[
        str,
        typer.Option(
            help="auto (the run's exported graph if there is one), graph, torch; or, with --out FOLDER, ray: auto, on "
            "all cores of a Ray cluster (docs/scale.md)."
        ),
    ] = "auto",
    path_column: Annotated[str, typer.Option(help="Of a manifest: the column that holds paths.")] = "",
    shard: Annotated[str, typer.Option(help="With --out FOLDER: make the i-th of n shares, e.g. 3/16.")] = "1/1",
    address: Annotated[
        str,
        typer.Option(help="With --engine ray: of a running cluster, HOST:6379 or auto; else one is started here."),
    ] = "",
) -> None:
    """Score images: into one table, with their truth where a CSV tells it, or into parts that no kill can spoil.

    `melascope predict photos/` asks the reference model that melascope ships; `melascope predict RUN photos/` a run, or
    a graph (.onnx, .xml) that `melascope export` wrote.
    """
    named, source = model_and_images(model, source)
    if source is None:
        raise MelascopeError("No image is named.", expected="IMAGES, or RUN IMAGES", fix="melascope predict photos/")
    if address and engine != "ray":
        raise MelascopeError("Only a Ray cluster has an address.", where="--address", fix="add --engine ray")
    if out.suffix.lower() not in TABLES:
        if labels:
            raise MelascopeError("Parts hold no truth.", where="--labels", fix="score into one table: --out FILE.csv")
        found = Source.of(source, column=path_column)
        _parts(Path(named or run_or_reference(None).root), found, out, engine, shard, address)
        return
    if path_column or shard != "1/1" or engine == "ray":
        raise MelascopeError("A table is made whole.", where="--out", fix="name a folder: --out scores")
    kind = Source.of(source).kind
    if kind not in ("file", "folder"):
        raise MelascopeError(f"A {kind} is scored into a folder.", where=source, fix="add --out scores")
    place = Path(named or run_or_reference(None).root)
    _table(place, Path(source), out, engine, labels_from(labels, map_columns, map_labels))


def _table(model: Path, source: Path, out: Path, engine: str, labels) -> None:
    from melascope.evaluation.operating_point import OperatingPoint
    from melascope.stages.scoring import predict_images, read_images

    run = RunDirectory.open(model) if not is_graph(model) else None
    predictions = predict_images(run or model, read_images(source, labels), Reporter(), engine=engine)
    print(predictions.write(out))
    if run and run.operating_point.is_file():
        point = OperatingPoint.read(run.operating_point)
        n, name = int(point.is_positive(predictions.probabilities).sum()), "+".join(point.target)
        print(f"{n:,} of {len(predictions):,} at or above the frozen threshold P({name}) ≥ {point.threshold:.4f}")
    for note in predictions.notes:
        print(f"note: {note}")
    if out.suffix.lower() == ".csv":
        print("note: a CSV carries no notes, temperature or hashes; to judge these images, write .parquet")
        return
    if (predictions.dx != "").any():
        point = f" --operating-point {model}/operating_point.json" if run else ""
        next_command(f"melascope evaluate {out}{point}")


def _parts(model: Path, source: Source, out: Path, engine: str, shard: str, address: str) -> None:
    from melascope.stages.batch_scoring import Share, reasons_in, score_inputs
    from melascope.stages.engines import open_engine
    from melascope.stages.ray_scoring import score_inputs_on_ray

    reporter, share = Reporter(), Share.from_text(shard)
    if engine == "ray":
        result = score_inputs_on_ray(model, source, out, reporter, share=share, address=address)
    else:
        result = score_inputs(open_engine(model, engine=engine, reporter=reporter), source, out, reporter, share=share)
    print(f"{result.scored:,} images scored, {result.refused:,} inputs refused: {out}")
    for reason, count in reasons_in(out, share).most_common(5):
        print(f"  {count:,} × {reason}")
    if result.found_before:
        print(f"{result.found_before:,} parts were finished before.")

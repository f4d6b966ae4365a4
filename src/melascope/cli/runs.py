"""Commands that make a run directory, or use the model in it: train, predict, explain, gallery, demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.flags import (
    ColumnMap,
    EngineName,
    LabelsFile,
    SegmenterName,
    Source,
    WordMap,
    labels_from,
    next_command,
    torch_needed,
)
from melascope.cli.judging import show_run
from melascope.cli.map_tests import show_map_tests
from melascope.cli.models import ModelOrImages, model_and_images, next_of, refuse_missing, run_or_reference
from melascope.errors import MelascopeError
from melascope.stages.reference import is_reference
from melascope.stages.reporting import Reporter


def train(
    recipe: Annotated[Path | None, typer.Argument(help="TOML file, e.g. recipes/baseline.toml.")] = None,
    data: Annotated[Path | None, typer.Option(help="The data set's folder.")] = None,
    split: Annotated[Path | None, typer.Option(help="CSV with image_id,split.")] = None,
    hold_out_lesions: Annotated[Path | None, typer.Option(help="Lesion ids, one a line, kept out of training.")] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the recipe's.")] = None,
    init: Annotated[Path | None, typer.Option(help="First weights: a .safetensors file, or a run.")] = None,
    runs: Annotated[Path, typer.Option(help="Where run directories are made.")] = Path("runs"),
    resume: Annotated[Path | None, typer.Option(help="A run directory whose training shall go on.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    labels: LabelsFile = None,
    map_columns: ColumnMap = None,
    map_labels: WordMap = None,
    source: Source = None,
) -> None:
    """Train a recipe: weights, predictions of all splits, the operating point frozen from validation, evaluation."""
    from melascope.config import read_recipe
    from melascope.data.split import read_lesion_ids

    with torch_needed():
        from melascope.stages import training
    if resume:
        if recipe or data or split or seed is not None or init or hold_out_lesions or labels:
            raise MelascopeError(
                "--resume takes everything from the run directory.", fix=f"melascope train --resume {resume}"
            )
        run = training.open_for_resume(resume)
    elif not (recipe and data and split):
        raise MelascopeError(
            "A new training needs a recipe, --data and --split.",
            fix="melascope train recipes/demo.toml --data data/phantom --split split.csv",
        )
    else:
        run = training.start_run(
            read_recipe(recipe, seed=seed, init=init),
            data=data,
            split=split,
            runs=runs,
            source=source,
            labels=labels_from(labels, map_columns, map_labels),
            held_out_lesions=read_lesion_ids(hold_out_lesions) if hold_out_lesions else (),
            accelerator=device,
        )
    try:
        training.train_run(run, Reporter(), accelerator=device, fresh=not resume)
    except KeyboardInterrupt:
        print(f"interrupted; go on with: melascope train --resume {run.root}", file=sys.stderr)
        raise typer.Exit(130) from None
    if training.is_first_process():
        show_run(run.root)
        next_command(f"melascope gallery {run.root}")


def explain(
    run: ModelOrImages = None,
    images: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGES",
            help="An image, a folder of images, a data set, or a .csv or .parquet with image_id; left out with --test.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for pictures and maps.npz [maps], or for --test [RUN/map_tests].")
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="gradcam, hirescam, layercam, gradcam++, scorecam, eigencam, integrated_gradients, smoothgrad or "
            "occlusion; see docs/explain.md."
        ),
    ] = "gradcam",
    layer: Annotated[str, typer.Option(help="auto, or a layer's name, e.g. blocks[4].")] = "auto",
    class_name: Annotated[
        str, typer.Option("--class", help="Show this class's map alone; else those of the predicted class and mel.")
    ] = "",
    against: Annotated[
        str, typer.Option(help="Subtract the map of this class, or of `predicted`: why --class (mel) and not it?")
    ] = "",
    picture: Annotated[str, typer.Option("--format", help="jpg, webp or png.")] = "jpg",
    fast: Annotated[bool, typer.Option("--fast", help="bfloat16: for pictures, never for numbers.")] = False,
    engine: EngineName = "auto",
    segmenter: SegmenterName = "segmenter",
    labels: LabelsFile = None,
    map_columns: ColumnMap = None,
    map_labels: WordMap = None,
    test: Annotated[
        bool, typer.Option("--test", help="Test the maps on held-out images: lesion masks, faithfulness, sanity.")
    ] = False,
    asked_again: Annotated[int, typer.Option("--images", help="With --test: images asked about again.")] = 1000,
    split: Annotated[str, typer.Option(help="With --test: test or val.")] = "test",
) -> None:
    """Maps of all seven classes from one pass: raw signed maps with a manifest, and a picture of each image.

    `melascope explain photo.jpg` asks the reference model that melascope ships; with RUN before it, a run is asked.
    """
    model, images = model_and_images(run, images)
    if test or images is None:
        if images is not None or model is None or not test:
            raise MelascopeError(
                "Either images are explained, or a run's maps are tested.",
                expected="IMAGES, RUN IMAGES, or RUN --test",
                fix="melascope explain photo.jpg",
            )
        if fast:
            raise MelascopeError(
                "Maps are tested in the precision that is reported.", where="--fast", fix="leave --fast out"
            )
        given = {"--layer": (layer, "auto"), "--class": (class_name, ""), "--against": (against, "")}
        given |= {"--format": (picture, "jpg"), "--engine": (engine, "auto")}
        ignored = ", ".join(flag for flag, (value, default) in given.items() if value != default)
        if ignored:
            raise MelascopeError(
                "Maps of all classes at the method's own layer are tested, through torch.",
                where=ignored,
                fix=f"leave {ignored} out",
            )
        show_map_tests(Path(model), out, split=split, images=asked_again, method=method, segmenter=segmenter)
        return
    out = out or Path("maps")
    refuse_missing(images, "an image, a folder of images, a data set, a table with image_id; before it, perhaps a run")
    with torch_needed():
        from melascope.stages.explained import MapRequest
        from melascope.stages.explaining import explain_images
        from melascope.stages.named_images import named_images

    request = MapRequest(method, layer, class_name, against, picture, fast, engine, segmenter)
    opened = run_or_reference(model)
    table = named_images(opened, Path(images), labels_from(labels, map_columns, map_labels))
    for line in explain_images(opened, table, out, Reporter(), request=request):
        print(line)
    print(f"pictures and raw maps: {out}")
    next_command(next_of(opened, "melascope app" if is_reference(opened) else "melascope gallery"))


def gallery(
    run: ModelOrImages = None,
    images: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET", help="Other images than the run's own, scored anew; needed for the reference model."
        ),
    ] = None,
    cases: Annotated[
        str, typer.Option(help="Image ids, separated by commas; chosen from held-out images if left out.")
    ] = "",
    every: Annotated[bool, typer.Option("--every", help="Show every held-out image besides.")] = False,
    tags: Annotated[
        Path | None, typer.Option(help="CSV that an earlier page exported: its tags and comments are shown.")
    ] = None,
    tests: Annotated[
        int, typer.Option(min=0, help="So many notes are tested by hiding parts of the picture; some seconds each.")
    ] = 30,
    fast: Annotated[
        bool, typer.Option("--fast", help="Maps in bfloat16, which the page says; quicker where the processor has it.")
    ] = False,
    engine: EngineName = "auto",
    segmenter: SegmenterName = "segmenter",
    data: Annotated[Path | None, typer.Option(help="The data set's folder, if it has moved.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the gallery [RUN/gallery, or gallery].")] = None,
    labels: LabelsFile = None,
    map_columns: ColumnMap = None,
    map_labels: WordMap = None,
) -> None:
    """Pages with a note on every missed melanoma and other telling cases, from held-out images.

    `melascope gallery DATASET` shows what the reference model that melascope ships says of a data set.
    """
    model, images = model_and_images(run, images)
    with torch_needed():
        from melascope.stages.auditing import audit_run
        from melascope.stages.scoring import read_images

    ids = [image_id.strip() for image_id in cases.split(",") if image_id.strip()]
    if model is None and images is None:
        raise MelascopeError(
            "The reference model brings no images.", expected="a data set, or a run", fix="melascope gallery DATASET"
        )
    if images is not None:
        refuse_missing(images, "a data set or a folder of images; before it, perhaps a run")
    elif labels:
        raise MelascopeError("A run knows the truth of its own images.", where="--labels", fix="name a DATASET too")
    table = read_images(Path(images), labels_from(labels, map_columns, map_labels)) if images is not None else None
    found = run_or_reference(model)
    how = {"most_tests": tests, "fast": fast, "engine": engine, "segmenter": segmenter, "others": table}
    page = audit_run(found, Reporter(), image_ids=ids, every=every, tags=tags, data=data, out=out, **how)
    print(page)
    if not is_reference(found):
        next_command(f"melascope report {found.root}")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("demo"),
    data: Annotated[Path, typer.Option(help="A HAM10000 release to use if it is there.")] = Path("data/ham10000"),
    recipe: Annotated[Path, typer.Option(help="What to train.")] = Path("recipes/demo.toml"),
) -> None:
    """The whole main job in under five minutes: data, split, training, evaluation, maps, gallery, report."""
    with torch_needed():
        from melascope.stages.demo import run_demo
    from melascope.stages.demo import DemoResult

    result: DemoResult = run_demo(out, data=data, recipe=recipe, reporter=Reporter())
    show_run(result.run)
    print(f"gallery: {result.page}")
    print(f"report: {result.report}")

"""Which commands are there? Each parses, calls one library function, and prints."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from melascope import __version__
from melascope.classes import RESEARCH_ONLY
from melascope.errors import MelascopeError
from melascope.stages.reporting import Reporter

if TYPE_CHECKING:
    from melascope.data.sources.image_folder import Labels

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=f"Which melanomas does a classifier miss, why, and at what price could it miss fewer? {RESEARCH_ONLY}",
)
data_app = typer.Typer(no_args_is_help=True, help="Get, make, check and split a data set.")
app.add_typer(data_app, name="data")

DataFolder = Annotated[Path, typer.Argument(help="Folder of a HAM10000 release, a phantom, or loose images.")]
RunFolder = Annotated[Path, typer.Argument(help="A run directory made by `melascope train`.")]
LabelsFile = Annotated[Path | None, typer.Option("--labels", help="CSV with the truth of loose images.")]
ColumnMap = Annotated[
    str | None, typer.Option("--map-columns", help="Its columns under our names: image_id=file,dx=diagnosis")
]
WordMap = Annotated[str | None, typer.Option("--map-labels", help="Its words as our classes: melanoma=mel,nevus=nv")]
Source = Annotated[str | None, typer.Option(help="ham10000, phantom or image_folder; recognised if left out.")]

TORCH_PACKAGES = frozenset({"torch", "torchvision", "timm", "lightning", "safetensors"})


def main() -> None:
    """Entry point: errors that a user can mend become a message and exit code 1; a bug keeps its traceback."""
    try:
        app()
    except MelascopeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


@contextmanager
def _torch_needed() -> Iterator[None]:
    """Say which extra is missing, where the core was installed alone."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in TORCH_PACKAGES:
            raise
        raise MelascopeError(
            f"This command needs {error.name}, which is not installed.", fix="pip install 'melascope[train]'"
        ) from None


def _labels(file: Path | None, columns: str | None, words: str | None) -> Labels | None:
    """What the three flags about the truth of loose images say together."""
    from melascope.data.sources.image_folder import Labels

    if file is None and (columns or words):
        raise MelascopeError(
            "Columns or words are mapped, but there is no CSV.", where="--map-columns", fix="add --labels FILE.csv"
        )
    return Labels(file, _pairs(columns, "--map-columns"), _pairs(words, "--map-labels")) if file else None


def _pairs(text: str | None, flag: str) -> dict[str, str]:
    """`"a=b,c=d"` as a dict."""
    pairs = [part.partition("=") for part in (text or "").split(",") if part.strip()]
    names = [name.strip() for name, _, _ in pairs]
    if any(not name or not value.strip() for name, _, value in pairs) or len(set(names)) < len(names):
        raise MelascopeError(f"{flag} is {text!r}.", expected="NAME=NAME, separated by commas, each name once")
    return {name: value.strip() for name, (_, _, value) in zip(names, pairs, strict=True)}


def _label_flags(file: Path | None, columns: str | None, words: str | None) -> str:
    """The three flags about the truth of loose images, as they stand in the next command."""
    given = {"--labels": file, "--map-columns": columns, "--map-labels": words}
    return "".join(f" {flag} {shlex.quote(str(value))}" for flag, value in given.items() if value)


def _next(command: str) -> None:
    Console(stderr=True).print(f"next: {command}", markup=False, highlight=False, soft_wrap=True)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"melascope {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and exit.")
    ] = False,
) -> None:
    pass


@data_app.command()
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
    _next(f"melascope data validate {out}")


@data_app.command()
def phantom(
    out: Annotated[Path, typer.Option(help="Folder of the new release.")] = Path("data/phantom"),
    images: Annotated[int, typer.Option(min=14, help="How many images.")] = 1200,
    seed: Annotated[int, typer.Option(min=0)] = 1,
) -> None:
    """Draw a phantom: synthetic dermoscopy in exactly the form of a HAM10000 release."""
    from melascope.data.sources.phantom import write_phantom

    with Reporter().bar("drawing phantom images") as advance:
        print(write_phantom(out, n_images=images, seed=seed, progress=advance))
    _next(f"melascope data validate {out}")


@data_app.command()
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
        validation = look(read_dataset(data, source, _labels(labels, map_columns, map_labels)), progress=advance)
    for note in validation.notes:
        print(f"note: {note}")
    table = validation.usable()
    print(f"{len(table)} images of {len(set(table.lesion_key))} lesions, source {table.source}")
    print(f"fingerprint {validation.fingerprint}")
    flags = _label_flags(labels, map_columns, map_labels)
    _next(f"melascope data split {data} --out {data.name}-split.csv{flags}")


@data_app.command()
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
    from melascope.data.sources import read_dataset
    from melascope.data.split import make_split, read_lesion_ids, read_split

    table = read_dataset(data, source, _labels(labels, map_columns, map_labels))
    held_out = read_lesion_ids(hold_out_lesions) if hold_out_lesions else []
    result = read_split(given, table, held_out) if given else make_split(table, seed=seed, held_out_lesions=held_out)
    print(result.write(out))
    for name, counts in result.how["counts"].items():
        print(f"{name:>8}: {sum(counts.values()):6d} images  " + "  ".join(f"{dx} {n}" for dx, n in counts.items()))
    flags = _label_flags(labels, map_columns, map_labels)
    _next(f"melascope train recipes/demo.toml --data {data} --split {out}{flags}")


@app.command()
def train(
    recipe: Annotated[Path | None, typer.Argument(help="TOML file, e.g. recipes/baseline.toml.")] = None,
    data: Annotated[Path | None, typer.Option(help="The data set's folder.")] = None,
    split: Annotated[Path | None, typer.Option(help="CSV with image_id,split.")] = None,
    hold_out_lesions: Annotated[Path | None, typer.Option(help="Lesion ids, one a line, kept out of training.")] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the recipe's.")] = None,
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

    with _torch_needed():
        from melascope.stages import training
    if resume:
        if recipe or data or split or seed is not None or hold_out_lesions or labels:
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
            read_recipe(recipe, seed=seed),
            data=data,
            split=split,
            runs=runs,
            source=source,
            labels=_labels(labels, map_columns, map_labels),
            held_out_lesions=read_lesion_ids(hold_out_lesions) if hold_out_lesions else (),
        )
    try:
        training.train_run(run, Reporter(), accelerator=device)
    except KeyboardInterrupt:
        print(f"interrupted; go on with: melascope train --resume {run.root}", file=sys.stderr)
        raise typer.Exit(130) from None
    _show_run(run.root)
    _next(f"melascope gallery {run.root}")


def _show_run(root: Path) -> None:
    from melascope.evaluation.evaluate import Evaluation
    from melascope.report.terminal import print_evaluation
    from melascope.tables.runs import RunDirectory

    run = RunDirectory.open(root)
    print_evaluation(Evaluation.read(run.evaluation), Console())
    _show_price(run.predictions, run.operating_point)
    print(f"run: {root}")


def _show_price(predictions: Path, operating_point: Path) -> None:
    from melascope.evaluation.operating_point import OperatingPoint
    from melascope.evaluation.price import TARGETS, price_menu
    from melascope.report.terminal import print_price_menu
    from melascope.tables.predictions import Predictions

    point, validation = OperatingPoint.read(operating_point), Predictions.read(predictions).of_split("val")
    targets = sorted({*TARGETS, point.target_sensitivity})
    print_price_menu(price_menu(validation, target=point.target, rule=point.rule, targets=targets), point, Console())


@app.command()
def predict(
    run: RunFolder,
    images: Annotated[Path, typer.Argument(help="An image, a folder of images, or a data set.")],
    out: Annotated[Path, typer.Option(help="Predictions table: .parquet or .csv.")] = Path("predictions.parquet"),
    labels: LabelsFile = None,
    map_columns: ColumnMap = None,
    map_labels: WordMap = None,
) -> None:
    """Write the predictions table of any images, with their truth where a CSV tells it."""
    with _torch_needed():
        from melascope.stages.scoring import predict_images, read_images
    from melascope.tables.runs import RunDirectory

    table = read_images(images, _labels(labels, map_columns, map_labels))
    predictions = predict_images(RunDirectory.open(run), table, Reporter())
    print(predictions.write(out))
    _next(f"melascope evaluate {out} --operating-point {run}/operating_point.json")


@app.command()
def evaluate(
    table: Annotated[Path, typer.Argument(help="A run directory, or a predictions table (.parquet, .csv) of anybody.")],
    operating_point: Annotated[Path | None, typer.Option(help="Frozen point; a run's own by default.")] = None,
    split: Annotated[str, typer.Option(help="Which rows to judge.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Folder for figures and plots.")] = None,
) -> None:
    """Judge a predictions table: every figure with its n and interval, JSON, CSV and plots."""
    from melascope.report.terminal import print_evaluation
    from melascope.stages.evaluating import evaluate_table
    from melascope.tables.runs import RunDirectory

    run = RunDirectory.open(table) if table.is_dir() else None
    if run:
        table, operating_point = run.predictions, operating_point or run.operating_point
        out = out or (run.evaluation if split == "test" else run.root / f"evaluation-{split}")
    out = out or table.with_name(f"{table.stem}-evaluation")
    evaluation = evaluate_table(table, operating_point, out, Reporter(), split=split)
    print_evaluation(evaluation, Console())
    if run:
        _show_price(table, operating_point)
    print(f"figures and plots: {out}")
    if run:
        _next(f"melascope gallery {run.root}")


@app.command()
def explain(
    run: RunFolder,
    images: Annotated[Path, typer.Argument(help="An image, a folder of images, or a data set.")],
    out: Annotated[Path, typer.Option(help="Folder for pictures and maps.npz.")] = Path("maps"),
    method: Annotated[str, typer.Option(help="Map method.")] = "gradcam",
) -> None:
    """Maps of all seven classes from one pass: raw signed maps, and a picture of each image."""
    with _torch_needed():
        from melascope.stages.explaining import explain_images
    from melascope.stages.scoring import read_images
    from melascope.tables.runs import RunDirectory

    for line in explain_images(RunDirectory.open(run), read_images(images), out, Reporter(), method=method):
        print(line)
    print(f"pictures and raw maps: {out}")
    _next(f"melascope gallery {run}")


@app.command()
def gallery(
    run: RunFolder,
    cases: Annotated[
        str, typer.Option(help="Image ids, separated by commas; chosen from held-out images if left out.")
    ] = "",
    data: Annotated[Path | None, typer.Option(help="The data set's folder, if it has moved.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the gallery.")] = None,
) -> None:
    """Pages with a note on every missed melanoma and other telling cases, from held-out images."""
    with _torch_needed():
        from melascope.stages.auditing import audit_run
    from melascope.tables.runs import RunDirectory

    ids = [image_id.strip() for image_id in cases.split(",") if image_id.strip()]
    print(audit_run(RunDirectory.open(run), Reporter(), image_ids=ids, data=data, out=out))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("demo"),
    data: Annotated[Path, typer.Option(help="A HAM10000 release to use if it is there.")] = Path("data/ham10000"),
    recipe: Annotated[Path, typer.Option(help="What to train.")] = Path("recipes/demo.toml"),
) -> None:
    """The whole main job in under five minutes: data, split, training, operating point, evaluation, maps, gallery."""
    with _torch_needed():
        from melascope.stages.demo import run_demo
    from melascope.stages.demo import DemoResult

    result: DemoResult = run_demo(out, data=data, recipe=recipe, reporter=Reporter())
    _show_run(result.run)
    print(f"gallery: {result.page}")

"""Recipe + data set with masks + split → a lesion segmenter; a segmenter + images → how well its masks agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from melascope import __version__
from melascope.config import SegmenterRecipe, read_segmenter_recipe, recipe_toml
from melascope.data.lesion_masks import read_lesion_mask, shrunk_masks
from melascope.data.split import Split, read_split
from melascope.errors import SplitError
from melascope.evaluation.spreadsheets import csv_text
from melascope.explain.mask_agreement import Agreement, agreement_figures, agreement_of
from melascope.explain.segment import SEGMENTERS
from melascope.files import make_folder, write_json, write_manifest, write_text
from melascope.inference.segmenter import SHIPPED, Segmenter, lesion_from
from melascope.stages.data import Dataset, read_validated
from melascope.stages.reporting import Reporter
from melascope.stages.scoring import load_image
from melascope.tables.lesions import LesionTable
from melascope.tables.licences import LICENCES
from melascope.tables.results import Figure
from melascope.tables.segmenters import SegmenterCard

THRESHOLDS = tuple(round(0.30 + 0.05 * step, 2) for step in range(9))
"""Of which validation chooses the one with the best mean Dice."""

GRAPH = "lesion_segmenter.onnx"
_CHUNK = 32

FindsLesion = Callable[[np.ndarray, int, int], np.ndarray]
"""A picture, width and height of its mask -> (height, width) bool."""


def train_segmenter(
    recipe: SegmenterRecipe,
    data: Path,
    split: Path,
    out: Path,
    reporter: Reporter,
    *,
    source: str | None = None,
    until: int = 0,
) -> Path:
    """Train, or go on training, in the folder `out`; the test images are never looked at.

    Parameters
    ----------
    until : stop after this epoch, with the recipe's learning rates; 0 trains them all

    Returns
    -------
    graph : `lesion_segmenter.onnx` in `out`, beside `recipe.toml`, `results.csv` and the checkpoints
    """
    from melascope.models.segmenter_training import SegmenterData, SegmenterTrainer

    out = make_folder(Path(out))
    store = make_folder(out.parent / ".pixels")
    dataset = Dataset.open(data, source=source, labels=None, store_folder=store, reporter=reporter)
    parted = read_split(split, dataset.table)
    side = parted.of(dataset.table)
    width, height = recipe.input.width, recipe.input.height
    pixels = dataset.pixels(width, height, reporter).pixels
    with reporter.bar(f"masks at {width}×{height}") as advance:
        masks = shrunk_masks(dataset.table, width, height, store, progress=advance)
    facts = {
        "source": dataset.table.source,
        "dataset_fingerprint": dataset.table.fingerprint,
        "split_sha256": parted.sha256,
    }
    rows = {name: np.flatnonzero(side == name) for name in ("train", "val")}
    trainer = SegmenterTrainer(recipe, SegmenterData(pixels, masks, rows["train"], rows["val"], facts), out)
    write_text(out / "recipe.toml", recipe_toml(recipe))
    with reporter.training(recipe.train.epochs) as bars:
        trainer.fit(bars, until=until)
    return finish_segmenter(out, dataset.table, parted, reporter)


def finish_segmenter(
    folder: Path, table: LesionTable, split: Split, reporter: Reporter, *, precision: str = "float16"
) -> Path:
    """Export the best epoch, with the threshold that validation chooses at the masks' own size."""
    from melascope.models.segmenter import PixelsToLesion
    from melascope.models.segmenter_export import restamp, write_segmenter
    from melascope.models.segmenter_training import best_segmenter

    recipe = read_segmenter_recipe(folder / "recipe.toml")
    checkpoint, network = best_segmenter(folder, recipe)
    side = split.of(table)
    card = SegmenterCard(
        melascope=__version__,
        recipe=recipe.model_dump(mode="json"),
        input_width=recipe.input.width,
        input_height=recipe.input.height,
        threshold=0.5,
        precision=precision,
        epoch=checkpoint["epoch"],
        epochs=recipe.train.epochs,
        weights_sha256=checkpoint["tensors_sha256"],
        source=table.source,
        licence=LICENCES.get(table.source, "that of the data it was trained on"),
        dataset_fingerprint=table.fingerprint,
        split_sha256=split.sha256,
        n_train=int((side == "train").sum()),
    )
    path = write_segmenter(PixelsToLesion(network, recipe.input.mean, recipe.input.std), card, folder / GRAPH)
    threshold, chosen = choose_threshold(Segmenter.open(path), table.subset(side == "val"), reporter)
    figures = {"val": {"dice": chosen.as_json()}}
    return restamp(path, card.model_copy(update={"threshold": threshold, "figures": figures}))


def choose_threshold(segmenter: Segmenter, table: LesionTable, reporter: Reporter) -> tuple[float, Figure]:
    """The threshold of `THRESHOLDS` with the best mean Dice, and that Dice."""
    at: dict[float, list[Agreement]] = {threshold: [] for threshold in THRESHOLDS}
    with reporter.bar("choosing the threshold on validation") as advance:
        for row in range(len(table)):
            mask = read_lesion_mask(table, row)
            (probability,) = segmenter.probabilities([load_image(table, row)])
            for threshold, found in at.items():
                lesion = lesion_from(probability, mask.shape[1], mask.shape[0], threshold=threshold)
                found.append(agreement_of(lesion, mask))
            advance(row + 1, len(table))
    best = max(THRESHOLDS, key=lambda threshold: np.mean([one.dice for one in at[threshold]]))
    return best, agreement_figures(at[best], table.lesion_key, table.dx)["all", "dice"]


def evaluate_segmenters(
    data: Path,
    split: Path,
    out: Path,
    reporter: Reporter,
    *,
    graph: Path = SHIPPED,
    side: str = "test",
    source: str | None = None,
    stamp: bool = False,
) -> list[str]:
    """Compare the masks of a segmenter, and of the classical one, with the data set's, at the masks' own size.

    Parameters
    ----------
    stamp : write the mean Dice and IoU into the graph's own card as well

    Returns
    -------
    lines : what to print; `segmentation.json` and a row an image in `segmentation.csv` go to `out`
    """
    whole = read_validated(Path(data), source, None, reporter)
    parted = read_split(split, whole)
    table = whole.subset(parted.of(whole) == side)
    if len(table) == 0:
        raise SplitError(f"The split has no image in {side!r}.", where=split, expected="train, val or test")
    segmenter = Segmenter.open(graph)
    finders: dict[str, FindsLesion] = {
        "segmenter": lambda image, width, height: segmenter.lesion(image, width=width, height=height),
        "classical": lambda image, width, height: enlarged(SEGMENTERS["classical"](image), width, height),
    }
    found: dict[str, list[Agreement]] = {name: [] for name in finders}
    with reporter.bar(f"comparing masks of {side}") as advance:
        for row in range(len(table)):
            image, mask = load_image(table, row), read_lesion_mask(table, row)
            for name, find in finders.items():
                found[name].append(agreement_of(find(image, mask.shape[1], mask.shape[0]), mask))
            advance(row + 1, len(table))
    if stamp:
        _stamp(segmenter, side, agreement_figures(found["segmenter"], table.lesion_key, table.dx))
    return _written(make_folder(Path(out)), segmenter, table, parted, side, found)


def _stamp(segmenter: Segmenter, side: str, figures: dict[tuple[str, str], Figure]) -> Path:
    """Put the mean figures of all images into the card inside the graph; the weights stay as they are."""
    from melascope.models.segmenter_export import restamp

    own = {measure: figures["all", measure].as_json() for measure in ("dice", "iou")}
    card = segmenter.card
    return restamp(segmenter.path, card.model_copy(update={"figures": {**card.figures, side: own}}))


def enlarged(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """A mask at another size, its edge laid by linear interpolation: (height, width) bool."""
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(grey.resize((width, height), Image.Resampling.BILINEAR)) > 127


def _written(
    out: Path, segmenter: Segmenter, table: LesionTable, split: Split, side: str, found: dict[str, list[Agreement]]
) -> list[str]:
    figures = {name: agreement_figures(of, table.lesion_key, table.dx) for name, of in found.items()}
    apart = [replace(one, dice=one.dice - other.dice) for one, other in zip(*found.values(), strict=True)]
    gained = agreement_figures(apart, table.lesion_key, table.dx, scale="difference")["all", "dice"]
    facts = {
        "schema_version": 1,
        "split": side,
        "split_sha256": split.sha256,
        "n_images": len(table),
        "n_lesions": len(set(table.lesion_key)),
        "graph": segmenter.path.name,
        "threshold": segmenter.card.threshold,
        "held_out": split.sha256 == segmenter.card.split_sha256 and side == "test",
        "figures": {
            name: {f"{group} {measure}": figure.as_json() for (group, measure), figure in of.items()}
            for name, of in figures.items()
        },
        "dice_gained": gained.as_json(),
    }
    write_json(out / "segmentation.json", facts)
    header = ["image_id", "lesion_id", "dx", *(f"{name}_{m}" for name in found for m in ("dice", "iou", "area"))]
    rows = [
        [str(table.image_id[row]), str(table.lesion_id[row]), str(table.dx[row])]
        + [f"{value:.4f}" for of in found.values() for value in (of[row].dice, of[row].iou, of[row].area_share)]
        for row in range(len(table))
    ]
    write_text(out / "segmentation.csv", csv_text([header, *rows]))
    write_manifest(out, kind="segmentation", source=table.source)
    lines = [f"{name}: {group} {measure} {of[group, measure]}" for name, of in figures.items() for group, measure in of]
    return [*lines, f"segmenter less classical, mean Dice: {gained}"]

"""Recipe + data set with masks + split → a lesion segmenter, trained and ready to be shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from melascope.config import SegmenterRecipe, recipe_toml
from melascope.data.lesion_masks import shrunk_masks
from melascope.data.split import read_split
from melascope.files import make_folder, write_text
from melascope.models.segmenter_training import SegmenterData, SegmenterTrainer
from melascope.stages.data import Dataset
from melascope.stages.reporting import Reporter


def train_segmenter(
    recipe: SegmenterRecipe, data: Path, split: Path, out: Path, reporter: Reporter, *, source: str | None = None
) -> Path:
    """Train, or go on training, in the folder `out`; test images are never looked at.

    Returns
    -------
    out : the folder, with `recipe.toml`, `results.csv`, and the checkpoints `best` and `last`
    """
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
        trainer.fit(bars)
    return out

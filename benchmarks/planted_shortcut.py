"""Does the artefact audit find a shortcut that was planted, and report its absence where none was?

OMP_NUM_THREADS=1 python benchmarks/planted_shortcut.py [--seeds 10] [--first-seed 11] [--images 1200] [--out OUT]

For each seed two phantoms are drawn that differ in nothing but rulers, with one split by lesion (70 % training, 10 %
validation, 20 % test). *Planted*: a ruler on every melanoma image of training and validation (in a real collection both
come from one clinic), and on no other image. *Twin*: as many rulers on images of the two drawn at random from all
classes. On each, `recipes/planted-shortcut.toml` is trained; then `ask_with_artefacts` looks at all artefacts on the
test images (which have no rulers), and the rule at the top of `explain/paired.py`, fixed before the first run, gives
its verdict. Expected: found in every planted one, absent in every twin. Seeds below 11, 100 and 101 chose the
recipe, so those that count begin at 11. Finished seeds are kept in OUT and not done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np

from melascope.classes import RESEARCH_ONLY
from melascope.config import Recipe, read_recipe
from melascope.data.sources import read_dataset
from melascope.data.sources.phantom import write_phantom
from melascope.data.sources.phantom.lesions import image_id, images
from melascope.data.split import Split, make_split, read_split
from melascope.explain.artefacts import ask_with_artefacts
from melascope.explain.paired import ABSENT, FLOOR, FOUND
from melascope.files import write_json
from melascope.models.classifier import Classifier
from melascope.stages.asking import asker_of, specimens_of
from melascope.stages.reporting import Reporter
from melascope.stages.training import start_run, train_run
from melascope.tables.lesions import LesionTable
from melascope.tables.runs import RunDirectory

RECIPE = Path(__file__).parents[1] / "recipes/planted-shortcut.toml"
FRACTIONS = (0.7, 0.1, 0.2)
AUDIT_WIDTH = 300  # of the pictures that are edited: three times what the network sees


def table_of(seed: int, n_images: int) -> LesionTable:
    """The rows of a phantom that is not drawn yet: its split decides where rulers go."""
    jobs = list(images(seed, n_images))
    known = {"image_id": [image_id(image) for image, _ in jobs]}
    known |= {"lesion_id": [one.lesion_id for _, one in jobs], "dx": [one.dx for _, one in jobs]}
    columns = {name: np.array(values, dtype=object) for name, values in known.items()}
    empty = {name: np.full(n_images, "", dtype=object) for name in LesionTable.columns() if name not in columns}
    numbers = {name: np.zeros(n_images, dtype=np.int64) for name in ("width", "height")}
    return LesionTable(Path(), "phantom", **(empty | columns | numbers | {"age": np.full(n_images, np.nan)}))


def rulers_for(planted: bool, table: LesionTable, split: Split, seed: int) -> list[str]:
    """Ids of the images that get a ruler."""
    seen = split.of(table) != "test"
    melanomas = seen & (table.dx == "mel")
    if planted:
        return list(table.image_id[melanomas])
    return list(np.random.default_rng([seed, 99]).choice(table.image_id[seen], int(melanomas.sum()), replace=False))


def trained(planted: bool, seed: int, n_images: int, recipe: Recipe, folder: Path) -> RunDirectory:
    """Draw, split, train."""
    table = table_of(seed, n_images)
    split = make_split(table, seed=seed, fractions=FRACTIONS)
    rulers = rulers_for(planted, table, split, seed)
    write_phantom(folder / "phantom", n_images=n_images, seed=seed, rulers=rulers)
    drawn = read_dataset(folder / "phantom")
    same = make_split(drawn, seed=seed, fractions=FRACTIONS)
    assert np.array_equal(same.of(drawn), split.of(table))
    same.write(folder / "split.csv")
    seeded = recipe.model_copy(update={"seed": seed})
    run = start_run(seeded, data=folder / "phantom", split=folder / "split.csv", runs=folder / "runs")
    return train_run(run, Reporter.silent())


def audited(run: RunDirectory, folder: Path, seed: int) -> list[dict]:
    """The six artefacts on the test images."""
    table = read_dataset(folder / "phantom")
    table = table.subset(read_split(run.split, table).of(table) == "test")
    load, ask = specimens_of(table, widest=AUDIT_WIDTH), asker_of(run, Classifier.load(run))
    effects = ask_with_artefacts(len(table), load, ask, seed=seed).effects()
    return [
        {
            "artefact": one.name,
            "n_images": one.n_images,
            "n_lesions": one.n_lesions,
            "level": one.level,
            "change": one.change.as_json(),
            "control": one.control.as_json(),
            "excess": one.excess.as_json(),
            "flipped": one.flipped.as_json(),
            "called": one.called.as_json(),
            "verdict": one.verdict,
        }
        for one in effects
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=11)
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--out", type=Path, default=Path("/tmp/planted"))
    options = parser.parse_args()
    recipe, done = read_recipe(RECIPE), {}
    print(f"PHANTOM, synthetic images. {RESEARCH_ONLY}")
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for planted in (True, False):
            name = f"{'planted' if planted else 'twin'}-{options.images}-s{seed}"
            result, folder = options.out / f"{name}.json", options.out / name
            if not result.is_file():
                shutil.rmtree(folder, ignore_errors=True)
                began = time.monotonic()
                run = trained(planted, seed, options.images, recipe, folder)
                middle = time.monotonic()
                rows = audited(run, folder, seed)
                seconds = [round(middle - began), round(time.monotonic() - middle)]
                write_json(result, {"seed": seed, "planted": planted, "seconds": seconds, "effects": rows})
                shutil.rmtree(folder)
            done[seed, planted] = json.loads(result.read_text())
            print(told(done[seed, planted]), flush=True)
    summary(done)


def told(result: dict) -> str:
    """One line a model: the ruler's effect and verdict, and what was found besides."""
    ruler = next(one for one in result["effects"] if one["artefact"] == "ruler")
    change, control, excess = (ruler[name] for name in ("change", "control", "excess"))
    others = [
        f"{one['artefact']} {one['change']['value']:+.2f}"
        for one in result["effects"]
        if one is not ruler and one["verdict"] == FOUND
    ]
    return (
        f"seed {result['seed']:2} {'planted' if result['planted'] else 'twin   '}  ruler {change['value']:+.2f} "
        f"[{change['low']:+.2f}, {change['high']:+.2f}]  inert {control['value']:+.2f}  excess {excess['value']:+.2f} "
        f"[{excess['low']:+.2f}, {excess['high']:+.2f}]  n={ruler['n_images']} images of {ruler['n_lesions']} lesions  "
        f"{ruler['verdict']:20}  besides: {', '.join(others) or 'nothing'}  {result['seconds']} s"
    )


def summary(done: dict) -> None:
    verdicts = {side: [] for side in (True, False)}
    for (_, planted), result in done.items():
        verdicts[planted] += [one["verdict"] for one in result["effects"] if one["artefact"] == "ruler"]
    print(f"\nfloor {FLOOR:.2f} log-odds; intervals at {100 * (1 - 0.05 / 6):.2f} % (six artefacts looked at)")
    print(f"planted: ruler {FOUND} in {verdicts[True].count(FOUND)} of {len(verdicts[True])}")
    print(
        f"twin:    ruler {ABSENT} in {verdicts[False].count(ABSENT)}, {FOUND} in {verdicts[False].count(FOUND)} "
        f"of {len(verdicts[False])}"
    )


if __name__ == "__main__":
    main()

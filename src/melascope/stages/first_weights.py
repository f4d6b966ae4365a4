"""Where do a run's first weights come from, what had they learned from, and does that leak into its figures?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from melascope.config import PACKAGE, ModelRecipe, Recipe, read_recipe
from melascope.data.leakage import refuse_weights_that_saw
from melascope.data.split import Split, merged_sides, read_sides
from melascope.errors import RecipeError, RunError
from melascope.files import sha256_file
from melascope.models.backbones import BACKBONES, init_file
from melascope.tables.lesions import LesionTable
from melascope.tables.runs import RunDirectory


def anchored(recipe: Recipe) -> Recipe:
    """The recipe with an absolute path of its first weights: a resume may be asked for from another folder."""
    init = recipe.model.init
    return recipe if not init or init.startswith(PACKAGE) else with_init(recipe, str(Path(init).absolute()))


def with_init(recipe: Recipe, init: str) -> Recipe:
    """The recipe with these first weights."""
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"init": init, "pretrained": False})})


def same_but_for_the_place(one: Recipe, other: Recipe) -> bool:
    """Whether two recipes are equal, wherever the first weights that they name lie: folders of runs may be moved."""
    alike = one.model.model_copy(update={"init": other.model.init})  # whether weights are pretrained stays as it is
    same_name = Path(one.model.init).name == Path(other.model.init).name
    return same_name and one.model_copy(update={"model": alike}) == other


def run_of(init: str) -> RunDirectory | None:
    """The run whose weights `model.init` names, by its folder or by a file in it.

    Raises
    ------
    RunError : the folder is no run's.
    """
    if not init or init.startswith(PACKAGE):
        return None
    path = Path(init).resolve()
    if path.is_dir():
        return RunDirectory.open(path)
    run = RunDirectory(path.parent.parent)
    return run if path.parent == run.checkpoints and run.facts.is_file() else None


def check_first_weights(recipe: Recipe, split: Split, table: LesionTable) -> dict[str, str]:
    """Refuse first weights that cannot be had, or that knew this run's test images.

    Returns
    -------
    knew : side, `train` or `val`, of each image that another run's weights, or what those began with, learned from or
        were chosen by; kept as `RunDirectory.knew_before`, so that it is still told when that run is gone

    Raises
    ------
    SplitError : see `refuse_weights_that_saw`.
    RecipeError : the file or package is not there, or the run was packed and holds no weights that can be trained.
    RunError : the folder is no run's, or lacks its split.
    """
    described(recipe.model)
    earlier = run_of(recipe.model.init)
    if earlier is None:
        return {}
    sides = _sides_known_to(earlier)
    refuse_weights_that_saw(sides, earlier.root, table, split)
    return {image_id: side for image_id, side in sides.items() if side in ("train", "val")}


def _sides_known_to(run: RunDirectory) -> dict[str, str]:
    """Side of every image in a run and in those from which its weights came."""
    if not run.split.is_file():
        raise RunError(
            "The run whose weights shall be the first ones lacks its split: nobody knows what it learned from.",
            where=run.split,
            fix="copy the whole run directory, or name the weights file itself from another folder, at your own risk",
        )
    sides = [read_sides(run.split)]
    if run.knew_before.is_file():
        sides.append(read_sides(run.knew_before))
    elif run.recipe.is_file() and (earlier := run_of(_init_of(run))):  # a run of melascope before it wrote that down
        sides.append(_sides_known_to(earlier))
    return merged_sides(sides)


def _init_of(run: RunDirectory) -> str:
    init = read_recipe(run.recipe).model.init
    return init if Path(init).exists() else ""


def described(recipe: ModelRecipe) -> dict[str, Any]:
    """What `run.json` says of the first weights.

    Returns
    -------
    facts : `kind` (random, imagenet, package, run or file), `name`, and `sha256` of the file where there is one

    Raises
    ------
    RecipeError, RunError : see `check_first_weights`.
    """
    init = recipe.init
    if not init and recipe.pretrained:
        return {"kind": "imagenet", "name": BACKBONES.get(recipe.backbone, recipe.backbone)}
    if not init:
        return {"kind": "random", "name": ""}
    earlier = run_of(init)
    if earlier and not earlier.has_weights():
        raise RecipeError(
            "The first weights shall come from a packed run, which holds a graph and no weights that can be trained.",
            where=earlier.root,
            expected="a run directory as melascope train leaves it, or a safetensors file",
            fix="name the run that was packed; its run.json tells it under packed.from",
        )
    sha256 = sha256_file(init_file(init))
    if init.startswith(PACKAGE):
        return {"kind": "package", "name": init.removeprefix(PACKAGE), "sha256": sha256}
    if earlier:
        return {"kind": "run", "name": earlier.name, "sha256": sha256}
    return {"kind": "file", "name": Path(init).name, "sha256": sha256}

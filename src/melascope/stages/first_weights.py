"""Where do a run's first weights come from, what had they learned from, and does that leak into its figures?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from melascope.config import ModelRecipe, Recipe
from melascope.data.leakage import refuse_weights_that_saw
from melascope.data.split import Split, merged_sides, read_sides, write_sides
from melascope.errors import RecipeError
from melascope.files import sha256_file
from melascope.models.packaged_weights import PREFIX, packaged_file
from melascope.tables.lesions import LesionTable
from melascope.tables.runs import RunDirectory


def anchored(recipe: Recipe) -> Recipe:
    """The recipe with an absolute path of its first weights: a resume may be asked for from another folder."""
    init = recipe.model.init
    if not init or init.startswith(PREFIX):
        return recipe
    return with_init(recipe, str(Path(init).absolute()))


def with_init(recipe: Recipe, init: str) -> Recipe:
    """The recipe with these first weights."""
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"init": init, "pretrained": False})})


def run_of(init: str) -> RunDirectory | None:
    """The run whose weights `model.init` names, by its folder or by a file in it."""
    path = Path(init)
    if not init or init.startswith(PREFIX):
        return None
    if path.is_dir():
        return RunDirectory.open(path)
    run = RunDirectory(path.absolute().parent.parent)
    return run if path.absolute().parent == run.checkpoints and run.facts.is_file() else None


def check_first_weights(run: RunDirectory, recipe: Recipe, split: Split, table: LesionTable) -> None:
    """Refuse another run's weights that knew this run's test images, and keep what they did know.

    What an earlier run's own first weights had learned from counts too. It is written to `knew_before.csv`, so that it
    is still told when the earlier run is gone. A resumed training has weights of its own.

    Raises
    ------
    SplitError : see `refuse_weights_that_saw`.
    RecipeError : the earlier run was packed, and holds no weights that can be trained.
    RunError : the folder is no run's.
    """
    earlier = run_of(recipe.model.init)
    if earlier is None or (run.checkpoints / "last.json").is_file():
        return
    if not earlier.has_weights():
        raise RecipeError(
            "The first weights shall come from a packed run, which holds a graph and no weights that can be trained.",
            where=earlier.root,
            expected="a run directory as melascope train leaves it, or a safetensors file",
            fix="name the run that was packed; its run.json tells it under packed.from",
        )
    sides = merged_sides([read_sides(path) for path in (earlier.split, earlier.knew_before) if path.is_file()])
    refuse_weights_that_saw(sides, earlier.root, table, split)
    write_sides(run.knew_before, {image_id: side for image_id, side in sides.items() if side in ("train", "val")})


def described(recipe: ModelRecipe) -> dict[str, Any]:
    """What `run.json` says of the first weights.

    Returns
    -------
    facts : `kind` (random, imagenet, package, run or file), `name`, and `sha256` of the file where there is one
    """
    if recipe.init.startswith(PREFIX):
        name = recipe.init.removeprefix(PREFIX)
        return {"kind": "package", "name": name, "sha256": sha256_file(packaged_file(name))}
    if not recipe.init:
        return {"kind": "imagenet", "name": recipe.backbone} if recipe.pretrained else {"kind": "random", "name": ""}
    path, earlier = Path(recipe.init), run_of(recipe.init)
    file = earlier.checkpoint()[1] if earlier and path.is_dir() else path
    facts = {"name": earlier.name if earlier else path.name, "sha256": sha256_file(file)}
    return {"kind": "run" if earlier else "file", **facts}

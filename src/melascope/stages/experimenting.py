"""List of recipes × seeds (× folds) → their runs, ensembles, and the comparison of all; goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melascope.config import Experiment, PredictRecipe, Recipe, read_experiment, read_recipe
from melascope.data.folds import deal_folds
from melascope.data.sources.image_folder import Labels
from melascope.data.split import read_sides, read_split, sides_sha256
from melascope.errors import RunError
from melascope.evaluation.compare import Comparison
from melascope.files import MANIFEST, make_folder, read_json, write_json
from melascope.models.processes import n_processes
from melascope.stages.comparing import compare_paths
from melascope.stages.data import Dataset, read_validated
from melascope.stages.ensembling import make_ensemble
from melascope.stages.first_weights import same_but_for_the_place, with_init
from melascope.stages.reporting import Reporter
from melascope.stages.side_by_side import Training, train_side_by_side
from melascope.stages.training import adopt_training, start_run, train_run
from melascope.tables.runs import RunDirectory

STATE = "experiment.json"
_THE_SAME = {"data": "data set", "split_sha256": "split", "held_out_lesions": "set of held-out lesions"}
"""What an experiment goes on with, or not at all."""


@dataclass(frozen=True)
class Place:
    """Which images an experiment trains on, and where everything of it goes."""

    data: Path
    split: Path
    out: Path
    source: str | None = None
    labels: Labels | None = None
    held_out_lesions: Sequence[str] = ()


@dataclass(frozen=True)
class Planned:
    """One training of an experiment.

    Parameters
    ----------
    after : key of the training whose weights it starts from; "" for first weights of its own
    """

    key: str
    recipe: Recipe
    split: Path
    after: str = ""


def run_experiment(
    list_file: Path, place: Place, reporter: Reporter, *, accelerator: str = "auto", jobs: int = 1
) -> Comparison | None:
    """Train what is not yet trained, then let each recipe's runs answer together, and compare.

    The same command goes on after an interruption: a finished run is left alone, a begun one resumed. Recipes that
    differ only in how the trained network is asked (`[predict]`) are trained once.

    Parameters
    ----------
    jobs : how many trainings at once, each in a process of its own with its share of the threads

    Returns
    -------
    comparison : written to `out/comparison/LIST`, the list's file name; None where there is one run only

    Raises
    ------
    RunError : `out` belongs to another list, data set or split, a recipe was changed since its run began, or one of
        several trainings at once failed.
    """
    if n_processes() != (1, 1):
        raise RunError("An experiment runs in one process.", fix="give each training to torchrun: docs/training.md")
    listed, recipes = read_experiment(list_file)
    make_folder(place.out)
    splits = _fold_files(place, listed.folds, reporter) if listed.folds else [place.split]
    state = _state_of(place, listed.model_dump(mode="json"))
    plan: dict[str, list[Planned]] = {}
    everything: list[Planned] = []
    for recipe in recipes:
        plan[recipe.name] = [
            _planned(recipe, seed, file, listed, everything) for seed in listed.seeds for file in splits
        ]
        everything += plan[recipe.name]
    if jobs > 1:
        first = [one for one in everything if _twin(one, everything) is one]
        for ready in _generations(first):
            _train_all(ready, place, state, jobs, reporter, accelerator)
    compared: list[Path] = []
    for recipe in recipes:
        planned, runs = plan[recipe.name], []
        for number, one in enumerate(planned, 1):
            reporter.say(f"{one.key}: {number} of {len(planned)} of this recipe")
            runs.append(_trained(one, _twin(one, everything), place, state, reporter, accelerator))
        compared += [] if listed.folds else [run.root for run in runs]
        if listed.ensembles and len(runs) > 1:
            compared.append(_ensemble(runs, recipe, place.out, reporter))
    if len(compared) < 2:
        reporter.say("there is one run: nothing to compare")
        return None
    return compare_paths(compared, place.out / "comparison" / list_file.stem, reporter)


def _planned(recipe: Recipe, seed: int, split: Path, listed: Experiment, earlier: Sequence[Planned]) -> Planned:
    def name_of(recipe_name: str) -> str:
        return f"{recipe_name}-{split.stem}" if listed.folds else recipe_name

    after = listed.after.get(recipe.name, "")
    if after:
        after = next(_twin(one, earlier).key for one in earlier if one.key == f"{name_of(after)}-s{seed}")
    name = name_of(recipe.name)
    return Planned(f"{name}-s{seed}", recipe.model_copy(update={"name": name, "seed": seed}), split, after)


def _generations(planned: Sequence[Planned]) -> Iterator[list[Planned]]:
    """Those that start from no run, then those that start from theirs, and so on."""
    waiting = list(planned)
    while waiting:
        keys = {one.key for one in waiting}
        yield [one for one in waiting if one.after not in keys]
        waiting = [one for one in waiting if one.after in keys]


def _fold_files(place: Place, folds: int, reporter: Reporter) -> list[Path]:
    """Splits of all folds, dealt once; a lesion that is held out stays out."""
    files = [place.out / "folds" / f"{folds}fold{number}.csv" for number in range(1, folds + 1)]
    if not all(file.is_file() for file in files):
        table = read_validated(place.data, place.source, place.labels, reporter)
        split = read_split(place.split, table, place.held_out_lesions)
        for file, fold in zip(files, deal_folds(table, split, folds), strict=True):
            fold.write(file)
    return files


def _state_of(place: Place, listed: dict[str, Any]) -> dict[str, Any]:
    """What `experiment.json` knows: the list, the data and which run belongs to which training."""
    begun = {
        "list": listed,
        "data": str(place.data.resolve()),
        "split": str(place.split.resolve()),
        "split_sha256": sides_sha256(read_sides(place.split)),
        "held_out_lesions": sorted(place.held_out_lesions),
    }
    file = place.out / STATE
    if not file.is_file():
        state = {**begun, "runs": {}}
        write_json(file, state)
        return state
    state = _told_by_its_runs(place.out, read_json(file))
    others = [name for key, name in _THE_SAME.items() if key in state and state[key] != begun[key]]
    if state["list"]["name"] != listed["name"] or state["list"]["folds"] != listed["folds"]:
        others.append("list")
    if others:
        raise RunError(
            f"This folder holds an experiment with another {' and another '.join(others)}.",
            where=file,
            fix="choose another --out",
        )
    return {**begun, "runs": state["runs"]}  # recipes and seeds may be added


def _told_by_its_runs(out: Path, state: dict[str, Any]) -> dict[str, Any]:
    """A state of a melascope that kept neither split nor held-out lesions, nor paths without detours: its runs know."""
    state = {**state, "data": str(Path(state["data"]).resolve())}
    runs = [RunDirectory(out / "runs" / name) for name in state["runs"].values()]
    runs = [run for run in runs if run.facts.is_file()]
    if "split_sha256" in state or not runs:
        return state
    facts = runs[0].read_facts()
    split = Path(facts["split_file"])
    told = {"split_sha256": sides_sha256(read_sides(split))} if split.is_file() else {}
    return {**state, **told, "held_out_lesions": sorted(facts["held_out_lesions"])}


def _train_all(
    planned: list[Planned], place: Place, state: dict[str, Any], jobs: int, reporter: Reporter, accelerator: str
) -> None:
    """Train what is not yet trained, several at a time."""
    begun = [Training(one.key, *_begun(one, place, state)) for one in planned]
    waiting = [training for training in begun if not _is_finished(training.run)]
    if not waiting:
        return
    # Decoded here, once: trainings that start together would each do it.
    facts = {"source": place.source, "labels": place.labels, "store_folder": place.out / "runs" / ".pixels"}
    dataset = Dataset.open(place.data, **facts, reporter=reporter)
    for width, height in sorted({(one.recipe.input.width, one.recipe.input.height) for one in planned}):
        dataset.pixels(width, height, reporter)
    train_side_by_side(waiting, jobs=jobs, logs=place.out / "logs", reporter=reporter, accelerator=accelerator)


def _trained(
    one: Planned, twin: Planned, place: Place, state: dict[str, Any], reporter: Reporter, accelerator: str
) -> RunDirectory:
    run, fresh = _begun(one, place, state)
    if _is_finished(run):
        return run
    if twin is not one:  # it stands earlier in the list, and is finished
        trained = RunDirectory(place.out / "runs" / state["runs"][twin.key])
        reporter.say(f"{one.key}: trained already, as {twin.key}")
        adopt_training(run, trained)
    return train_run(run, reporter, accelerator=accelerator, fresh=fresh)


def _twin(one: Planned, everything: Sequence[Planned]) -> Planned:
    """The first of the list's trainings that differs from this one at most in how the trained network is asked."""

    def training(planned: Planned) -> tuple[Recipe, Path, str]:
        asked_alike = planned.recipe.model_copy(update={"name": "", "predict": PredictRecipe()})
        return asked_alike, planned.split, planned.after

    return next(other for other in everything if training(other) == training(one))


def _begun(one: Planned, place: Place, state: dict[str, Any]) -> tuple[RunDirectory, bool]:
    """The run of a training, and whether it was made just now."""
    name, recipe = state["runs"].get(one.key), one.recipe
    if one.after:
        recipe = with_init(recipe, str(place.out / "runs" / state["runs"][one.after]))
    if fresh := name is None or not (place.out / "runs" / name).is_dir():  # a refused start leaves no directory
        facts = {"source": place.source, "labels": place.labels, "held_out_lesions": place.held_out_lesions}
        run = start_run(recipe, data=place.data, split=one.split, runs=place.out / "runs", **facts)
        state["runs"][one.key] = run.name
        write_json(place.out / STATE, state)
    else:
        run = RunDirectory.open(place.out / "runs" / name)
        if not same_but_for_the_place(read_recipe(run.recipe), recipe):
            raise RunError(
                f"The recipe of {one.key} was changed since its run began.",
                where=run.recipe,
                fix="put the recipe back, give the new one another name, or choose another --out",
            )
    return run, fresh


def _is_finished(run: RunDirectory) -> bool:
    return (run.root / MANIFEST).is_file() and run.read_facts()["status"] == "complete"


def _ensemble(runs: list[RunDirectory], recipe: Recipe, out: Path, reporter: Reporter) -> Path:
    root = out / "ensembles" / f"{recipe.name}-ensemble"
    known = RunDirectory(root)
    if (root / MANIFEST).is_file() and known.read_facts().get("members") == [run.name for run in runs]:
        return root
    return make_ensemble(runs, recipe, root, reporter).root

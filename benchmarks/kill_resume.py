"""Killed without warning at 200 moments and resumed: does every training end as if nothing had happened?

    python benchmarks/kill_resume.py --kills 200

A training of a small phantom runs undisturbed once, and every moment at which it could be killed is counted: before
and after each step, in each batch of validation, and round every write (also half-way), flush, rename and removal of a
file. Then, again and again, a process of its own trains the same, gets SIGKILL at one of these moments, and another
process resumes it. Every fourth is killed a second time while it resumes. Same machine, one thread, CPU.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from melascope.config import Recipe, validated
from melascope.data.sources import read_dataset
from melascope.data.sources.phantom import write_phantom
from melascope.data.split import make_split
from melascope.files import MANIFEST, sha256_file, write_json
from melascope.models import train
from melascope.stages import training
from melascope.stages.data import Dataset
from melascope.stages.reporting import Reporter
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory

RECIPE = {
    "name": "killed",
    "operating_point_rule": "empirical",
    "model": {"backbone": "test_efficientnet", "pretrained": False, "dropout": 0.3},
    "input": {"width": 48, "height": 32},
    "augment": {"hair": 0.3, "cutmix": 1.0, "crop": 0.2},
    "train": {"epochs": 2, "batch_size": 16, "learning_rate": 0.005, "ema_decay": 0.9, "sampler": "balanced"},
}

Moment = Callable[[str], None]
SAVING = ("write", "half-written", "flush", "rename", "renamed", "remove")


def watch(moment: Moment) -> None:
    """Call `moment(kind)` wherever this process could be killed; for a process that does nothing else."""
    step, predict = train.Trainer._step, train.predict_logits
    write, fsync, replace, unlink = Path.write_bytes, os.fsync, os.replace, Path.unlink

    def watched_step(self, rows):
        moment("step")
        value = step(self, rows)
        moment("step")
        return value

    def watched_predict(*arguments, **named):
        return predict(*arguments, progress=lambda *_: moment("validation"), **named)

    def watched_write(self, data):
        moment("write")
        with open(self, "wb") as stream:
            stream.write(data[: len(data) // 2])
        moment("half-written")
        return write(self, data)

    def around(function, before, after=""):
        def watched(*arguments, **named):
            moment(before)
            value = function(*arguments, **named)
            if after:
                moment(after)
            return value

        return watched

    train.Trainer._step, train.predict_logits = watched_step, watched_predict
    Path.write_bytes, Path.unlink = watched_write, around(unlink, "remove")
    os.fsync, os.replace = around(fsync, "flush"), around(replace, "rename", "renamed")


def in_a_process(call: Callable[[], None]) -> int:
    """Run `call` in a fork of this process, which has imported everything; its exit status, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            call()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train_to_its_end(run: RunDirectory, every_step: bool, moment: Moment | None = None) -> None:
    """The whole stage but its plots and its evaluation; a checkpoint after every step, or at ends of epochs only."""
    torch.set_num_threads(1)
    train.SAVE_EVERY_SECONDS = 0.0 if every_step else 1e9
    training.evaluate_run = lambda run, _: None
    training.save_training_curves = lambda *_, **__: None
    train.predict_logits = partial(train.predict_logits, batch_size=2)  # validation has several moments
    if moment:
        watch(moment)
    training.train_run(run, Reporter.silent(), accelerator="cpu")


def killed_at(run: RunDirectory, every_step: bool, number: int) -> int:
    """Train until the moment of this number, then SIGKILL."""
    seen = 0

    def moment(kind: str) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return in_a_process(lambda: train_to_its_end(run, every_step, moment))


def moments_of(run: RunDirectory, every_step: bool) -> list[str]:
    """The kinds of all moments of an undisturbed training, in order."""
    log = run.root.with_suffix(".moments")
    with open(log, "w") as stream:

        def note(kind: str) -> None:
            stream.write(kind + "\n")
            stream.flush()

        if in_a_process(lambda: train_to_its_end(run, every_step, note)):
            raise SystemExit("the undisturbed training failed")
    return log.read_text().split()


def end_of(run: RunDirectory) -> dict[str, str]:
    """What must be the same: digests of weights (as trained and as kept), figures, predictions, and completeness."""
    digests = {which: run.checkpoint(which)[0].weights_sha256 for which in ("best", "last")}
    training_state = run.checkpoint("last")[0].training_state_sha256
    predictions = Predictions.read(run.predictions).logits.tobytes().hex()
    left = sorted(path.name for path in run.root.rglob("*") if ".tmp-" in path.name)
    whole = str((run.root / MANIFEST).is_file())
    return {
        **digests,
        "training_state": training_state,
        "results.csv": sha256_file(run.results),
        "predictions": predictions,
        "complete": whole,
        "half files listed": str([name for name in left if name in (run.root / MANIFEST).read_text()]),
    }


def prepared(folder: Path, seed: int) -> RunDirectory:
    """A run that has been started and not trained."""
    write_phantom(folder / "phantom", n_images=70, seed=3, workers=1)
    make_split(read_dataset(folder / "phantom"), seed=2).write(folder / "split.csv")
    recipe = validated(Recipe, {**RECIPE, "seed": seed}, where="benchmark")
    labels = {"source": None, "labels": None, "store_folder": folder / "runs" / ".pixels"}
    dataset = Dataset.open(folder / "phantom", **labels, reporter=Reporter.silent())
    dataset.pixels(recipe.input.width, recipe.input.height, Reporter.silent())
    training.Dataset.open = lambda *_, **__: dataset  # looked into once, not 200 times
    places = {"data": folder / "phantom", "split": folder / "split.csv", "runs": folder / "runs"}
    return training.start_run(recipe, **places)


def copy_of(run: RunDirectory, name: str) -> RunDirectory:
    copied = RunDirectory(Path(shutil.copytree(run.root, run.root.parent / name)))
    write_json(copied.facts, run.read_facts())
    return copied


def trial(started: RunDirectory, index: int, kinds: list[str], number: int, every_step: bool, twice: bool) -> dict:
    """Kill, resume, and give back how it ended."""
    run = copy_of(started, f"killed-{index}")
    if killed_at(run, every_step, number) != -signal.SIGKILL:
        raise SystemExit(f"moment {number} of {len(kinds)} ({kinds[number - 1]}) was never reached")
    if twice:
        killed_at(run, every_step, 5 + index % 23)
    if in_a_process(lambda: train_to_its_end(run, every_step)):
        return {"resumed": "no"}
    end = end_of(run)
    shutil.rmtree(run.root)
    return end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    began, same, killed = time.monotonic(), Counter(), Counter()
    with tempfile.TemporaryDirectory() as folder:
        started = prepared(Path(folder), chosen.seed)
        plans = {}
        for every_step in (True, False):
            undisturbed = copy_of(started, f"undisturbed-{every_step}")
            plans[every_step] = moments_of(undisturbed, every_step), end_of(undisturbed)
        if plans[True][1] != plans[False][1]:
            raise SystemExit("saving more often changed the training")
        rng = np.random.default_rng(chosen.seed)
        for index in range(chosen.kills):
            every_step = index % 4 != 3
            kinds, expected = plans[every_step]
            wanted = ("step", "validation", "saving")[index % 3]
            fitting = [n for n, kind in enumerate(kinds, 1) if (kind if kind not in SAVING else "saving") == wanted]
            number = int(rng.choice(fitting))
            end = trial(started, index, kinds, number, every_step, twice=index % 4 == 1)
            killed[kinds[number - 1]] += 1
            same[kinds[number - 1]] += end == expected
            if (index + 1) % 20 == 0:
                print(f"{same.total()} of {killed.total()} the same, {time.monotonic() - began:.0f} s", flush=True)
            if end != expected:
                differs = [name for name in expected if end.get(name) != expected[name]]
                print(f"kill {index} at moment {number} ({kinds[number - 1]}): other {differs or end}", flush=True)
    often, seldom = (len(plans[every_step][0]) for every_step in (True, False))
    print(f"{often} moments in a training that saves after each step, {seldom} in one that saves after each epoch")
    print("| killed at | trainings | ended the same |\n|---|---|---|")
    for kind, times in killed.items():
        print(f"| {kind} | {times} | {same[kind]} |")
    print(f"| all | {killed.total()} | {same.total()} |")
    print(f"{time.monotonic() - began:.0f} s; torch {torch.__version__}, one thread, CPU")
    raise SystemExit(0 if same == killed else 1)


if __name__ == "__main__":
    main()

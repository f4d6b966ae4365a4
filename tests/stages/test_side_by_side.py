"""Do several trainings at once end as one by one, and does one that fails leave the others alone?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from melascope.config import recipe_toml
from melascope.errors import RunError
from melascope.files import MANIFEST, read_json
from melascope.stages.experimenting import Place, run_experiment
from melascope.stages.reporting import Reporter

MELASCOPE = "from melascope.cli import main; main()"


def of(recipe, name: str, **train):
    return recipe.model_copy(update={"name": name, "train": recipe.train.model_copy(update=train)})


def test_two_at_once_end_as_one_alone_and_a_failing_one_is_told_last(place, recipe, finished, tmp_path):
    (tmp_path / "tiny.toml").write_text(recipe_toml(recipe))
    bad = recipe.model_copy(
        update={"name": "bad", "model": recipe.model.model_copy(update={"init": "nowhere.safetensors"})}
    )
    (tmp_path / "bad.toml").write_text(recipe_toml(bad))
    (tmp_path / "list.toml").write_text('name = "pair"\nrecipes = ["bad.toml", "tiny.toml"]\nseeds = [1]\n')
    where = Place(place / "phantom", place / "split.csv", tmp_path / "out")
    with pytest.raises(RunError, match="1 of 2 trainings failed: bad-s1") as error:
        run_experiment(tmp_path / "list.toml", where, Reporter.silent(), accelerator="cpu", jobs=2)
    assert "nowhere.safetensors" in (error.value.where / "bad-s1.log").read_text()
    run = where.out / "runs" / read_json(where.out / "experiment.json")["runs"]["tiny-s1"]
    assert (run / MANIFEST).is_file() and "epoch 2/2" in (error.value.where / "tiny-s1.log").read_text()
    assert read_json(run / "run.json")["threads"] == 1
    for name in ("results.csv", "operating_point.json"):
        assert (run / name).read_bytes() == (finished.root / name).read_bytes(), name


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill-9"])
def test_no_training_outlives_its_experiment(place, recipe, tmp_path, number):
    """Ctrl-C is passed on; the end of a killed experiment is seen. Each saves first."""
    (tmp_path / "long.toml").write_text(recipe_toml(of(recipe, "long", epochs=10_000)))
    (tmp_path / "list.toml").write_text('name = "long"\nrecipes = ["long.toml"]\nseeds = [1]\n')
    facts = ("--data", place / "phantom", "--split", place / "split.csv", "--out", tmp_path / "out", "--jobs", "2")
    command = [sys.executable, "-c", MELASCOPE, "experiment", tmp_path / "list.toml", *facts]
    experiment = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
    log = tmp_path / "out" / "logs" / "long-s1.log"
    wait_for(lambda: log.is_file() and "epoch 1/" in log.read_text())
    os.kill(experiment.pid, number)
    assert experiment.wait(60) == (130 if number == signal.SIGINT else -signal.SIGKILL)
    wait_for(lambda: "interrupted; the same command goes on" in log.read_text())
    (run,) = (tmp_path / "out" / "runs").glob("2*")
    assert read_json(run / "checkpoints" / "last.json")["step"] > 0


def wait_for(happened) -> None:
    until = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < until, "nothing happened in two minutes"
        time.sleep(0.2)

"""Is anybody's table judged by its own validation rows, and another collection by the threshold frozen at home?"""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from melascope.classes import CLASSES
from melascope.cli import app
from melascope.errors import DataError, OperatingPointError
from melascope.evaluation.evaluate import Evaluation
from melascope.evaluation.operating_point import choose_operating_point
from melascope.files import write_json
from melascope.stages.evaluating import evaluate_external, evaluate_run, own_point
from melascope.stages.reporting import Reporter
from melascope.tables.predictions import Predictions, PredictionsOrigin
from melascope.tables.runs import RunDirectory


def table(n: int, split: str, seed: int, prefix: str = "") -> Predictions:
    rng = np.random.default_rng(seed)
    label = rng.choice(7, n, p=[0.05, 0.05, 0.1, 0.05, 0.25, 0.45, 0.05])
    logits = rng.normal(size=(n, 7))
    logits[np.arange(n), label] += 2

    def text(values) -> np.ndarray:
        column = np.empty(n, dtype=object)
        column[:] = list(values)
        return column

    ids = [f"{prefix}{split}{row:04d}" for row in range(n)]
    blank = text([""] * n)
    return Predictions(
        text(ids), text(ids), text([split] * n), text(CLASSES[one] for one in label), np.full(n, np.nan),
        blank, blank, blank, logits, PredictionsOrigin(source="ham10000", checkpoint_sha256="c" * 64),
    )  # fmt: skip


def joined(*tables: Predictions) -> Predictions:
    names = [name for name in vars(tables[0]) if name not in ("origin", "notes", "left_out")]
    return replace(tables[0], **{name: np.concatenate([getattr(one, name) for one in tables]) for name in names})


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    run = RunDirectory(tmp_path / "run")
    run.root.mkdir()
    write_json(run.facts, {"status": "complete"})
    home = joined(table(300, "val", 1), table(200, "test", 2))
    home.write(run.predictions)
    choose_operating_point(home.of_split("val")).write(run.operating_point)
    evaluate_run(run, Reporter(), draws=20)
    return run


def collection(run: RunDirectory) -> Predictions:
    """Another collection of 150 images, in which 20 of the run's own test images turned up again."""
    own = Predictions.read(run.predictions).of_split("test").subset(np.arange(20))
    new = replace(table(150, "", 3, prefix="new"), origin=replace(own.origin, source="isic"))
    return joined(new, own)


def test_another_collection_is_judged_at_the_home_threshold_without_the_runs_own_images(run, tmp_path):
    home, external = evaluate_external(run, collection(run), tmp_path / "out", Reporter(), draws=20)
    assert home == Evaluation.read(run.evaluation)
    assert external.operating_point == home.operating_point
    assert external.whole.n_images == 150 and external.split == "external"
    text = " ".join(external.caveats[:2])
    for said in ("Another collection (isic)", "may not hold here", "20 images that the run knows"):
        assert said in text
    assert Evaluation.read(tmp_path / "out") == external


def test_the_runs_own_images_and_lesions_are_known_without_a_split_too(run, tmp_path):
    """As in a table that another program made: the split is gone, ids and lesions are not."""
    table = collection(run)
    lesion_id, unsaid = table.lesion_id.copy(), np.full(len(table), "", dtype=object)
    lesion_id[:3] = table.lesion_id[-3:]
    table = replace(table, split=unsaid, lesion_id=lesion_id)
    _, external = evaluate_external(run, table, tmp_path / "out", Reporter(), draws=0)
    assert external.whole.n_images == 150
    assert "3 images carry lesion ids of the run's own data set" in " ".join(external.caveats)


def test_a_collection_of_the_runs_own_images_is_none(run, tmp_path):
    with pytest.raises(DataError, match="All 500 images are the run's own"):
        evaluate_external(run, Predictions.read(run.predictions), tmp_path / "out", Reporter(), draws=20)
    assert not (tmp_path / "out").exists()


def test_the_command_shows_home_beside_elsewhere(run, tmp_path):
    note = "SCC is no class of the model: dx is left empty in 7 of 150 rows, and no figure counts them"
    replace(collection(run), notes=(note,)).write(tmp_path / "isic.parquet")
    done = CliRunner().invoke(app, ["evaluate", str(run.root), "--external", str(tmp_path / "isic.parquet")])
    assert done.exit_code == 0, done.exception
    assert "At home and elsewhere" in done.output and "ham10000 (test)" in done.output
    assert note in " ".join(done.output.split())
    assert note in Evaluation.read(run.root / "evaluation-isic").caveats
    alone = CliRunner().invoke(app, ["evaluate", str(tmp_path / "isic.parquet"), "--external", "x.parquet"])
    assert "--external needs a run's home figures" in str(alone.exception)


def test_a_table_with_validation_rows_gets_its_own_threshold():
    both = joined(table(300, "val", 1), table(200, "test", 2))
    point, caveats = own_point(both)
    assert point == choose_operating_point(both.of_split("val")) and caveats == ()
    assert own_point(both.of_split("test")) == (None, ())
    few = both.subset(np.flatnonzero((both.split == "test") | (np.arange(len(both)) < 40)))
    point, (why,) = own_point(few)
    assert point is None and "No threshold was chosen from the 40 validation rows" in why
    assert why.endswith("--rule empirical asks for no promise.")
    point, caveats = own_point(few, rule="empirical", target_sensitivity=0.8)
    assert (point.rule, point.target_sensitivity, caveats) == ("empirical", 0.8, ())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"target": ("melanoma",)}, "The target is 'melanoma'"),
        ({"target": ("mel", "mel")}, "each once"),
        ({"rule": "best"}, "no rule 'best'"),
        ({"target_sensitivity": 90.0}, "target sensitivity is 90"),
    ],
)
@pytest.mark.parametrize("split", ["val", "test"])
def test_a_threshold_that_nobody_could_choose_is_refused_with_and_without_validation_rows(wrong, says, split):
    with pytest.raises(OperatingPointError, match=says):
        own_point(table(50, split, 2), **wrong)


def test_what_would_be_accepted_and_ignored_is_refused(run, tmp_path):
    table(50, "test", 2).write(tmp_path / "p.csv")
    for place, flags, says in (
        (run.root, ["--target", "bcc"], "point is frozen"),
        (run.root, ["--rule", "empirical", "--target-sensitivity", "0.8"], "point is frozen"),
        (tmp_path / "p.csv", ["--rule", "empirical"], "no rows of split val"),
    ):
        done = CliRunner().invoke(app, ["evaluate", str(place), *flags])
        assert isinstance(done.exception, OperatingPointError) and says in done.exception.found
        assert done.exception.where == ", ".join(flags[::2])


def test_anybodys_csv_is_judged_by_names_of_its_own(tmp_path):
    both = joined(table(300, "val", 1), table(200, "test", 2))
    words = {"mel": "melanoma"}
    with open(tmp_path / "theirs.csv", "w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "part", "answer", *(f"score_{name}" for name in CLASSES)])
        for image_id, split, dx, scores in zip(both.image_id, both.split, both.dx, both.probabilities, strict=True):
            rows.writerow([image_id, split, words.get(dx, dx), *scores])
    scores = ",".join(f"probability_{name}=score_{name}" for name in CLASSES)
    command = ["evaluate", str(tmp_path / "theirs.csv"), "--map-labels", "melanoma=mel", "--target", "mel+bcc"]
    done = CliRunner().invoke(app, [*command, "--map-columns", f"image_id=file,split=part,dx=answer,{scores}"])
    assert done.exit_code == 0, done.exception
    found = Evaluation.read(tmp_path / "theirs-evaluation")
    assert found.target == ("mel", "bcc") and found.operating_point.rule == "guaranteed"
    assert found.whole.n_images == 200
    assert any("probabilities" in caveat for caveat in found.caveats)

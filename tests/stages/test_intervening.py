"""Do the stage and its command write whole tables, pictures and plots, and refuse what cannot be?"""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from melascope.classes import CLASSES, RESEARCH_ONLY
from melascope.cli import app
from melascope.data.sources import read_dataset
from melascope.errors import DataError, ExplainError, MelascopeError
from melascope.explain.artefacts import BACKGROUNDS
from melascope.explain.edits import ADDED
from melascope.stages import intervening
from melascope.stages.reporting import Reporter
from melascope.tables.interventions import CaseRow, EffectRow, PairRow, read_rows


@pytest.fixture(scope="module")
def table(place):
    return read_dataset(place / "phantom")


@pytest.fixture(scope="module")
def case(finished, table, tmp_path_factory):
    out = tmp_path_factory.mktemp("case")
    chosen = intervening.chosen_cases(table, [table.image_id[0]])
    return out, intervening.intervene_on_cases(finished, chosen, out, Reporter.silent(), controls=3)


def test_a_case_leaves_tables_pictures_plots_and_a_manifest(case, table):
    out, lines = case
    stem = table.image_id[0]
    expected = {f"{stem}_edits.jpg", f"{stem}_interventions_target.png", f"{stem}_interventions_target.svg"}
    expected |= {"interventions.csv", "interventions.parquet", "interventions.json"}
    assert expected <= set(json.loads((out / "manifest.json").read_text())["files"])
    assert lines[0] == RESEARCH_ONLY
    assert any("ruler added" in line.lower() for line in lines)


def test_the_rows_of_a_case_add_up(case):
    rows = read_rows(case[0] / "interventions.parquet", CaseRow)
    ruler = [row for row in rows if row.intervention == "ruler added"]
    assert [row.class_name for row in ruler] == ["target", *CLASSES]
    assert sum(row.after for row in ruler[1:]) == pytest.approx(1)
    assert ruler[0].after == pytest.approx(ruler[1 + CLASSES.index("mel")].after)
    assert {row.mask_source for row in rows} == {"data set"}
    assert all(0 < row.p_value <= 1 for row in rows if row.n_controls)
    assert all(np.isnan(row.p_value) for row in rows if not row.n_controls)


def test_a_split_leaves_effects_and_the_pairs_they_are_made_of(finished, table, tmp_path):
    thirty = table.subset(np.arange(30))
    lines = intervening.intervene_on_split(finished, thirty, tmp_path, Reporter.silent(), split="train")
    effects = read_rows(tmp_path / "effects.parquet", EffectRow)
    pairs = read_rows(tmp_path / "pairs.parquet", PairRow)
    assert {row.edit for row in effects} == {*ADDED, *BACKGROUNDS}
    ruler = {row.figure: row for row in effects if row.edit == "ruler"}
    odds = {
        version: {row.image_id: row.log_odds for row in pairs if row.version == version and row.audit == "artefacts"}
        for version in ("original", "ruler")
    }
    moved = [odds["ruler"][image_id] - odds["original"][image_id] for image_id in odds["original"]]
    assert ruler["change"].value == pytest.approx(np.mean(moved))
    assert ruler["change"].level == pytest.approx(1 - 0.05 / 6) and ruler["flipped"].level == 0.95
    assert (tmp_path / "artefacts.svg").is_file() and (tmp_path / "backgrounds.png").is_file()
    assert lines[0] == RESEARCH_ONLY
    assert json.loads((tmp_path / "effects.json").read_text())["notice"] == RESEARCH_ONLY


def test_impossible_requests_are_refused(finished, table, tmp_path):
    with pytest.raises(ExplainError, match="too many"):
        intervening.chosen_cases(table, [])
    with pytest.raises(DataError, match="not in the data set"):
        intervening.chosen_cases(table, ["ISIC_1"])
    with pytest.raises(ExplainError, match="held_out"):
        intervening.intervene_on_split(finished, table, tmp_path, Reporter.silent(), split="held_out")


def test_a_loose_image_is_segmented_and_says_so(table):
    loose = intervening.specimens_of(table.subset(np.array([1])))
    given = loose(0)
    nameless = table.subset(np.array([1]))
    nameless.mask_path[:] = ""
    found = intervening.specimens_of(nameless)(0)
    assert (given.mask_source, found.mask_source) == ("data set", "segmenter")
    assert found.lesion.shape == given.lesion.shape and found.lesion.dtype == bool


def test_the_command_finds_the_runs_own_images(finished, table, tmp_path, monkeypatch):
    seen = {}

    def instead(run, chosen, out, reporter, **options):
        seen.update(ids=list(chosen.image_id), **options)
        return ["done"]

    monkeypatch.setattr(intervening, "intervene_on_cases", instead)
    name = table.image_id[3]
    result = CliRunner().invoke(app, ["intervene", str(finished.root), "--cases", name, "--controls", "7"])
    assert result.exit_code == 0, result.output
    assert seen == {"ids": [name], "controls": 7, "seed": 0, "segmenter": "segmenter"}
    result = CliRunner().invoke(app, ["intervene", str(finished.root), "--cases", name, "--dataset"])
    assert isinstance(result.exception, MelascopeError)

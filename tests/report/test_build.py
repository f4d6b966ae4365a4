"""Does a report print only numbers that stand on disk, say what was not measured, and refuse what it cannot trust?"""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from melascope.cli import app
from melascope.errors import MelascopeError, OutputError, RunError, TableError
from melascope.evaluation.compare import compare
from melascope.evaluation.lesion_level import lesion_scores
from melascope.evaluation.operating_point import OperatingPoint
from melascope.files import write_json
from melascope.report.build import build_report
from melascope.report.document import Table, plain
from melascope.report.run_record import Beside, read_run
from melascope.stages.comparing import read_run as read_entry
from melascope.stages.writing_report import report_run
from melascope.tables.interventions import EffectRow, write_rows
from melascope.tables.map_scores import GateCheck, MapFigure, MapTests
from melascope.tables.predictions import Predictions
from melascope.tables.results import Estimate
from run_folder import SHA, objects, write_run

KEYS = {
    "figures.csv": 5,
    "confusion_cells.csv": 4,
    "comparison.csv": 4,
    "effects.csv": 3,
    "results.csv": 1,
}
"""How many cells name a row of a table (the first ones, but for comparison.csv, whose fifth is the reason)."""


@pytest.fixture
def copied(drawn, tmp_path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "copied", ignore=shutil.ignore_patterns("report")))


@pytest.fixture(scope="session")
def whole(drawn, tmp_path_factory) -> Path:
    """A run with tests of maps, interventions, an audit and a comparison beside it."""
    run = Path(shutil.copytree(drawn, tmp_path_factory.mktemp("runs") / "whole"))
    measure_everything(run)
    return run


def measure_everything(run: Path) -> None:
    some = Estimate(0.25, 0.125, 0.5, 60, 50)
    from melascope.report.map_test_plot import FAITHFULNESS, MEASURES

    named = [("lesion mask", name, one) for name in MEASURES for one in ("", "area share", "centred Gaussian")]
    named += [("lesion mask", "no_positive_evidence", "")]
    named += [
        ("faithfulness", name, one)
        for name in FAITHFULNESS
        for one in ("", "map - random map", "map - centred Gaussian")
    ]
    figures = tuple(MapFigure(test, name, "predicted", "all", one, some) for test, name, one in named)
    facts = {"run": run.name, "source": "phantom", "checkpoint_sha256": SHA, "method": "gradcam", "layer": "last"}
    facts |= {"map_cells": "4x3", "split": "test", "n_images": 60, "n_lesions": 50, "n_asked_again": 20}
    (run / "map_tests").mkdir()
    MapTests(facts, figures, (GateCheck("whole network random", "0.3", "within ± 0.2", False),)).write(
        run / "map_tests"
    )
    about = (0.9875, 60, 50)
    effects = [EffectRow("artefacts", "ruler", "change", 0.5, -0.25, 1.25, *about, "absent", "")]
    effects += [EffectRow("artefacts", "ruler", "control", 0.0625, -0.125, 0.25, *about, "", "")]
    effects += [
        EffectRow("artefacts", "ruler", name, 0.125, 0.0625, 0.25, *about, "", "")
        for name in ("flipped", "control_flipped")
    ]
    (run / "interventions").mkdir()
    write_rows(run / "interventions" / "effects.csv", effects)
    write_json(run / "interventions" / "effects.json", {"checkpoint_sha256": SHA, "split": "test"})
    duplicates = {"n_across_lesions": 4, "n_across_splits": 2, "n_across_labels": 1}
    audit = {"fingerprint": "ef" * 32, "split_sha256": "cd" * 32, "duplicates": duplicates}
    write_json(run / "audit" / "audit.json", audit)
    entries = [read_entry(run, "drawn"), replace(read_entry(run, "other"), name="other")]
    compare(entries, split="test", draws=20).write(run / "comparison")


def page_of(run: Path, **beside: Path) -> str:
    return report_run(run, beside=Beside(**beside)).page.read_text(encoding="utf-8")


# --- every number against its row, read again by means of the standard library alone


def printed(page: str) -> list[tuple[str, str, str]]:
    """(where, form, text) of each number of a page."""
    found = re.findall(r'<span class="number" title="([^"]*)"(?: data-form="([^"]*)")?>([^<]*)</span>', page)
    return [tuple(map(unescape, one)) for one in found]


def on_disk(run: Path, where: str) -> list[float] | str:
    """Value, low and high (or the one number) that stand at a place; text where there is no number."""
    file, _, row = where.partition(": ")
    row, _, column = row.partition(" → ")
    keys = row.split(" | ")
    if file.endswith(".json"):
        return in_json(json.loads((run / file).read_text(encoding="utf-8")), keys)
    if file.endswith(".parquet"):
        return counted(run / file, keys, column)
    found = [line for line in read_csv(run / file) if list(line.values())[: KEYS[Path(file).name]] == keys]
    assert found and all(line == found[0] for line in found), where  # a figure may stand twice, never in two ways
    cells = found[0]
    if column:
        return [float(cells[column])] if cells[column] else "–"
    names = ["row_share" if "row_share" in cells else "value", "low", "high"]
    return [float(cells[name]) for name in names if cells[name]] or "not applicable"


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def in_json(value, keys: list[str]) -> list[float] | str:
    for key in keys:
        value = value[int(key)] if isinstance(value, list) else value[key]
    if isinstance(value, dict):
        ends = [value.get(name) for name in ("value", "low", "high")]
        return [end for end in ends if end is not None] or "not applicable"
    return [float(value)]


def counted(path: Path, keys: list[str], column: str) -> list[float]:
    rows = pq.read_table(path).to_pylist()
    for key in keys:
        if key != "all rows":
            name, _, wanted = key.partition("=")
            rows = [line for line in rows if (line[name] or "") == wanted]
    if column.startswith("P("):
        (line,) = rows
        logits = np.array([line[f"logit_{name}"] for name in ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")]) / 1.25
        chances = np.exp(logits) / np.exp(logits).sum()
        name = column[2:-1].replace("target", "mel")
        return [float(chances[("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc").index(name)])]
    named = "lesion_id" if column == "lesions" else "image_id"
    return [float(len({line[named] for line in rows}))]


def wrong_numbers(page: str, run: Path) -> list[str]:
    """Every printed number that is not that of its row, rounded as it is printed."""
    wrong = []
    for where, form, text in printed(page):
        found = on_disk(run, where)
        if isinstance(found, str):
            if not text.startswith((found, "n/a")):
                wrong.append(f"{where}: {text} for {found}")
            continue
        said = re.findall(r"[-+]?[\d,]*\.?\d+(?:e[-+]?\d+)?", text)
        wanted = [
            100 * one if form == "percent" else 100 * (1 - one) if form == "missed percent" else one for one in found
        ]
        if form == "missed percent" and len(wanted) == 3:
            wanted = [wanted[0], wanted[2], wanted[1]]
        near = [
            abs(float(one.replace(",", "")) - value) <= 0.5 * 10.0 ** -len(one.partition(".")[2]) * (1 + 1e-6)
            for one, value in zip(said, wanted, strict=False)
        ]
        if len(said) != len(wanted) or not all(near):
            wrong.append(f"{where} ({form}): {text} for {wanted}")
    return wrong


def test_every_printed_number_is_that_of_the_row_it_names(whole):
    page = page_of(whole)
    assert len(printed(page)) > 400
    assert wrong_numbers(page, whole) == []
    files = {where.partition(":")[0] for where, _, _ in printed(page)}
    assert files >= {
        *("evaluation/figures.csv", "evaluation/evaluation.json", "evaluation/confusion_cells.csv"),
        *("predictions.parquet", "results.csv", "operating_point.json", "map_tests/figures.csv"),
        *("interventions/effects.csv", "audit/audit.json", "comparison/comparison.csv"),
    } - {"evaluation/confusion_cells.csv", "results.csv"}  # these two stand below plots, which are not drawn here


def test_the_check_of_numbers_can_fail(copied):
    page = page_of(copied)
    figures = copied / "evaluation" / "figures.csv"
    lines = figures.read_text().splitlines()
    row = next(k for k, line in enumerate(lines) if line.startswith("all,sensitivity,mel,operating_point,lesion,"))
    lines[row] = "all,sensitivity,mel,operating_point,lesion,0.111,0.1,0.2,12,12,"
    figures.write_text("\n".join(lines) + "\n")
    assert len(wrong_numbers(page, copied)) >= 3  # headline, table, checklist or card


def test_no_number_stands_in_a_table_without_its_row(whole):
    """Cells are traced numbers and our own words; words with digits are names, never figures."""
    report = build_report(read_run(whole))
    worded = {"The 25 points", "Calibration of P(mel)", "Sanity gate (map_tests/map_tests.json: gate)"}
    for section in report.sections:
        for table in (block for block in section.blocks if isinstance(block, Table)):
            for row in table.rows if table.caption not in worded else ():
                for cell in row[1:]:
                    words = "".join(part for part in cell if isinstance(part, str))
                    assert not re.search(r"\d", words), (table.caption, plain(cell))


def test_the_headline_counts_missed_lesions(drawn):
    predictions = Predictions.read(drawn / "predictions.parquet").of_split("test")
    point = OperatingPoint.read(drawn / "operating_point.json")
    _, lesion = np.unique(predictions.lesion_id.astype(str), return_inverse=True)
    lesions = lesion_scores(predictions.probabilities, predictions.dx == "mel", lesion)
    called = lesions.probabilities[:, 4] >= point.threshold
    missed, n = int((lesions.truth & ~called).sum()), int(lesions.truth.sum())
    alarms = int((~lesions.truth & called).sum())
    first = plain(build_report(read_run(drawn)).sections[0].blocks[0].text)
    assert first.startswith(f"Of {n} melanoma lesions the model misses {missed} (")
    assert f"for {alarms / (n - missed):.1f}" in first and "false alarms per melanoma found (test split)" in first
    second = plain(build_report(read_run(drawn)).sections[0].blocks[1].text)
    assert second.startswith(f"Where histology confirmed the truth: of {n} melanoma lesions")


# --- what was not measured


def test_what_was_not_measured_says_so_with_its_command(drawn):
    page = page_of(drawn)
    for what, command in (
        (
            "Copies under other names (near-duplicates)",
            "melascope data audit DATA --split RUN/split.csv --out RUN/audit",
        ),
        ("What the maps are worth", "melascope explain RUN --test"),
        ("What single answers hang on", "melascope intervene RUN --cases ID,ID --out RUN/interventions"),
        ("How other runs do on the same images", "melascope compare RUN OTHER --out RUN/comparison"),
        ("How the model does on another collection", "melascope evaluate RUN --external PREDICTIONS.parquet"),
        ("Pictures of these cases, and notes on them", "melascope gallery RUN"),
    ):
        assert f"<strong>{what}: not measured</strong>" in page
        assert f"<code>{command}</code>" in page.split('id="reading"')[1]
    assert page.count("the plot was not drawn") == 12
    assert '<a href="#maps">What are the maps worth?</a> <span class="tag">not measured</span>' in page


def test_what_was_measured_is_told(whole):
    page = page_of(whole)
    for words in (
        "SANITY GATE FAILED",
        "+0.500 [-0.250,\u00a0+1.250]",
        "Paired differences on the same images",
        "Added artefacts",
    ):
        assert words in page
    assert re.search(r"<span[^>]*>2</span> pairs stand on two sides of the split", page)
    assert "What the maps are worth: not measured" not in page


def test_what_speaks_of_another_model_or_data_set_is_left_out(whole, tmp_path):
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    for file, key in (("audit/audit.json", "fingerprint"), ("interventions/effects.json", "checkpoint_sha256")):
        content = json.loads((run / file).read_text())
        write_json(run / file, content | {key: "99" * 32})
    tests = json.loads((run / "map_tests" / "map_tests.json").read_text())
    tests["facts"]["checkpoint_sha256"] = "99" * 32
    write_json(run / "map_tests" / "map_tests.json", tests)
    page = page_of(run)
    assert "an audit lies there, but of another data set" in page
    assert page.count("it was measured on other weights than this run") == 2
    assert "SANITY GATE" not in page and "+0.500" not in page


def test_a_run_with_a_lesion_in_two_splits_is_refused(copied):
    predictions = Predictions.read(copied / "predictions.parquet")
    lesions = predictions.lesion_id.copy()
    lesions[np.flatnonzero(predictions.split == "test")[0]] = lesions[0]
    replace(predictions, lesion_id=lesions).write(copied / "predictions.parquet")
    with pytest.raises(TableError, match="stands in train and in test"):
        report_run(copied)
    assert "Leak check passed: of" in page_of(write_run(copied.parent / "sound"))


def test_without_a_missed_melanoma_it_says_none(tmp_path):
    def sure(predictions: Predictions) -> Predictions:
        logits = np.zeros_like(predictions.logits)
        logits[:, 4] = np.where(predictions.dx == "mel", 5.0, -5.0)
        return replace(predictions, logits=logits)

    page = page_of(write_run(tmp_path / "sure", change=sure))
    assert "None: every judged melanoma image reaches the threshold." in page


def test_a_table_of_no_facts_is_told_to_have_no_subgroups(tmp_path):
    def bare(predictions: Predictions) -> Predictions:
        n = len(predictions)
        blank = objects([""] * n)
        lesions = predictions.image_id
        return replace(
            predictions, sex=blank, localization=blank, dx_type=blank, age=np.full(n, np.nan), lesion_id=lesions
        )

    page = page_of(write_run(tmp_path / "bare", source="", change=bare))
    assert "<strong>Subgroups: not measured</strong>" in page
    assert "Where histology confirmed the truth: not applicable (n=0 images" in page
    assert "phantom" not in page.lower().replace("phantom {", "").split("<body")[1]


# --- what is refused


@pytest.mark.parametrize(
    ("broken", "found", "fix"),
    [
        ("run.json", "not a run directory", "melascope train"),
        ("predictions.parquet", "its training has not finished", "melascope train --resume"),
        ("operating_point.json", "its training has not finished", "melascope train --resume"),
        ("evaluation/evaluation.json", "The run has not been evaluated", "melascope evaluate"),
    ],
)
def test_a_folder_that_lacks_something_is_refused_with_the_next_command(copied, broken, found, fix):
    (copied / broken).unlink()
    with pytest.raises(RunError) as refused:
        report_run(copied)
    assert found in str(refused.value) and fix in str(refused.value)
    assert not (copied / "report").exists()


def test_an_evaluation_of_another_threshold_or_version_is_refused(copied):
    point = OperatingPoint.read(copied / "operating_point.json")
    write_json(copied / "operating_point.json", replace(point, threshold=0.5).as_json())
    with pytest.raises(RunError, match="another threshold"):
        report_run(copied)
    write_json(copied / "operating_point.json", point.as_json())
    content = json.loads((copied / "evaluation" / "evaluation.json").read_text())
    del content["conformal"]
    write_json(copied / "evaluation" / "evaluation.json", content)
    with pytest.raises(RunError, match="melascope evaluate"):
        report_run(copied)


def test_a_folder_that_was_asked_for_must_hold_what_is_asked(drawn, whole, tmp_path):
    for beside in (Beside(audit=tmp_path), Beside(comparison=tmp_path)):
        with pytest.raises(RunError, match="The folder has no"):
            report_run(drawn, beside=beside, out=tmp_path / "out")
    with pytest.raises(OutputError, match="not a melascope report"):
        report_run(drawn, out=drawn / "evaluation")


# --- the files


def test_the_same_run_gives_the_same_bytes(drawn, tmp_path):
    pages = [report_run(drawn, out=tmp_path / name / "report").page for name in ("a", "b")]
    for file in ("report.html", "manifest.json"):
        assert pages[0].with_name(file).read_bytes() == pages[1].with_name(file).read_bytes() or file == "manifest.json"
    again = report_run(drawn, out=tmp_path / "a" / "report").page
    assert again.with_name("report.md").read_bytes() == pages[0].with_name("report.md").read_bytes()


def test_the_command_prints_the_page_and_the_next_command(copied):
    done = CliRunner().invoke(app, ["report", str(copied)])
    assert done.exit_code == 0, (done.output, done.exception)
    assert str(copied / "report" / "report.html") in done.output
    assert f"next: melascope data audit data/drawn --split {copied}/split.csv" in done.output
    (copied / "run.json").unlink()
    assert isinstance(CliRunner().invoke(app, ["report", str(copied)]).exception, MelascopeError)

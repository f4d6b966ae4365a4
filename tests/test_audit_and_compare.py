"""Do the two commands that look across, over a data set and over models, say what they found and write it down?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from melascope.classes import CLASSES
from melascope.cli import app
from melascope.data.sources.phantom import write_phantom


def melascope(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "phantom"
    write_phantom(folder, n_images=40, seed=6, workers=1)
    return folder


def test_an_audit_is_printed_and_kept(phantom, tmp_path):
    assert melascope("data", "split", phantom, "--out", tmp_path / "split.csv").exit_code == 0
    done = melascope("data", "audit", phantom, "--split", tmp_path / "split.csv", "--out", tmp_path / "audit")
    assert done.exit_code == 0, done.exception
    found = json.loads((tmp_path / "audit/audit.json").read_text())
    assert (found["source"], found["n_images"]) == ("phantom", 40)
    split_facts = json.loads((tmp_path / "split.json").read_text())
    assert found["fingerprint"] == split_facts["dataset_fingerprint"]
    text = (tmp_path / "audit/AUDIT.md").read_text()
    assert text in done.output and "What a random split of images would leak" in text


def test_an_audit_against_a_split_of_other_images_is_refused(phantom, tmp_path):
    (tmp_path / "split.csv").write_text("image_id,split\nISIC_1,train\n")
    done = melascope("data", "audit", phantom, "--split", tmp_path / "split.csv", "--out", tmp_path / "audit")
    assert done.exit_code == 1 and not (tmp_path / "audit").exists()


def test_two_tables_are_compared_on_their_common_images(tmp_path):
    rng = np.random.default_rng(0)
    for name, skill in (("weak", 0.5), ("strong", 2.0)):
        rows = ["image_id,dx,lesion_id," + ",".join(f"logit_{c}" for c in CLASSES)]
        for row in range(120):
            logits = rng.normal(size=7)
            truth = row % 2
            logits[4 + truth] += skill
            rows.append(f"I{row},{('mel', 'nv')[truth]},L{row // 2 * 2 + truth}," + ",".join(map(str, logits)))
        (tmp_path / f"{name}.csv").write_text("\n".join(rows) + "\n")
    done = melascope("compare", tmp_path / "weak.csv", tmp_path / "strong.csv", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.exception
    assert {"comparison.json", "comparison.csv"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert "strong" in done.output and "weak" in done.output
    assert melascope("compare", tmp_path / "weak.csv", tmp_path / "gone.csv").exit_code == 1


def test_a_compared_table_gets_a_threshold_from_its_validation_rows_or_says_what_is_missing(tmp_path):
    rng = np.random.default_rng(0)
    header = "file,truth,split,dx_type," + ",".join(f"logit_{c}" for c in CLASSES)
    lines = []
    for row in range(240):
        logits = rng.normal(size=7)
        logits[4 + row % 2] += 2
        split = ("val", "test")[row // 120]
        lines.append(f"I{row},{('mel', 'nv')[row % 2]},{split},histo," + ",".join(map(str, logits)))
    (tmp_path / "both.csv").write_text("\n".join([header, *lines]) + "\n")
    (tmp_path / "bare.csv").write_text("\n".join([header, *lines[120:]]) + "\n")
    naming = ("--map-columns", "image_id=file,dx=truth")
    asked = ("--rule", "empirical", "--target-sensitivity", "0.8")
    tables = (tmp_path / "both.csv", tmp_path / "bare.csv")
    done = melascope("compare", *tables, *naming, *asked, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.exception
    words = " ".join(done.output.split())
    assert "A both.csv: threshold 0." in words and "frozen on validation (rule empirical, target 0.80)" in words
    assert "B bare.csv: no threshold, top class only" in words
    assert "B has no threshold: its sensitivity, sensitivity per lesion, specificity, false alarms per found" in words
    assert "histology only: 120 images of 120 lesions" in words
    assert melascope("compare", *tables, "--out", tmp_path / "out").exit_code == 1  # its columns need the mapping

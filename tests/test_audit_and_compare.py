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

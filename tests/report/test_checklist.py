"""Is each of the 25 points, and each part of the model card, answered from the run?"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from melascope.report.build import build_report
from melascope.report.checklist import POINTS
from melascope.report.document import NOT_DESCRIBED, plain
from melascope.report.run_record import read_run


def test_the_checklist_has_the_25_points_in_their_groups():
    groups = [point.group for point in POINTS]
    assert len(POINTS) == 25 and len({point.name for point in POINTS}) == 25
    assert [groups.count(name) for name in ("Data", "Technique", "Technical assessment", "Application")] == [
        15,
        4,
        4,
        2,
    ]
    assert groups == sorted(groups, key=["Data", "Technique", "Technical assessment", "Application"].index)


@pytest.mark.parametrize("source", ["phantom", "ham10000", "somebody's"])
def test_each_point_and_each_part_of_the_card_is_answered(drawn, source):
    record = read_run(drawn)
    origin = replace(record.evaluation.origin, source=source)
    record = replace(
        record, evaluation=replace(record.evaluation, origin=origin), facts=record.facts | {"source": source}
    )
    answers = [plain(point.answer(record)) for point in POINTS]
    assert all(answers) and not any("{" in answer for answer in answers)
    told = dict(zip((point.name for point in POINTS), answers, strict=True))
    assert ("Vienna" in told["Acquisition"]) == (source == "ham10000")
    assert (NOT_DESCRIBED in told["Acquisition"]) == (source == "somebody's")
    assert ("all images are synthetic" in told["Synthetic images"]) == (source == "phantom")
    assert told["External test"].startswith("not measured: melascope evaluate RUN --external")
    (card,) = (section for section in build_report(record).sections if section.anchor == "model-card")
    labels = [label for label, text in card.blocks[1].facts if plain(text)]
    assert labels == [
        *("Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data"),
        *("Quantitative analyses", "Ethical considerations", "Caveats and recommendations"),
    ]


def test_the_checklist_tells_what_the_test_of_likeness_refuses(drawn, tmp_path):
    copied = shutil.copytree(drawn, tmp_path / "run")
    answer = next(point.answer for point in POINTS if point.name == "Unlike images")
    assert plain(answer(read_run(copied))).startswith("not measured: melascope app RUN fits")
    sha = read_run(copied).point.checkpoint_sha256
    counts = {"n_images": 200, "n_images_refused": 7, "n_target_images": 31, "n_target_images_refused": 2}
    (copied / "likeness.json").write_text(json.dumps({"checkpoint_sha256": sha, **counts}))
    assert "refuses 7 of 200 (2 of 31 melanoma images)" in plain(answer(read_run(copied)))
    (copied / "likeness.json").write_text(json.dumps({"checkpoint_sha256": "f" * 64, **counts}))
    assert "other weights" in plain(answer(read_run(copied)))

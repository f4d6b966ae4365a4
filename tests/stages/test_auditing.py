"""Does the gallery's header tell the figures of the evaluation, and those of histology alone beside them?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from melascope.evaluation.evaluate import evaluate
from melascope.evaluation.operating_point import OperatingPoint
from melascope.stages.auditing import _headline
from melascope.tables.predictions import Predictions
from melascope.tables.results import NotApplicable
from melascope.tables.runs import RunDirectory


def test_histology_alone_stands_beside_all_images_in_the_header(finished, tmp_path):
    table, point = Predictions.read(finished.predictions), OperatingPoint.read(finished.operating_point)
    run = RunDirectory(tmp_path / "run")
    assert _headline(run) == []
    for dx_type in ("histo", "follow_up"):
        judged = evaluate(replace(table, dx_type=np.full(len(table), dx_type, dtype=object)), point, draws=0)
        judged.write(run.evaluation)
        told = dict(_headline(run))
        assert len(told) == 8
        for name in ("sensitivity", "specificity"):
            everything = judged.whole.decision("operating_point", "lesion").figures[name]
            assert told[f"{name} for melanoma, per lesion (test)"] == everything
            alone = told[f"{name} for melanoma, per lesion (histology only)"]
            none = NotApplicable("n=0 images with truth from histology")
            assert alone == (everything if dx_type == "histo" else none)

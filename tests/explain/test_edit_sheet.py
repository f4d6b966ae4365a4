"""Does the sheet show the original and every edit, each at its place?"""

import numpy as np
import pytest
from edited_pictures import asker, skin_with_lesion, vasc_if_red

from melascope.errors import ExplainError
from melascope.explain.artefacts import Specimen
from melascope.explain.edit_sheet import edit_sheet
from melascope.explain.interventions import intervene


def test_every_edit_has_a_tile():
    image, lesion, _ = skin_with_lesion()
    outcomes = intervene(Specimen("I1", "L1", image, lesion), asker(vasc_if_red), controls=2)[:6]
    sheet = edit_sheet("I1", image, lesion, outcomes)
    assert sheet.dtype == np.uint8 and sheet.ndim == 3
    rows = 2  # original and six edits, five to a row
    assert sheet.shape[1] == 5 * 250 + 10 and sheet.shape[0] > rows * 180
    first = sheet[34 : 34 + 180, 10 : 10 + 240].astype(float)
    assert abs(first[:20, :20].mean(axis=(0, 1)) - image[:10, :10].mean(axis=(0, 1))).max() < 4
    last = sheet[34 + 235 : 34 + 400, 10 + 2 * 250 : 10 + 2 * 250 + 240]
    assert (last == 255).all(axis=2).mean() > 0.95  # the eighth place is empty


def test_nothing_to_show_is_refused():
    image, lesion, _ = skin_with_lesion()
    with pytest.raises(ExplainError, match="no edit"):
        edit_sheet("I1", image, lesion, [])

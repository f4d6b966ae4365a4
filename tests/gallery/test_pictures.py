"""Are file names safe on any file system, and does the ramp show what overlays show?"""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from melascope.explain.overlay import render_overlay
from melascope.gallery.pictures import RAMP_STOPS, file_stems, ramp


def test_plain_ids_stay_as_they_are():
    assert file_stems(["ISIC_0025964", "a-b"]) == {"ISIC_0025964": "ISIC_0025964", "a-b": "a-b"}


@given(st.lists(st.text(max_size=120), min_size=1, max_size=8, unique=True))
def test_any_ids_get_names_that_stay_in_the_folder_and_never_meet(image_ids):
    stems = file_stems(image_ids)
    assert len({stem.lower() for stem in stems.values()}) == len(image_ids)
    for stem in stems.values():
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", stem) and len(stem) <= 80 and ".." not in stem


def test_ids_that_differ_by_case_do_not_share_a_file():
    stems = file_stems(["isic_1", "ISIC_1"])
    assert stems["isic_1"].lower() != stems["ISIC_1"].lower()


def test_the_ramp_is_the_overlays_palette_over_light_skin():
    stops = ramp()
    assert len(stops) == RAMP_STOPS and (stops[0][0], stops[-1][0]) == ("0%", "100%")
    skin = np.full((1, 1, 3), (226, 192, 172), dtype=np.uint8)
    for level, (_, colour) in ((0.0, stops[0]), (0.5, stops[8]), (1.0, stops[-1])):
        shown = render_overlay(skin, np.full((1, 1), level, dtype=np.float32), scale=1.0)[0, 0]
        assert colour == "#{:02x}{:02x}{:02x}".format(*shown)

"""Does the report read back what a gallery wrote, and leave alone a gallery that speaks of something else?"""

from __future__ import annotations

import json

import pytest

from melascope.evaluation.operating_point import OperatingPoint
from melascope.gallery.page_data import as_script_text, packed
from melascope.report.document import Code, Gap, Strong, plain
from melascope.report.gallery_notes import read_gallery

POINT = OperatingPoint(("mel",), 0.2, "empirical", 0.9, 0.9, 0.7, 0.92, 0.77, 200, 150, 40, 25)

FACTS = {"id": ["ISIC_1", "ISIC_2"], "stem": ["ISIC_1", "../../evil"]}
DETAILS = [
    {
        "meaning": "**Missed melanoma** (`ISIC_1`), **one of `two`**.",
        "maps": "cGFja2Vk",
        "maps_say": ["It peaks **outside**.", "No `<b>`."],
        "tested": [],
    },
    {"meaning": "", "maps_say": None},
]


@pytest.fixture
def gallery(tmp_path):
    def write(facts=FACTS, details=DETAILS, sha=POINT.sha256):
        page = f'<script type="application/json" id="facts">{as_script_text(facts)}</script>\n'
        page += f'<script type="application/json" class="block">{as_script_text(details[:1])}</script>\n'
        page += "".join(f'<script type="text/plain" class="block">{packed([one])}</script>\n' for one in details[1:])
        (tmp_path / "index.html").write_text(page)
        (tmp_path / "manifest.json").write_text(json.dumps({"operating_point_sha256": sha}))
        return tmp_path

    return write


def test_notes_come_back_with_their_marks_as_parts(gallery):
    found = read_gallery(gallery(), POINT)
    first, *maps = found.notes_of("ISIC_1")
    assert first == (Strong("Missed melanoma"), " (", Code("ISIC_1"), "), ", Strong("one of two"), ".")
    assert [plain(one) for one in maps] == ["It peaks outside.", "No <b>."]
    assert found.notes_of("ISIC_2") == () and found.notes_of("nobody") == ()


def test_pictures_are_named_by_a_safe_stem_alone(gallery):
    found = read_gallery(gallery(), POINT)
    files = [path.relative_to(found.folder).as_posix() for path, _ in found.pictures_of("ISIC_1", "nv")]
    assert files == ["images/ISIC_1_image.jpg", "images/ISIC_1_overlay_mel.jpg", "images/ISIC_1_overlay_nv.jpg"]
    assert len(found.pictures_of("ISIC_1", "mel")) == 2
    assert found.pictures_of("ISIC_2", "nv") == [] and found.pictures_of("nobody", "nv") == []


def test_another_threshold_another_version_or_no_gallery_is_a_gap(gallery, tmp_path):
    assert "another threshold" in read_gallery(gallery(sha="99" * 32), POINT).why
    for facts, details in (({"ids": []}, DETAILS), (FACTS, DETAILS[:1]), ({}, [])):
        assert "another version" in read_gallery(gallery(facts, details), POINT).why
    gap = read_gallery(tmp_path / "none", POINT)
    assert isinstance(gap, Gap) and gap.command == "melascope gallery RUN" and gap.why == ""

"""Does a panel keep the pictures true, put the maps on one scale, and say what a map cannot show?"""

import numpy as np
import pytest

from melascope.errors import ExplainError
from melascope.explain import panel
from melascope.explain.overlay import draw_outline, render_overlay
from melascope.explain.panel import colour_bar, compose_panel
from melascope.tables.cell_places import UNKNOWN, CellPlaces

IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
MAPS = {"vasc": np.array([[4.0, -1.0], [0.0, 1.0]]), "mel": np.array([[1.0, 0.0], [0.5, 0.0]])}


@pytest.fixture
def written(monkeypatch):
    """Every text that is drawn."""
    texts = []
    draw = panel.ImageDraw.ImageDraw.text

    def note(self, xy, text, *args, **options):
        texts.append(text)
        return draw(self, xy, text, *args, **options)

    monkeypatch.setattr(panel.ImageDraw.ImageDraw, "text", note)
    return texts


def contains(sheet, picture):
    """Whether the picture stands in the sheet, pixel for pixel."""
    height, width = picture.shape[:2]
    return any(
        np.array_equal(sheet[y : y + height, x : x + width], picture)
        for y, x in np.argwhere((sheet[: -height + 1, : -width + 1] == picture[0, 0]).all(2))
    )


def test_pictures_stand_side_by_side_on_one_scale(written):
    sheet = compose_panel(IMAGE, MAPS, predicted="vasc")
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
    assert contains(sheet, IMAGE)
    for values in MAPS.values():
        assert contains(sheet, render_overlay(IMAGE, values, scale=4))
    assert not contains(sheet, render_overlay(IMAGE, MAPS["mel"], scale=1))
    text = "\n".join(written)
    assert "vasc, vascular lesion (predicted)" in text and "mel, melanoma" in text and "+4 logit per cell" in text
    assert "map resolution 2×2 cells" in text and "one scale" in text
    assert "no positive evidence" not in text and "outline" not in text


def test_a_class_without_evidence_is_said_to_have_none(written):
    sheet = compose_panel(IMAGE, {"nv": MAPS["vasc"], "mel": -MAPS["mel"]}, predicted="nv")
    assert written.count("no positive evidence for mel") == 1
    assert "no positive evidence for nv" not in written
    assert contains(sheet, IMAGE[:60])


def test_no_evidence_at_all(written):
    compose_panel(IMAGE, {"mel": -np.ones((5, 4))}, predicted="mel")
    assert "no positive evidence for mel" in written and "nothing to show" in written
    assert any("4×5 cells" in text for text in written)  # width × height, as image sizes are written


def test_the_outline_and_its_source(written):
    mask = np.zeros((90, 120), dtype=bool)
    mask[20:60, 30:80] = True
    sheet = compose_panel(IMAGE, MAPS, predicted="vasc", mask=mask, mask_source="segmenter v1")
    assert "outline: segmenter v1" in written
    assert contains(sheet, draw_outline(IMAGE, mask))


def test_a_given_scale_is_kept(written):
    sheet = compose_panel(IMAGE, MAPS, predicted="vasc", scale=8)
    assert "+8 logit per cell" in written
    assert contains(sheet, render_overlay(IMAGE, MAPS["vasc"], scale=8))


@pytest.mark.parametrize("maps", [{}, {"mel": np.ones((2, 2)), "nv": np.ones((3, 2))}])
def test_maps_of_no_one_layer_are_refused(maps):
    with pytest.raises(ExplainError, match="maps differ"):
        compose_panel(IMAGE, maps, predicted="mel")


def test_cells_are_drawn_where_they_lie_and_doubt_is_said(written):
    places = CellPlaces((-0.5, 0.25), source="middle of the receptive field")
    sheet = compose_panel(IMAGE, MAPS, predicted="vasc", places=places)
    assert contains(sheet, render_overlay(IMAGE, MAPS["vasc"], scale=4, places=places))
    assert not any("not known" in text for text in written)
    compose_panel(IMAGE, MAPS, predicted="vasc", places=UNKNOWN)
    assert any("where its cells lie is not known" in text for text in written)


def test_labels_fit_a_small_picture():
    assert panel._fitting("a label that is far too long for it", 40, 100).getlength("a label") < 100
    compose_panel(np.zeros((32, 32, 3), np.uint8), MAPS, predicted="vasc")


def test_colour_bar_runs_as_the_overlay_does():
    bar = colour_bar(2.0, width=300, height=30)
    assert bar.shape == (30, 300, 3)
    assert tuple(bar[5, 0]) == panel.LIGHT_SKIN
    skin = np.full((1, 1, 3), panel.LIGHT_SKIN, np.uint8)
    assert tuple(bar[5, -1]) == tuple(render_overlay(skin, np.array([[2.0]]), scale=2)[0, 0])
    assert (colour_bar(0, width=300, height=30)[5] == panel.LIGHT_SKIN).all()

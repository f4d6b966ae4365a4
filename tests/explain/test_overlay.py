"""Does an overlay show what the map says, on the scale that was given, and nothing where there is no evidence?"""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from melascope.errors import ExplainError, OutputError
from melascope.explain.overlay import (
    draw_outline,
    encode_overlay,
    palette,
    render_overlay,
    save_image,
    shared_scale,
    upsample_map,
)
from melascope.tables.cell_places import CellPlaces

GREY = np.full((40, 60, 3), 128, dtype=np.uint8)
small_maps = arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(-50, 50, width=32))


@given(small_maps, st.integers(1, 70), st.integers(1, 70))
def test_upsampling_equals_torch(values, width, height):
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(values)[None, None], size=(height, width), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    found = upsample_map(values, width, height)
    assert found.dtype == np.float32 and found.shape == (height, width)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@given(small_maps)
def test_upsampling_invents_no_extremes(values):
    found = upsample_map(values, 33, 21)
    assert found.max() <= values.max() + 1e-4 and found.min() >= values.min() - 1e-4


@given(small_maps, st.floats(-0.6, 0.6), st.floats(0.8, 1.25))
def test_cells_are_drawn_where_they_lie(values, offset, pitch):
    """Against interpolation between the cells' own places, row by row and column by column."""
    places = CellPlaces((offset, -offset), (pitch, 1.0))
    expected = values
    for axis, side in ((0, 21), (1, 33)):
        at, cells = (np.arange(side) + 0.5) / side, places.share_at(values.shape[axis], axis)
        expected = np.apply_along_axis(lambda line, at=at, cells=cells: np.interp(at, cells, line), axis, expected)
    np.testing.assert_allclose(upsample_map(values, 33, 21, places), expected, atol=1e-3)


def test_an_overlay_lies_where_its_cells_do():
    """Three cells of 20 px, drawn a quarter of a cell further left: so is the only one with evidence."""
    values, places = np.array([[0.0, 1.0, 0.0]]), CellPlaces((0.0, -0.25))
    even, moved = (shown(values, 1, **how) for how in ({}, {"places": places}))
    np.testing.assert_array_equal(moved[:, 5:50], even[:, 10:55])
    encoded = encode_overlay(GREY, values, scale=1, places=places, form="PNG")
    with Image.open(io.BytesIO(encoded)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), render_overlay(GREY, values, scale=1, places=places))


def test_shared_scale_known_answers():
    maps = np.array([[[-9.0, 1.0]], [[0.5, 3.0]]])
    assert shared_scale(maps) == 3
    assert shared_scale(maps[:1]) == 1
    assert shared_scale(-np.abs(maps)) == 0


def shown(values, scale, **options):
    """How far each pixel moved away from grey."""
    return np.abs(render_overlay(GREY, np.asarray(values), scale=scale, **options).astype(int) - 128).sum(2)


def test_skin_without_evidence_stays_as_it_is():
    overlay = render_overlay(GREY, np.array([[1.0, -1.0, -1.0]]), scale=1)
    np.testing.assert_array_equal(overlay[:, 40:], GREY[:, 40:])
    assert (overlay[:, :10] != GREY[:, :10]).any(2).all()


def test_negative_cells_count_as_nothing_before_interpolation():
    """The ReLU of Grad-CAM's eq. 2 is taken at the map's resolution: how strongly a cell opposes must not show."""
    mild, strong = (render_overlay(GREY, np.array([[1.0, against]]), scale=1) for against in (0.0, -50.0))
    np.testing.assert_array_equal(mild, strong)


@pytest.mark.parametrize("scale", [0, 1.0])
def test_no_positive_evidence_is_the_plain_image(scale):
    overlay = render_overlay(GREY, np.full((3, 3), -1.0), scale=scale)
    np.testing.assert_array_equal(overlay, GREY)
    assert overlay is not GREY


def test_known_colours():
    top = render_overlay(GREY, np.array([[1.0]]), scale=1, colormap="viridis", opacity=1)
    assert tuple(top[0, 0]) == (253, 231, 36)  # viridis at its top, as matplotlib gives it
    half = render_overlay(GREY, np.array([[1.0]]), scale=1, colormap="viridis", opacity=0.5)
    np.testing.assert_allclose(half[0, 0], (np.array([253, 231, 36]) + 128) / 2, atol=1)
    jet = render_overlay(GREY, np.array([[1.0]]), scale=1, colormap="jet", opacity=1)
    assert tuple(jet[0, 0]) == (127, 0, 0)


def test_the_scale_is_shared_not_the_maps_own():
    """A weak map must look weak beside a strong one, whatever its own range is."""
    weak, strong = np.array([[0.1]]), np.array([[1.0]])
    assert shown(weak, 1).max() < shown(strong, 1).max() / 2
    np.testing.assert_array_equal(shown(weak, 0.1), shown(strong, 1))


def test_the_input_is_not_changed():
    image, values = GREY.copy(), np.array([[1.0, -1.0]])
    render_overlay(image, values, scale=1)
    np.testing.assert_array_equal(image, GREY)
    np.testing.assert_array_equal(values, [[1.0, -1.0]])


@given(small_maps, st.floats(0.1, 60))
def test_blending_only_where_there_is_evidence_changes_no_pixel(values, scale):
    """Against a blend of the whole picture, pixel by pixel, in floats."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (23, 31, 3), dtype=np.uint8)
    level = upsample_map(np.minimum(np.maximum(values, 0) / np.float32(scale), 1) * 255 + 0.5, 31, 23).astype(np.uint8)
    colours = np.frombuffer(palette(), dtype=np.uint8).reshape(256, 4).astype(float)[level]
    alpha = colours[..., 3:] / 255
    expected = image * (1 - alpha) + colours[..., :3] * alpha
    found = render_overlay(image, values, scale=scale)
    np.testing.assert_allclose(found, expected, atol=1)
    np.testing.assert_array_equal(found[level == 0], image[level == 0])


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG"])
def test_the_encoded_overlay_is_the_rendered_one(tmp_path, form):
    values = np.array([[2.0, -1.0], [0.0, 1.0]])
    encoded = encode_overlay(GREY, values, scale=2, form=form)
    ending = {"JPEG": "jpg", "WEBP": "webp", "PNG": "png"}[form]
    path = save_image(tmp_path / f"a.{ending}", render_overlay(GREY, values, scale=2))
    assert path.read_bytes() == encoded
    with Image.open(io.BytesIO(encoded)) as picture:
        assert picture.format == form and picture.size == (60, 40)


def test_an_unknown_form_is_refused():
    with pytest.raises(OutputError, match="GIF"):
        encode_overlay(GREY, np.ones((1, 1)), scale=1, form="GIF")


@pytest.mark.parametrize(
    ("image", "values", "options", "message"),
    [
        (GREY.astype(float), np.ones((2, 2)), {}, "float64"),
        (GREY[..., 0], np.ones((2, 2)), {}, "expected"),
        (GREY, np.ones((1, 2, 2)), {}, "shape"),
        (GREY, np.array([[np.nan]]), {}, "not finite"),
        (GREY, np.ones((2, 2)), {"scale": -1}, "scale"),
        (GREY, np.ones((2, 2)), {"scale": float("nan")}, "scale"),
        (GREY, np.ones((2, 2)), {"scale": 0}, "positive evidence"),
        (GREY, np.ones((2, 2)), {"colormap": "virdis"}, "virdis"),
        (GREY, np.ones((2, 2)), {"opacity": 2}, "opacity"),
    ],
)
def test_unusable_arguments_are_refused(image, values, options, message):
    with pytest.raises(ExplainError, match=message):
        render_overlay(image, values, **({"scale": 1} | options))


@pytest.mark.parametrize("maps", [np.zeros((0, 3, 3)), np.array([[[np.inf]]])])
def test_a_scale_of_unusable_maps_is_refused(maps):
    with pytest.raises(ExplainError):
        shared_scale(maps)


def test_outline_lies_on_the_edge_only():
    mask = np.zeros((40, 60), dtype=bool)
    mask[10:30, 20:50] = True
    outlined = draw_outline(GREY, mask)
    white, dark = (outlined == 255).all(2), (outlined == 32).all(2)
    assert white.sum() == 2 * (20 + 30) - 4 and not (white & ~mask).any()
    assert dark.sum() == 2 * (20 + 30) and not (dark & mask).any()
    np.testing.assert_array_equal(outlined[15:25, 25:45], GREY[15:25, 25:45])


@pytest.mark.parametrize("mask", [np.zeros((40, 60), bool), np.ones((40, 60), bool)])
def test_a_mask_without_an_edge_draws_nothing(mask):
    np.testing.assert_array_equal(draw_outline(GREY, mask), GREY)


def test_outline_grows_with_the_picture():
    mask = np.zeros((900, 1200), dtype=bool)
    mask[300:600, 300:600] = True
    outlined = draw_outline(np.full((900, 1200, 3), 128, np.uint8), mask)
    assert (outlined[450] == 255).all(1).sum() == 8  # four pixels on each side


@pytest.mark.parametrize("mask", [np.zeros((60, 40), bool), np.zeros((40, 60), np.uint8)])
def test_unusable_masks_are_refused(mask):
    with pytest.raises(ExplainError, match="mask"):
        draw_outline(GREY, mask)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jpg", "JPEG"), ("a.jpeg", "JPEG"), ("a.webp", "WEBP"), ("a.PNG", "PNG"), ("a", "JPEG")]
)
def test_the_ending_says_the_format(tmp_path, name, kind):
    image = np.linspace(0, 255, 40 * 60 * 3).astype(np.uint8).reshape(40, 60, 3)
    path = save_image(tmp_path / "new" / name, image)
    assert path.suffix and [path.name] == os.listdir(path.parent)
    with Image.open(path) as written:
        assert written.format == kind and not written.getexif() and "icc_profile" not in written.info
        close = np.asarray(written.convert("RGB")).astype(int)
    assert np.abs(close - image).mean() < (6 if kind != "PNG" else 1e-9)


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"\.gif"):
        save_image(tmp_path / "a.gif", GREY)
    assert not list(tmp_path.iterdir())


def test_a_picture_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    save_image(tmp_path / "a.png", GREY)
    before = (tmp_path / "a.png").read_bytes()

    def fails(self, stream, **options):
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fails)
    with pytest.raises(OSError, match="disk full"):
        save_image(tmp_path / "a.png", 255 - GREY)
    assert (tmp_path / "a.png").read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    assert Image.open(io.BytesIO(before)).size == (60, 40)


def test_pictures_and_scores_need_no_torch():
    code = (
        "import sys, melascope.explain.overlay, melascope.explain.panel, melascope.explain.mask_scores;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

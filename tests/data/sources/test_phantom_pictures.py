"""Do phantom pictures show what their rows say: a lesion under its mask, one lesion in all views, classes apart?"""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from melascope.classes import CLASSES
from melascope.data.sources.phantom import ARTEFACTS, add_ink
from melascope.data.sources.phantom.canvas import SHEET, Canvas, View, enlarged
from melascope.data.sources.phantom.lesions import images, lesion_of
from melascope.data.sources.phantom.render import PAINTERS, lesion_mask, render


@pytest.fixture(scope="module")
def rendered():
    """The first 44 images, with their lesions."""
    return [(lesion, *render(1, image, lesion)) for image, lesion in images(1, 44)]


def contrast(rgb, mask):
    rgb, inside = rgb[::3, ::3], mask[::3, ::3] > 0
    around = ndimage.binary_dilation(inside, iterations=8) & ~ndimage.binary_dilation(inside, iterations=2)
    return np.linalg.norm(rgb[inside].mean(axis=0) - rgb[around].mean(axis=0))


def test_masks_lie_on_the_lesions(rendered):
    there = np.array([contrast(rgb, mask) for _, rgb, mask in rendered])
    elsewhere = np.array([contrast(rgb, np.roll(mask, (150, 200), axis=(0, 1))) for _, rgb, mask in rendered])
    assert np.median(there) > 40
    assert np.mean(there > elsewhere) > 0.9


def test_a_mask_is_one_part_without_holes(rendered):
    for lesion, _, mask in rendered:
        assert mask.dtype == np.uint8 and mask.shape == (450, 600) and set(np.unique(mask)) == {0, 255}
        assert ndimage.label(mask)[1] == 1, lesion
        assert np.array_equal(ndimage.binary_fill_holes(mask > 0), mask > 0), lesion
        assert 0.004 < (mask > 0).mean() < 0.9


def test_the_mask_keeps_the_largest_part_and_fills_it():
    border = np.full(SHEET, -5.0, dtype=np.float32)
    border[50:100, 100:180] = 5.0
    border[70:80, 120:130] = -5.0  # a hole
    border[10:15, 10:15] = 5.0  # a spot apart
    mask = lesion_mask(border)
    expected = np.zeros((450, 600), dtype=bool)
    expected[100:200, 200:360] = True
    assert np.array_equal(
        ndimage.binary_erosion(mask > 0, iterations=2), ndimage.binary_erosion(expected, iterations=2)
    )
    assert not mask[:40, :40].any()


def test_sheets_are_enlarged_as_pillow_does_it():
    planes = np.random.default_rng(0).integers(0, 256, (3, 17, 23)).astype(np.uint16)
    ours = enlarged(16 * planes)
    picture = Image.fromarray(planes.astype(np.uint8).transpose(1, 2, 0))
    pillow = np.asarray(picture.resize((46, 34), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(ours / 256 - pillow).max() <= 1.0  # Pillow rounds after each of its two passes


@pytest.mark.parametrize("odd", [0, 1])
def test_what_lies_between_painted_pixels_is_filled_in(odd):
    canvas = Canvas(View()).window(slice(0, 8 + odd), slice(0, 10 + odd))
    rows, columns = np.indices(canvas.density.shape[1:])
    plane = (3 * rows + 5 * columns).astype(np.float32)
    canvas.every(2).density[:] = plane[::2, ::2]
    canvas.fill_in()
    inner = (slice(None), slice(0, 7 + odd), slice(0, 9 + odd))  # past the last painted pixel it is repeated
    assert np.array_equal(canvas.density[inner], np.broadcast_to(plane[inner[1:]], canvas.density[inner].shape))
    if not odd:
        assert np.array_equal(canvas.density[:, -1], canvas.density[:, -2])


@pytest.mark.parametrize("dx", CLASSES)
def test_a_lesion_is_the_same_from_the_other_side(dx):
    def painted(seed, view):
        canvas = Canvas(view)
        PAINTERS[dx](canvas, np.random.default_rng(seed), 45.0, 0.7)
        return canvas.density

    # Shifted by one, because the turned sheet's pixel 0 must fall on the last pixel of the upright one.
    half_turn = View(rotation=np.pi, shift_x=-1.0, shift_y=-1.0)
    for seed in range(3):
        upright, turned = painted(seed, View()), painted(seed, half_turn)[:, ::-1, ::-1]
        same, other = np.abs(upright - turned).mean(), np.abs(upright - painted(seed + 3, View())).mean()
        assert same < 0.15 * other, seed


def test_views_of_one_lesion_differ_but_share_its_colours():
    seen = {}
    for image, lesion in images(2, 60):
        seen.setdefault(lesion.number, []).append((image, lesion))
    views = [group for group in seen.values() if len(group) > 1]
    within, between, previous = [], [], None
    for group in views[:8]:
        colours = [rgb[mask > 0].mean(axis=0) for rgb, mask in (render(2, *job) for job in group[:2])]
        assert not np.allclose(*colours, atol=0.5)
        within.append(np.linalg.norm(colours[0] - colours[1]))
        if previous is not None:
            between.append(np.linalg.norm(colours[0] - previous))
        previous = colours[0]
    assert np.median(within) < 0.6 * np.median(between)


def test_the_background_says_nothing_about_the_class():
    image, lesion = next(job for job in images(1, 60) if job[1].dx == "nv")
    rgbs = [render(1, image, dataclasses.replace(lesion, dx=dx))[0].astype(int) for dx in ("nv", "bcc", "vasc", "df")]
    for rgb in rgbs[1:]:
        assert np.array_equal(rgb[:40], rgbs[0][:40])
        assert not np.array_equal(rgb, rgbs[0])


def test_vascular_lesions_are_red_and_nevi_are_brown(rendered):
    def redness(rgb, mask):
        _, green, blue = rgb[mask > 0].mean(axis=0) / rgb[mask == 0].mean(axis=0)
        return blue / green

    by_class = {dx: [redness(rgb, mask) for lesion, rgb, mask in rendered if lesion.dx == dx] for dx in ("vasc", "nv")}
    assert min(by_class["vasc"]) > np.median(by_class["nv"])


def test_nevi_and_melanomas_overlap_in_what_the_painter_sees():
    lesions = [lesion_of(1, number) for number in range(2000)]
    atypia = {dx: np.array([lesion.atypia for lesion in lesions if lesion.dx == dx]) for dx in ("nv", "mel")}
    truth = np.repeat([0, 1], [len(atypia["nv"]), len(atypia["mel"])])
    auroc = roc_auc_score(truth, np.concatenate([atypia["nv"], atypia["mel"]]))
    assert 0.90 < auroc < 0.98  # the ceiling of any classifier of these two
    assert np.mean(atypia["nv"] > np.quantile(atypia["mel"], 0.25)) > 0.02


def test_each_artefact_is_on_some_phantom_images():
    assert all(0 < share < 1 for _, share in ARTEFACTS.values())


@pytest.mark.parametrize("add", [*(add for add, _ in ARTEFACTS.values()), add_ink])
@pytest.mark.parametrize("shape", [(450, 600, 3), (90, 121, 3)])
def test_artefacts_lie_on_any_picture(add, shape):
    rgb = np.full(shape, 180, dtype=np.uint8)[:, ::-1]
    rgb.flags.writeable = False
    results = [add(rgb, np.random.default_rng(seed)) for seed in range(6)]
    assert all(result.shape == shape and result.dtype == np.uint8 for result in results)
    changed = [np.mean((result != rgb).any(axis=2)) for result in results]
    assert 0 < np.median(changed) < 0.5
    assert np.array_equal(results[0], add(rgb, np.random.default_rng(0)))
    assert not np.array_equal(results[0], results[1])

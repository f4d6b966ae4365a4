"""Does an edit change what it should, only that, and is its control the same edit without its content?"""

import numpy as np
import pytest
from edited_pictures import SKIN, disc, skin_with_lesion

from melascope.errors import ExplainError
from melascope.explain import edits
from melascope.explain.edits import ADDED, FILLS, hide, inert_twin, keep, on_other_skin, opacity, with_artefact


@pytest.fixture
def case():
    return skin_with_lesion()


@pytest.mark.parametrize("fill", ["in-painted", "mean skin"])
def test_a_hidden_lesion_looks_like_the_skin_around_it(case, fill):
    image, lesion, _ = case
    hidden = hide(image, lesion, fill=fill)
    assert np.abs(hidden[lesion].mean(axis=0) - SKIN).max() < 6
    far = ~edits.grown(lesion, 4 * edits.margin_of(image))
    assert np.array_equal(hidden[far], image[far])


def test_blurring_takes_structure_and_leaves_colour():
    rng = np.random.default_rng(0)
    image = rng.integers(60, 200, (90, 120, 3)).astype(np.uint8)
    region = disc((90, 120), 45, 60, 20)
    hidden = hide(image, region, fill="blurred")
    assert hidden[region].std() < 0.2 * image[region].std()
    assert abs(hidden[region].mean() - image[region].mean()) < 3


def test_in_painting_continues_a_slope_exactly_in_the_middle():
    """A linear picture is harmonic: Laplace's equation gives it back."""
    ramp = np.broadcast_to(np.linspace(40, 220, 96)[None, :, None], (72, 96, 3))
    image = np.rint(ramp).astype(np.uint8)
    hidden = hide(image, disc((72, 96), 36, 48, 15))
    assert np.abs(hidden.astype(float) - ramp).max() < 4


def test_a_spot_beside_a_lesion_is_filled_from_skin_not_from_the_lesion():
    image, lesion, _ = skin_with_lesion(spot=False)
    beside = disc(lesion.shape, 40, 71, 5) & ~lesion
    hidden = hide(image, beside, lesion=lesion)
    assert np.abs(hidden[beside & ~edits.grown(lesion, 3)].mean(axis=0) - SKIN).max() < 8


def test_keeping_a_lesion_leaves_it_and_flattens_the_rest(case):
    image, lesion, spot = case
    kept = keep(image, lesion)
    assert np.array_equal(kept[lesion], image[lesion])
    assert np.abs(kept[spot].astype(float) - SKIN).max() < 8
    assert kept[edits.grown(spot, 3)].std(axis=0).max() < 1


def test_a_lesion_moves_to_other_skin_and_takes_its_tone_along_if_asked(case):
    image, lesion, _ = case
    bluish = np.full((60, 80, 3), (150, 150, 190), dtype=np.uint8)
    moved = on_other_skin(image, lesion, bluish)
    toned = on_other_skin(image, lesion, bluish, same_tone=True)
    far = ~edits.grown(lesion, 4 * edits.margin_of(image))
    assert np.array_equal(moved[lesion], image[lesion]) and np.array_equal(toned[lesion], image[lesion])
    assert np.abs(moved[far].astype(float) - (150, 150, 190)).max() <= 1
    assert np.abs(toned[far].mean(axis=0) - SKIN).max() < 4


@pytest.mark.parametrize("name", ADDED)
def test_the_inert_twin_covers_the_same_pixels_with_skin(name):
    image = np.full((150, 200, 3), SKIN, dtype=np.uint8)
    key = [5, 1]
    added, twin = with_artefact(image, name, key), inert_twin(image, name, key, np.array(SKIN))
    assert (added != image).any()
    assert np.abs(twin.astype(int) - image).max() <= 1  # skin on skin
    white = inert_twin(image, name, key, np.array([255.0, 255, 255]))
    changed = (added.astype(int) != image).any(axis=2)
    covered = opacity(name, (150, 200), key) > 0.02
    assert ((np.abs(white.astype(int) - image).max(axis=2) > 0)[covered]).all()
    assert changed[~covered].mean() < 0.02


def test_opacity_gives_the_artefact_back():
    """over = share · paint + (1 - share) · ground, on any ground."""
    image, _, _ = skin_with_lesion()
    share = opacity("ruler", image.shape[:2], [7])
    expected = edits.blend(image, np.array([28.0, 26, 30]), share)
    assert np.abs(with_artefact(image, "ruler", [7]).astype(int) - expected).max() <= 2


def test_edits_are_the_same_each_time_and_leave_their_input(case):
    image, lesion, _ = case
    before = image.copy()
    for fill in FILLS:
        assert np.array_equal(hide(image, lesion, fill=fill), hide(image, lesion, fill=fill))
    assert np.array_equal(image, before)


def test_what_cannot_be_edited_is_refused(case):
    image, lesion, _ = case
    with pytest.raises(ExplainError, match="no fill"):
        hide(image, lesion, fill="magic")
    with pytest.raises(ExplainError, match="nothing is left"):
        hide(image, np.ones_like(lesion))
    with pytest.raises(ExplainError, match="bool"):
        hide(image, lesion.astype(np.uint8))
    with pytest.raises(ExplainError, match="no skin"):
        edits.skin_colour(image, np.ones_like(lesion))
    with pytest.raises(ExplainError, match="no artefact"):
        with_artefact(image, "glitter", [0])


def test_hiding_nothing_changes_nothing(case):
    image, lesion, _ = case
    assert np.array_equal(hide(image, np.zeros_like(lesion)), image)

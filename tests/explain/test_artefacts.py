"""Does the audit find a shortcut that a model is known to have, and none in a model that has none?"""

import numpy as np
import pytest
from edited_pictures import SKIN, asker, mel_if_dark_ticks, skin_with_lesion, vasc_if_red

from melascope.classes import MEL
from melascope.errors import ExplainError
from melascope.explain.artefacts import BACKGROUNDS, Specimen, ask_on_other_backgrounds, ask_with_artefacts
from melascope.explain.paired import ABSENT, FOUND

N = 24


def load(row):
    image, lesion, _ = skin_with_lesion(seed=row, spot=False)
    return Specimen(f"I{row}", f"L{row}", image, lesion)


def lesion_darkness(pixels):
    """A model that looks at the darkest tenth of the picture, so at the lesion alone."""
    light = np.sort(pixels.mean(axis=3).reshape(len(pixels), -1), axis=1)[:, : pixels[0, ..., 0].size // 20]
    logits = np.zeros((len(pixels), 7), dtype=np.float32)
    logits[:, MEL] = (120 - light.mean(axis=1)) / 20
    return logits


def mean_tone(pixels):
    """A model that listens to the skin: the bluer the picture, the surer."""
    logits = np.zeros((len(pixels), 7), dtype=np.float32)
    logits[:, MEL] = (pixels[..., 2].mean(axis=(1, 2)) - SKIN[2]) / 10
    return logits


def effects(scorer, **options):
    return {one.name: one for one in ask_with_artefacts(N, load, asker(scorer), **options).effects()}


def test_a_model_that_counts_ticks_is_found_out_and_its_control_is_quiet():
    found = effects(mel_if_dark_ticks)
    assert found["ruler"].verdict == FOUND and found["ruler"].change.value > 1
    assert abs(found["ruler"].control.value) < 0.05
    assert found["ruler"].level == pytest.approx(1 - 0.05 / 6)
    assert found["gel_bubbles"].change.value < found["ruler"].change.value


def test_a_model_without_the_shortcut_is_reported_to_be_without():
    found = effects(lesion_darkness, artefacts=("ruler", "ink"))
    assert found["ruler"].verdict == ABSENT


def test_a_constant_model_never_moves():
    found = effects(lambda pixels: np.zeros((len(pixels), 7)), artefacts=("ruler", "hair"))
    assert all(one.change.value == 0 and one.flipped.value == 0 for one in found.values())


def test_the_same_placements_for_every_model_and_every_call():
    once, again = (ask_with_artefacts(4, load, asker(vasc_if_red), artefacts=("ink",)) for _ in range(2))
    assert np.array_equal(once.answers["ink"].log_odds, again.answers["ink"].log_odds)


def coloured(row):
    """Skins of many tones."""
    specimen = load(row)
    tint = np.random.default_rng(row).integers(-40, 40, 3)
    skin = ~specimen.lesion[..., None]
    image = np.where(skin, np.clip(specimen.image.astype(int) + tint, 0, 255), specimen.image).astype(np.uint8)
    return Specimen(specimen.image_id, specimen.lesion_key, image, specimen.lesion)


def test_another_skin_flips_a_model_that_listens_to_it_and_not_its_control():
    pairs = ask_on_other_backgrounds(N, coloured, asker(mean_tone, threshold=0.15))
    found = {one.name: one for one in pairs.effects()}
    assert set(found) == set(BACKGROUNDS)
    assert found["other skin"].flipped.value > 0.2
    assert found["other skin"].moved.value > 1 > 5 * found["other skin"].control_moved.value
    assert found["other skin, same tone"].moved.value < 0.3 * found["other skin"].moved.value
    assert all(one.verdict == "" for one in found.values())


def test_a_model_of_the_lesion_does_not_care_for_the_skin():
    found = {one.name: one for one in ask_on_other_backgrounds(N, coloured, asker(lesion_darkness)).effects()}
    assert found["other skin, same tone"].flipped.value == 0


def test_pictures_that_cannot_be_edited_are_named_with_the_reason():
    def some(row):
        specimen = load(row)
        return specimen if row else Specimen("all lesion", "L", specimen.image, np.ones_like(specimen.lesion))

    pairs = ask_with_artefacts(5, some, asker(vasc_if_red), artefacts=("ink",))
    assert len(pairs.image_id) == 4
    assert pairs.skipped == (("all lesion", "The lesion leaves no skin in the picture."),)
    with pytest.raises(ExplainError, match="None of 1"):
        ask_with_artefacts(1, some, asker(vasc_if_red), artefacts=("ink",))


def test_impossible_calls_are_refused():
    with pytest.raises(ExplainError, match="glitter"):
        ask_with_artefacts(2, load, asker(vasc_if_red), artefacts=("glitter",))
    with pytest.raises(ExplainError, match="another picture"):
        ask_on_other_backgrounds(1, load, asker(vasc_if_red))
    with pytest.raises(ExplainError, match="logits"):
        ask_with_artefacts(2, load, asker(lambda pixels: np.zeros((len(pixels), 3))))

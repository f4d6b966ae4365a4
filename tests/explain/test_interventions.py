"""Does an intervention tell what a model of known behaviour hangs on, with a control that stays quiet?"""

from dataclasses import replace

import numpy as np
import pytest
from edited_pictures import VASC, asker, skin_with_lesion, vasc_if_red

from melascope.classes import CLASSES, MEL
from melascope.explain.answers import Asker
from melascope.explain.artefacts import Specimen
from melascope.explain.interventions import PLACEMENTS, Intervention, Outcome, intervene
from melascope.tables.results import NotApplicable

K = 19


@pytest.fixture(scope="module")
def outcomes():
    image, lesion, _ = skin_with_lesion()
    values = np.zeros((9, 12))
    values[6, 9] = 1  # the map is hot where the spot is
    found = intervene(Specimen("I1", "L1", image, lesion), asker(vasc_if_red), {"vasc": values}, controls=K)
    return {(one.name, one.fill): one for one in found}


def test_removing_the_spot_takes_away_what_it_gave(outcomes):
    for fill in ("in-painted", "mean skin"):
        one = outcomes["coloured spot 1 beside it removed", fill]
        change = one.of("vasc")
        assert change.before > 0.9 and change.after < 0.2
        assert one.predicted == ("vasc", "mel")
        assert one.positive == (False, True)
        assert change.n_controls == K and change.p_value == pytest.approx(1 / (1 + K))
        assert abs(change.control_mean) < 0.05


def test_the_hot_region_and_the_hot_spot_of_the_map_are_removed_too(outcomes):
    for name in ("hottest 5 % of the vasc map removed", "hot spot 1 of the vasc map outside the lesion removed"):
        assert outcomes[name, "mean skin"].of("vasc").after < 0.5


def test_removing_the_lesion_means_nothing_to_a_model_of_the_spot(outcomes):
    one = outcomes["lesion removed", "in-painted"]
    assert abs(one.of("vasc").change) < 0.02
    assert one.predicted == ("vasc", "vasc")


def test_a_kept_region_is_compared_with_those_that_change_as_little():
    """A model that needs nothing but the lesion: keeping that changes nothing, keeping skin changes all."""

    def dark(pixels):
        logits = np.zeros((len(pixels), 7))
        logits[:, MEL] = np.where((pixels.max(axis=3) < 120).sum(axis=(1, 2)) > 300, 3, -3)
        return logits

    image, lesion, _ = skin_with_lesion(height=150, width=200)
    (one, *_) = intervene(Specimen("I", "L", image, lesion), asker(dark, width=200, height=150), controls=K)
    assert one.name == "lesion alone kept" and one.keeps
    change = one.of("target")
    assert abs(change.change) < 0.01 and change.control_mean < -0.3
    assert change.p_value == pytest.approx(1 / (1 + K))


def test_an_added_artefact_has_as_many_inert_twins_as_placements(outcomes):
    one = outcomes["ruler added", ""]
    assert len(one.after) == len(one.controls) == PLACEMENTS
    assert one.control_name == "the same pixels covered by skin colour"


def test_the_sentence_says_what_changed_and_what_the_control_changed(outcomes):
    text = outcomes["coloured spot 1 beside it removed", "in-painted"].sentence("vasc")
    assert text.startswith("Coloured spot 1 beside it removed (") and "in-painted" in text
    assert "P(vasc) from 0.9" in text and f"n={K}, p=0.050" in text
    assert "the same form placed at random on the skin" in text


def outcome(controls):
    ask = Asker(lambda pixels: pixels, 1, 1)
    logits = np.zeros((3, 7))
    logits[1:, VASC] = 2, -2
    before, after = ask.answers(logits[:1]), ask.answers(logits[1:2])
    return Outcome(
        "x",
        "",
        0.1,
        "c",
        False,
        ("mel",),
        before,
        after,
        None if controls is None else ask.answers(controls),
        np.zeros(0),
    )


def test_known_probabilities_and_an_undefined_p():
    one = outcome(None)
    change = one.of("vasc")
    assert change.before == pytest.approx(1 / 7)
    assert change.after == pytest.approx(np.exp(2) / (np.exp(2) + 6))
    assert isinstance(change.p_value, NotApplicable)
    assert isinstance(one.positive, NotApplicable)
    assert one.sentence().endswith("no room for a control.")
    assert sum(one.of(name).after for name in CLASSES) == pytest.approx(1)


def test_an_intervention_is_only_what_its_name_says():
    assert Intervention("x", "", 0.1, (), (), "c").keeps is False


@pytest.mark.parametrize(
    ("positive", "controls", "said"),
    [
        ((True, False), [True, False, True], ", decision becomes negative (so in 1 of 3 controls); "),
        ((False, True), None, ", decision becomes positive; "),
        ((True, True), [True, True, False], ", decision stays positive; "),
    ],
)
def test_the_sentence_tells_the_decision_and_how_often_chance_turns_it(positive, controls, said):
    one = outcome(np.zeros((len(controls), 7)) if controls else None)
    answers = zip((one.before, one.after), positive, strict=True)
    before, after = (replace(answer, is_positive=np.array([what])) for answer, what in answers)
    changed = replace(one, before=before, after=after)
    if controls:
        changed = replace(changed, controls=replace(one.controls, is_positive=np.array(controls)))
    assert said in changed.sentence()
    assert "decision" not in one.sentence()  # without a frozen threshold

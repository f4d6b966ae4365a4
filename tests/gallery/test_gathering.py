"""Is what a case says of an image what the tables say?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from melascope.classes import CLASSES, MEL
from melascope.errors import DataError, RunError
from melascope.explain.segment import CLASSICAL, SEGMENTER, find_lesion
from melascope.gallery.gathering import _origin, build_cases
from melascope.gallery.selection import Selection, select_cases
from melascope.tables.results import NotApplicable


def cases_of(world, *image_ids, **changes):
    given = {"predictions": world.predictions, "maps": world.maps, "table": world.table, **changes}
    selections = [Selection(image_id, ("asked_for",)) for image_id in image_ids]
    return build_cases(selections, given["predictions"], world.point, given["maps"], given["table"])


def test_the_facts_of_a_missed_melanoma(world):
    (case,) = cases_of(world, "MEL_MISSED_A")
    assert (case.dx, case.predicted, case.outcome, case.section) == ("mel", "vasc", "missed", "missed")
    assert case.confidence == pytest.approx(0.55) and case.p_mel == pytest.approx(0.07)
    assert not case.above and case.threshold == 0.2
    assert [name for name, _ in case.top3][:1] == ["vasc"]
    assert case.shown == ("vasc", "mel")
    assert case.scale == pytest.approx(1.0)
    assert [(o.image_id, o.predicted, o.above) for o in case.same_lesion] == [("MEL_MISSED_B", "vasc", False)]


def test_the_price_counts_held_out_images_without_melanoma(world):
    (case,) = cases_of(world, "MEL_MISSED_B")
    # test and held_out, not mel: NV_CORRECT ×2, NV_ALARM, BCC_SURE_WRONG and the hostile df; P(mel) 0.02
    assert (case.price.n_others, case.price.called_now) == (5, 1)
    held_out = np.isin(world.predictions.split.astype(str), ["test", "held_out"]) & (world.predictions.dx != "mel")
    p_mel = world.predictions.probabilities[held_out, MEL]
    assert case.price.called_then == int((p_mel >= case.p_mel).sum())
    assert cases_of(world, "NV_CORRECT")[0].price is None


def test_an_image_at_the_very_threshold_counts_as_called(world, make_point):
    row = list(world.predictions.image_id).index("NV_ALARM")
    point = make_point(threshold=float(world.predictions.probabilities[row, MEL]))
    (case,) = build_cases([Selection("MEL_MISSED_A", ())], world.predictions, point, world.maps, world.table)
    assert case.price.called_now == 1


def test_where_melanoma_is_the_answer_the_strongest_other_class_stands_beside_it(world):
    (case,) = cases_of(world, "MEL_FOUND")
    assert case.shown[0] == "mel" and case.shown[1] != "mel"
    assert case.shown[1] == case.top3[1][0]


def test_map_scores_are_of_the_shown_classes_and_a_picture_without_mask_is_segmented(world):
    (case,) = cases_of(world, "MEL_MISSED_A")
    score = case.score_of("mel")
    assert score.peak_inside is True and score.share_inside > score.area_share
    assert score.area_share == pytest.approx(400 / 2700)
    (bare,) = cases_of(world, "BCC_SURE_WRONG")
    lesion, source = find_lesion(bare.pixels())
    assert bare.mask_source == source and bare.mask_origin == (_origin(source) if lesion.any() else "")
    assert not lesion.any() or np.array_equal(bare.mask(), lesion)


@pytest.mark.parametrize(("found", "words"), [(SEGMENTER, "segmenter that melascope ships"), (CLASSICAL, "classical")])
def test_the_page_says_who_outlined_a_picture_without_mask(world, monkeypatch, found, words):
    disc = np.zeros((450, 600), bool)
    disc[100:300, 200:400] = True
    monkeypatch.setattr("melascope.gallery.case.find_lesion", lambda _image, _segmenter: (disc, found))
    (bare,) = cases_of(world, "BCC_SURE_WRONG")
    assert words in bare.mask_origin and bare.outline and bare.map_scores[0].area_share == pytest.approx(4 / 27, 0.01)


def test_where_nothing_is_found_no_outline_is_shown(world, monkeypatch):
    nothing = np.zeros((450, 600), bool)
    monkeypatch.setattr("melascope.gallery.case.find_lesion", lambda _image, _segmenter: (nothing, CLASSICAL))
    (bare,) = cases_of(world, "BCC_SURE_WRONG")
    assert bare.mask_origin == "" and bare.mask() is None
    assert all(isinstance(one, NotApplicable) for one in bare.map_scores)


def test_why_the_segmenter_was_passed_over_stands_beside_the_outline():
    assert _origin("classical (the segmenter found nothing)").endswith("by a person (the segmenter found nothing)")


def test_evidence_and_strength_of_a_map(world):
    a, b = cases_of(world, "MEL_MISSED_A", "MEL_MISSED_B")
    assert a.has_evidence("mel") and a.strength("mel") == pytest.approx(4 / 7)
    assert not b.has_evidence("mel") and b.strength("mel") == 0 and not b.is_faint("mel")


def test_unknown_age_is_none_and_no_other_image_is_no_relative(world):
    (case,) = cases_of(world, "MEL_BY_THRESHOLD")
    assert case.age is None and case.same_lesion == ()


def test_images_without_lesion_id_are_not_relatives_of_each_other(world):
    predictions = replace(world.predictions, lesion_id=np.full(len(world.predictions), "", dtype=object))
    (case,) = cases_of(world, "MEL_MISSED_A", predictions=predictions)
    assert case.same_lesion == ()


def test_cases_keep_the_order_of_the_selections(world):
    selections = select_cases(world.predictions, world.point)
    cases = build_cases(selections, world.predictions, world.point, world.maps, world.table)
    assert [case.image_id for case in cases] == [one.image_id for one in selections]
    assert [case.reasons for case in cases] == [one.reasons for one in selections]


def test_missing_maps_are_named(world):
    maps = world.maps.subset(world.maps.image_id != "MEL_FOUND")
    with pytest.raises(RunError, match=r"1 of 2 images have no map, for example MEL_FOUND"):
        cases_of(world, "MEL_FOUND", "NV_CORRECT", maps=maps)


def test_maps_of_another_model_are_refused(world):
    with pytest.raises(RunError, match="made by the checkpoint cdcd"):
        cases_of(world, "MEL_FOUND", maps=replace(world.maps, checkpoint_sha256="cd" * 32))
    moved = replace(world.maps, logits=world.maps.logits + np.eye(7, dtype=np.float32)[MEL], checkpoint_sha256="")
    with pytest.raises(RunError, match="lie 1 away from those of the predictions"):
        cases_of(world, "MEL_FOUND", maps=moved)


def test_a_data_set_with_another_truth_is_refused(world):
    dx = world.table.dx.copy()
    dx[list(world.table.image_id).index("MEL_FOUND")] = "nv"
    with pytest.raises(DataError, match="MEL_FOUND: nv there, mel here"):
        cases_of(world, "MEL_FOUND", table=replace(world.table, dx=dx))


def test_pixels_are_read_when_asked_for(world):
    (case,) = cases_of(world, "MEL_FOUND")
    assert case.pixels().shape == (45, 60, 3) and case.mask().shape == (45, 60)
    assert case.cells("mel").shape == (8, 8) and case.maps.shape == (len(CLASSES), 8, 8)

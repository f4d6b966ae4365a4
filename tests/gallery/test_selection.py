"""Does a gallery show every missed melanoma, and nothing that the model has seen unless it is asked for?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from melascope.errors import DataError, OperatingPointError
from melascope.gallery.selection import select_cases


def reasons(world, **arguments):
    return {one.image_id: one.reasons for one in select_cases(world.predictions, world.point, **arguments)}


def test_every_missed_melanoma_is_chosen_and_no_image_that_was_seen(world):
    chosen = reasons(world, confident_errors=0, near_threshold=0)
    assert chosen["MEL_MISSED_A"] == chosen["MEL_MISSED_B"] == ("missed_melanoma",)
    assert chosen["MEL_BY_THRESHOLD"] == ("missed_at_argmax",)
    assert not {"MEL_TRAINING", "NV_VALIDATION"} & set(chosen)


def test_one_reference_a_class_is_the_most_confident(world):
    chosen = reasons(world, confident_errors=0, near_threshold=0)
    references = {image_id for image_id, why in chosen.items() if "reference" in why}
    assert "NV_CORRECT" in references and "NV_CORRECT_2" not in references
    assert "MEL_FOUND" in references


def test_numbers_of_errors_and_of_near_images_are_kept(world):
    chosen = reasons(world, confident_errors=1, near_threshold=1)
    assert [i for i, why in chosen.items() if "confident_error" in why] == ["BCC_SURE_WRONG"]
    assert [i for i, why in chosen.items() if "near_below" in why] == ["MEL_MISSED_A"]
    assert [i for i, why in chosen.items() if "near_above" in why] == ["MEL_BY_THRESHOLD"]


def test_melanomas_take_no_place_among_the_confident_errors(world):
    chosen = reasons(world, confident_errors=9)
    assert [i for i, why in chosen.items() if "confident_error" in why] == ["BCC_SURE_WRONG"]


def test_order_has_missed_melanomas_first_and_lesions_together(world):
    order = list(reasons(world))
    assert order[:2] == ["MEL_MISSED_B", "MEL_MISSED_A"]  # one lesion; B is farther from the threshold
    lesion_of = dict(zip(world.predictions.image_id, world.predictions.lesion_id, strict=True))
    lesions = [lesion_of[image_id] for image_id in order]
    runs = 1 + sum(a != b for a, b in itertools.pairwise(lesions))
    assert runs == len(set(lesions))


def test_a_found_picture_stands_beside_the_missed_one_of_its_lesion(world):
    ids = ["MEL_FOUND", "NV_CORRECT", "MEL_MISSED_A"]
    lesion = world.predictions.lesion_id.copy()
    lesion[list(world.predictions.image_id).index("NV_CORRECT")] = "PAIR"
    predictions = world.predictions.subset(np.arange(len(world.predictions)))
    object.__setattr__(predictions, "lesion_id", lesion)
    order = [one.image_id for one in select_cases(predictions, world.point, image_ids=ids)]
    assert order == ["MEL_MISSED_A", "NV_CORRECT", "MEL_FOUND"]


def test_the_order_of_the_rows_does_not_matter(world):
    shuffled = world.predictions.subset(np.random.default_rng(3).permutation(len(world.predictions)))
    assert select_cases(shuffled, world.point) == select_cases(world.predictions, world.point)


def test_asked_ids_are_exactly_shown_and_those_not_held_out_last(world):
    ids = ["MEL_TRAINING", "NV_CORRECT", "NV_CORRECT"]
    chosen = select_cases(world.predictions, world.point, image_ids=ids)
    assert [(one.image_id, one.reasons) for one in chosen] == [
        ("NV_CORRECT", ("asked_for",)),
        ("MEL_TRAINING", ("asked_for",)),
    ]


def test_unknown_ids_are_all_counted_and_the_nearest_named(world):
    with pytest.raises(DataError, match=r"2 of 3 image ids.*'MEL_MISSED_C' \(nearest: MEL_MISSED_[AB]"):
        select_cases(world.predictions, world.point, image_ids=["MEL_MISSED_C", "MEL_FOUND", "nothing like it"])


def test_without_held_out_rows_it_refuses_and_says_which_splits_there_are(world):
    seen = world.predictions.of_split("train", "val")
    with pytest.raises(DataError, match="found train, val"):
        select_cases(seen, world.point)


def test_a_threshold_of_another_target_or_model_is_refused(world, make_point):
    with pytest.raises(OperatingPointError, match="for melanoma or basal cell carcinoma"):
        select_cases(world.predictions, make_point(target=("mel", "bcc")))
    with pytest.raises(OperatingPointError, match="belongs to checkpoint cdcd"):
        select_cases(world.predictions, make_point(checkpoint_sha256="cd" * 32))

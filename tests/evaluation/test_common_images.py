"""Do tables about the same images agree on truth and lesions, and is a lesion that one table tells used for all?"""

from dataclasses import replace

import numpy as np
import pytest

from melascope.errors import DataError, TableError
from melascope.evaluation.common_images import Entry, common_images
from melascope.evaluation.compare import compare


@pytest.fixture(scope="module")
def table(draw_table):
    return draw_table(n_lesions=60, seed=2)


def blank(table) -> np.ndarray:
    return np.full(len(table), "", dtype=object)


def test_rows_stand_by_image_id_whatever_their_order(table):
    rng = np.random.default_rng(0)
    mixed = [table.subset(rng.permutation(len(table))[:50]) for _ in range(3)]
    common = common_images([Entry(name, one) for name, one in zip("abc", mixed, strict=True)], "test")
    ids = sorted(set.intersection(*(set(one.image_id) for one in mixed)))
    assert 0 < len(ids) < 50
    for name, rows in common.rows.items():
        assert rows.image_id.tolist() == ids and common.left_out[name] == 50 - len(ids)
        one = mixed["abc".index(name)]
        assert all(
            (rows.logits[place] == one.logits[one.image_id == image][0]).all() for place, image in enumerate(ids)
        )


def test_a_lesion_that_only_one_table_tells_holds_for_all(table):
    foreign = replace(table, lesion_id=blank(table))
    half = table.lesion_id.copy()
    half[::2] = ""
    for entries in ([table, foreign], [foreign, table], [foreign, replace(table, lesion_id=half), table]):
        common = common_images([Entry(str(place), one) for place, one in enumerate(entries)], "test")
        assert all((rows.lesion_id == table.lesion_id).all() for rows in common.rows.values())
        assert common.lesions_from_others == len(table)
    assert common_images([Entry("a", table), Entry("b", table)], "test").lesions_from_others == 0
    told = compare([Entry("a", table), Entry("b", foreign)], draws=0)
    assert told.n_lesions == 60
    assert any(f"The lesion of {len(table)} images is told by only some" in note for note in told.notes)


def test_a_lesion_that_no_table_tells_is_the_image_itself(table):
    foreign = replace(table, lesion_id=blank(table))
    told = compare([Entry("a", foreign), Entry("b", foreign)], draws=0)
    assert told.n_lesions == told.n_images == len(table)
    assert any(f"{len(table)} of {len(table)} images name no lesion" in note for note in told.notes)


def test_truth_and_lesions_that_differ_are_refused_all_at_once(table):
    dx, lesion = table.dx.copy(), table.lesion_id.copy()
    dx[[3, 8]], lesion[5] = ["mel" if dx[3] != "mel" else "nv", "df" if dx[8] != "df" else "nv"], "another"
    silent = replace(table, lesion_id=blank(table))
    entries = [Entry("a", silent), Entry("b", table), Entry("c", replace(table, dx=dx, lesion_id=lesion))]
    with pytest.raises(TableError) as caught:
        common_images(entries, "test")
    assert len(caught.value.problems) == 3
    text = str(caught.value)
    for row in (3, 8):
        assert f"c: image {table.image_id[row]} is {dx[row]} here, {table.dx[row]} in a" in text
    assert f"c: image {table.image_id[5]} shows lesion another here, {table.lesion_id[5]} in b" in text


def test_no_common_image_says_what_each_has(table):
    renamed = replace(table, image_id=np.array([f"other_{name}" for name in table.image_id], dtype=object))
    with pytest.raises(DataError, match=f"No image is common to all: a has {len(table)}, e.g. test_000000; b has"):
        common_images([Entry("a", table), Entry("b", renamed)], "test")

"""Does a split keep lesions whole and classes in their shares, and is a leaking one refused?"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lesion_rows import lesion_table

from melascope.classes import CLASSES
from melascope.data.sources import read_dataset
from melascope.data.split import make_split, read_lesion_ids, read_split
from melascope.errors import DataError, SplitError

FRACTIONS = (0.8, 0.1, 0.1)


def random_table(seed: int, n_lesions: int):
    """Lesions of 1 to 6 images, classes as uneven as HAM10000's, rows in random order."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([1, 1, 1, 2, 2, 3, 6], n_lesions)
    dx = rng.choice(CLASSES, n_lesions, p=[0.05, 0.05, 0.1, 0.02, 0.1, 0.65, 0.03])
    rows = [(f"L{i}", f"I{i}_{j}", dx[i]) for i in range(n_lesions) for j in range(sizes[i])]
    return lesion_table([rows[i] for i in rng.permutation(len(rows))])


def sides(table, split) -> dict[str, set[str]]:
    found = defaultdict(set)
    for lesion, side in zip(table.lesion_key, split.of(table), strict=True):
        found[lesion].add(side)
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 300))
def test_lesions_stay_whole_and_each_class_comes_within_two_lesions_of_its_share(seed, n_lesions):
    table = random_table(seed, n_lesions)
    split = make_split(table, seed=seed)
    assert all(len(found) == 1 for found in sides(table, split).values())
    for dx in set(table.dx):
        of_class = table.dx == dx
        largest = max(Counter(table.lesion_id[of_class]).values())
        for side, share in zip(("train", "val", "test"), FRACTIONS, strict=True):
            count = (split.split[of_class] == side).sum()
            assert abs(count - share * of_class.sum()) < 2 * largest


def test_the_real_data_comes_within_three_images_of_its_shares_in_every_class(shared):
    table = read_dataset(shared / "ham10000")
    split = make_split(table, seed=1)
    for dx in CLASSES:
        of_class = table.dx == dx
        for side, share in zip(("train", "val", "test"), FRACTIONS, strict=True):
            assert abs((split.split[of_class] == side).sum() - share * of_class.sum()) <= 3
    assert all(len(found) == 1 for found in sides(table, split).values())


def test_no_side_prefers_lesions_of_many_images():
    """Over many seeds the mean size of a lesion is the same on each side (a greedy deal by size would fail this)."""
    table = random_table(3, 300)
    size = Counter(table.lesion_id)
    means = {"train": [], "val": [], "test": []}
    for seed in range(60):
        split = make_split(table, seed=seed)
        for side in means:
            lesions = set(table.lesion_id[split.split == side])
            means[side].append(np.mean([size[lesion] for lesion in lesions]))
    overall = np.mean(list(size.values()))
    for values in means.values():
        assert abs(np.mean(values) - overall) < 0.12 * overall


def test_a_split_depends_on_the_seed_alone_and_not_on_the_order_of_rows():
    table = random_table(1, 200)
    shuffled = table.subset(np.random.default_rng(2).permutation(len(table)))
    one, same, other = make_split(table, seed=5), make_split(shuffled, seed=5), make_split(table, seed=6)
    assert one.sha256 == same.sha256 != other.sha256
    assert np.array_equal(same.of(table), one.split)


def test_one_class_does_not_move_another():
    table = random_table(1, 200)
    without = table.subset(table.dx != "nv")
    assert np.array_equal(make_split(table).of(without), make_split(without).split)


def test_classes_of_equal_lesions_are_dealt_differently():
    table = lesion_table([(f"{dx}{i:03d}", f"{dx}{i:03d}", dx) for dx in ("mel", "nv") for i in range(100)])
    split = make_split(table)
    assert not np.array_equal(split.split[:100], split.split[100:])


def test_global_random_state_is_left_alone():
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make_split(random_table(1, 50))
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_images_without_lesion_or_truth_are_dealt_one_by_one():
    table = lesion_table([("", f"I{i}", "") for i in range(100)])
    assert Counter(make_split(table).split) == {"train": 80, "val": 10, "test": 10}


def test_held_out_lesions_go_out_whole():
    table = random_table(1, 50)
    split = make_split(table, held_out_lesions=["L3", "L7"])
    assert set(table.lesion_id[split.split == "held_out"]) == {"L3", "L7"}
    assert split.how["held_out_lesions"] == ["L3", "L7"]
    with pytest.raises(SplitError, match=r"2 held-out lesions are not in the data set: L_a, L_b"):
        make_split(table, held_out_lesions=["L3", "L_b", "L_a"])


@pytest.mark.parametrize(
    "fractions", [(0.8, 0.2), (0.8, 0.1, 0.2), (1.1, -0.1, 0.0), (0.0, 0.5, 0.5), (np.nan, 0.5, 0.5)]
)
def test_impossible_fractions_are_refused(fractions):
    with pytest.raises(SplitError, match="cannot be used"):
        make_split(random_table(1, 10), fractions=fractions)


def test_a_side_may_be_left_empty():
    split = make_split(random_table(1, 50), fractions=(0.5, 0.5, 0))
    assert set(split.split) == {"train", "val"}


def test_writes_and_reads_back(tmp_path):
    table = random_table(1, 80)
    split = make_split(table, seed=4, held_out_lesions=["L1"])
    path = split.write(tmp_path / "split.csv")
    facts = json.loads((tmp_path / "split.json").read_text())
    assert facts["sha256"] == split.sha256 and facts["seed"] == 4 and facts["fractions"] == [0.8, 0.1, 0.1]
    assert facts["dataset_fingerprint"] == table.fingerprint
    assert facts["counts"]["train"]["nv"] == int(((split.split == "train") & (table.dx == "nv")).sum())
    assert sum(n for counts in facts["counts"].values() for n in counts.values()) == len(table)
    again = read_split(path, table)
    assert again.sha256 == split.sha256 and np.array_equal(again.split, split.split)
    assert again.how["made"]["seed"] == 4 and again.how["file"] == "split.csv"
    json.dumps(again.how)
    (tmp_path / "split.json").write_text("{")
    with pytest.raises(SplitError, match="broken"):
        read_split(path, table)


def test_the_hash_is_of_the_sorted_lines():
    import hashlib

    table = lesion_table([("L1", "b", "nv"), ("L2", "a", "nv")])
    split = make_split(table, fractions=(1, 0, 0))
    assert split.sha256 == hashlib.sha256(b"a,train\nb,train\n").hexdigest()


def split_file(folder: Path, rows: dict[str, str], header: str = "image_id,split") -> Path:
    path = folder / "given.csv"
    path.write_text(header + "\n" + "".join(f"{image_id},{side}\n" for image_id, side in rows.items()))
    return path


def test_the_baseline_split_loads_as_it_is(shared):
    table = read_dataset(shared / "ham10000")
    split = read_split(shared / "ham10000/baseline_split.csv", table)
    assert (split.split == "test").sum() == 1003
    melanomas = (split.split == "test") & (table.dx == "mel")
    assert melanomas.sum() == 124 and len(set(table.lesion_id[melanomas])) == 72
    seed_lesions = ["HAM_0000871", "HAM_0001751", "HAM_0004932", "HAM_0000781"]
    held = read_split(shared / "ham10000/baseline_split.csv", table, seed_lesions)
    assert set(table.lesion_id[held.split == "held_out"]) == set(seed_lesions)
    assert np.array_equal(held.split[held.split != "held_out"], split.split[held.split != "held_out"])


TABLE = [("L1", "a", "nv"), ("L1", "b", "nv"), ("L2", "c", "mel"), ("L3", "d", "mel")]


def test_a_lesion_on_two_sides_is_refused_with_its_ids(tmp_path):
    path = split_file(tmp_path, {"a": "train", "b": "test", "c": "train", "d": "val"})
    with pytest.raises(SplitError, match="lesion L1 stands on 2 sides: train: a; test: b"):
        read_split(path, lesion_table(TABLE))
    assert read_split(path, lesion_table(TABLE), ["L1"]).split.tolist() == ["held_out", "held_out", "train", "val"]


def test_all_problems_are_told_at_once(tmp_path):
    path = tmp_path / "given.csv"
    path.write_text("image_id,split\na,train\nb,test\nzz,train\na,train\nc,training\n")
    with pytest.raises(SplitError) as caught:
        read_split(path, lesion_table(TABLE))
    text = str(caught.value)
    for expected in (
        "5 problems",
        "row 4: image 'zz' is not in the data set",
        "row 5: image a has a row already",
        "row 6: unknown split 'training'; known are train, val, test, held_out",
        "image d of the data set has no row",
        "lesion L1 stands on 2 sides",
    ):
        assert expected in text
    assert caught.value.where == path


def test_many_problems_are_shortened(tmp_path):
    path = split_file(tmp_path, {f"x{i}": "train" for i in range(100)})
    with pytest.raises(SplitError, match="104 problems") as caught:
        read_split(path, lesion_table(TABLE))
    assert "… and 84 more" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [("image,split\na,train\n", "no column image_id"), ("a\nb\n", "no column image_id and split"), ("", "no header")],
)
def test_other_files_are_refused(tmp_path, content, says):
    (tmp_path / "other.csv").write_text(content)
    with pytest.raises(DataError, match=says):
        read_split(tmp_path / "other.csv", lesion_table(TABLE))
    with pytest.raises(DataError, match="missing"):
        read_split(tmp_path / "nothing.csv", lesion_table(TABLE))


def test_of_follows_the_table_and_refuses_images_it_does_not_know():
    table = lesion_table(TABLE)
    split = make_split(table)
    assert np.array_equal(split.of(table.subset(np.array([3, 0]))), split.split[[3, 0]])
    more = replace(table, image_id=np.array(["a", "b", "c", "new"], dtype=object))
    with pytest.raises(SplitError, match="no row for 1 images, for example new"):
        split.of(more)


def test_lesion_lists(tmp_path):
    path = tmp_path / "lesions.txt"
    path.write_text("\ufeff# of the seed's gallery\nHAM_0000871\n\n  HAM_0001751  # one nevus\n", encoding="utf-8")
    assert read_lesion_ids(path) == ["HAM_0000871", "HAM_0001751"]
    with pytest.raises(DataError, match="cannot be read"):
        read_lesion_ids(tmp_path / "nothing.txt")

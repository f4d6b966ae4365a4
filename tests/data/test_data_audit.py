"""Does the audit name what leaks, contradicts itself or is badly taken, and is a random split's leak exact?"""

from __future__ import annotations

import itertools
import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lesion_rows import lesion_table
from small_release import encoded
from test_duplicates import texture

from melascope.data.audit import age_band, audit_dataset, balance, conflicting
from melascope.data.audit_text import COLUMNS, MEASURES, audit_markdown
from melascope.data.leakage import random_split_leak, refuse_weights_that_saw, sibling_in_training
from melascope.data.quality import WORST_IS
from melascope.data.split import Split
from melascope.errors import DataError, SplitError, TableError
from melascope.tables.lesions import LesionTable
from melascope.tables.results import NotApplicable

ROWS = [  # C's image is a mirrored copy of A's first, E's a recompressed one of B's; A's second is A's first, cropped
    ("A", "a1", "mel"),
    ("A", "a2", "mel"),
    ("B", "b1", "nv"),
    ("C", "c1", "nv"),
    ("D", "d1", "bkl"),
    ("E", "e1", "nv"),
    ("F", "f1", "nv"),
    ("G", "g1", "bcc"),
]
SIDES = ["train", "train", "train", "test", "train", "train", "val", "test"]


@pytest.fixture
def table(tmp_path: Path) -> LesionTable:
    """The rows above, with images that are as their comment says."""
    one, two = texture(1), texture(2)
    images = {"a1": one, "a2": one[8:-8, 8:-8], "b1": two, "c1": one[:, ::-1], "d1": texture(4), "f1": texture(6)}
    images["g1"] = np.zeros_like(one)
    for name, pixels in images.items():
        (tmp_path / f"{name}.png").write_bytes(encoded(np.ascontiguousarray(pixels)))
    (tmp_path / "e1.png").write_bytes(encoded(two, "JPEG", quality=50))
    return lesion_table(ROWS, root=tmp_path)


def split_of(table: LesionTable, sides=SIDES) -> Split:
    return Split(table.image_id, np.array(sides, dtype=object), {})


def test_pairs_across_lesions_are_named_with_split_and_label(table):
    audit = audit_dataset(table, split_of(table))
    found = audit.duplicates
    assert found.within_lesions == {"near": 1}
    pairs = {pair.image_id: pair for pair in found.across_lesions}
    assert set(pairs) == {("a1", "c1"), ("a2", "c1"), ("b1", "e1")}
    assert pairs["a1", "c1"].mirrored and not pairs["b1", "e1"].mirrored
    assert {pair.image_id for pair in found.across_splits} == {("a1", "c1"), ("a2", "c1")}
    assert {pair.dx for pair in found.across_labels} == {("mel", "nv")}
    agreements = [pair.agreement for pair in found.across_lesions]
    assert agreements == sorted(agreements, reverse=True)


def test_without_a_split_nothing_is_said_of_splits(table):
    audit = audit_dataset(table)
    assert audit.split_sha256 is None and "split" not in audit.balance
    assert audit.duplicates.across_splits == () and len(audit.duplicates.across_lesions) == 3
    assert "no split given" in audit_markdown(audit)


def test_images_are_looked_at_once_and_progress_tells(table, monkeypatch):
    from melascope.data import audit as module

    read, seen, whole = [], [], module.read_member
    monkeypatch.setattr(module, "read_member", lambda root, path: read.append(path) or whole(root, path))
    audit_dataset(table, progress=lambda done, total: seen.append((done, total)))
    assert sorted(read) == sorted(table.path)
    assert [done for done, _ in seen] == list(range(1, 2 * len(table) + 1)) and {n for _, n in seen} == {16}


def test_json_holds_all_and_the_text_its_numbers(table):
    audit = audit_dataset(table, split_of(table))
    content = json.loads(json.dumps(audit.as_json(), allow_nan=False))
    assert content["n_images"] == 8 and content["n_lesions"] == 7
    assert content["duplicates"]["n_across_splits"] == 2 and content["duplicates"]["n_across_labels"] == 2
    assert content["quality"][0]["name"] == "sharpness" and content["random_split"]["n_train"] == 5
    text = audit_markdown(audit)
    for part in ("8 images of 7 lesions", "a1 / c1", "on two sides of the split: 2", "## Image quality", "g1 (0)"):
        assert part in text
    assert text.endswith("\n") and " nan" not in text.lower()


def test_the_text_names_every_measure_and_column(table):
    assert set(MEASURES) == set(WORST_IS)
    sides, dataset = np.array(SIDES, dtype=object), np.array(["rosendahl", *[""] * 7], dtype=object)
    assert set(COLUMNS) == set(balance(replace(table, dataset=dataset), sides))
    assert "dataset" not in balance(table, sides)


def test_the_order_of_reading_changes_nothing(table):
    one, other = audit_dataset(table, seed=1), audit_dataset(table, seed=2)
    assert [pair.image_id for pair in one.duplicates.across_lesions] == [
        pair.image_id for pair in other.duplicates.across_lesions
    ]
    assert one.quality == other.quality


def test_all_broken_images_are_told_at_once(table):
    (table.root / "b1.png").write_bytes(b"no image")
    (table.root / "f1.png").unlink()
    sha256 = table.sha256.copy()
    sha256[0] = "0" * 64
    with pytest.raises(TableError) as caught:
        audit_dataset(replace(table, sha256=sha256))
    assert [problem.file for problem in caught.value.problems] == ["a1.png", "b1.png", "f1.png"]


def test_no_image_and_a_foreign_split_are_refused(table):
    with pytest.raises(DataError, match="no image"):
        audit_dataset(table.subset(np.zeros(8, dtype=bool)))
    with pytest.raises(SplitError, match="no row for 4"):
        audit_dataset(table, split_of(table.subset(np.arange(4)), SIDES[:4]))


def test_lesions_that_contradict_themselves():
    rows = [("L1", "i1", "mel"), ("L1", "i2", "nv"), ("L1", "i3", "mel"), ("L2", "i4", "nv"), ("L2", "i5", "nv")]
    rows += [("", "i6", "mel"), ("", "i7", "nv"), ("L3", "i8", "bkl"), ("L3", "i9", "")]
    table = lesion_table(rows)
    sex = np.array(["male"] * 3 + ["male", "female", "male", "female", "", "male"], dtype=object)
    first, second = conflicting(replace(table, sex=sex))
    assert (first.lesion_id, first.column, first.values) == ("L1", "dx", (("mel", "i1"), ("nv", "i2")))
    assert (second.lesion_id, second.column, second.values) == ("L2", "sex", (("female", "i5"), ("male", "i4")))


def test_balance_counts_images_lesions_and_melanomas():
    table = lesion_table(ROWS)
    table = replace(table, age=np.array([0, 29.9, 30, 49, 50, 70, 85, np.nan]))
    shares = balance(table, np.array(SIDES, dtype=object))
    dx = {share.value: share for share in shares["dx"]}
    assert (dx["mel"].n_images, dx["mel"].n_lesions, dx["mel"].n_melanoma, dx["mel"].n_melanoma_lesions) == (2, 1, 2, 1)
    assert (dx["nv"].n_images, dx["nv"].n_lesions, dx["nv"].n_melanoma) == (4, 4, 0)
    assert [(share.value, share.n_images) for share in shares["age"]] == [
        ("under 30", 2),
        ("30 to 49", 2),
        ("50 to 69", 1),
        ("70 and over", 2),
        ("unknown", 1),
    ]
    assert [(share.value, share.n_images) for share in shares["split"]] == [("train", 5), ("val", 1), ("test", 2)]
    assert [share.value for share in shares["sex"]] == ["unknown"]
    for column in shares.values():
        assert sum(share.n_images for share in column) == 8


@pytest.mark.parametrize(
    ("age", "band"), [(0, "under 30"), (69.9, "50 to 69"), (120, "70 and over"), (np.nan, "unknown")]
)
def test_age_bands(age, band):
    assert age_band(age) == band


@pytest.mark.parametrize(("n_train", "n_test"), [(3, 2), (1, 1), (5, 1), (4, 2)])
def test_the_leak_of_a_random_split_is_that_of_all_splits(n_train, n_test):
    rows = [
        ("A", "1", "mel"),
        ("A", "2", "mel"),
        ("A", "3", "mel"),
        ("B", "4", "nv"),
        ("B", "5", "nv"),
        ("C", "6", "mel"),
    ]
    table = lesion_table(rows)
    sides = ["train"] * n_train + ["test"] * n_test + ["val"] * (6 - n_train - n_test)
    leak = random_split_leak(table, split_of(table, sides))
    tested = leaked = tested_melanoma = leaked_melanoma = 0
    for train in itertools.combinations(range(6), n_train):
        known = {rows[row][0] for row in train}
        for test in itertools.combinations(sorted(set(range(6)) - set(train)), n_test):
            tested += n_test
            leaked += sum(rows[row][0] in known for row in test)
            tested_melanoma += sum(rows[row][2] == "mel" for row in test)
            leaked_melanoma += sum(rows[row][2] == "mel" and rows[row][0] in known for row in test)
    assert leak.share == pytest.approx(leaked / tested, abs=1e-12)
    assert leak.melanoma_share == pytest.approx(leaked_melanoma / tested_melanoma, abs=1e-12)
    assert (leak.n_train, leak.n_test, leak.n_melanoma, leak.n_melanoma_lesions) == (n_train, n_test, 4, 2)


def test_the_chance_of_a_sibling_at_its_ends():
    chance = sibling_in_training([1, 2, 6, 10], 10, 8)
    assert chance[0] == 0 and chance[1] == pytest.approx(8 / 9) and chance[2:].tolist() == [1, 1]
    assert np.all(np.diff(sibling_in_training(np.arange(1, 50), 10_000, 8_000)) >= 0)


def test_an_undefined_leak_has_a_reason():
    table = lesion_table([("A", "1", "nv"), ("B", "2", "nv")])
    assert random_split_leak(table, split_of(table, ["train", "train"])) == NotApplicable(
        "n=2 training and 0 test images"
    )
    leak = random_split_leak(table, split_of(table, ["train", "test"]))
    assert leak.share == 0 and leak.melanoma_share == NotApplicable("n=0 melanoma images")


@pytest.mark.parametrize(
    ("earlier", "known"),
    [
        ("train train val test held_out", []),
        ("test test val train held_out", ["4"]),  # learned from what is tested here
        ("test test val val held_out", ["4"]),  # chose its epoch by it
        ("train test train test held_out", ["3"]),  # learned from what validates here
        ("train train val test val", ["5"]),
        ("held_out held_out test held_out held_out", []),
    ],
)
def test_first_weights_that_knew_what_is_kept_from_training_are_refused(tmp_path, earlier, known):
    rows = [("A", "1", "mel"), ("A", "2", "mel"), ("B", "3", "nv"), ("C", "4", "nv"), ("D", "5", "bcc")]
    table = lesion_table(rows)
    split = split_of(table, ["train", "train", "val", "test", "held_out"])
    lines = [f"{row[1]},{side}\n" for row, side in zip(rows, earlier.split(), strict=True)]
    sides = dict(line.strip().split(",") for line in ["of-another-data-set,train", *lines])
    told = pytest.raises(SplitError, match=f"of {len(known)} images .* for example {', '.join(known)}")
    with told if known else nullcontext():
        refuse_weights_that_saw(sides, tmp_path, table, split)


def test_a_sibling_that_earlier_training_saw_counts(tmp_path):
    table = lesion_table([("A", "1", "mel"), ("A", "2", "mel"), ("B", "3", "nv")])
    with pytest.raises(SplitError, match="of 2 images"):
        refuse_weights_that_saw(
            {"1": "train", "3": "train"}, tmp_path, table, split_of(table, ["test", "test", "train"])
        )

"""Is another project's table read as it was meant, with what a reader must know of it, or refused with every reason?"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from melascope.classes import CLASSES
from melascope.errors import DataError, TableError
from melascope.tables.foreign import LOGIT_COLUMNS, LOGITS, PROBABILITY_FLOOR, UNSAID, Naming, recognise
from melascope.tables.predictions import Predictions

ISIC = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")  # the order of ISIC 2018 submissions
SHARES = [0.5, 0.3, 0.1, 0.05, 0.03, 0.02, 0.0]


def csv(folder, header, *rows):
    path = folder / "theirs.csv"
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in (header, *rows)))
    return path


def told(path, **options) -> list[str]:
    with pytest.raises(TableError) as caught:
        Predictions.read(path, **options)
    assert caught.value.where == path
    return [str(problem).removeprefix(f"{path.name} ") for problem in caught.value.problems]


def column(name: str) -> int:
    return CLASSES.index(name.lower())


@pytest.mark.parametrize("prefix", ["probability_", "prob_", "p_", "Prob_", "P_", ""])
@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_probabilities_are_recognised_by_their_columns_and_said(tmp_path, prefix, change):
    names = [prefix + change(name) for name in ISIC]
    table = Predictions.read(csv(tmp_path, ["Image_ID", "dx", *names], ["a", "MEL", *SHARES]))
    assert table.dx.tolist() == ["mel"]
    for name, share in zip(ISIC, SHARES, strict=True):
        assert table.probabilities[0, column(name)] == pytest.approx(share, abs=1e-12)
        assert table.logits[0, column(name)] == pytest.approx(np.log(max(share, PROBABILITY_FLOOR)))
    assert f"Columns {names[3]} … {names[6]}" in table.notes[0] and "probabilities" in table.notes[0]
    assert table.notes[1].startswith("1 of 7 probabilities are 0 or below 1e-15") and len(table.notes) == 2


def test_columns_and_words_are_mapped(tmp_path):
    header = ["file", "truth", "where", "p_mel", *[f"q{name}" for name in CLASSES if name != "mel"]]
    rows = [["a.jpg", "melanoma", "arm", 0.4, *[0.1] * 6], ["b.jpg", "nv", "", 0.4, *[0.1] * 6]]
    columns = {"image_id": "file", "dx": "truth", "localization": "where", "probability_mel": "p_mel"}
    columns |= {f"probability_{name}": f"q{name}" for name in CLASSES if name != "mel"}
    table = Predictions.read(csv(tmp_path, header, *rows), columns, {"melanoma": "mel"})
    assert table.image_id.tolist() == ["a.jpg", "b.jpg"] and table.dx.tolist() == ["mel", "nv"]
    assert table.localization.tolist() == ["arm", ""]
    assert np.allclose(table.probabilities, [[0.4 if name == "mel" else 0.1 for name in CLASSES]] * 2)


def test_one_score_is_mapped_and_the_rest_are_found(tmp_path):
    header = ["image_id", "dx", "danger", *[f"p_{name}" for name in CLASSES if name != "mel"]]
    table = Predictions.read(csv(tmp_path, header, ["a", "mel", 0.4, *[0.1] * 6]), {"probability_mel": "danger"})
    assert table.probabilities[0, column("mel")] == pytest.approx(0.4)
    header = ["image_id", "dx", "danger", *[f"logit_{name}" for name in CLASSES if name != "mel"]]
    table = Predictions.read(csv(tmp_path, header, ["a", "mel", 4, *range(6)]), {"logit_mel": "danger"})
    assert table.logits[0].tolist() == [0, 1, 2, 3, 4, 4, 5] and table.notes == ()


def test_a_map_wins_over_our_own_names(tmp_path):
    header = ["image_id", "dx", "biopsy", *LOGIT_COLUMNS]
    path = csv(tmp_path, header, ["a", "nv", "mel", *range(7)])
    assert Predictions.read(path).dx.tolist() == ["nv"]
    assert Predictions.read(path, {"dx": "biopsy"}).dx.tolist() == ["mel"]


def test_logits_are_taken_before_probabilities_and_bare_names():
    def layout(*names):
        problems = []
        found = recognise(["image_id", "dx", *names], Naming(), "t.csv", problems)
        assert not problems
        return found

    bare, shares = list(CLASSES), [f"p_{name}" for name in CLASSES]
    assert layout(*bare, *shares, *LOGIT_COLUMNS).scores == LOGIT_COLUMNS
    assert layout(*bare, *shares).scores == tuple(shares)
    assert layout(*bare).kind == UNSAID and layout(*LOGIT_COLUMNS[:3], *bare).scores == CLASSES
    assert layout(*LOGIT_COLUMNS).wanted == ["image_id", "dx", *LOGIT_COLUMNS]


def test_logits_that_are_probabilities_are_found_out(tmp_path):
    rows = [["a", "mel", 0.1, 0.2, 0.3, 0.1, 0.1, 0.1, 0.1], ["b", "nv", 0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1005]]
    table = Predictions.read(csv(tmp_path, ["image_id", "dx", *LOGIT_COLUMNS], *rows))
    assert "are called logits, but their rows lie in [0, 1] and sum to 1" in table.notes[0]
    assert np.allclose(table.probabilities[0], rows[0][2:], rtol=0, atol=1e-12)
    assert np.allclose(table.probabilities[1], rows[1][2:], rtol=0, atol=1e-3)
    assert np.allclose(table.probabilities.sum(axis=1), 1)
    rows.append(["c", "nv", 0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.2])  # no logits for the sake of one row
    path = csv(tmp_path, ["image_id", "dx", *LOGIT_COLUMNS], *rows)
    assert told(path) == [
        "row 4 column logit_akiec … logit_vasc: the probabilities sum to 1.1, not to 1 (tolerance 0.001)"
    ]
    table = Predictions.read(csv(tmp_path, ["image_id", "dx", *LOGIT_COLUMNS], *rows[1:]))  # half of the rows
    assert table.logits[1].tolist() == rows[2][2:] and "all lie in [0, 1]" in table.notes[0]
    table = Predictions.read(csv(tmp_path, ["image_id", "dx", *LOGIT_COLUMNS], *rows[1:], ["d", "nv", *[-1.0] * 7]))
    assert table.notes == ()


def test_rounded_probabilities_need_not_sum_to_1_exactly(tmp_path):
    header = ["image_id", "dx", *[f"p_{name}" for name in CLASSES]]
    thirds = [0.333, 0.333, 0.333, 0, 0, 0, 0.004]
    table = Predictions.read(csv(tmp_path, header, ["a", "mel", *thirds], ["b", "nv", 1, *[0] * 6]))
    assert np.allclose(table.probabilities[0], np.array(thirds) / 1.003, atol=1e-12)
    assert table.notes[-1].startswith("Rounded probabilities: rows miss the sum 1 by up to 0.0035")
    assert told(csv(tmp_path, header, ["a", "mel", *thirds], ["b", "nv", 0.99, 0, 0, 0, 0, 0, 0.006])) == [
        "row 3 column p_akiec … p_vasc: the probabilities sum to 0.996, not to 1 (tolerance 0.0035)"
    ]
    two = Predictions.read(csv(tmp_path, header, ["a", "mel", *[0.14] * 7]))
    assert "up to 0.035" in two.notes[-1]
    assert "tolerance 0.001" in told(csv(tmp_path, header, ["a", "mel", 0.3331, 0.333, 0.3319, 0, 0, 0, 0]))[0]


@pytest.mark.parametrize("prefix", ["p_", "", "logit_"])
def test_per_cent_are_shares_and_said(tmp_path, prefix):
    header = ["image_id", "dx", *[prefix + name for name in CLASSES]]
    rows = [["a", "mel", 40.5, 9.5, *[10] * 5], ["b", "nv", 0, 0, 0, 0, 0, 0, 100]]
    table = Predictions.read(csv(tmp_path, header, *rows))
    assert np.allclose(table.probabilities, np.array([row[2:] for row in rows]) / 100, atol=1e-12)
    assert table.notes[-1].endswith("are per cent: every row sums to 100.")


@pytest.mark.parametrize("mark", [";", "\t"])
@pytest.mark.parametrize("comma", [".", ","])
@pytest.mark.parametrize("name", ["theirs.csv", "theirs.txt"])
def test_semicolons_tabs_and_decimal_commas(tmp_path, mark, comma, name):
    if (mark, comma) == ("\t", ","):
        return
    rows = [["image_id", "dx", "age", *LOGIT_COLUMNS], ["a,b", "mel", 54.5, *[-1.25] * 6, 3], ["b", "nv", 6, *range(7)]]
    lines = [mark.join(str(cell).replace(".", comma) for cell in row) for row in rows]
    (tmp_path / name).write_text("\n".join(lines))
    table = Predictions.read(tmp_path / name)
    assert table.image_id.tolist() == ["a,b", "b"] and table.age.tolist() == [54.5, 6]
    assert table.logits[0].tolist() == [*[-1.25] * 6, 3] and table.logits[1].tolist() == list(range(7))
    assert table.notes == (("Commas in numbers are read as decimal points.",) if comma == "," else ())


def test_words_of_any_case_and_words_that_are_left_out(tmp_path):
    rows = [[f"i{n}", word, *range(7)] for n, word in enumerate(["Melanoma", "MELANOMA", "scc", "SCC", "Mel", ""])]
    path = csv(tmp_path, ["image_id", "dx", *LOGIT_COLUMNS], *rows)
    table = Predictions.read(path, words={"melanoma": "mel", "scc": "unknown"})
    assert table.dx.tolist() == ["mel", "mel", "", "", "mel", ""]
    assert table.notes == tuple(
        f"{word!r} is mapped to unknown; rows that no figure counts: 1." for word in ("scc", "SCC")
    )
    two = Predictions.read(path, words={"Melanoma": "mel", "MELANOMA": "nv", "scc": "bkl"})
    assert two.dx.tolist() == ["mel", "nv", "bkl", "bkl", "mel", ""]


def test_splits_under_other_words_are_ours(tmp_path):
    words = ["Train", "training", "Validation", "valid", "VAL", "testing", "Test", "held_out", "fold 3", ""]
    rows = [[f"i{n}", word, "mel", *range(7)] for n, word in enumerate(words)]
    table = Predictions.read(csv(tmp_path, ["image_id", "split", "dx", *LOGIT_COLUMNS], *rows))
    assert table.split.tolist() == ["train"] * 2 + ["val"] * 3 + ["test"] * 2 + ["held_out", "fold 3", ""]


def test_bare_names_are_judged_by_most_rows(tmp_path):
    header, good, bad = ["image_id", "dx", *CLASSES], [0.4, *[0.1] * 6], [4, *[0.1] * 6]
    assert told(csv(tmp_path, header, ["a", "mel", *good], ["b", "mel", *good], ["c", "mel", *bad])) == [
        "row 4 column akiec: the probability is 4, not in [0, 1]"
    ]
    table = Predictions.read(csv(tmp_path, header, ["a", "mel", *good], ["c", "mel", *bad]))
    assert table.notes == (
        "Columns akiec … vasc do not say what they are: read as logits, for most rows leave [0, 1].",
    )
    assert table.logits[:, 0].tolist() == [0.4, 4]


def test_probabilities_that_are_none_are_told_all_at_once(tmp_path):
    header = ["image_id", "dx", *[f"p_{name}" for name in CLASSES]]
    rows = [
        ["a", "mel", 0.5, 0.5, 0, 0, 0, 0, 0.002],
        ["b", "nv", -0.1, 1.1, 0, 0, 0, 0, 0],
        ["c", "scc", "", "x", 0, 0, 0, 0, "nan"],
        ["d", "nv", 1.0000001, 0, 0, 0, 0, 0, 0.0009],
    ]
    assert sorted(told(csv(tmp_path, header, *rows))) == [
        "row 2 column p_akiec … p_vasc: the probabilities sum to 1.002, not to 1 (tolerance 0.001)",
        "row 3 column p_akiec: the probability is -0.1, not in [0, 1]",
        "row 3 column p_bcc: the probability is 1.1, not in [0, 1]",
        "row 4 column dx: unknown class 'scc'; known are akiec, bcc, bkl, df, mel, nv, vasc",
        "row 4 column p_akiec: the number is missing, or NaN",
        "row 4 column p_bcc: 'x' is not a number",
        "row 4 column p_vasc: the number is missing, or NaN",
    ]


def test_decisions_are_named_as_such(tmp_path):
    header, row = ["image_id", "dx", *[f"p_{name}" for name in CLASSES]], [0] * 7
    rows = [["a", "mel", *row[:4], 1, 0, 0], ["b", "nv", 1, *row[1:]]]
    notes = Predictions.read(csv(tmp_path, header, *rows)).notes
    assert notes[1:] == ("Every probability is 0 or 1: these are decisions, which tell nothing of calibration.",)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, (4, 7), elements=st.floats(-30, 30)))
def test_softmax_gives_any_probabilities_back(tmp_path_factory, logits):
    shares = softmax(logits, axis=1)
    columns = {"image_id": list("abcd"), "dx": ["mel"] * 4}
    path = tmp_path_factory.mktemp("p") / "p.parquet"
    pq.write_table(pa.table(columns | {f"p_{name}": shares[:, i] for i, name in enumerate(CLASSES)}), path)
    table = Predictions.read(path)
    assert np.allclose(table.probabilities, shares, rtol=1e-9, atol=2 * PROBABILITY_FLOOR)
    assert np.isfinite(table.logits).all()


def test_notes_ride_in_parquet(tmp_path):
    header = ["image_id", "dx", *CLASSES]
    table = Predictions.read(csv(tmp_path, header, ["a", "mel", 0.4, *[0.1] * 6]))
    again = Predictions.read(table.write(tmp_path / "p.parquet"))
    assert again.notes == table.notes != () and np.array_equal(again.logits, table.logits)
    assert again.subset(np.array([0])).notes == table.notes


def test_missing_columns_name_what_was_mapped_and_what_there_is(tmp_path):
    path = csv(tmp_path, ["file", *ISIC[1:]], ["a", *SHARES[1:]])
    columns = {"image_id": "name", "probability_mel": "p_mel"}
    with pytest.raises(TableError) as caught:
        Predictions.read(path, columns)
    assert told(path, columns=columns) == [
        "row 1 column name: the column is missing, to which image_id is mapped",
        "row 1 column dx: the column is missing",
        "row 1 column p_mel: the column is missing, to which probability_mel is mapped",
    ]
    assert "--map-columns" in caught.value.fix and "file, NV, BCC" in caught.value.fix


def test_one_lacking_class_is_named_as_its_sisters_are(tmp_path):
    names = [f"prob_{name}" for name in CLASSES if name != "df"]
    assert told(csv(tmp_path, ["image_id", "dx", *names])) == ["row 1 column prob_df: the column is missing"]


def test_names_that_differ_by_case_alone_are_not_guessed(tmp_path):
    path = csv(tmp_path, ["image_id", "DX", "Dx", *LOGIT_COLUMNS], ["a", "mel", "nv", *range(7)])
    assert told(path) == ["row 1 column dx: the column is missing"]
    assert Predictions.read(path, {"dx": "Dx"}).dx.tolist() == ["nv"]


def test_cells_that_no_comma_separates_are_told(tmp_path):
    with pytest.raises(TableError) as caught:
        Predictions.read(csv(tmp_path, ["|".join(["image_id", "dx", *LOGIT_COLUMNS])]))
    assert "of image_id|dx|" in caught.value.fix


@pytest.mark.parametrize(
    ("columns", "words", "says"),
    [
        ({"picture": "file"}, {}, "no column 'picture' in our table"),
        ({}, {"naevus": "nevus"}, "'naevus' is mapped to 'nevus', which is no class"),
        ({"logit_mel": "a", "probability_nv": "b"}, {}, "others as probabilities"),
        ({"logit_mel": "a", "logit_nv": "a"}, {}, "'a' is mapped to two classes"),
    ],
)
def test_a_map_that_means_nothing_is_refused(columns, words, says):
    with pytest.raises(DataError, match=says) as caught:
        Naming(columns, words)
    assert caught.value.where == ("--map-labels" if words else "--map-columns")


def test_a_map_the_wrong_way_round_is_told_the_right_way():
    with pytest.raises(DataError) as caught:
        Naming({"file": "image_id"})
    assert caught.value.fix == "--map-columns image_id=file"
    with pytest.raises(DataError) as caught:
        Naming({}, {"mel": "melanoma"})
    assert caught.value.fix == "--map-labels melanoma=mel"


def test_words_that_nobody_knows_are_told_with_those_that_are(tmp_path):
    path = csv(tmp_path, ["image_id", "dx", *LOGIT_COLUMNS], ["a", "nevus", *range(7)], ["b", "melanoma", *range(7)])
    with pytest.raises(TableError) as caught:
        Predictions.read(path)
    assert "--map-labels 'melanoma=…,nevus=…'" in caught.value.fix and "or unknown, for rows" in caught.value.fix
    assert told(path, words={"melanoma": "mel"}) == [
        "row 2 column dx: unknown class 'nevus'; known are melanoma, akiec, bcc, bkl, df, mel, nv, vasc"
    ]


def test_categories_and_long_text_in_parquet_are_text(tmp_path):
    ids = pa.array(["a", "b", None], pa.large_string())
    columns = {"image_id": ids, "dx": pa.array(["mel", None, "nv"]).dictionary_encode()}
    columns["sex"] = pa.array(["Unknown", "male", None]).dictionary_encode()
    scores = {name: pa.array(["1", "2", "3"]).dictionary_encode() for name in LOGIT_COLUMNS}
    pq.write_table(pa.table(columns | scores), tmp_path / "p.parquet")
    assert told(tmp_path / "p.parquet") == ["row 4 column image_id: the image id is empty"]
    columns["image_id"] = pa.array(["a", "b", "c"], pa.large_string())
    pq.write_table(pa.table(columns | scores), tmp_path / "p.parquet", row_group_size=1)
    table = Predictions.read(tmp_path / "p.parquet")
    assert table.image_id.tolist() == ["a", "b", "c"] and table.dx.tolist() == ["mel", "", "nv"]
    assert table.sex.tolist() == ["", "male", ""] and table.logits[:, 6].tolist() == [1, 2, 3]


def test_columns_of_no_numbers_in_parquet_are_told(tmp_path):
    columns = {"image_id": ["a"], "dx": ["mel"], "age": pa.array([1], pa.timestamp("s"))}
    scores = {name: pa.array([1.5], pa.float16()) for name in LOGIT_COLUMNS} | {"logit_nv": [[1.0, 2.0]]}
    pq.write_table(pa.table(columns | scores), tmp_path / "p.parquet")
    assert told(tmp_path / "p.parquet") == [
        "row 2 column age: '1970-01-01 00:00:01' is not a number",
        "row 2 column logit_nv: '[1.0, 2.0]' is not a number",
    ]


@pytest.mark.parametrize("prefix", ["logit_", ""])
def test_what_is_too_large_for_a_logit_is_told(tmp_path, prefix):
    header = ["image_id", "dx", *[prefix + name for name in CLASSES]]
    assert told(csv(tmp_path, header, ["a", "mel", "1e308", *range(6)], ["b", "nv", *range(6), "-2e6"])) == [
        f"row 2 column {prefix}akiec: 1e+308 is no logit (more than 1e+06)",
        f"row 3 column {prefix}vasc: -2e+06 is no logit (more than 1e+06)",
    ]


def test_logits_stay_logits(tmp_path):
    table = Predictions.read(csv(tmp_path, ["image_id", "dx", *LOGIT_COLUMNS], ["a", "mel", *range(7)]))
    assert table.notes == () and recognise(["image_id", "dx", *LOGIT_COLUMNS], Naming(), "", []).kind == LOGITS

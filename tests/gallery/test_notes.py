"""Does every situation get its own sentence, and is every number in it computed?"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melascope.classes import CLASSES
from melascope.gallery.notes import SITUATIONS, note_of
from melascope.gallery.readings import READINGS
from melascope.gallery.tested import Test


def p(**named):
    rest = (1 - sum(named.values())) / (len(CLASSES) - len(named))
    return np.array([named.get(name, rest) for name in CLASSES])


FULL_MASK = np.zeros((64, 64), dtype=bool)
FULL_MASK[2:62, 2:62] = True

HIDDEN = {
    name: Test(name, "in-painted", 0.07, 0.0701, 0.01, 99, 0.4, ("vasc", "vasc"), (False, False))
    for name in (
        "hottest 5 % of the mel map removed",
        "lesion removed",
        "hot spot 1 of the mel map outside the lesion removed",
        "coloured spot 1 beside it removed",
    )
}

# (table, row) -> a case in which that row speaks
EXAMPLES = {
    ("reading", "missed, though the first answer is melanoma"): {"probabilities": p(mel=0.4), "threshold": 0.5},
    ("reading", "missed, sure of another class"): {"probabilities": p(vasc=0.93, mel=0.01)},
    ("reading", "missed narrowly"): {"probabilities": p(vasc=0.55, mel=0.15)},
    ("reading", "missed"): {"probabilities": p(vasc=0.55, mel=0.07)},
    ("reading", "found by the threshold only, against a sure answer"): {
        "probabilities": p(nv=0.92, mel=0.05),
        "threshold": 0.04,
    },
    ("reading", "found by the threshold only"): {"probabilities": p(nv=0.6, mel=0.3)},
    ("reading", "found, surely"): {"probabilities": p(mel=0.95)},
    ("reading", "found narrowly"): {"probabilities": p(mel=0.35)},
    ("reading", "found"): {"probabilities": p(mel=0.6)},
    ("reading", "another skin cancer, called"): {"dx": "bcc", "probabilities": p(bcc=0.5, mel=0.4)},
    ("reading", "false alarm under both rules"): {"dx": "nv", "probabilities": p(mel=0.6)},
    ("reading", "false alarm, though top-1 is right"): {"dx": "nv", "probabilities": p(nv=0.5, mel=0.4)},
    ("reading", "false alarm, and the first answer wrong too"): {"dx": "nv", "probabilities": p(bkl=0.5, mel=0.4)},
    ("reading", "first answer melanoma, not called"): {"dx": "nv", "probabilities": p(mel=0.4), "threshold": 0.5},
    ("reading", "another skin cancer taken for benign"): {"dx": "bcc", "probabilities": p(nv=0.95)},
    ("reading", "benign taken for another skin cancer"): {"dx": "nv", "probabilities": p(bcc=0.95)},
    ("reading", "confident error"): {"dx": "nv", "probabilities": p(bkl=0.95)},
    ("reading", "wrong class"): {"dx": "nv", "probabilities": p(bkl=0.5)},
    ("reading", "correct, yet melanoma-like"): {"dx": "nv", "probabilities": p(nv=0.7, mel=0.18)},
    ("reading", "correct, surely"): {"dx": "nv", "probabilities": p(nv=0.95)},
    ("reading", "correct"): {"dx": "nv", "probabilities": p(nv=0.6)},
    ("reading", "truth unknown, called"): {"dx": "", "probabilities": p(mel=0.6)},
    ("reading", "truth unknown, not called"): {"dx": "", "probabilities": p(nv=0.9)},
    ("split", "train"): {"split": "train"},
    ("split", "val"): {"split": "val"},
    ("split", "test"): {"split": "test"},
    ("split", "held_out"): {"split": "held_out"},
    ("split", "unknown"): {"split": ""},
    ("split", "foreign"): {"split": "fold_3"},
    ("lesion", "no lesion id"): {"lesion_id": ""},
    ("lesion", "only picture"): {},
    ("lesion", "truth unknown, several pictures"): {"dx": "", "others": (True,)},
    ("lesion", "melanoma, every picture missed"): {"others": (False,)},
    ("lesion", "melanoma, every picture found"): {"probabilities": p(mel=0.6), "others": (True,)},
    ("lesion", "melanoma, this picture missed, another found"): {"others": (False, True)},
    ("lesion", "melanoma, this picture found, another missed"): {"probabilities": p(mel=0.6), "others": (True, False)},
    ("lesion", "not melanoma, every picture called"): {"dx": "nv", "probabilities": p(mel=0.6), "others": (True,)},
    ("lesion", "not melanoma, no picture called"): {"dx": "nv", "others": (False,)},
    ("lesion", "not melanoma, verdicts differ"): {"dx": "nv", "others": (True,)},
    ("map", "no positive evidence"): {"mel": "none"},
    ("map", "not scored"): {"masked": False},
    ("map", "faint"): {"mel": "faint"},
    ("map", "on the lesion"): {"mel": "centre"},
    ("map", "peak inside, but spread out"): {"mel": "spread"},
    ("map", "beside the lesion"): {"mel": "corner"},
    ("map", "on the lesion, but peak outside"): {"mel": "lean"},
    ("contradiction", "missed, though the melanoma map is on the lesion"): {"mel": "centre"},
    ("contradiction", "missed, with the melanoma map beside the lesion"): {"mel": "corner"},
    ("contradiction", "missed with faint evidence for melanoma"): {"mel": "faint"},
    ("contradiction", "missed without any evidence for melanoma"): {"mel": "none"},
    ("contradiction", "found by the threshold from beside the lesion"): {
        "probabilities": p(nv=0.6, mel=0.3),
        "mel": "corner",
    },
    ("contradiction", "answer without evidence"): {"first": "none"},
    ("contradiction", "wrong answer from beside the lesion"): {"first": "corner"},
    ("contradiction", "right answer from beside the lesion"): {"dx": "vasc", "first": "corner"},
    ("contradiction", "alarm from beside the lesion"): {
        "dx": "nv",
        "probabilities": p(nv=0.5, mel=0.4),
        "mel": "corner",
    },
    ("contradiction", "hiding where the melanoma map is hottest changes nothing"): {
        "tests": (HIDDEN["hottest 5 % of the mel map removed"],)
    },
    ("contradiction", "the map points beside the lesion, but hiding that changes nothing"): {
        "mel": "corner",
        "tests": (HIDDEN["hot spot 1 of the mel map outside the lesion removed"],),
    },
    ("contradiction", "the map is on the lesion, but what lies beside it matters"): {
        "mel": "centre",
        "tests": (replace(HIDDEN["coloured spot 1 beside it removed"], after=0.31, p_value=0.01),),
    },
    ("contradiction", "called without its lesion"): {
        "probabilities": p(mel=0.6),
        "tests": (replace(HIDDEN["lesion removed"], above=(True, True)),),
    },
    ("contradiction", "both maps peak in one cell"): {"first": "centre", "mel": "centre"},
    ("contradiction", "melanoma has the hottest cell"): {"first": "centre", "mel": "hot"},
    ("contradiction", "lesion fills the picture"): {"mask": FULL_MASK},
}

# what must not be said of the plain case: a correct nevus whose maps lie on the lesion
PLAIN = {"dx": "nv", "probabilities": p(nv=0.95), "first": "centre", "mel": "faint"}


@pytest.mark.parametrize(("table", "row"), [(table, row) for table, rows in SITUATIONS.items() for row in rows])
def test_every_situation_speaks(make_case, table, row):
    note = note_of(make_case(**EXAMPLES[table, row]))
    assert (table, row) in note.spoken


@pytest.mark.parametrize("row", SITUATIONS["contradiction"])
def test_no_contradiction_is_found_where_there_is_none(make_case, row):
    assert ("contradiction", row) not in note_of(make_case(**{**PLAIN, "others": ()})).spoken


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ("the map points beside the lesion, but hiding that changes nothing", {"after": 0.31, "p_value": 0.01}),
        ("the map is on the lesion, but what lies beside it matters", {"after": 0.0701, "p_value": 0.4}),
    ],
)
def test_what_hiding_shows_decides_what_is_said_of_a_map(make_case, row, changes):
    example = EXAMPLES["contradiction", row]
    other = {**example, "tests": tuple(replace(test, **changes) for test in example["tests"])}
    assert ("contradiction", row) not in note_of(make_case(**other)).spoken


def test_no_two_situations_share_a_sentence():
    for table, rows in SITUATIONS.items():
        sentences = [row.meaning if table == "reading" else row.says for row in rows.values()]
        assert len(set(sentences)) == len(sentences), table
    conclusions = [reading.conclusion for reading in READINGS.values()]
    assert len(set(conclusions)) == len(conclusions)


def test_the_seeds_missed_melanoma_in_full(make_case):
    """ISIC_0025964 of the seed's gallery, and what the seed could not say of it."""
    probabilities = np.array([0.0, 0.0, 0.0103, 0.0, 0.0740, 0.3680, 0.5477])
    note = note_of(make_case(probabilities=probabilities, threshold=0.213, first="corner", others=(False,)))
    assert note.truth == "`mel` (melanoma)"
    assert note.prediction == "`vasc` (0.5477); `P(mel)=0.0740`, below the frozen threshold `0.2130`"
    assert note.top3 == "`vasc:0.5477`, `nv:0.3680`, `mel:0.0740`"
    assert note.meaning.startswith("**Missed melanoma** (false negative)")
    assert "by a factor of 2.9" in note.meaning
    assert "fall to 0.0740; of the 100 held-out images without melanoma 70 would then be called instead of 30" in (
        note.conclusion
    )
    assert note.lesion.startswith(
        "**2 pictures of ONE lesion (`HAM_1`), not 2 missed melanomas**; also missed: `ISIC_2`"
    )
    assert note.maps[0].startswith("The `vasc` map lies mostly beside the lesion")
    assert "which covers 25 % of the picture; its peak is inside" in note.maps[1]
    assert any("the wrong answer `vasc` peaks beside the lesion" in sentence for sentence in note.contradictions)


def test_numbers_that_would_round_to_the_same_get_more_decimals(make_case):
    note = note_of(make_case(probabilities=p(vasc=0.5, mel=0.19999), threshold=0.2))
    assert "`P(mel)=0.19999`, below the frozen threshold `0.20000`" in note.prediction


def test_at_the_very_threshold_an_image_is_called(make_case):
    note = note_of(make_case(probabilities=p(vasc=0.5, mel=0.2), threshold=0.2))
    assert "`P(mel)=0.2000`, at or above the frozen threshold `0.2000`" in note.prediction


def test_unknown_facts_are_said_to_be_unknown(make_case):
    note = note_of(make_case(age=None, sex="", localization="", dx_type=""))
    assert note.known == "age unknown; sex unknown; site unknown; basis of the truth unknown"


def test_nothing_claims_a_cause(make_case):
    """A note that wonders about a cause says that it is not tested, unless hiding parts was tried."""
    for example in EXAMPLES.values():
        note = note_of(make_case(**example))
        for sentence in (*note.contradictions, *note.maps, note.meaning, note.conclusion):
            assert not re.search(r"\b(because|due to|caused|led to|therefore)\b", sentence), sentence
            assert "may matter" not in sentence or ("Not tested" in sentence) is not bool(example.get("tests"))


@settings(max_examples=150, deadline=None)
@given(
    logits=st.lists(st.floats(-8, 8), min_size=7, max_size=7),
    dx=st.sampled_from(["", *CLASSES]),
    threshold=st.sampled_from([0.0, 1e-6, 0.01, 0.2, 0.5, 0.9, 1.0]),
    split=st.sampled_from(["train", "val", "test", "held_out", "", "x"]),
    maps=st.tuples(*[st.sampled_from(["none", "faint", "centre", "corner", "spread", "lean", "hot"])] * 2),
    masked=st.booleans(),
    others=st.lists(st.booleans(), max_size=9).map(tuple),
)
def test_any_case_gets_whole_sentences(make_case, logits, dx, threshold, split, maps, masked, others):
    exponentials = np.exp(np.array(logits) - max(logits))
    case = make_case(
        dx=dx,
        probabilities=exponentials / exponentials.sum(),
        threshold=threshold,
        split=split,
        first=maps[0],
        mel=maps[1],
        masked=masked,
        others=others,
    )
    note = note_of(case)
    for sentence in (note.meaning, note.conclusion, note.split, note.lesion, *note.maps, *note.contradictions):
        assert sentence and not re.search(r"[{}]|nan|inf\b|None", sentence), sentence
        assert sentence.rstrip("*").endswith(".") and sentence.count("**") % 2 == 0
    assert ("**This image was in the training set" in note.split) == (split == "train")
    assert ("Missed melanoma" in note.meaning) == (dx == "mel" and not case.above)

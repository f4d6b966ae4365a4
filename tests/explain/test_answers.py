"""Are answers the softmax's, exact where probabilities saturate, and the same in any batch?"""

import numpy as np
import pytest
from edited_pictures import skin_with_lesion, vasc_if_red

from melascope.classes import CLASSES, MEL
from melascope.errors import ExplainError
from melascope.explain.answers import BATCH, Answers, Asker


def ask(**changes):
    return Asker(lambda pixels: np.zeros((len(pixels), 7)), **{"width": 8, "height": 6} | changes)


def test_log_odds_are_those_of_the_probability():
    logits = np.random.default_rng(0).normal(0, 2, (50, 7))
    found = ask(temperature=1.7, target=("mel", "bcc")).answers(logits)
    exponentials = np.exp(logits / 1.7)
    expected = exponentials[:, [CLASSES.index("bcc"), MEL]].sum(axis=1) / exponentials.sum(axis=1)
    assert found.p_target == pytest.approx(expected)
    assert found.log_odds == pytest.approx(np.log(expected / (1 - expected)))
    assert np.array_equal(found.predicted, logits.argmax(axis=1))


def test_log_odds_stay_exact_where_the_probability_is_one():
    logits = np.zeros((1, 7))
    logits[0, MEL] = 100
    found = ask().answers(logits)
    assert found.p_target[0] == 1.0
    assert found.log_odds[0] == pytest.approx(100 - np.log(6))


def test_a_score_at_the_threshold_is_positive():
    at_seventh = ask(threshold=1 / 7).answers(np.zeros((1, 7)))
    assert at_seventh.is_positive.tolist() == [True]
    assert ask().answers(np.zeros((1, 7))).is_positive is None


def test_pictures_of_any_size_and_number_give_the_same_answers_as_one_by_one():
    images = [skin_with_lesion(height=90 + k % 3, width=120, seed=k, spot=k % 2 == 0)[0] for k in range(BATCH + 3)]
    asker = Asker(vasc_if_red, 120, 90, threshold=0.5)
    together = asker(images)
    alone = Answers.joined([asker([image]) for image in images])
    assert len(together) == BATCH + 3
    assert np.array_equal(together.log_odds, alone.log_odds)
    assert np.array_equal(together[1:3].is_positive, alone.is_positive[1:3])


def test_a_scorer_that_gives_something_else_is_refused():
    with pytest.raises(ExplainError, match="no picture"):
        ask()([])
    broken = Asker(lambda pixels: np.full((len(pixels), 7), np.nan), 8, 6)
    with pytest.raises(ExplainError, match="finite logits"):
        broken([skin_with_lesion()[0]])

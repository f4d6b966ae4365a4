"""Does a lesion get one result, the mean of its images?"""

import numpy as np

from melascope.evaluation.lesion_level import conflicting_lesions, lesion_scores
from melascope.tables.probabilities import steady


def test_a_lesion_is_the_mean_of_its_images():
    probabilities = np.zeros((4, 7))
    probabilities[:, 4] = [0.2, 0.6, 0.3, 0.9]
    scores = lesion_scores(probabilities, np.array([True, True, False, False]), np.array([7, 7, 2, 9]))
    assert scores.lesion.tolist() == [2, 7, 9]
    assert scores.truth.tolist() == [False, True, False]
    assert scores.n_images.tolist() == [1, 2, 1]
    np.testing.assert_allclose(scores.probabilities[:, 4], [0.3, 0.4, 0.9])


def test_a_single_image_keeps_its_probability_to_the_last_bit():
    rng = np.random.default_rng(0)
    probabilities = steady(rng.dirichlet(np.ones(7), 500))  # as those of every table are
    scores = lesion_scores(probabilities, np.zeros(500, dtype=bool), np.arange(500))
    np.testing.assert_array_equal(scores.probabilities, probabilities)


def test_one_target_image_makes_a_target_lesion():
    scores = lesion_scores(np.ones((2, 7)) / 7, np.array([False, True]), np.array([0, 0]))
    assert scores.truth.tolist() == [True]
    assert conflicting_lesions(np.array([5, 4, 4, 4]), np.array([0, 0, 1, 1])) == 1

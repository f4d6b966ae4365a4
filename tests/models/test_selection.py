"""Is the epoch that is kept the recipe's?"""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from melascope.classes import CLASSES
from melascope.config import TrainRecipe, ValidationFigure
from melascope.models.selection import figures_needed, rank
from melascope.stages.training import validation_figures


def kept(epochs: list[dict[str, float]], **settings) -> int:
    recipe = TrainRecipe(**settings)
    return max(range(len(epochs)), key=lambda epoch: (rank(epochs[epoch], recipe), -epoch))


EPOCHS = [
    {"mel_sensitivity": 1.0, "balanced_accuracy": 0.2, "nll": 3.0},
    {"mel_sensitivity": 0.7, "balanced_accuracy": 0.61, "nll": 1.0},
    {"mel_sensitivity": 0.8, "balanced_accuracy": 0.60, "nll": 2.0},
]


def test_the_floor_keeps_out_the_epoch_that_calls_everything_a_melanoma():
    assert kept(EPOCHS, select_by="mel_sensitivity") == 0
    assert kept(EPOCHS, select_by="mel_sensitivity", floor_by="balanced_accuracy", floor=0.5) == 2
    assert kept(EPOCHS, select_by="nll", floor_by="mel_sensitivity", floor=0.75) == 2
    assert kept(EPOCHS, select_by="nll") == 1


def test_where_no_epoch_reaches_the_floor_the_nearest_one_is_kept():
    assert kept(EPOCHS, select_by="mel_sensitivity", floor_by="balanced_accuracy", floor=0.9) == 1


def test_every_figure_that_a_recipe_may_name_is_told_by_validation():
    labels = np.arange(70) % len(CLASSES)
    told = validation_figures(labels, np.random.default_rng(0).normal(size=(70, 7)))
    assert set(get_args(ValidationFigure)) == set(told)


@pytest.mark.parametrize("figure", get_args(ValidationFigure))
def test_any_figure_can_choose(figure):
    better, worse = (0.1, 0.9) if figure == "nll" else (0.9, 0.1)
    assert kept([{figure: worse}, {figure: better}], select_by=figure) == 1
    assert figures_needed(TrainRecipe(select_by=figure)) == [figure]

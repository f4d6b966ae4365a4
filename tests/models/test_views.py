"""Are several views of an image averaged, the same each time, and remembered by the checkpoint?"""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from melascope.config import PredictRecipe
from melascope.models.classifier import Classifier, predict_logits
from melascope.models.train import Trainer
from melascope.models.views import VIEWS, mean_logits
from melascope.tables.runs import RunDirectory


def test_rows_and_recipe_know_the_same_views():
    assert set(VIEWS) == set(get_args(PredictRecipe.model_fields["views"].annotation))


@pytest.mark.parametrize("views", VIEWS)
def test_logits_are_the_mean_over_distinct_views(views):
    weights = torch.randn(7, 3, 4, 6, generator=torch.Generator().manual_seed(0))

    def network(batch):
        return torch.einsum("nchw,kchw->nk", batch, weights)

    batch = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    shown = [view(batch) for view in VIEWS[views]]
    assert len({one.numpy().tobytes() for one in shown}) == len(shown)
    torch.testing.assert_close(mean_logits(network, batch, views), sum(map(network, shown)) / len(shown))


def test_a_classifier_asks_as_its_recipe_did(recipe_of, data_of, tmp_path):
    run, data = RunDirectory(tmp_path), data_of()
    recipe = recipe_of(train={"epochs": 1}, predict={"views": "mirrored"})
    seen = []  # epochs are judged by one view, which is a quarter of the work

    def figures_of(labels, logits):
        seen.append(logits)
        return {"macro_f1": 0.5}

    Trainer(recipe, data, run, figures_of, accelerator="cpu").fit()
    classifier = Classifier.load(run)
    logits = classifier.logits(data.pixels[data.val])
    np.testing.assert_array_equal(logits, classifier.logits(data.pixels[data.val]))
    one_view = predict_logits(classifier.network, data.pixels[data.val], classifier.card.mean, classifier.card.std)
    judged = seen[0] - seen[0].mean(axis=1, keepdims=True)  # what is kept has a centred head
    np.testing.assert_allclose(judged, one_view, atol=1e-6)
    assert np.abs(judged - logits).max() > 1e-4
    flipped = classifier.logits(np.ascontiguousarray(data.pixels[data.val][:, :, ::-1]))
    np.testing.assert_allclose(logits, flipped, atol=1e-5)  # a mirror image gets the same answer

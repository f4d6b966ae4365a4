"""Does the head that is kept give the same probabilities, and maps without what all classes share?"""

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn

from melascope.explain.maps import MapEngine
from melascope.models.head import with_centred_head
from melascope.models.train import Trainer
from melascope.tables.runs import RunDirectory


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model("test_efficientnet", num_classes=7).eval()
        nn.init.normal_(network.classifier.bias)
        network.classifier.weight.data += 0.3  # as the optimizer lets it drift
    return network


def test_probabilities_stay_and_the_logits_sum_to_nothing(network):
    batch, weight = torch.randn(4, 3, 64, 64), network.classifier.weight.clone()
    centred = with_centred_head(network)
    with torch.no_grad():
        before, after = network(batch), centred(batch)
    torch.testing.assert_close(after.softmax(1), before.softmax(1))
    torch.testing.assert_close(after, before - before.mean(1, keepdim=True), atol=1e-4, rtol=1e-4)
    assert centred.classifier.weight.sum(0).abs().max() < 1e-6 and abs(centred.classifier.bias.sum()) < 1e-6
    assert torch.equal(network.classifier.weight, weight), "the network itself stays as it was"


def test_what_all_classes_maps_share_is_gone_and_their_differences_are_as_before(network):
    batch = torch.randn(2, 3, 64, 64)
    before, after = (MapEngine(one)(batch)[1] for one in (network, with_centred_head(network)))
    assert after.sum(1).abs().max() < 1e-6 < 1e-3 < before.sum(1).abs().max(), "this head had drifted"
    torch.testing.assert_close(after[:, 4] - after[:, 5], before[:, 4] - before[:, 5], atol=1e-4, rtol=1e-4)


def test_a_head_that_is_not_linear_stays_as_it_is():
    network = timm.create_model("test_efficientnet", num_classes=7)
    network.classifier = nn.Sequential(nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 7))
    expected = network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in with_centred_head(network).state_dict().items())


def test_a_training_keeps_the_centred_head_and_goes_on_from_the_other(recipe_of, data_of, tmp_path):
    run = RunDirectory(tmp_path)
    best_is_last = iter([{"macro_f1": 0.1, "nll": 1.0}, {"macro_f1": 0.2, "nll": 0.9}])
    Trainer(recipe_of(), data_of(), run, lambda labels, logits: next(best_is_last), accelerator="cpu").fit()
    best, last = (load_file(run.checkpoint(which)[1]) for which in ("best", "last"))
    assert best["classifier.weight"].mean(0).abs().max() < 1e-7 < last["classifier.weight"].mean(0).abs().max()
    others = [name for name in best if not name.startswith("classifier.")]
    assert others and all(torch.equal(best[name], last[name]) for name in others)

"""Does the sanity gate fail for maps that do not depend on the network, and pass for those that do?"""

import numpy as np
import pytest
import timm
import torch
from scipy import ndimage, stats
from sklearn.linear_model import LogisticRegression
from torch import nn

from melascope.errors import ExplainError
from melascope.explain.maps import MapEngine
from melascope.explain.sanity import (
    Likeness,
    cascade,
    fitted_head,
    gate,
    label_blind,
    randomise,
    rank_correlation,
    running_norms,
    stages,
    unrelated,
)
from melascope.tables.results import NotApplicable

RNG = np.random.default_rng(0)
PIXELS = torch.from_numpy(ndimage.gaussian_filter(RNG.normal(size=(12, 3, 96, 128)), (0, 0, 6, 6)) * 10).float()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model("test_efficientnet", num_classes=7).eval()


def _maps(network: nn.Module) -> np.ndarray:
    return MapEngine(network, probe_size=(96, 128))(PIXELS)[1].numpy()


def _norms(network: nn.Module) -> None:
    running_norms(network, lambda one: one(PIXELS))


def _edges(_network: nn.Module) -> np.ndarray:
    """An edge detector in a map's clothes (Adebayo et al. 2018, sec. 5)."""
    light = PIXELS.mean(dim=1).numpy()
    edges = np.hypot(ndimage.sobel(light, axis=1), ndimage.sobel(light, axis=2))
    return np.repeat(edges[:, None, ::8, ::8], 7, axis=1)


def test_an_edge_detector_fails_the_gate(network):
    ends = [list(cascade(network, _edges, _norms, seed=seed))[-1] for seed in range(2)]
    checks = gate(ends, [])
    assert [check.passed for check in checks] == [False] and checks[0].found == "+1.000"


def test_gradcam_changes_with_the_weights(network):
    ends = [list(cascade(network, _maps, _norms, seed=seed))[-1] for seed in range(4)]
    assert all(check.passed for check in gate(ends, []))


def test_a_map_that_is_always_empty_fails(network):
    def empty(_network):
        return np.zeros((12, 7, 3, 4))

    checks = gate([list(cascade(network, empty, _norms, seed=0))[-1]], [])
    assert not checks[0].passed and "not applicable" in checks[0].found


def test_stages_go_from_the_head_down_and_hold_every_weight_once(network):
    found = stages(network)
    assert found[0][0] == "classifier" and found[-1][0] == "conv_stem"
    names = [name for _, modules in found for name in modules]
    held = sum(p.numel() for name in names for p in network.get_submodule(name).parameters(recurse=False))
    assert len(set(names)) == len(names) and held == sum(p.numel() for p in network.parameters())


def test_the_network_itself_stays_as_it_was(network):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    list(cascade(network, _maps, _norms, seed=0))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not network.training


def test_a_tensor_keeps_its_entries():
    layer = nn.Linear(5, 4)
    before = layer.weight.detach().clone()
    randomise(nn.Sequential(layer), ["0"], torch.Generator().manual_seed(0))
    assert not torch.equal(layer.weight, before)
    assert torch.equal(layer.weight.flatten().sort()[0], before.flatten().sort()[0])


def test_norms_are_measured_on_the_pictures_and_put_back_to_rest():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout()).eval()
    running_norms(network, lambda one: one(PIXELS * 3 + 1))
    assert network[0].running_mean.numpy() == pytest.approx((PIXELS * 3 + 1).mean((0, 2, 3)).numpy(), abs=1e-4)
    assert not network[0].training and network[0].momentum == 0.1


@pytest.mark.parametrize("round_to", [8, 0])
def test_rank_correlation_equals_scipy(round_to):
    one, other = (np.round(RNG.normal(size=(4, 7, 5, 6)), round_to) for _ in range(2))
    found = rank_correlation(one, other)
    for place in np.ndindex(4, 7):
        assert found[place] == pytest.approx(stats.spearmanr(one[place].ravel(), other[place].ravel()).statistic)
    assert np.isnan(rank_correlation(np.zeros((1, 3, 3)), RNG.normal(size=(1, 3, 3)))).all()


def test_head_equals_scikit_learn():
    features = RNG.normal(size=(300, 8)) * np.arange(1, 9) + 3
    labels = (features[:, 0] + features[:, 1] > 9).astype(int) + (features[:, 2] > 4)
    weight, bias = fitted_head(features, labels, 3)
    standardised = (features - features.mean(0)) / (features.std(0) + 1e-6)
    theirs = LogisticRegression(C=1.0, tol=1e-8, max_iter=2000).fit(standardised, labels)
    logits = features @ weight.T + bias
    mine = np.exp(logits - logits.max(1, keepdims=True))
    assert mine / mine.sum(1, keepdims=True) == pytest.approx(theirs.predict_proba(standardised), abs=2e-3)


def test_a_blind_head_differs_from_a_seeing_one(network):
    """Features and labels belong together: the refitted head's maps are the original's, the blind one's are not."""
    with torch.no_grad():
        pictures = torch.randn(400, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        features = network.forward_head(network.forward_features(pictures), pre_logits=True).numpy()
    labels = (features @ network.classifier.weight.detach().numpy().T).argmax(axis=1)
    seeing, blind = label_blind(network, "classifier", _maps, features.astype(float), labels, seeds=3)
    assert seeing.mean > 0.3
    assert max(abs(one.mean) for one in blind) < seeing.mean
    fails = gate([seeing], [])
    assert not fails[0].passed


def test_another_pictures_maps_are_compared_with_another():
    maps = RNG.normal(size=(9, 7, 4, 4))
    assert abs(unrelated(maps, np.random.default_rng(0)).mean) < 0.2
    assert unrelated(maps, np.random.default_rng(0)).size > 0.1
    with pytest.raises(ExplainError):
        unrelated(maps[:1], np.random.default_rng(0))


def test_an_undefined_likeness_says_so():
    assert isinstance(Likeness("head", 0, np.full((2, 7), np.nan)).mean, NotApplicable)

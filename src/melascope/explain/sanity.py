"""Do the maps hang on what the network has learnt, or would any network, or an edge detector, give the same ones?

- *Cascading randomisation* (Adebayo et al. 2018, "Sanity Checks for Saliency Maps", NeurIPS, sec. 4.1): from the head
  downwards each stage's weights are made random, those above stay random. A weight tensor is made random by permuting
  its own entries, so that its scale stays; running statistics of norms are then measured anew on the pictures, or the
  activations would fade away. At the end the whole network is random.
- *Label-blind head*: the linear head is fitted anew on frozen features of training images whose labels were permuted
  among them. Maps of such a head know nothing of the classes. (Not Adebayo's sec. 4.2, which trains the whole network
  on permuted labels: that costs a training.) Beside it the same fit on the true labels shows that the test can see.

Compared are signed maps of every class, cell by cell, by Spearman's rank correlation. The gate: at the end of the
cascade and for the label-blind head the mean correlation is within ± `LIMIT`. The mean size of the correlation, sign
left out, stands beside it, because a random network turns a map as often as it shuffles it; for unrelated maps of few
cells it is not 0 either, so the same for maps of other pictures is told too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from scipy.stats import rankdata
from torch import nn

from melascope.errors import ExplainError
from melascope.tables.results import NotApplicable

LIMIT = 0.2
"""Largest mean rank correlation with the trained network's maps that counts as "the map has changed"."""

RIDGE = 1.0
"""Weight of the penalty in the refitted head, in units of one standardised feature's unit variance."""

MapsOf = Callable[[nn.Module], np.ndarray]
"""Network -> maps (n, classes, h, w) of the same n pictures."""


@dataclass(frozen=True)
class Likeness:
    """How like the trained network's maps others are.

    Parameters
    ----------
    stage : what was made random last, e.g. "conv_head"; "trained" for the network itself
    randomisation : number of the random draw
    rho : (n, classes) float, Spearman's; NaN where a map has no two different cells
    """

    stage: str
    randomisation: int
    rho: np.ndarray

    @property
    def mean(self) -> float | NotApplicable:
        """Of the signed correlations."""
        return _mean(self.rho)

    @property
    def size(self) -> float | NotApplicable:
        """Mean size, sign left out."""
        return _mean(np.abs(self.rho))


@dataclass(frozen=True)
class Check:
    """One condition of the gate."""

    name: str
    found: str
    expected: str
    passed: bool


def rank_correlation(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Spearman's correlation over the cells of each map: (..., h, w) twice -> (...); ties get their mean rank."""
    ranks = [rankdata(side.reshape(*side.shape[:-2], -1), axis=-1) for side in (maps, others)]
    centred = [side - side.mean(axis=-1, keepdims=True) for side in ranks]
    norm = np.sqrt((centred[0] ** 2).sum(axis=-1) * (centred[1] ** 2).sum(axis=-1))
    return np.divide((centred[0] * centred[1]).sum(axis=-1), norm, out=np.full(norm.shape, np.nan), where=norm > 0)


def stages(network: nn.Module) -> list[tuple[str, list[str]]]:
    """Parts of a network from the head downwards: name and the modules with weights of their own.

    A part is a child of the network; a container of several blocks is taken block by block. Children come in the order
    in which they are defined, which in timm and torchvision is the order in which they run.
    """
    found: dict[str, list[str]] = {}
    for name, module in network.named_modules():
        if not any(True for _ in module.parameters(recurse=False)):
            continue
        parts = name.split(".")
        top = network.get_submodule(parts[0]) if name else network
        in_blocks = isinstance(top, nn.Sequential | nn.ModuleList) and len(top) > 1 and len(parts) > 1
        found.setdefault(".".join(parts[: 2 if in_blocks else 1]) or "tokens", []).append(name)
    return list(reversed(found.items()))


def randomise(network: nn.Module, modules: list[str], generator: torch.Generator) -> None:
    """Permute the entries of every weight tensor of these modules, in place."""
    with torch.no_grad():
        for name in modules:
            for weight in network.get_submodule(name).parameters(recurse=False):
                order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
                weight.copy_(weight.flatten()[order].view_as(weight))


def cascade(
    network: nn.Module, maps_of: MapsOf, measure_norms: Callable[[nn.Module], None], *, seed: int
) -> Iterator[Likeness]:
    """Make a copy of the network random from the head downwards and compare its maps with the trained one's.

    Parameters
    ----------
    maps_of : network -> maps of the pictures that are compared
    measure_norms : brings running statistics up to date after a stage was made random, e.g. `running_norms`
    seed : of the draw; it is the randomisation's number too

    Yields
    ------
    likeness : of each stage, the head's first
    """
    original = maps_of(network)
    other, generator = copy.deepcopy(network), torch.Generator().manual_seed(seed)
    for stage, modules in stages(network):
        randomise(other, modules, generator)
        measure_norms(other)
        yield Likeness(stage, seed, rank_correlation(original, maps_of(other)))


def running_norms(network: nn.Module, forward: Callable[[nn.Module], None]) -> None:
    """Measure every batch norm's mean and variance anew on what `forward` shows the network."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    norms = [module for module in norms if module.track_running_stats]
    before = [(module.training, module.momentum) for module in norms]
    try:
        for module in norms:
            module.reset_running_stats()
            module.training, module.momentum = True, None  # the plain mean over all batches
        if norms:
            with torch.no_grad():
                forward(network)
    finally:
        for module, (training, momentum) in zip(norms, before, strict=True):
            module.training, module.momentum = training, momentum


def unrelated(maps: np.ndarray, rng: np.random.Generator) -> Likeness:
    """Each picture's maps beside another picture's: what correlation means nothing."""
    step = int(rng.integers(1, len(maps))) if len(maps) > 1 else 0
    if step == 0:
        raise ExplainError("One picture has no other to be compared with.", expected="at least two pictures")
    return Likeness("another picture", 0, rank_correlation(maps, np.roll(maps, step, axis=0)))


def fitted_head(features: np.ndarray, labels: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Softmax regression on frozen features with a ridge penalty.

    Parameters
    ----------
    features : (n, d)
    labels : (n,) int

    Returns
    -------
    weight, bias : (n_classes, d) and (n_classes,) float64, of the features as they are
    """
    centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    standardised = (features - centre) / spread
    truth = np.eye(n_classes)[labels]
    n, d = standardised.shape

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = flat[: n_classes * d].reshape(n_classes, d), flat[n_classes * d :]
        logits = standardised @ weight.T + bias
        value = (logsumexp(logits, axis=1) - (logits * truth).sum(axis=1)).sum() + RIDGE * (weight**2).sum() / 2
        error = softmax(logits, axis=1) - truth
        return value / n, np.concatenate([(error.T @ standardised + RIDGE * weight).ravel(), error.sum(axis=0)]) / n

    flat = minimize(loss, np.zeros(n_classes * (d + 1)), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    weight = flat[: n_classes * d].reshape(n_classes, d) / spread
    return weight, flat[n_classes * d :] - weight @ centre


def with_head(network: nn.Module, head: str, weight: np.ndarray, bias: np.ndarray) -> nn.Module:
    """A copy of the network with another linear head."""
    other = copy.deepcopy(network)
    module = other.get_submodule(head)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weight))
        if module.bias is not None:
            module.bias.copy_(torch.from_numpy(bias))
    return other


def label_blind(
    network: nn.Module, head: str, maps_of: MapsOf, features: np.ndarray, labels: np.ndarray, *, seeds: int
) -> tuple[Likeness, list[Likeness]]:
    """Maps of heads that were fitted to true and to permuted labels, beside the trained one's.

    Returns
    -------
    seeing : of the true labels
    blind : of each permutation
    """
    original, n_classes = maps_of(network), network.get_submodule(head).out_features

    def like(name: str, number: int, truth: np.ndarray) -> Likeness:
        other = with_head(network, head, *fitted_head(features, truth, n_classes))
        return Likeness(name, number, rank_correlation(original, maps_of(other)))

    blind = [like("permuted labels", seed, np.random.default_rng(seed).permutation(labels)) for seed in range(seeds)]
    return like("true labels", 0, labels), blind


def gate(ends: list[Likeness], blind: list[Likeness], limit: float = LIMIT) -> list[Check]:
    """What the maps must pass; `ends` of the cascades, `blind` heads (none where the network has no linear head)."""
    asked = [("whole network random", ends)] + ([("head fitted to permuted labels", blind)] if blind else [])
    return [_check(name, likenesses, limit) for name, likenesses in asked]


def _check(name: str, likenesses: list[Likeness], limit: float) -> Check:
    rho = np.concatenate([one.rho.ravel() for one in likenesses])
    mean, expected = _mean(rho), f"mean rank correlation within ± {limit:g}"
    if isinstance(mean, NotApplicable):
        return Check(name, str(mean), expected, False)
    return Check(name, f"{mean:+.3f}", expected, bool(abs(mean) < limit))


def _mean(rho: np.ndarray) -> float | NotApplicable:
    return float(np.nanmean(rho)) if np.isfinite(rho).any() else NotApplicable("no map has two different cells")

"""How is somebody's model run so that a layer is seen or differentiated, and nothing is left behind in it?

Nothing: no hook, no `.grad`, no changed mode or `requires_grad`, no graph; also where the model raises midway.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from melascope.errors import ExplainError


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch every module to evaluation, and afterwards back to the mode it had itself."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def forward_hook(module: nn.Module, hook: Callable[[nn.Module, tuple, Any], Any]) -> Iterator[None]:
    """A forward hook that is gone afterwards, whatever happens."""
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def run_plainly(model: nn.Module, batch: Tensor) -> Tensor:
    """Logits as for prediction: every module in evaluation mode, no graph."""
    with torch.no_grad(), evaluation_mode(model):
        return model(batch)


def run_and_keep(model: nn.Module, module: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of a plain forward pass, and the output of `module` in it; no graph."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        kept.append(output)

    with forward_hook(module, keep):
        logits = run_plainly(model, batch)
    return logits, kept[0]


def run_from_leaf(
    model: nn.Module, module: nn.Module, batch: Tensor, replacement: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Logits with a graph that begins at the output of `module`: nothing before it costs memory or is differentiated.

    Parameters
    ----------
    replacement : takes the place of the module's output if given

    Returns
    -------
    logits : (B, K); without `requires_grad` where they do not depend on the module
    leaf : what the module gave, as the graph's beginning
    """
    leaves: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        leaf = (output if replacement is None else replacement).detach().requires_grad_()
        leaves.append(leaf)
        torch.set_grad_enabled(True)  # `no_grad` below restores the caller's mode
        return leaf.clone()  # the network may go on in place

    with torch.no_grad(), evaluation_mode(model), forward_hook(module, cut):
        logits = model(batch)
    return logits, leaves[0]


@contextmanager
def differentiable() -> Iterator[None]:
    """Gradients are on, whatever the caller is in."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def each_gradient(logits: Tensor, of: Tensor, columns: list[int]) -> Iterator[Tensor | None]:
    """d logit / d `of`, one column after another; the graph is let go with the last one. None: no dependence."""
    for number, column in enumerate(columns):
        retain = number + 1 < len(columns)
        yield torch.autograd.grad(logits[:, column].sum(), of, retain_graph=retain, allow_unused=True)[0]


def input_gradients(model: nn.Module, batch: Tensor, columns: list[int]) -> Tensor:
    """d logit / d input of some columns: (B, 3, H, W) -> (B, len(columns), 3, H, W), without a graph."""
    with differentiable(), evaluation_mode(model):
        leaf = batch.detach().clone().requires_grad_()
        logits = model(leaf.clone())
        if not logits.requires_grad:
            raise ExplainError("The logits do not depend on the input in a way that torch can differentiate.")
        gradients = list(each_gradient(logits, leaf, columns))
    if any(gradient is None for gradient in gradients):
        raise ExplainError("A logit does not depend on the input.")
    return torch.stack(gradients, dim=1)


def reached(model: nn.Module, batch: Tensor, names: list[str]) -> dict[str, Tensor]:
    """What each named module's output adds to the logits: the gradient of their weighted sum, where there is one."""
    outputs: dict[str, Tensor] = {}

    def noting(name: str) -> Callable[[nn.Module, tuple, Any], None]:
        def note(_module: nn.Module, _inputs: tuple, output: Any) -> None:
            if isinstance(output, Tensor) and output.requires_grad:
                outputs[name] = output

        return note

    with ExitStack() as stack:
        stack.enter_context(differentiable())
        stack.enter_context(evaluation_mode(model))
        for name in names:
            stack.enter_context(forward_hook(model.get_submodule(name), noting(name)))
        logits = model(batch.detach().clone().requires_grad_())
        weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2)).to(logits)
        found = torch.autograd.grad((logits * weights).sum(), list(outputs.values()), allow_unused=True)
    return {name: gradient for name, gradient in zip(outputs, found, strict=True) if gradient is not None}


def fast_copy(model: nn.Module) -> nn.Module:
    """A copy in bfloat16 with channels last in memory, for pictures; the model itself stays as it is."""
    return copy.deepcopy(model).to(dtype=torch.bfloat16, memory_format=torch.channels_last).eval()

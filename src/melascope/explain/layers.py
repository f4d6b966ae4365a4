"""Which layer of a network is explained, and which linear layer speaks its logits?"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from melascope.errors import ExplainError

_NOT_A_SOURCE = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
"""Modules that pass on or pool what an earlier one made: the earlier one is named as the layer."""


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


@dataclass(frozen=True)
class Step:
    """One module of a forward pass, noted when it ended. `shape` is None where its output is no tensor."""

    name: str
    module: nn.Module
    shape: tuple[int, ...] | None
    gives_logits: bool = False


def trace(model: nn.Module, batch: Tensor) -> list[Step]:
    """Run `model` once and note every module in the order in which they end (a container after its parts).

    Raises
    ------
    ExplainError : the model cannot read such a batch, or does not answer with logits (B, K).
    """
    ended: list[tuple[str, nn.Module, Any]] = []
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(evaluation_mode(model))
        for name, module in model.named_modules():
            if name:
                note = _noting(ended, name)
                stack.enter_context(forward_hook(module, note))
        try:
            logits = model(batch)
        except Exception as error:  # the model is somebody else's: whatever it raises is the answer
            raise ExplainError(
                f"The model cannot read a random batch of shape {tuple(batch.shape)}: {error}",
                expected="a convolutional classifier; token models (ViT, Swin) are not supported yet",
                fix="where the model needs one input size, give it: MapEngine(model, probe_size=(height, width))",
            ) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise ExplainError(f"The model answers with {_kind(logits)}.", expected="a tensor of logits (batch, classes)")
    return [
        Step(name, module, tuple(output.shape) if isinstance(output, Tensor) else None, output is logits)
        for name, module, output in ended
    ]


def _noting(ended: list, name: str) -> Callable[[nn.Module, tuple, Any], None]:
    def note(module: nn.Module, _inputs: tuple, output: Any) -> None:
        ended.append((name, module, output))

    return note


def _kind(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def last_before_pooling(steps: list[Step], input_size: tuple[int, int]) -> str:
    """Name of the module whose output is the last image-like one, e.g. EfficientNet's `bn2`, ResNet's `layer4`."""
    spatial = [
        index
        for index, step in enumerate(steps)
        if _cells(step.shape) > 1 and not isinstance(step.module, _NOT_A_SOURCE)
    ]
    if not spatial:
        raise ExplainError("No layer of the model gives activations (B, C, h, w) before it pools.")
    chosen = steps[spatial[-1]]
    later = [step for step in steps[spatial[-1] + 1 :] if step.shape is not None and len(step.shape) == 3]
    if later or not _image_like(chosen.shape, input_size):
        raise ExplainError(
            "The model works on tokens or keeps its channels last: "
            + (f"{later[-1].name} gives {later[-1].shape}." if later else f"{chosen.name} gives {chosen.shape}."),
            expected="activations (B, C, h, w) up to the pooling; token models (ViT, Swin) are not supported yet",
            fix="name a convolutional layer if that is what you mean: MapEngine(model, layer=...)",
        )
    return chosen.name


def checked_layer(steps: list[Step], layer: str, input_size: tuple[int, int]) -> str:
    """`layer`, if it ran once in the forward pass and gave a grid of cells; else an `ExplainError`."""
    runs = [step for step in steps if step.name == layer]
    if not runs:
        near = difflib.get_close_matches(layer, {step.name for step in steps}, n=3, cutoff=0.4)
        raise ExplainError(
            f"No layer {layer!r} runs in the model.",
            where=f"layer={layer!r}",
            expected="a name of model.named_modules()" + (f", e.g. {', '.join(near)}" if near else ""),
        )
    shape = runs[0].shape
    if len(runs) > 1:
        found = f"The layer {layer!r} runs {len(runs)} times in one forward pass."
    elif _cells(shape) <= 1:
        found = f"The layer {layer!r} gives {'no tensor' if shape is None else shape}: there is no grid of cells in it."
    elif not _image_like(shape, input_size):
        found = f"The layer {layer!r} gives {shape}, which is no picture of a {input_size[0]}×{input_size[1]} input."
    else:
        return layer
    raise ExplainError(
        found,
        where=f"layer={layer!r}",
        expected="a layer that runs once and gives activations (B, C, h, w) of more than one cell",
    )


def _cells(shape: tuple[int, ...] | None) -> int:
    return shape[2] * shape[3] if shape is not None and len(shape) == 4 else 0


def _image_like(shape: tuple[int, ...], input_size: tuple[int, int]) -> bool:
    """Whether (h, w) keeps the input's aspect ratio within a factor of 2; channels in the place of w do not."""
    ratio = (shape[2] / shape[3]) / (input_size[0] / input_size[1])
    return 0.5 < ratio < 2


def logit_layer(steps: list[Step]) -> nn.Linear | None:
    """The linear layer whose output is the model's output itself; None where something else speaks last."""
    speakers = [step.module for step in steps if step.gives_logits and isinstance(step.module, nn.Linear)]
    return speakers[-1] if speakers else None

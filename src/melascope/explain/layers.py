"""Which layer of a network is explained, and which linear layer speaks its logits?"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from melascope.errors import ExplainError
from melascope.explain.grids import CHANNELS_FIRST, TOKENS, Grid, find_grid
from melascope.explain.running import evaluation_mode, forward_hook, reached

_NOT_A_SOURCE = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
"""Modules that pass on or pool what an earlier one made: the earlier one is named as the layer."""

PROBE_SIZE = (96, 128)  # not square, so that rows and columns cannot be confused unnoticed
_USUAL_SIZE = (224, 224)


@dataclass(frozen=True)
class Step:
    """One module of a forward pass, noted when it ended. `shape` is None where its output is no tensor."""

    name: str
    module: nn.Module
    shape: tuple[int, ...] | None
    grid: Grid | None
    gives_logits: bool = False


@dataclass(frozen=True)
class Trace:
    """A model's forward pass on a random batch of two: its modules in the order in which they end."""

    batch: Tensor
    steps: tuple[Step, ...]
    n_classes: int

    @property
    def input_size(self) -> tuple[int, int]:
        return tuple(self.batch.shape[2:])

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    @property
    def logit_layer(self) -> nn.Linear | None:
        """The linear layer whose output is the model's output itself; None where something else speaks last."""
        speakers = [step.module for step in self.steps if step.gives_logits and isinstance(step.module, nn.Linear)]
        return speakers[-1] if speakers else None


def trace(model: nn.Module, probe_size: tuple[int, int] | None, place: Tensor) -> Trace:
    """Run `model` once on noise and note every module in the order in which they end (a container after its parts).

    Parameters
    ----------
    probe_size : (H, W) of the noise; None tries a small one, then the size that the model says it needs
    place : tensor of the model's dtype and device

    Raises
    ------
    ExplainError : the model cannot read such a batch, or does not answer with logits (B, K).
    """
    for size in (probe_size,) if probe_size else (PROBE_SIZE, _own_size(model)):
        noise = torch.randn((2, 3, *size), generator=torch.Generator().manual_seed(0)).to(place)
        try:
            ended, logits = _noted(model, noise)
            break
        except Exception as error:  # the model is somebody else's: whatever it raises is the answer
            refusal = ExplainError(
                f"The model cannot read a random batch of shape {tuple(noise.shape)}: {error}",
                expected="a classifier: (B, 3, H, W) -> logits (B, K)",
                fix="where the model needs one input size, give it: MapEngine(model, probe_size=(height, width))",
            )
            refusal.__cause__ = error
    else:
        raise refusal
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 2:
        raise ExplainError(f"The model answers with {_kind(logits)}.", expected="a tensor of logits (batch, classes)")
    prefix = _prefix_tokens(model)
    steps = []
    for name, module, output in ended:
        shape = tuple(output.shape) if isinstance(output, Tensor) else None
        grid = find_grid(shape, size, prefix) if shape and shape[0] == 2 else None  # windows of Swin have more rows
        steps.append(Step(name, module, shape, grid, output is logits))
    return Trace(noise, tuple(steps), logits.shape[1])


def _noted(model: nn.Module, batch: Tensor) -> tuple[list[tuple[str, nn.Module, Any]], Any]:
    ended: list[tuple[str, nn.Module, Any]] = []

    def noting(name: str) -> Callable[[nn.Module, tuple, Any], None]:
        def note(module: nn.Module, _inputs: tuple, output: Any) -> None:
            ended.append((name, module, output))

        return note

    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(evaluation_mode(model))
        for name, module in model.named_modules():
            if name:
                stack.enter_context(forward_hook(module, noting(name)))
        return ended, model(batch)


def _own_size(model: nn.Module) -> tuple[int, int]:
    """(H, W) that the model says it needs, as timm's and torchvision's token models do; else the usual 224."""
    for module in model.modules():
        size = getattr(module, "img_size", getattr(module, "image_size", None))
        if isinstance(size, int):
            return size, size
        if isinstance(size, tuple | list) and len(size) == 2:
            return int(size[0]), int(size[1])
    return _USUAL_SIZE


def _prefix_tokens(model: nn.Module) -> int | None:
    """How many tokens come before the patches, where the model says so: timm's attribute, torchvision's class token."""
    for module in model.modules():
        if isinstance(count := getattr(module, "num_prefix_tokens", None), int):
            return count
        if isinstance(getattr(module, "class_token", None), nn.Parameter):
            return 1
    return None


def _kind(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def last_grid(model: nn.Module, traced: Trace) -> str:
    """Name of the last module whose output is laid over the image and still speaks to the logits.

    A ConvNet's is the last one before pooling (EfficientNet's `bn2`, ResNet's `layer4`), Swin's the last `norm`. In a
    ViT that reads its class token alone, what the last block gives for the patches reaches no logit: there it is that
    block's `norm1`, the last place where the patches are still to be read.
    """
    grids = [step for step in traced.steps if step.grid and not isinstance(step.module, _NOT_A_SOURCE)]
    if not grids:
        raise ExplainError(
            "No layer of the model gives activations that are laid over the image.",
            expected="(B, C, h, w), (B, h, w, C) or tokens (B, n, C) before the model pools",
            fix="use a method that reads no layer: occlusion, integrated_gradients or smoothgrad",
        )
    last = grids[-1]
    if last.grid.layout == CHANNELS_FIRST:
        return last.name
    width = last.grid.channels(last.shape)  # inside of attention it differs, where channels are no features
    speaking = _speaking(model, traced, grids)
    alike = [step.name for step in grids if step.name in speaking and step.grid.channels(step.shape) == width]
    others = [step.name for step in grids if step.name in speaking]
    if not others:
        raise ExplainError(
            "No layer's patches move the logits: every gradient is 0.",
            fix="load trained weights; torchvision's token models begin with a head of zeros",
        )
    return (alike or others)[-1]


def _speaking(model: nn.Module, traced: Trace, steps: list[Step]) -> set[str]:
    """Those of `steps` whose cells, not only their prefix tokens, move the logits."""
    gradients = reached(model, traced.batch, [step.name for step in steps])
    return {
        step.name
        for step in steps
        if step.name in gradients and step.grid.cells(gradients[step.name], traced.input_size).abs().max() > 0
    }


def spelled(model: nn.Module, layer: str) -> str:
    """`blocks[4]` as `blocks.4`, the name that torch gives it; `blocks[-1]` counts from the end."""

    def dotted(found: re.Match) -> str:
        index = int(found[2])
        try:
            return f"{found[1]}.{index + len(model.get_submodule(spelled(model, found[1]))) if index < 0 else index}"
        except (AttributeError, TypeError):
            return f"{found[1]}.{index}"  # not there: `checked_layer` says so

    while (plain := re.sub(r"^([^\[]+)\[(-?\d+)\]", dotted, layer)) != layer:
        layer = plain
    return layer


def checked_layer(model: nn.Module, traced: Trace, layer: str) -> str:
    """`layer`, if it ran once in the forward pass, is laid over the image and speaks; else an `ExplainError`."""
    layer = spelled(model, layer)
    runs = [step for step in traced.steps if step.name == layer]
    if not runs:
        near = difflib.get_close_matches(layer, {step.name for step in traced.steps}, n=3, cutoff=0.4)
        raise ExplainError(
            f"No layer {layer!r} runs in the model.",
            where=f"layer={layer!r}",
            expected="a name of model.named_modules()" + (f", e.g. {', '.join(near)}" if near else ""),
        )
    found = _fault(model, traced, runs)
    if found:
        raise ExplainError(
            found,
            where=f"layer={layer!r}",
            expected="a layer that runs once, is laid over the image in more than one cell, and reaches the logits",
            fix='layer="auto" finds one',
        )
    return layer


def _fault(model: nn.Module, traced: Trace, runs: list[Step]) -> str:
    step = runs[0]
    if len(runs) > 1:
        return f"The layer {step.name!r} runs {len(runs)} times in one forward pass."
    if step.grid is None:
        shape = "no tensor" if step.shape is None else step.shape
        height, width = traced.input_size
        return f"The layer {step.name!r} gives {shape}: there is no grid of cells in it for a {height}×{width} input."
    if step.grid.layout == TOKENS and not _speaking(model, traced, [step]):
        return f"The layer {step.name!r} is past the patches: only its prefix token (class token) reaches the logits."
    return ""

"""Where on the input does each cell of a layer look: the middle of its receptive field, worked out from the layers.

Araujo, Norris and Sim 2019, "Computing receptive fields of convolutional neural networks", Distill: a convolution or
pooling of size k, stride s and padding p (before) moves the middle of the first cell by jump · ((k - 1)/2 - p) and
multiplies the jump, the distance from cell to cell, by s. Followed here through what the network really does with a
picture of noise, so that padding inside `forward`, branches and shortcuts count too. Where branches of different
middles meet (a ResNet-D's pooled shortcut), their mean is taken, each weighted by the variance that it brings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from melascope.explain.grids import Grid
from melascope.explain.running import evaluation_mode, forward_hook
from melascope.tables.cell_places import PATCHES, RECEPTIVE_FIELD, CellPlaces

_OTHER_PLACES = {"interpolate", "upsample", "grid_sample", "roll", "flip", "conv_transpose2d", "fold", "pixel_shuffle"}


@dataclass(frozen=True)
class Field:
    """Of a tensor laid over the input, each (y, x), in input pixels.

    Parameters
    ----------
    first : middle of the first cell's receptive field, from the input's edge
    step : from one cell to the next (the jump)
    grid : cells
    """

    first: tuple[float, float]
    step: tuple[float, float]
    grid: tuple[int, int]

    def windowed(self, result: Tensor, size: Any, stride: Any, before: Any, dilation: Any = 1) -> Field:
        """After a window went over it: a convolution or a pooling."""
        sizes, strides, paddings, gaps = (_pair(one) for one in (size, stride, before, dilation))
        moved = [gap * (k - 1) / 2 - p for k, p, gap in zip(sizes, paddings, gaps, strict=True)]
        return Field(
            tuple(at + jump * by for at, jump, by in zip(self.first, self.step, moved, strict=True)),
            tuple(jump * stride for jump, stride in zip(self.step, strides, strict=True)),
            tuple(result.shape[-2:]),
        )


class _Followed(TorchFunctionMode):
    """Notes the field of every tensor that comes of the input; an operation it does not know ends the trail."""

    def __init__(self, batch: Tensor) -> None:
        super().__init__()
        self.patch: tuple[int, int] | None = None  # sides, where the first convolution cuts patches and none follows
        self._convolutions = 0
        self._fields = WeakTensorKeyDictionary()
        self._note(batch, Field((0.5, 0.5), (1.0, 1.0), tuple(batch.shape[2:])))

    def field_of(self, tensor: Tensor) -> Field | None:
        return self._fields.get(tensor)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        known = [(one, field) for one in _tensors((args, kwargs)) if (field := self.field_of(one))]
        weights = [_variance(one) for one, _ in known] if len(known) > 1 else [1.0]  # before it is changed in place
        result = func(*args, **kwargs)
        if known:
            name, fields = getattr(func, "__name__", ""), [field for _, field in known]
            for one in _tensors(result):
                self._note(one, self._after(name, fields, weights, one, args, kwargs))
        return result

    def _note(self, tensor: Tensor, field: Field | None) -> None:
        if field is None:
            self._fields.pop(tensor, None)
        else:
            self._fields[tensor] = field

    def _after(
        self, name: str, fields: list[Field], weights: list[float], result: Tensor, args: tuple, kwargs: Mapping
    ) -> Field | None:
        if name == "conv2d":
            return self._convolved(fields[0], result, *args[1:], **_without_input(kwargs))
        if name in ("max_pool2d", "avg_pool2d"):
            return _pooled(fields[0], result, *args[1:], **_without_input(kwargs))
        if name == "pad":
            return _padded(fields[0], result, *args[1:], **_without_input(kwargs))
        return None if name in _OTHER_PLACES else _met(fields, weights, result)

    def _convolved(
        self, field: Field, result: Tensor, weight: Tensor, _bias=None, stride=1, padding=0, dilation=1, groups=1, **_
    ) -> Field:
        size = tuple(weight.shape[2:])
        self._convolutions += 1
        if max(_pair(stride)) > 1:
            self.patch = size if self._convolutions == 1 and size == _pair(stride) else None
        if padding == "same":
            padding = tuple(gap * (k - 1) // 2 for k, gap in zip(size, _pair(dilation), strict=True))
        return field.windowed(result, size, stride, 0 if padding == "valid" else padding, dilation)


def _pooled(field: Field, result: Tensor, kernel_size=None, stride=None, padding=0, *others, dilation=1, **_) -> Field:
    if others and isinstance(others[0], int) and not isinstance(others[0], bool):
        dilation = others[0]  # max_pool2d's place for it; avg_pool2d has a flag there
    return field.windowed(result, kernel_size, stride or kernel_size, padding, dilation)


def _padded(field: Field, result: Tensor, pad=(), *_, **__) -> Field | None:
    left, right, top, bottom = (*pad, 0, 0, 0, 0)[:4]  # the last axis first
    before = result.shape[-2] - top - bottom, result.shape[-1] - left - right
    if result.ndim != 4 or before != field.grid:  # channels last
        return None
    first = field.first[0] - top * field.step[0], field.first[1] - left * field.step[1]
    return replace(field, first=first, grid=tuple(result.shape[2:]))


def _met(fields: list[Field], weights: list[float], result: Tensor) -> Field | None:
    """Of what works on each cell by itself: the mean of those inputs that have the result's cells."""
    here = [(field, weight) for field, weight in zip(fields, weights, strict=True) if _laid_as(field.grid, result)]
    if not here or len({field.step for field, _ in here}) > 1:
        return None
    total = sum(weight for _, weight in here)
    shares = [weight / total if total > 0 else 1 / len(here) for _, weight in here]
    first = [sum(share * field.first[axis] for share, (field, _) in zip(shares, here, strict=True)) for axis in (0, 1)]
    return replace(here[0][0], first=tuple(first))


def _laid_as(grid: tuple[int, int], result: Tensor) -> bool:
    """Whether a tensor has these cells: channels first, channels last, or one after the other as tokens."""
    if result.ndim == 3:
        return grid[0] * grid[1] in result.shape[1:]
    return grid in (tuple(result.shape[-2:]), tuple(result.shape[1:3]) if result.ndim == 4 else ())


def _without_input(kwargs: Mapping) -> dict:
    names = {"bias": "_bias"}
    return {names.get(name, name): value for name, value in kwargs.items() if name != "input"}


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def _variance(tensor: Tensor) -> float:
    return float(tensor.float().var(dim=(-2, -1), correction=0).sum()) if tensor.ndim >= 2 else 0.0


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(one)


def places_of_layer(model: nn.Module, layer: str, grid: Grid, batch: Tensor) -> CellPlaces:
    """Where the cells of a layer lie on inputs of the size of `batch`.

    Parameters
    ----------
    batch : (B, 3, H, W) of noise, of the model's dtype and on its device

    Returns
    -------
    places : not known where the trail through the network is lost and no patches tell
    """
    outputs: list[Tensor] = []
    followed, size = _Followed(batch), tuple(batch.shape[2:])
    keep = forward_hook(model.get_submodule(layer), lambda _module, _inputs, output: outputs.append(output))
    with torch.no_grad(), evaluation_mode(model), keep, followed:
        model(batch)
    field = followed.field_of(outputs[0])
    cells = tuple(grid.cells(outputs[0], size).shape[2:])
    if field is not None and field.grid == cells:
        return CellPlaces.of_pixels(field.first, field.step, cells, size, RECEPTIVE_FIELD)
    if followed.patch is None:
        return CellPlaces()
    step = tuple(_stride_of_patches(*one) for one in zip(followed.patch, size, cells, strict=True))
    return CellPlaces.of_pixels(tuple(one / 2 for one in step), step, cells, size, PATCHES)


def _stride_of_patches(patch: int, side: int, cells: int) -> int:
    """Patches are merged two by two, if at all (Swin): `patch` times the power of two that gives so many cells."""
    return min((patch * 2**times for times in range(8)), key=lambda stride: (abs(-(-side // stride) - cells), stride))

"""Where on the image does each number of a layer's output stand: channels first, channels last, or tokens?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

CHANNELS_FIRST, CHANNELS_LAST, TOKENS = "channels first", "channels last", "tokens"
_MOST_PREFIX = 8  # class, distillation and register tokens together


@dataclass(frozen=True)
class Grid:
    """How a layer's output is laid over the image.

    Parameters
    ----------
    layout : CHANNELS_FIRST (B, C, h, w), CHANNELS_LAST (B, h, w, C) as in Swin, TOKENS (B, prefix + h w, C) as in ViT
    prefix : tokens before the first patch, which stand nowhere on the image (class, distillation, registers)
    """

    layout: str
    prefix: int = 0

    def cells(self, output: Tensor, input_size: tuple[int, int]) -> Tensor:
        """The output as (B, C, h, w), a view; `input_size` (H, W) tells the shape of a grid of tokens."""
        if self.layout == CHANNELS_FIRST:
            return output
        if self.layout == CHANNELS_LAST:
            return output.permute(0, 3, 1, 2)
        patches = output[:, self.prefix :].transpose(1, 2)
        return patches.unflatten(2, token_grid(patches.shape[2], input_size))

    def channels(self, shape: tuple[int, ...]) -> int:
        return shape[1] if self.layout == CHANNELS_FIRST else shape[-1]


def find_grid(shape: tuple[int, ...] | None, input_size: tuple[int, int], prefix: int | None) -> Grid | None:
    """The grid of an output of this shape for inputs of (H, W); None where it is no picture of more than one cell.

    Parameters
    ----------
    prefix : how many tokens the model itself says come before the patches; None where it does not say
    """
    if shape is None:
        return None
    if len(shape) == 4:
        return _grid_of_planes(shape, input_size)
    if len(shape) == 3:
        for tokens in range(_MOST_PREFIX + 1) if prefix is None else (prefix,):
            if shape[1] - tokens > 1 and _factors(shape[1] - tokens, input_size):
                return Grid(TOKENS, tokens)
    return None


def _grid_of_planes(shape: tuple[int, ...], input_size: tuple[int, int]) -> Grid | None:
    """Whichever of (h, w) = the last two or the middle two keeps the input's aspect ratio better."""
    wanted = input_size[0] / input_size[1]
    first = abs(math.log(shape[2] / shape[3] / wanted))
    last = abs(math.log(shape[1] / shape[2] / wanted))
    if first <= last:
        found = first < math.log(2) and shape[2] * shape[3] > 1
        return Grid(CHANNELS_FIRST) if found else None
    if shape[1] * shape[2] > 1 and _one_stride((shape[1], shape[2]), input_size):
        return Grid(CHANNELS_LAST)
    return Grid(CHANNELS_FIRST) if first < math.log(2) and shape[2] * shape[3] > 1 else None


def token_grid(n_tokens: int, input_size: tuple[int, int]) -> tuple[int, int]:
    """(h, w) with h w = n_tokens, of one stride in both directions of an input of (H, W).

    Raises
    ------
    ValueError : no such grid; the engine finds out when it is built.
    """
    found = _factors(n_tokens, input_size)
    if found is None:
        raise ValueError(f"{n_tokens} tokens are no grid of an input of {input_size[0]}×{input_size[1]}")
    return found


def _factors(n_tokens: int, input_size: tuple[int, int]) -> tuple[int, int] | None:
    wanted = input_size[0] / input_size[1]
    pairs = [(h, n_tokens // h) for h in range(1, n_tokens + 1) if n_tokens % h == 0]
    fitting = [pair for pair in pairs if _one_stride(pair, input_size)]
    return min(fitting, key=lambda pair: abs(math.log(pair[0] / pair[1] / wanted)), default=None)


def _one_stride(grid: tuple[int, int], input_size: tuple[int, int]) -> bool:
    """Whether one stride, the same for rows and columns, gives this grid up to rounding to whole cells."""
    lowest = max(side / (cells + 1) for side, cells in zip(input_size, grid, strict=True))
    highest = min(side / (cells - 1) if cells > 1 else math.inf for side, cells in zip(input_size, grid, strict=True))
    return lowest < highest

"""What does occlusion say: how far does a class's logit fall when a part of the image is hidden?

Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 4.2. A square window goes
over the image in steps of one cell; under it the input is 0, the mean colour once normalised. A cell's value is the
mean fall of the logit, logit(image) - logit(hidden), over the windows that cover it: positive where hiding hurts.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import torch
from torch import Tensor

from melascope.explain.methods.rows import Seen

CELLS = 14
"""Cells along the shorter side."""

WINDOW = 3
"""Side of the window, in cells."""

PASSES_AT_ONCE = 32


def from_forward(seen: Seen) -> Tensor:
    """Occlusion maps of every class asked for: (B, k, rows, columns), signed, in logit units."""
    height, width = seen.batch.shape[2:]
    side = cell_side(height, width)
    rows, columns = ceil(height / side), ceil(width / side)
    windows = list(_windows(rows, columns))
    maps = []
    for image, logits in zip(seen.batch, seen.logits, strict=True):
        falls = logits - torch.cat([seen.ask(hidden) for hidden in _hidden(image, windows, side)])
        maps.append(_mean_over_windows(falls, windows, rows, columns))
    return torch.stack(maps)


def cell_side(height: int, width: int) -> int:
    """Pixels of a cell's side; the last cells may reach beyond the picture."""
    return ceil(min(height, width) / CELLS)


def _windows(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Every place of the window that lies wholly on the grid; a grid smaller than the window is one place."""
    for top in range(max(rows - WINDOW, 0) + 1):
        for left in range(max(columns - WINDOW, 0) + 1):
            yield slice(top, min(top + WINDOW, rows)), slice(left, min(left + WINDOW, columns))


def _hidden(image: Tensor, windows: list[tuple[slice, slice]], side: int) -> Iterator[Tensor]:
    """Copies (n, 3, H, W) of the image, each with one window at 0."""
    for start in range(0, len(windows), PASSES_AT_ONCE):
        part = windows[start : start + PASSES_AT_ONCE]
        copies = image.expand(len(part), *image.shape).clone()
        for copy, (rows, columns) in zip(copies, part, strict=True):
            copy[:, rows.start * side : rows.stop * side, columns.start * side : columns.stop * side] = 0
        yield copies


def _mean_over_windows(falls: Tensor, windows: list[tuple[slice, slice]], rows: int, columns: int) -> Tensor:
    """(k, rows, columns): the mean of `falls` (n_windows, k) over the windows that cover each cell."""
    total = falls.new_zeros(falls.shape[1], rows, columns)
    count = falls.new_zeros(rows, columns)
    for fall, window in zip(falls, windows, strict=True):
        total[(slice(None), *window)] += fall[:, None, None]
        count[window] += 1
    return total / count

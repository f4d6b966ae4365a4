"""What may lie between camera and lesion in training: hair, a ruler, the dark corners of a contact dermatoscope?

Every function takes (m, 3, height, width) float32 in [0, 1] and gives the same shape and range back; the share of the
images that a recipe asks for is covered, the others stay as they are. No drawing library: a hair is the set of points
near a parabola, a ruler one near a comb, so a whole batch is covered at once on its device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from melascope.config import AugmentRecipe
from melascope.models.draws import Draws

_HAIRS = 12
"""At most so many in one picture."""

Covering = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""x (1, 1, w), y (1, h, 1) in picture widths from the middle, numbers (k, …) -> cover (k, h, w), colour (k, 3)."""


def add_hair(batch: torch.Tensor, recipe: AugmentRecipe, draws: Draws) -> torch.Tensor:
    """One to twelve bent hairs of one colour, roughly in one direction."""
    return _covered(batch, recipe.hair, draws.uniform(0, 1, 3 + 6 * _HAIRS), draws.uniform(0, 1), _hair)


def add_ruler(batch: torch.Tensor, recipe: AugmentRecipe, draws: Draws) -> torch.Tensor:
    """A millimetre scale along one side, every fifth tick longer."""
    return _covered(batch, recipe.ruler, draws.uniform(0, 1, 6), draws.uniform(0, 1), _ruler)


def add_dark_corners(batch: torch.Tensor, recipe: AugmentRecipe, draws: Draws) -> torch.Tensor:
    """Nearly black beyond a circle, with a soft rim."""
    return _covered(batch, recipe.dark_corners, draws.uniform(0, 1, 7), draws.uniform(0, 1), _dark_corners)


def _covered(
    batch: torch.Tensor, share: float, numbers: torch.Tensor, chance: torch.Tensor, covering: Covering
) -> torch.Tensor:
    """Paint the covering over those images whose `chance` (m,) is below `share`; `numbers` (m, k) decide how."""
    chosen = torch.nonzero(chance < share).flatten()
    if not len(chosen):
        return batch
    height, width = batch.shape[-2:]
    x = ((torch.arange(width, device=batch.device) + 0.5) / width - 0.5).view(1, 1, -1)
    y = ((torch.arange(height, device=batch.device) + 0.5 - height / 2) / width).view(1, -1, 1)
    cover, colour = covering(x, y, numbers[chosen])
    batch = batch.clone()
    batch[chosen] = torch.lerp(batch[chosen], colour[:, :, None, None], cover[:, None])
    return batch


def _between(numbers: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Numbers (k,) in [0, 1) spread over [low, high), shaped to meet pictures (k, h, w)."""
    return (low + (high - low) * numbers).view(-1, 1, 1)


def _edge(distance: torch.Tensor, half: torch.Tensor | float, width: int) -> torch.Tensor:
    """1 within `half` of a line, 0 a pixel further out."""
    return ((half - distance) * width + 0.5).clamp(0, 1)


def _hair(x: torch.Tensor, y: torch.Tensor, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    width = x.shape[-1]
    heading, how_many = _between(numbers[:, 0], 0, 6.2832), 1 + (numbers[:, 1].square() * _HAIRS).floor()
    open_share = torch.ones(len(numbers), y.shape[1], width, device=x.device)
    for hair in range(int(how_many.max())):
        turn, aside, bend, middle, length, thick = numbers[:, 3 + 6 * hair : 9 + 6 * hair].unbind(1)
        angle = heading + _between(turn, -0.5, 0.5)
        along = x * torch.cos(angle) + y * torch.sin(angle) - _between(middle, -0.3, 0.3)
        across = y * torch.cos(angle) - x * torch.sin(angle) - _between(aside, -0.5, 0.5)
        bent = _between(bend, -1.2, 1.2)
        off = (across - bent * along.square()).abs() / torch.sqrt(1 + (2 * bent * along).square())
        taper = 1 - (along / _between(length, 0.15, 0.6)).square()  # thinner towards both ends
        line = _edge(off, _between(thick, 0.0012, 0.0035) * taper.clamp(min=0).sqrt(), width) * (taper > 0)
        open_share = open_share * (1 - 0.85 * line * (hair < how_many).view(-1, 1, 1))
    dark = torch.tensor((0.16, 0.10, 0.08), device=x.device)
    blond = torch.tensor((0.80, 0.70, 0.58), device=x.device)
    return 1 - open_share, torch.where((numbers[:, 2] < 0.12)[:, None], blond, dark)


def _ruler(x: torch.Tensor, y: torch.Tensor, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    side, tilt, gap, start, margin, ink = numbers.unbind(1)
    width, tall = x.shape[-1], y.shape[1] / x.shape[-1]
    upright, far = side.ge(0.5).view(-1, 1, 1), (side * 4).floor().remainder(2).eq(1).view(-1, 1, 1)
    along, across = torch.where(upright, y, x), torch.where(upright, x, y)
    reach = torch.where(upright, torch.ones_like(across) / 2, torch.full_like(across, tall / 2))
    inwards = (
        reach + torch.where(far, across, -across) - _between(margin, 0.01, 0.05) + _between(tilt, -0.06, 0.06) * along
    )
    ticks = along / _between(gap, 0.027, 0.043) + _between(start, 0, 5)
    nearest = ticks.round()
    length = torch.where(nearest.remainder(5) == 0, 0.037, 0.020)
    off = (ticks - nearest).abs() * _between(gap, 0.027, 0.043)
    cover = 0.85 * _edge(off, 0.0015, width) * ((inwards > 0) & (inwards < length))
    return cover, (0.08 + 0.08 * ink)[:, None].expand(-1, 3)


def _dark_corners(x: torch.Tensor, y: torch.Tensor, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    radius, aside, above, soft = numbers[:, :4].unbind(1)
    distance = torch.hypot(x - _between(aside, -0.03, 0.03), y - _between(above, -0.03, 0.03))
    cover = ((distance - _between(radius, 0.46, 0.60)) / _between(soft, 0.003, 0.02) + 0.5).clamp(0, 1)
    return cover, 0.01 + numbers[:, 4:] * torch.tensor((0.11, 0.05, 0.08), device=x.device)

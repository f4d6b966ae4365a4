"""Which epoch's weights are kept: the best by one figure of validation, among those good enough by another?"""

from __future__ import annotations

from melascope.config import TrainRecipe

LOWER_IS_BETTER = frozenset({"nll"})


def rank(figures: dict[str, float], recipe: TrainRecipe) -> tuple[float, float]:
    """The higher, the better: first how near the floor (all above it are equal), then the figure itself.

    So where no epoch reaches the floor, the one that comes nearest is kept.
    """
    sign = -1.0 if recipe.select_by in LOWER_IS_BETTER else 1.0
    reached = min(figures[recipe.floor_by], recipe.floor) if recipe.floor_by else 0.0
    return reached, sign * figures[recipe.select_by]


def figures_needed(recipe: TrainRecipe) -> list[str]:
    """The figures that validation must be able to tell."""
    return [name for name in (recipe.select_by, recipe.floor_by) if name]

"""How is a figure written down: with its n and interval, or with the reason why there is none?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NotApplicable:
    """An undefined figure and its reason, e.g. `NotApplicable("n=0 melanoma images")`. Never NaN, never 0."""

    reason: str

    def __str__(self) -> str:
        return f"not applicable ({self.reason})"

    def as_json(self) -> dict[str, Any]:
        return {"not_applicable": self.reason}


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Parameters
    ----------
    value : point estimate.
    low, high : ends of the interval; None where none was computed.
    n : number of images (or lesions, see `unit`) that the figure is a share or mean of.
    n_lesions : number of distinct lesions among them: what the interval's width really rests on.
    unit : "image" or "lesion".
    """

    value: float
    low: float | None
    high: float | None
    n: int
    n_lesions: int
    unit: str = "image"

    def __str__(self) -> str:
        interval = f" [{self.low:.3f}, {self.high:.3f}]" if self.low is not None and self.high is not None else ""
        plural = "s" if self.n != 1 else ""
        lesions = f" of {self.n_lesions} lesions" if self.unit == "image" else ""
        return f"{self.value:.3f}{interval} (n={self.n} {self.unit}{plural}{lesions})"

    def as_json(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "n_lesions": self.n_lesions,
            "unit": self.unit,
        }


Figure = Estimate | NotApplicable
"""What a metric returns."""


def figure_from_json(value: dict[str, Any]) -> Figure:
    """Read back what `as_json` wrote."""
    if "not_applicable" in value:
        return NotApplicable(value["not_applicable"])
    return Estimate(**value)


def figures_as_json(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Named figures as JSON."""
    return {name: figure.as_json() for name, figure in figures.items()}


def figures_from_json(content: Mapping[str, Any]) -> dict[str, Figure]:
    """Read back what `figures_as_json` wrote."""
    return {name: figure_from_json(figure) for name, figure in content.items()}

"""How does every plot look: one title, n below it, the notice at its foot, the same bytes each time?"""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import wrap

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from melascope.classes import RESEARCH_ONLY
from melascope.files import atomic_path, make_folder

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#595959"
"""Okabe & Ito's colour-blind-safe blue and vermilion; lines differ in dash and marker too, so grey print is read."""

_LINE = 0.19  # inches, of a line below the title
_LETTERS = 14.8  # that stand on an inch of it
_HARD_SPACE = "\u00a0"  # `wrap` does not break there

_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "svg.hashsalt": "melascope",  # element ids depend on the content alone
}


def canvas(
    title: str,
    subtitle: str,
    source: str,
    *,
    size: tuple[float, float] = (7.6, 7.6),
    left: float = 0.8,
    right: float = 0.3,
) -> tuple[Figure, Axes]:
    """A figure of `size` inches with a title, smaller lines below it, and the notice at its foot.

    A line too long for the picture is broken; a third line and more make the figure higher, so that the plot keeps its
    size. `left` and `right` are the margins in inches. A phantom's figures say so in the picture, wherever it is
    copied to.
    """
    subtitle = _broken(subtitle, int(_LETTERS * (size[0] - 0.3)))
    more = _LINE * max(0, subtitle.count("\n") - 1)
    width, height = size[0], size[1] + more
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((left / width, 0.85 / height, 1 - (left + right) / width, 1 - (1.85 + more) / height))
    edge = 0.15 / width
    figure.text(edge, 1 - 0.15 / height, title, va="top", fontsize=13, fontweight="bold")
    figure.text(edge, 1 - 0.45 / height, subtitle, va="top", fontsize=9, color=GREY, linespacing=1.4)
    figure.text(edge, 0.12 / height, RESEARCH_ONLY, fontsize=7.5, color=GREY)
    if source == "phantom":
        axes.text(
            *(0.5, 0.5, "PHANTOM\nsynthetic images"),
            transform=axes.transAxes,
            ha="center",
            va="center",
            rotation=30,
            fontsize=34,
            fontweight="bold",
            color="#b00020",
            alpha=0.13,
            zorder=0.5,
        )
    return figure, axes


def _broken(text: str, letters: int) -> str:
    """Lines of at most so many letters; a figure stays on one line with its interval and counts."""
    whole = re.sub(r"\S+ \[[^\]]*\](?: \([^)]*\))?", lambda figure: figure[0].replace(" ", _HARD_SPACE), text)
    lines = [part for line in whole.split("\n") for part in wrap(line, letters) or [""]]
    return "\n".join(lines).replace(_HARD_SPACE, " ")


def label_line(axes: Axes, point: tuple[float, float], label: str, colour: str, *, above: bool, rises: bool) -> None:
    """Write a line's name beside one of its points, on the side from which it does not bend towards the name."""
    axes.annotate(
        label,
        point,
        xytext=(0, 6 if above else -6),
        textcoords="offset points",
        ha="right" if above == rises else "left",
        va="bottom" if above else "top",
        color=colour,
        fontweight="bold",
    )


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name`.png and `name`.svg, whole or not at all, without date: the same figure gives the same bytes."""
    folder = make_folder(Path(folder))
    paths = []
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        with atomic_path(folder / f"{name}.{kind}") as temporary, matplotlib.rc_context(_STYLE):
            figure.savefig(temporary, format=kind, dpi=160, metadata=metadata)
        paths.append(folder / f"{name}.{kind}")
    return paths

"""How does a comparison look on a terminal: which model is which, each one's figures, then what sets them apart?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from melascope.classes import RESEARCH_ONLY
from melascope.evaluation.compare import NO_THRESHOLD
from melascope.evaluation.compared import COMPARED
from melascope.evaluation.comparison import Comparison, Contender, Pair, signed
from melascope.evaluation.evaluate import NO_HISTOLOGY
from melascope.evaluation.lesion_level import LESION_RULE
from melascope.evaluation.record import with_interval
from melascope.tables.results import Figure, NotApplicable

_Figures = dict[str, Figure]
_LABEL, _COLUMN = 26, 26  # widths: a figure's name; `-0.052 [-0.070, -0.035]` and its margin
_IDS_SHOWN = 8


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print what is compared, each model's figures, the differences, who finds which lesions, seeds and notes."""
    phantom = "PHANTOM (synthetic images): " if comparison.source == "phantom" else ""
    console.print(Text(f"{phantom}{comparison.sizes}", style="bold"), highlight=False)
    console.print(Text(comparison.histology_sizes), highlight=False)
    for contender in comparison.contenders:
        console.print(_hanging(contender.letter, f"{contender.name}: {contender.rule}"))
    figures = {one.letter: (one.figures, one.histology) for one in comparison.contenders}
    differences = {pair.name: (pair.differences, pair.histology) for pair in comparison.pairs}
    tables = [*_tables("Each model", figures, _value, console), *_tables("Differences", differences, signed, console)]
    for table in tables:
        console.print()
        console.print(table)
    console.print()
    told = f"[ ] 95 % interval by lesion; of a difference from the same draws for both. Per lesion: {LESION_RULE}."
    console.print(Text(told, style="dim"))
    for pair in comparison.pairs:
        for sentence in _who_finds(pair, comparison):
            console.print(_hanging("•", sentence))
    for sentence in (*map(_seeds, comparison.contenders), *comparison.notes):
        console.print(_hanging("•", sentence))
    console.print(Text(RESEARCH_ONLY, style="italic"), highlight=False)


def _tables(
    title: str, columns: dict[str, tuple[_Figures, _Figures]], cell: Callable[[Figure], str], console: Console
) -> Iterator[Table]:
    """Figures by model, as many models beside each other as the terminal has room for.

    `columns` holds those of all images and of histology alone, which stand below each headline figure.
    """
    together = max(1, (console.width - _LABEL) // _COLUMN)
    names = list(columns)
    for start in range(0, len(names), together):
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        table.add_column("figure")
        for name in names[start : start + together]:
            table.add_column(name, justify="right")
        for figure, compared in COMPARED.items():
            if all(everything[figure] == NO_THRESHOLD for everything, _ in columns.values()):
                continue  # nobody has a threshold, as the notes say
            shown = [columns[name] for name in names[start : start + together]]
            cells = [cell(everything[figure]) for everything, _ in shown]
            table.add_row(compared.label, *cells, style="bold" if figure == "sensitivity" else "")
            if compared.headline:
                table.add_row("  histology only", *(_alone(cell, histology[figure]) for _, histology in shown))
        yield table


def _alone(cell: Callable[[Figure], str], figure: Figure) -> str:
    return "none" if figure == NO_HISTOLOGY else cell(figure)


def _value(figure: Figure) -> str:
    return str(figure) if isinstance(figure, NotApplicable) else with_interval(figure, 3)


def _who_finds(pair: Pair, comparison: Comparison) -> Iterator[str]:
    """The paired tables in words, with the first of the lesions; all ids are in the JSON."""
    by = "" if pair.found_at == "operating_point" else " (top class)"
    for unit, table in pair.found.items():
        yield (
            f"{comparison.target_name.capitalize()} {unit}s found{by} by both {pair.first} and {pair.other}: "
            f"{table.both:,}, by neither: {table.neither:,}, by {pair.first} alone: {len(table.only_first):,}, "
            f"by {pair.other} alone: {len(table.only_other):,}."
        )
    lesions = pair.found["lesion"]
    for letter, ids in ((pair.first, lesions.only_first), (pair.other, lesions.only_other)):
        if ids:
            more = f" and {len(ids) - _IDS_SHOWN:,} more (comparison.json)" if len(ids) > _IDS_SHOWN else ""
            yield f"Lesions that {letter} alone finds: {', '.join(ids[:_IDS_SHOWN])}{more}."


def _seeds(contender: Contender) -> str:
    """How the headline figures move with the seed."""
    shown = ("sensitivity", "specificity", "auroc")
    told = {name: contender.seed_spread[name] for name in shown}
    if len({str(spread) for spread in told.values()}) == 1:
        return f"Seed spread of {contender.letter}: {told['sensitivity']}."
    return (
        f"Seed spread of {contender.letter}: "
        + "; ".join(f"{COMPARED[name].label} {told[name]}" for name in shown)
        + "."
    )


def _hanging(mark: str, sentence: str) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_row(mark, Text(sentence))
    return grid

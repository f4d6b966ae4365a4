"""How do the tests of a run's maps look on a terminal: the gate first, in red where it fails?"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from melascope.classes import RESEARCH_ONLY
from melascope.evaluation.record import plural, with_interval
from melascope.report.map_test_plot import FAITHFULNESS, MEASURES
from melascope.tables.map_scores import MapTests
from melascope.tables.results import Estimate, Figure


def print_map_tests(tests: MapTests, console: Console) -> None:
    """Print the gate, then the maps beside maps that know nothing."""
    facts = tests.facts
    console.print(_gate(tests), highlight=False)
    for check in tests.gate:
        style = "green" if check.passed else "bold red"
        console.print(Text(f"  {check.name}: {check.found} ({check.expected})", style=style), highlight=False)
    console.print(
        f"{facts['method']} at {facts['layer']}, {facts['map_cells']} cells; {facts['split']}: "
        f"{plural(facts['n_images'], 'image')} of {plural(facts['n_lesions'], 'lesion')}; lesion masks: "
        + ", ".join(f"{name} {count:,}" for name, count in facts["masks"].items()),
        highlight=False,
    )
    console.print(_on_the_lesion(tests))
    console.print(_faithfulness(tests))
    console.print(
        Text("[ ] 95 % interval by lesion; a map without positive evidence is counted, not scored", style="dim")
    )
    console.print(Text(RESEARCH_ONLY, style="italic"), highlight=False)


def _gate(tests: MapTests) -> Text:
    return Text(tests.headline, style="bold green" if tests.passed else "bold red")


def _on_the_lesion(tests: MapTests) -> Table:
    table = Table(
        "map of the predicted class", "map", "random map", "Gaussian", title="On the lesion", title_justify="left"
    )
    for measure in MEASURES:
        found = [
            tests.of("lesion mask", measure, against=against) for against in ("", "area share", "centred Gaussian")
        ]
        table.add_row(measure.replace("_", " "), *(_text(one) for one in found))
    for measure in ("right_of_lesion", "below_lesion"):
        found = [tests.of("lesion mask", measure, against=one) for one in ("", "area share", "centred Gaussian")]
        table.add_row(f"{measure.replace('_', ' ')} (0: aligned)", *(_text(one) for one in found))
    table.add_row("no positive evidence", _text(tests.of("lesion mask", "no_positive_evidence")), "", "")
    return table


def _faithfulness(tests: MapTests) -> Table:
    n = plural(tests.facts["n_asked_again"], "image")
    table = Table("figure", "map", "less random map", "less Gaussian", title=f"Faithfulness, {n}", title_justify="left")
    for name, (label, sign) in FAITHFULNESS.items():
        controls = [
            tests.of("faithfulness", name, against=f"map - {one}") for one in ("random map", "centred Gaussian")
        ]
        better = "higher is better" if sign > 0 else "lower is better"
        label = label.replace(" (turned)", "")
        table.add_row(f"{label} ({better})", _text(tests.of("faithfulness", name)), *(_text(one) for one in controls))
    return table


def _text(figure: Figure) -> str:
    return with_interval(figure, 3) if isinstance(figure, Estimate) else "n/a"

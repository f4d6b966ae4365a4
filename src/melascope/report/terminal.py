"""How does an evaluation look on a terminal: headline first, n beside every figure?"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from melascope.classes import CLASS_NAMES, RESEARCH_ONLY
from melascope.evaluation.decisions import Decision
from melascope.evaluation.intervals import MIN_LESIONS
from melascope.evaluation.record import Evaluation, Group, plural, share, with_interval
from melascope.tables.results import Figure, NotApplicable

_WIDE = 104  # columns from which a figure and its interval fit on one line of the decision table
_LABELS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro-F1"}
_AT = {"argmax": "top class", "operating_point": "threshold"}


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print the headline, the decisions on the target, the classes, and what the reader must know."""
    console.print(Text(evaluation.headline(), style="bold"), highlight=False)
    console.print()
    console.print(_decision_table(evaluation, wide=console.width >= _WIDE))
    console.print(_price(evaluation), highlight=False)
    console.print()
    console.print(_class_table(evaluation.whole, wide=console.width >= _WIDE))
    for reason in _reasons(evaluation.whole):
        console.print(_bullet(reason))
    console.print()
    console.print(_overall_table(evaluation))
    console.print()
    console.print(Text(_interval_note(evaluation), style="dim"))
    for caveat in evaluation.caveats:
        console.print(_bullet(caveat))
    console.print(Text(RESEARCH_ONLY, style="italic"), highlight=False)


def _decision_table(evaluation: Evaluation, *, wide: bool) -> Table:
    table = _table(f"{evaluation.target_name.capitalize()}: found and missed")
    table.add_column("decision by")
    for name in ("sensitivity", "specificity", "PPV", "NPV"):
        table.add_column(name, justify="right")
    for decision in evaluation.whole.decisions:
        counts = {"sensitivity": decision.tp, "specificity": decision.tn, "ppv": decision.tp, "npv": decision.tn}
        cells = [_cell(decision.figures[name], count, wide) for name, count in counts.items()]
        frozen = decision.at == "operating_point"
        table.add_row(f"{_AT[decision.at]}\nper {decision.unit}", *cells, style="bold" if frozen else "")
    return table


def _cell(figure: Figure, count: int, wide: bool) -> str:
    if isinstance(figure, NotApplicable):
        return str(figure)
    value, _, bounds = with_interval(figure).partition(" ")
    return f"{value}{' ' if wide else chr(10)}{bounds}\n{count:,}/{figure.n:,}" if bounds else share(figure, count)


def _price(evaluation: Evaluation) -> Text:
    lines = []
    for name, group in evaluation.groups.items():
        if isinstance(group, NotApplicable):
            lines.append(f"Truth from histology only: {group}")
            continue
        decision = group.decision(evaluation.at, "image")
        if name == "all":
            lines.append(_missed(evaluation, group))
        else:
            lines.append(
                f"Truth from {name} only ({plural(group.n_images, 'image')}): "
                f"sensitivity {share(decision.figures['sensitivity'], decision.tp)}, "
                f"specificity {share(decision.figures['specificity'], decision.tn)}"
            )
    return Text("\n".join(lines))


def _missed(evaluation: Evaluation, group: Group) -> str:
    def missed(decision: Decision) -> str:
        return f"{decision.fn:,} of {plural(decision.tp + decision.fn, evaluation.target_name + ' ' + decision.unit)}"

    image, lesion = (group.decision(evaluation.at, unit) for unit in ("image", "lesion"))
    price = image.figures["false_alarms_per_found"]
    price = price if isinstance(price, NotApplicable) else with_interval(price, digits=1)
    return (
        f"Missed by {_AT[evaluation.at]}: {missed(image)}, {missed(lesion)}.\n"
        f"False alarms per {evaluation.target_name} image found: {price}"
    )


def _class_table(group: Group, *, wide: bool) -> Table:
    table = _table("Each class against the rest (per image, top class)")
    table.add_column("class")
    table.add_column("images/lesions", justify="right")
    for name in ("recall", "specificity", "AUROC"):
        table.add_column(name, justify="right")
    for name, (images, lesions) in group.class_counts.items():
        cells = [_one_line(group.per_class[metric][name]) for metric in ("recall", "specificity", "auroc")]
        label = f"{name:<6} {CLASS_NAMES[name]}" if wide else name
        table.add_row(label, f"{images:,}/{lesions:,}", *cells, style="bold" if name == "mel" else "")
    return table


def _one_line(figure: Figure) -> str:
    return "not applicable" if isinstance(figure, NotApplicable) else with_interval(figure)


def _reasons(group: Group) -> list[str]:
    figures = [figure for by_class in group.per_class.values() for figure in by_class.values()]
    return sorted({str(figure) for figure in figures if isinstance(figure, NotApplicable)})


def _overall_table(evaluation: Evaluation) -> Table:
    groups = {name: group for name, group in evaluation.groups.items() if isinstance(group, Group)}
    table = _table("All classes (per image, top class)")
    table.add_column("figure")
    for name, group in groups.items():
        label = "all" if name == "all" else f"{name} only"
        table.add_column(f"{label}\n{group.n_images:,}/{group.n_lesions:,}", justify="right")
    for figure in evaluation.whole.overall:
        cells = [_one_line(group.overall[figure]) for group in groups.values()]
        table.add_row(_LABELS.get(figure, figure), *cells)
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _interval_note(evaluation: Evaluation) -> str:
    return (
        f"[ ] 95 % interval from {evaluation.draws:,} bootstrap draws of whole lesions; "
        f"exact binomial where hits or misses are few, none for other figures of fewer than {MIN_LESIONS} lesions."
    )


def _bullet(sentence: str) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_row("•", Text(sentence))
    return grid

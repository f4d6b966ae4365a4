"""How does an evaluation look on a terminal: headline first, n beside every figure?"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from melascope.classes import CLASS_NAMES, RESEARCH_ONLY
from melascope.evaluation.decisions import Decision
from melascope.evaluation.intervals import MIN_LESIONS
from melascope.evaluation.lesion_level import LESION_RULE
from melascope.evaluation.operating_point import OperatingPoint
from melascope.evaluation.price import PriceRow
from melascope.evaluation.record import Evaluation, Group, plural, share, with_interval
from melascope.report.captions import (
    abstention_text,
    benefit_text,
    calibration_text,
    histology_parts,
    histology_sizes,
    target_label,
)
from melascope.tables.results import Figure, NotApplicable

_WIDE = 104  # columns from which a figure and its interval fit on one line of the decision table
_LABELS = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "ppv": "PPV",
    "npv": "NPV",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "partial_auroc": "AUROC above 80 % sensitivity (0–0.2)",
}
_AT = {"argmax": "top class", "operating_point": "threshold"}


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print the headline, the decisions on the target, the classes, and what the reader must know."""
    console.print(Text(evaluation.headline(), style="bold"), highlight=False)
    console.print(Text(evaluation.histology()), highlight=False)
    console.print()
    console.print(_decision_table(evaluation, wide=console.width >= _WIDE))
    console.print(Text(_missed(evaluation)), highlight=False)
    console.print(_elsewhere(evaluation), highlight=False)
    console.print()
    console.print(_class_table(evaluation.whole, evaluation.target, wide=console.width >= _WIDE))
    for reason in _reasons(evaluation.whole):
        console.print(_bullet(reason))
    console.print()
    console.print(_overall_table(evaluation))
    console.print()
    for sentence in _trust(evaluation):
        console.print(_bullet(sentence.lstrip(), " " if sentence.startswith(" ") else "•"))
    for sentence in _sets(evaluation):
        console.print(_bullet(sentence))
    console.print()
    if evaluation.subgroups:
        console.print(_subgroup_table(evaluation, wide=console.width >= _WIDE))
        console.print()
    console.print(Text(_interval_note(evaluation), style="dim"))
    for caveat in evaluation.caveats:
        console.print(_bullet(caveat))
    console.print(Text(RESEARCH_ONLY, style="italic"), highlight=False)


def print_price_menu(rows: Sequence[PriceRow], point: OperatingPoint, console: Console) -> None:
    """Print what other target sensitivities would have cost; the row of the frozen point is bold."""
    name, prevalence = point.target_name, rows[0].prevalence
    table = _table(f"What finding {name} costs: validation, one result a lesion, rule {point.rule}")
    for header in ("asked for", "threshold", "sensitivity", "specificity"):
        table.add_column(header, justify="right")
    table.add_column("false alarms\nper found", justify="right")
    table.add_column(f"biopsies per found\nat {prevalence:.1%} prevalence", justify="right")
    for row in rows:
        shown = ((row.threshold, 4), (row.sensitivity, 3), (row.specificity, 3))
        shown += ((row.false_alarms_per_found, 1), (row.biopsies_per_found, 1))
        cells = ["–" if isinstance(number, NotApplicable) else f"{number:.{digits}f}" for number, digits in shown]
        frozen = row.target_sensitivity == point.target_sensitivity
        table.add_row(f"{row.target_sensitivity:.2f}", *cells, style="bold" if frozen else "")
    console.print(table)
    for sentence in (point.promise, *_gaps(rows)):
        console.print(_bullet(sentence))


def _gaps(rows: Sequence[PriceRow]) -> list[str]:
    """Why a row of the menu has no figures."""
    missing = [row for row in rows if isinstance(row.threshold, NotApplicable)]
    return [f"{row.target_sensitivity:.2f}: {row.threshold}" for row in missing]


def print_external(home: Evaluation, external: Evaluation, console: Console) -> None:
    """Print what holds at home beside what holds on another collection, at the same frozen threshold."""
    console.print(Text(external.headline(), style="bold"), highlight=False)
    console.print(Text(external.histology()), highlight=False)
    console.print(Text(f"at home: {home.headline()}"), highlight=False)
    console.print(Text(f"at home, {home.histology()}"), highlight=False)
    console.print()
    table = _table(f"At home and elsewhere ({external.rule})")
    table.add_column("figure")
    for name, one in ((home.origin.source or "home", home), (external.origin.source or "external", external)):
        sizes = f"{one.whole.n_images:,}/{one.whole.n_lesions:,}"
        table.add_column(f"{name} ({one.split})\n{sizes}", justify="right")
    for unit in ("image", "lesion"):
        for name in ("sensitivity", "specificity", "ppv", "npv"):
            figures = [one.whole.decision(one.at, unit).figures[name] for one in (home, external)]
            table.add_row(f"{_LABELS.get(name, name)}, per {unit}", *map(_short, figures))
    for name in home.whole.image.target:
        table.add_row(_LABELS.get(name, name), *(_short(one.whole.image.target[name]) for one in (home, external)))
    for name in home.whole.image.overall:
        table.add_row(_LABELS.get(name, name), *(_short(one.whole.image.overall[name]) for one in (home, external)))
    slopes = [one.calibration.figures["target_calibration_slope"] for one in (home, external)]
    table.add_row(f"calibration slope of P({target_label(home)})", *map(_short, slopes))
    console.print(table)
    console.print()
    for caveat in external.caveats:
        console.print(_bullet(caveat))
    console.print(Text(RESEARCH_ONLY, style="italic"), highlight=False)


def _decision_table(evaluation: Evaluation, *, wide: bool) -> Table:
    table = _table(f"{_capital(target_label(evaluation))}: found and missed")
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


def _capital(name: str) -> str:
    """A word at the start of a line; the short names of classes stay as they are."""
    return name if "+" in name else name[0].upper() + name[1:]


def _missed(evaluation: Evaluation) -> str:
    name = target_label(evaluation)

    def missed(decision: Decision) -> str:
        return f"{decision.fn:,} of {plural(decision.tp + decision.fn, name + ' ' + decision.unit)}"

    image, lesion = (evaluation.whole.decision(evaluation.at, unit) for unit in ("image", "lesion"))
    price = image.figures["false_alarms_per_found"]
    price = price if isinstance(price, NotApplicable) else with_interval(price, digits=1)
    return (
        f"Missed by {_AT[evaluation.at]}: {missed(image)}, {missed(lesion)}.\n"
        f"False alarms per {name} image found: {price}"
    )


def _class_table(group: Group, target: tuple[str, ...], *, wide: bool) -> Table:
    table = _table("Each class against the rest (per image, top class)")
    table.add_column("class")
    table.add_column("images/lesions", justify="right")
    shown = ("recall", "specificity", "ppv", "auroc") if wide else ("recall", "specificity", "auroc")
    for metric in shown:
        table.add_column(_LABELS.get(metric, metric), justify="right")
    for name, (images, lesions) in group.class_counts.items():
        cells = [_one_line(group.image.per_class[metric][name]) for metric in shown]
        label = f"{name:<6} {CLASS_NAMES[name]}" if wide else name
        table.add_row(label, f"{images:,}/{lesions:,}", *cells, style="bold" if name in target else "")
    return table


def _one_line(figure: Figure) -> str:
    return "not applicable" if isinstance(figure, NotApplicable) else with_interval(figure)


def _reasons(group: Group) -> list[str]:
    figures = [figure for by_class in group.image.per_class.values() for figure in by_class.values()]
    return sorted({str(figure) for figure in figures if isinstance(figure, NotApplicable)})


def _overall_table(evaluation: Evaluation) -> Table:
    """Figures over all classes, and P(target)'s own, per image and per lesion, and where histology tells the truth."""
    group, histology = evaluation.whole, evaluation.groups["histology"]
    levels = {f"per image\n{group.n_images:,}": group.image, f"per lesion\n{group.n_lesions:,}": group.lesion}
    if isinstance(histology, Group):
        levels[f"histology only\n{histology.n_images:,}/{histology.n_lesions:,}"] = histology.image
    table = _table(f"All classes (top class), and how well P({target_label(evaluation)}) ranks")
    table.add_column("figure")
    for label in levels:
        table.add_column(label, justify="right")
    for figure in group.image.overall:
        table.add_row(_LABELS.get(figure, figure), *(_one_line(level.overall[figure]) for level in levels.values()))
    for figure in group.image.target:
        table.add_row(_LABELS.get(figure, figure), *(_one_line(level.target[figure]) for level in levels.values()))
    return table


def _elsewhere(evaluation: Evaluation) -> Text:
    """PPV and NPV where the target is rarer or commoner than here."""
    decision = evaluation.whole.decision(evaluation.at, "image")
    lines = [
        f"If {prevalence:.0%} of the images were {target_label(evaluation)}: "
        f"PPV {_one_line(figures['ppv'])}, NPV {_one_line(figures['npv'])}"
        for prevalence, figures in decision.at_prevalence.items()
    ]
    return Text("\n".join(lines))


def _trust(evaluation: Evaluation) -> list[str]:
    """Calibration, net benefit and abstention: a sentence each; the plots and JSON have the rest.

    Beside each headline stands the same where truth comes from histology alone.
    """
    name, line = target_label(evaluation), evaluation.histology_line
    alone = [line] * 3 if isinstance(line, NotApplicable) else histology_parts(line)
    sizes = histology_sizes(evaluation)
    sentences = [
        f"Calibration of P({name}), temperature {evaluation.calibration.temperature:.3g}: "
        f"{calibration_text(evaluation.calibration)}.",
        f"  per lesion (n={evaluation.whole.n_lesions:,}, one result a lesion): "
        f"{calibration_text(evaluation.lesion_calibration)}.",
        f"  {sizes}: {calibration_text(alone[0])}.",
        f"Net benefit lies clearly above calling everybody and calling nobody at threshold probabilities: "
        f"{benefit_text(evaluation.decision_curve)}.",
        f"  {sizes}: {benefit_text(alone[1])}.",
        f"{_capital(name)} images missed among those accepted, by coverage: "
        f"{abstention_text(evaluation.risk_coverage)}.",
        f"  {sizes}: {abstention_text(alone[2])}.",
    ]
    if not isinstance(line, NotApplicable) and 0 < line.n_images < evaluation.whole.n_images:
        whole = evaluation.calibration
        sentences.append(
            f"{line.n_target_images / line.n_images:.0%} of the histology-only images are {name}, of all images "
            f"{whole.n_target_images / whole.n_images:.0%}: probabilities that fit the one cannot fit the other too."
        )
    return sentences


def _sets(evaluation: Evaluation) -> list[str]:
    """Conformal sets: coverage of each class, sizes, and what voids the promise."""
    conformal = evaluation.conformal
    if isinstance(conformal, NotApplicable):
        return [f"Conformal sets: {conformal}."]
    sentences = []
    for one in conformal.figures:
        coverage = ", ".join(f"{name} {_one_line(figure)}" for name, figure in one.coverage.items())
        sentences.append(
            f"Conformal sets, {1 - one.rule.alpha:.0%} promised for each class (one result a lesion, "
            f"{conformal.n_calibration:,} validation lesions calibrate, {conformal.n_judged:,} judged): "
            f"covered {coverage}; {_one_line(one.mean_size)} classes in a set, "
            f"one class alone in {_three(one.shares['single'])} of the sets."
        )
    sentences += conformal.notes
    return [*sentences, f"That promise is void, or weaker, with: {'; '.join(conformal.void_in_short)}."]


def _three(figure: Figure) -> str:
    return str(figure) if isinstance(figure, NotApplicable) else with_interval(figure, 3)


def _subgroup_table(evaluation: Evaluation, *, wide: bool) -> Table:
    """Sizes first: they say what a subgroup's figures are worth."""
    table = _table(f"For whom? ({_AT[evaluation.at]}, per image)")
    table.add_column("part")
    table.add_column("images/\nlesions", justify="right")
    table.add_column(target_label(evaluation).replace("+", "+\n"), justify="right")
    shown = ("sensitivity", "specificity", "auroc")
    for figure in shown:
        table.add_column(_LABELS.get(figure, figure), justify="right")
    factor = ""
    for part in evaluation.subgroups:
        if part.factor != factor:
            factor = part.factor
            table.add_row(Text(factor, style="italic"))
        sizes = (part.n_images, part.n_lesions), (part.n_target_images, part.n_target_lesions)
        cells = [f"{images:,}/{lesions:,}" for images, lesions in sizes]
        table.add_row(f"  {part.value}", *cells, *(_short(part.figures[figure], wide) for figure in shown))
    return table


def _short(figure: Figure, wide: bool = True) -> str:
    """A figure on one line, or on two where the terminal is narrow; why one is missing is told by its n."""
    text = (
        f"not applicable ({figure.reason.split()[0]})" if isinstance(figure, NotApplicable) else with_interval(figure)
    )
    return text if wide else text.replace(" [", "\n[").replace(" (", "\n(")


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _interval_note(evaluation: Evaluation) -> str:
    return (
        f"[ ] 95 % interval, its width from {evaluation.draws:,} bootstrap draws of whole lesions; "
        f"none for figures other than shares on fewer than {MIN_LESIONS} lesions, nor for the AUROC above "
        f"80 % sensitivity on fewer than 20 of the target. Per lesion: {LESION_RULE}."
    )


def _bullet(sentence: str, mark: str = "•") -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_row(mark, Text(sentence))
    return grid

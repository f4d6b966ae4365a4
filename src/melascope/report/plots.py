"""Which pictures belong to an evaluation and to a training: each by itself, with its n and intervals inside?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from melascope.errors import DataError
from melascope.evaluation.decisions import Decision, threshold_steps
from melascope.evaluation.evaluate import evaluated_rows
from melascope.evaluation.operating_point import is_target, target_score
from melascope.evaluation.record import Evaluation, plural, share
from melascope.report.abstention_plot import save_risk_coverage
from melascope.report.calibration_plot import save_calibration_plot
from melascope.report.canvas import BLUE, GREY, ORANGE, canvas, label_line, save
from melascope.report.captions import (
    abstention_text,
    benefit_text,
    calibration_text,
    decision_line,
    error_bars,
    histology_parts,
    histology_sizes,
    sizes_line,
    target_label,
    with_histology,
)
from melascope.report.class_plots import save_confusion, save_recall
from melascope.report.conformal_plot import save_conformal
from melascope.report.subgroup_plot import save_subgroups
from melascope.report.utility_plot import save_decision_curve
from melascope.tables.columns import number_array, read_csv_text
from melascope.tables.predictions import Predictions
from melascope.tables.results import Estimate, NotApplicable

_PERCENT = [0, 0.2, 0.4, 0.6, 0.8, 1.0]


def save_evaluation_plots(evaluation: Evaluation, predictions: Predictions, folder: Path) -> list[Path]:
    """Draw every plot of an evaluation, each as PNG and SVG.

    Parameters
    ----------
    evaluation : made by `evaluate(predictions, …)`.
    predictions : the same table.
    folder : is created.

    Returns
    -------
    paths : every file written
    """
    rows = evaluated_rows(predictions, evaluation.split)
    if len(rows) != evaluation.whole.n_images:
        raise DataError(
            f"The evaluation judged {evaluation.whole.n_images} images, the table has {len(rows)} such rows.",
            expected="the table that the evaluation was made from",
        )
    truth = is_target(rows.labels, evaluation.target)
    scores = target_score(rows.probabilities, evaluation.target)
    where = {"split": evaluation.split, "source": evaluation.origin.source}
    beside = _beside_the_headlines(evaluation)
    return [
        *_save_roc(evaluation, scores, truth, folder),
        *_save_precision_recall(evaluation, scores, truth, folder),
        *_save_thresholds(evaluation, scores, truth, folder),
        *save_confusion(evaluation, folder),
        *save_recall(evaluation, folder),
        *save_calibration_plot(evaluation.calibration, folder, below=beside[0], **where),
        *save_decision_curve(
            evaluation.decision_curve, folder, target_name=target_label(evaluation), below=beside[1], **where
        ),
        *save_risk_coverage(evaluation.risk_coverage, folder, rule=evaluation.rule, below=beside[2], **where),
        *save_conformal(evaluation.conformal, folder, target=evaluation.target, **where),
        *save_subgroups(evaluation, folder),
    ]


def _beside_the_headlines(evaluation: Evaluation) -> tuple[str, str, str]:
    """Lines below the titles of reliability, net benefit and abstention: histology only, and calibration by lesion."""
    line = evaluation.histology_line
    sizes = histology_sizes(evaluation)
    calibration, benefit, abstention = [line] * 3 if isinstance(line, NotApplicable) else histology_parts(line)
    by_lesion = calibration_text(evaluation.lesion_calibration, brief=True)
    by_lesion = f"per lesion (n={evaluation.whole.n_lesions:,}, one result a lesion): {by_lesion}"
    return (
        f"{by_lesion}\n{sizes}: {calibration_text(calibration, brief=True)}",
        f"{sizes}: better than both at {benefit_text(benefit)}",
        f"missed of those accepted, by coverage: {abstention_text(evaluation.risk_coverage)}\n"
        f"{sizes}: {abstention_text(abstention)}",
    )


def _save_roc(evaluation: Evaluation, scores: np.ndarray, truth: np.ndarray, folder: Path) -> list[Path]:
    name = target_label(evaluation)
    title = f"How much {name} is found, at what price in false alarms?"
    auroc = with_histology(evaluation, "target", "auroc")
    subtitle = f"{auroc}\n{sizes_line(evaluation)}"
    figure, axes = canvas(title, subtitle, evaluation.origin.source, size=(7.4, 8.15))
    axes.set_xlabel(f"1 − specificity: share of the other images called {name} (false alarms)")
    axes.set_ylabel(f"sensitivity: share of {name} images found")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (1, 3)))
    _square(axes)
    if _one_sided(axes, truth, name):
        return save(figure, Path(folder), "roc")
    _, sensitivity, specificity = threshold_steps(scores, truth)
    axes.plot(1 - specificity, sensitivity, color=BLUE, linewidth=2, label="every threshold (ROC)")
    for decision in evaluation.whole.decisions:
        if decision.unit == "image":
            _mark(axes, decision, ("specificity", decision.tn), evaluation)
    axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=8.5, labelspacing=0.9)
    return save(figure, Path(folder), "roc")


def _save_precision_recall(evaluation: Evaluation, scores: np.ndarray, truth: np.ndarray, folder: Path) -> list[Path]:
    name = target_label(evaluation)
    precision = with_histology(evaluation, "target", "average_precision")
    figure, axes = canvas(
        f"Of the images called {name}, how many are?",
        f"{precision}\n{sizes_line(evaluation)}",
        evaluation.origin.source,
        size=(7.4, 8.15),
    )
    axes.set_xlabel(f"sensitivity: share of {name} images found")
    axes.set_ylabel(f"PPV: share of the images called {name} that are, at this collection's prevalence")
    _square(axes)
    if _one_sided(axes, truth, name):
        return save(figure, Path(folder), "precision_recall")
    _, sensitivity, specificity = threshold_steps(scores, truth)
    found, alarms = sensitivity[1:] * truth.sum(), (1 - specificity[1:]) * (~truth).sum()
    axes.step(sensitivity[1:], found / (found + alarms), where="pre", color=BLUE, linewidth=2, label="every threshold")
    prevalence = truth.mean()
    axes.axhline(prevalence, color=GREY, linewidth=0.8, linestyle=(0, (1, 3)), label=f"chance: {prevalence:.1%}")
    for decision in evaluation.whole.decisions:
        if decision.unit == "image" and isinstance(decision.figures["ppv"], Estimate):
            _mark(axes, decision, ("ppv", decision.tp), evaluation)
    axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=8.5, labelspacing=0.9)
    return save(figure, Path(folder), "precision_recall")


_MARKS = {"operating_point": ("o", ORANGE, ORANGE), "argmax": ("s", "white", "black")}


def _mark(axes: Axes, decision: Decision, other: tuple[str, int], evaluation: Evaluation) -> None:
    """Put a decision's point beside a curve, with both intervals as a cross.

    `other` is the figure that sensitivity is paid for with, and its count: specificity in ROC space, PPV beside it.
    """
    name, count = other
    marker, face, edge = _MARKS[decision.at]
    sensitivity, price = decision.figures["sensitivity"], decision.figures[name]
    label = (
        f"{_rule(evaluation, decision)}\nsensitivity {share(sensitivity, decision.tp)}\n"
        f"{'PPV' if name == 'ppv' else name} {share(price, count)}"
    )
    at = [(1 - price.value, sensitivity.value), (error_bars(price, flipped=True), error_bars(sensitivity))]
    if name == "ppv":
        at = [(sensitivity.value, price.value), (error_bars(sensitivity), error_bars(price))]
    (x, y), (across, along) = at
    axes.errorbar(
        *([x], [y]),
        xerr=across,
        yerr=along,
        fmt=marker,
        markersize=8,
        markerfacecolor=face,
        markeredgecolor=edge,
        ecolor=edge,
        elinewidth=1.5,
        capsize=3,
        zorder=5,
        label=label,
    )


def _rule(evaluation: Evaluation, decision: Decision) -> str:
    if decision.at == "argmax":
        return "top class"
    return evaluation.rule


def _save_thresholds(evaluation: Evaluation, scores: np.ndarray, truth: np.ndarray, folder: Path) -> list[Path]:
    name, point = target_label(evaluation), evaluation.operating_point
    figure, axes = canvas(
        f"What would another threshold on P({name}) find and cost?",
        f"{decision_line(evaluation)}\n{evaluation.histology()}\n{sizes_line(evaluation)}",
        evaluation.origin.source,
        size=(8.8, 5.8),
    )
    axes.set_xlabel(f"threshold: an image is positive if P({name}) is at least this")
    axes.set_ylabel("share of images")
    axes.set_xlim(0, 1)
    axes.set_yticks(_PERCENT)
    axes.set_ylim(0, 1.08)
    if _one_sided(axes, truth, name):
        return save(figure, Path(folder), "thresholds")
    thresholds, sensitivity, specificity = threshold_steps(scores, truth)
    edges = np.concatenate([[1.0], thresholds[1:], [0.0]])
    at = 0.72 if point is None or point.threshold < 0.5 else 0.28
    nearest = int(np.abs(edges - at).argmin())
    lines = {"sensitivity": (sensitivity, BLUE, "-"), "specificity": (specificity, ORANGE, (0, (5, 2)))}
    higher = max(lines, key=lambda label: np.append(lines[label][0], lines[label][0][-1])[nearest])
    for label, (values, colour, style) in lines.items():
        values = np.append(values, values[-1])
        axes.plot(edges, values, color=colour, linestyle=style, linewidth=2, drawstyle="steps-post")
        rises = label == "specificity"
        label_line(axes, (edges[nearest], values[nearest]), label, colour, above=label == higher, rises=rises)
    if point is not None:
        _mark_threshold(axes, point.threshold)
        decision = evaluation.whole.decision("operating_point", "image")
        for label, (_, colour, _) in lines.items():
            estimate = decision.figures[label]
            dot = {"fmt": "o", "color": colour, "markersize": 7, "capsize": 4, "zorder": 5}
            axes.errorbar([point.threshold], [estimate.value], yerr=error_bars(estimate), **dot)
    return save(figure, Path(folder), "thresholds")


def _mark_threshold(axes: Axes, threshold: float) -> None:
    """Stand a line at the frozen threshold; where it hugs an end, stretch both ends so that it can be read."""
    if not 0.02 <= threshold <= 0.98:
        axes.set_xscale("logit")
        axes.set_xlim(min(1e-4, max(threshold / 10, 1e-12)), max(1 - 1e-4, min(1 - (1 - threshold) / 10, 1 - 1e-12)))
        axes.xaxis.set_minor_formatter("")
        axes.set_xlabel(axes.get_xlabel() + " (log-odds scale)")
    axes.axvline(threshold, color="black", linewidth=1.2)
    left_half = threshold < 0.5
    axes.annotate(
        f"frozen threshold {threshold:.3g}",
        (threshold, 0.03),
        xytext=(5 if left_half else -5, 0),
        textcoords="offset points",
        ha="left" if left_half else "right",
    )


def save_training_curves(results_csv: Path, folder: Path, *, source: str = "") -> list[Path]:
    """Draw a training's losses and validation figures against the epoch, each as PNG and SVG.

    Parameters
    ----------
    results_csv : a row an epoch; columns that are absent are not drawn.
    folder : is created.
    source : of the data set; a phantom is named in the picture.
    """
    columns = read_csv_text(results_csv)
    problems: list = []
    numbers = {name: number_array(values, name, Path(results_csv).name, problems) for name, values in columns.items()}
    if problems or "epoch" not in numbers or len(numbers["epoch"]) == 0:
        raise DataError(
            f"The curves cannot be drawn: {problems[0] if problems else 'there is no epoch'}.",
            where=results_csv,
            expected="results.csv of a run: a row an epoch",
        )
    plots = {
        "training_loss": ("Does the loss still fall?", "loss (lower is better)", _LOSSES),
        "training_figures": (
            "Does the model still improve on validation images?",
            "share (higher is better)",
            _FIGURES,
        ),
    }
    paths = []
    for name, (title, ylabel, lines) in plots.items():
        paths += _save_curves(numbers, name, title, ylabel, lines, Path(folder), source)
    return paths


_LOSSES = {"train_loss": "training loss", "val_nll": "validation NLL"}
_FIGURES = {
    "val_mel_auroc": "melanoma AUROC",
    "val_mel_sensitivity": "melanoma sensitivity (top class)",
    "val_accuracy": "accuracy",
    "val_balanced_accuracy": "balanced accuracy",
    "val_macro_f1": "macro-F1",
}


def _save_curves(
    numbers: dict[str, np.ndarray],
    name: str,
    title: str,
    ylabel: str,
    lines: dict[str, str],
    folder: Path,
    source: str,
) -> list[Path]:
    """One picture of several columns against the epoch; the last value of each stands in the legend."""
    epochs = numbers["epoch"]
    figure, axes = canvas(title, f"{plural(len(epochs), 'epoch')} finished", source, size=(8.6, 5.2), right=3.1)
    styles = zip("osD^v", ("-", (0, (5, 2)), "-", (0, (1, 1.5)), (0, (5, 1, 1, 1))), strict=True)
    colours = (BLUE, ORANGE, "black", "#56B4E9", "#999999")
    for (column, label), (marker, style), colour in zip(lines.items(), styles, colours, strict=False):
        if column not in numbers or np.isnan(numbers[column]).all():
            continue
        values = numbers[column]
        last = values[~np.isnan(values)][-1]
        axes.plot(
            *(epochs, values),
            color=colour,
            linestyle=style,
            marker=marker,
            markersize=5,
            label=f"{label}: {last:.3f}",
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel(ylabel)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if axes.lines:
        axes.legend(
            title="after the last epoch", loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9
        )
    return save(figure, folder, name)


def _square(axes: Axes) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_xticks(_PERCENT)
    axes.set_yticks(_PERCENT)
    axes.set_aspect("equal")


def _one_sided(axes: Axes, truth: np.ndarray, name: str) -> bool:
    """Write why there is no curve, where all images are of one side."""
    if truth.any() and not truth.all():
        return False
    reason = f"not applicable\n(n=0 images {'other than' if truth.any() else 'of'} {name})"
    axes.text(0.5, 0.5, reason, ha="center", va="center", transform=axes.transAxes, color=GREY, fontsize=12)
    return True

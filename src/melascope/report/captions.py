"""What stands below a plot's title: the headline, histology beside it, how many images, and how is a figure written?"""

from __future__ import annotations

from melascope.evaluation.abstention import HEADLINE_COVERAGES, RiskCoverage
from melascope.evaluation.calibration import Calibration
from melascope.evaluation.headlines import HistologyLine
from melascope.evaluation.record import Evaluation, Group, plural, share, with_interval
from melascope.evaluation.utility import DecisionCurve
from melascope.tables.results import Estimate, Figure, NotApplicable


def target_label(evaluation: Evaluation) -> str:
    """The target in words, or its classes' short names where there are several."""
    return evaluation.target_name if len(evaluation.target) == 1 else "+".join(evaluation.target)


def figure_text(figure: Figure, digits: int = 2) -> str:
    """`0.83 [0.75, 0.90]`, or the reason why there is no figure."""
    return with_interval(figure, digits) if isinstance(figure, Estimate) else str(figure)


def sizes_line(evaluation: Evaluation) -> str:
    """How many images and lesions were judged, and how many of the target."""
    group = evaluation.whole
    sizes = [(group.n_images, group.n_lesions), group.size_of(evaluation.target)]
    everything, target = (f"{plural(images, 'image')} of {plural(lesions, 'lesion')}" for images, lesions in sizes)
    return (
        f"{evaluation.split or 'all rows'}: {everything}; {target_label(evaluation)}: {target}. "
        "[ ] 95 % interval by lesion"
    )


def decision_line(evaluation: Evaluation) -> str:
    """Sensitivity and specificity of the headline's decision."""
    decision = evaluation.whole.decision(evaluation.at, "image")
    rule = "at the frozen threshold" if evaluation.operating_point else "by top class"
    sensitivity, specificity = decision.figures["sensitivity"], decision.figures["specificity"]
    return f"{rule}: sensitivity {share(sensitivity, decision.tp)}, specificity {share(specificity, decision.tn)}"


def with_histology(evaluation: Evaluation, kind: str, *names: str) -> str:
    """Named figures of all images and, on a line below, of those whose truth comes from histology.

    Parameters
    ----------
    kind : "overall" or "target", as in `Level`.
    names : of its figures, e.g. "balanced_accuracy".
    """

    def told(group: Group) -> str:
        figures = getattr(group.image, kind)
        return ", ".join(f"{_LABELS.get(name, name)} {figure_text(figures[name])}" for name in names)

    histology = evaluation.groups["histology"]
    if not isinstance(histology, Group):
        return f"{told(evaluation.whole)}\nhistology only: {histology}"
    sizes = f"{plural(histology.n_images, 'image')} of {plural(histology.n_lesions, 'lesion')}"
    return f"{told(evaluation.whole)}\nhistology only, {sizes}: {told(histology)}"


_LABELS = {"auroc": "AUROC", "average_precision": "average precision", "balanced_accuracy": "balanced accuracy"}


def histology_sizes(evaluation: Evaluation) -> str:
    """`histology only, 538 images of 307 lesions (melanoma 124/72)`: n first."""
    line = evaluation.histology_line
    if isinstance(line, NotApplicable):
        return "histology only"
    sizes = f"{plural(line.n_images, 'image')} of {plural(line.n_lesions, 'lesion')}"
    return f"histology only, {sizes} ({target_label(evaluation)} {line.n_target_images:,}/{line.n_target_lesions:,})"


def histology_parts(
    line: HistologyLine,
) -> tuple[Calibration | NotApplicable, DecisionCurve | NotApplicable, RiskCoverage | NotApplicable]:
    """Its calibration, net benefit and abstention."""
    return line.calibration, line.decision_curve, line.risk_coverage


def calibration_text(calibration: Calibration | NotApplicable, *, brief: bool = False) -> str:
    """Slope, in the large, and calibration error with what chance alone makes of it; if not `brief`, more of it."""
    if isinstance(calibration, NotApplicable):
        return str(calibration)
    figures, error = calibration.figures, "target_expected_calibration_error"
    slope, large = (figure_text(figures[f"target_calibration_{name}"]) for name in ("slope", "in_the_large"))
    told = f"calibration error {figure_text(figures[error], 3)}"
    if brief:
        return f"slope {slope}, in the large {large}, {told}"
    return (
        f"slope {slope}, in the large {large} (right: 1 and 0), "
        f"observed/expected {figure_text(figures['target_observed_to_expected'])}; "
        f"Brier score {figure_text(figures['target_brier_score'], 3)}; "
        f"{told}, by chance alone {figure_text(calibration.if_perfect[error], 3)}"
    )


def benefit_text(curve: DecisionCurve | NotApplicable) -> str:
    """Threshold probabilities at which the model is clearly better than both; `none`, or why there is no curve."""
    if isinstance(curve, NotApplicable):
        return str(curve)
    return (
        ", ".join(f"{low:.0%} to {high:.0%}" if low < high else f"{low:.0%}" for low, high in curve.useful_ranges())
        or "none"
    )


def abstention_text(curve: RiskCoverage | NotApplicable) -> str:
    """Missed of accepted target images at each of `HEADLINE_COVERAGES`: `9/124 at 100%, 5/96 at 90%`."""
    if isinstance(curve, NotApplicable):
        return str(curve)
    accepted = [curve.at(coverage) for coverage in HEADLINE_COVERAGES]
    return ", ".join(f"{one.n_missed:,}/{one.n_target:,} at {one.coverage:.0%}" for one in accepted)


def error_bars(estimate: Estimate, *, flipped: bool = False) -> list[list[float]] | None:
    """What matplotlib draws on both sides of a value; `flipped` for 1 - value, None without interval."""
    if estimate.low is None or estimate.high is None:
        return None
    down, up = max(estimate.value - estimate.low, 0), max(estimate.high - estimate.value, 0)
    return [[up], [down]] if flipped else [[down], [up]]

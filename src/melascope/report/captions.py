"""What stands below a plot's title: the headline, histology beside it, how many images, and how is a figure written?"""

from __future__ import annotations

from melascope.evaluation.record import Evaluation, Group, plural, share, with_interval
from melascope.tables.results import Estimate, Figure


def target_label(evaluation: Evaluation) -> str:
    """The target in words, or its classes' short names where there are several."""
    return evaluation.target_name if len(evaluation.target) == 1 else "+".join(evaluation.target)


def figure_text(figure: Figure) -> str:
    """`0.83 [0.75, 0.90]`, or the reason why there is no figure."""
    return with_interval(figure) if isinstance(figure, Estimate) else str(figure)


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


def error_bars(estimate: Estimate, *, flipped: bool = False) -> list[list[float]] | None:
    """What matplotlib draws on both sides of a value; `flipped` for 1 - value, None without interval."""
    if estimate.low is None or estimate.high is None:
        return None
    down, up = max(estimate.value - estimate.low, 0), max(estimate.high - estimate.value, 0)
    return [[up], [down]] if flipped else [[down], [up]]

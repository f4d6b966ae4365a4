"""Which figures are compared between models, and how is each of them to be treated?"""

from __future__ import annotations

from dataclasses import dataclass

from melascope.evaluation.ranking import AREAS
from melascope.evaluation.subject import Key


@dataclass(frozen=True)
class Compared:
    """A row of `COMPARED`.

    Parameters
    ----------
    label : for the reader.
    key : of the figure in `Subject.values`.
    is_share : it is a share of images whose truth is given, the same for every model, so that models are paired image
        by image (PPV is none: each model calls other images).
    top : its highest possible value; None for one without bounds, which is better the lower it is.
    headline : histology alone stands beside it wherever it is told.
    """

    label: str
    key: Key
    is_share: bool = False
    top: float | None = 1.0
    headline: bool = False

    @property
    def unit(self) -> str:
        """ "image" or "lesion"."""
        return self.key[0]

    @property
    def at(self) -> str:
        """The decision that it judges, "operating_point" or "argmax"; "" where it judges none."""
        return self.key[1] if self.key[1] in ("operating_point", "argmax") else ""


COMPARED: dict[str, Compared] = {
    "sensitivity": Compared("sensitivity", ("image", "operating_point", "sensitivity"), is_share=True, headline=True),
    "lesion_sensitivity": Compared(
        "sensitivity per lesion", ("lesion", "operating_point", "sensitivity"), is_share=True, headline=True
    ),
    "specificity": Compared("specificity", ("image", "operating_point", "specificity"), is_share=True, headline=True),
    "false_alarms_per_found": Compared(
        "false alarms per found", ("image", "operating_point", "false_alarms_per_found"), top=None
    ),
    "top_class_sensitivity": Compared(
        "sensitivity, top class", ("image", "argmax", "sensitivity"), is_share=True, headline=True
    ),
    "top_class_specificity": Compared(
        "specificity, top class", ("image", "argmax", "specificity"), is_share=True, headline=True
    ),
    "auroc": Compared("AUROC", ("image", "target", "auroc"), headline=True),
    "average_precision": Compared("average precision", ("image", "target", "average_precision")),
    "partial_auroc": Compared(
        "AUROC above 80 % (0–0.2)", ("image", "target", "partial_auroc"), top=AREAS["partial_auroc"].top
    ),
    "balanced_accuracy": Compared("balanced accuracy", ("image", "balanced_accuracy"), headline=True),
    "accuracy": Compared("accuracy", ("image", "accuracy"), is_share=True),
}
"""Every figure by which models are compared. A new one that `Subject` or `METRICS` knows is a row here."""

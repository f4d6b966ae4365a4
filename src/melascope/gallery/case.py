"""What is known of one image that a person looks at, all of it computed?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from melascope.classes import CLASSES
from melascope.data.archive import read_member
from melascope.data.decode import decode_image, decode_mask
from melascope.explain.mask_scores import MapScore
from melascope.explain.segment import CLASSICAL, FROM_DATA_SET, SEGMENTER, find_lesion
from melascope.gallery.outcomes import HELD_OUT, outcome_of, section_of
from melascope.gallery.tested import Test, flips_of
from melascope.tables.cell_places import EVEN, CellPlaces
from melascope.tables.results import NotApplicable

MAP_PLACES = {
    "inside": "on the lesion",
    "outside": "beside the lesion, or no more on it than an even map",
    "no evidence": "no positive evidence",
    "not known": "no lesion mask",
}
"""Where a map lies: inside only if its peak and more than the lesion's share of the picture is."""

FAINT = 0.15
"""A map whose highest cell stays below this share of the image's scale is faint."""


@dataclass(frozen=True)
class SameLesion:
    """Another image of the same lesion, and how it fared."""

    image_id: str
    split: str
    predicted: str
    p_mel: float
    above: bool


@dataclass(frozen=True)
class Price:
    """What finding a missed melanoma would have cost, counted on the held-out images without melanoma.

    Parameters
    ----------
    called_now : of `n_others` images at or above the frozen threshold
    called_then : the same, were the threshold lowered to this image's P(mel)
    """

    called_now: int
    called_then: int
    n_others: int


@dataclass(frozen=True)
class Case:
    """One image, what the model said of it, and what its maps show.

    Parameters
    ----------
    dx : truth, `""` where unknown
    probabilities : (7,) of `CLASSES`
    p_mel, threshold, above : what the operating point compares, and its verdict
    age : years, None where unknown
    same_lesion : the other images of this lesion in the predictions, of any split
    maps : (7, map_height, map_width) float32, raw and signed, in logit units
    scale : the one scale of all seven maps, see `explain.overlay.shared_scale`
    shown : the classes whose maps are shown: the predicted class and mel (the strongest other class if that is mel)
    map_scores : one for each of `shown`
    mask_origin : where the lesion's outline comes from, in words, `""` if there is none
    mask_source : the same as `explain.segment` names it
    outline : SVG path of the lesion's edge, see `outline_path`; `""` if there is none
    root, path, mask_path : where its pixels lie, see `LesionTable`
    tests : what hiding or adding parts of the picture changed; empty where that was not tried
    places : where the maps' cells lie
    """

    image_id: str
    lesion_id: str
    split: str
    reasons: tuple[str, ...]
    dx: str
    probabilities: np.ndarray
    p_mel: float
    threshold: float
    above: bool
    age: float | None
    sex: str
    localization: str
    dx_type: str
    same_lesion: tuple[SameLesion, ...]
    price: Price | None
    maps: np.ndarray
    scale: float
    shown: tuple[str, str]
    map_scores: tuple[MapScore | NotApplicable, MapScore | NotApplicable]
    mask_origin: str
    mask_source: str
    outline: str
    root: Path
    path: str
    mask_path: str
    tests: tuple[Test, ...] = ()
    places: CellPlaces = EVEN

    @property
    def predicted(self) -> str:
        """The most probable class."""
        return CLASSES[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """Probability of the most probable class."""
        return float(self.probabilities.max())

    @property
    def top3(self) -> tuple[tuple[str, float], ...]:
        """The three most probable classes."""
        order = np.argsort(-self.probabilities, kind="stable")[:3]
        return tuple((CLASSES[column], float(self.probabilities[column])) for column in order)

    @property
    def truth_probability(self) -> float:
        """Probability of the truth, which must be known."""
        return float(self.probabilities[CLASSES.index(self.dx)])

    @property
    def outcome(self) -> str:
        """Key of `OUTCOMES`."""
        return outcome_of(self.dx, CLASSES.index(self.predicted), self.above)

    @property
    def section(self) -> str:
        """Key of `OUTCOMES` under which this image would stand alone."""
        return section_of(self.split, self.outcome)

    @property
    def held_out(self) -> bool:
        return self.split in HELD_OUT

    def cells(self, name: str) -> np.ndarray:
        """(map_height, map_width) float32: the raw map of one class."""
        return self.maps[CLASSES.index(name)]

    def score_of(self, name: str) -> MapScore | NotApplicable:
        """How the map of one of the classes shown lies to the lesion."""
        return self.map_scores[self.shown.index(name)]

    def has_evidence(self, name: str) -> bool:
        """Whether any cell of the map speaks for the class."""
        return bool((self.cells(name) > 0).any())

    def strength(self, name: str) -> float:
        """The highest cell of a class's map as a share of the scale, 0 … 1; 0 without evidence."""
        return max(float(self.cells(name).max()), 0.0) / self.scale if self.scale else 0.0

    def map_share(self, name: str) -> float | None:
        """Share of the map of a class shown that lies inside the lesion; None where it is not defined."""
        score = self.score_of(name)
        if isinstance(score, NotApplicable) or isinstance(score.share_inside, NotApplicable):
            return None
        return float(score.share_inside)

    def map_place(self, name: str) -> str:
        """Where the map of a class shown lies, as a word of `MAP_PLACES`."""
        if not self.has_evidence(name):
            return "no evidence"
        share = self.map_share(name)
        if share is None:
            return "not known"
        return "inside" if share > self.score_of(name).area_share and self.score_of(name).peak_share > 0 else "outside"

    @property
    def flips(self) -> tuple[str, ...]:
        """The interventions that flip the decision beyond chance."""
        return flips_of(self.tests)

    def is_faint(self, name: str) -> bool:
        """Whether there is evidence for a class, but too little beside that for others to be read on one scale."""
        return 0 < self.strength(name) < FAINT

    def pixels(self) -> np.ndarray:
        """(height, width, 3) uint8, read and decoded now."""
        return decode_image(read_member(self.root, self.path), name=self.path)

    def mask(self) -> np.ndarray | None:
        """(mask_height, mask_width) bool, True is lesion; None where there is none."""
        if not self.mask_source:
            return None
        segmenter = CLASSICAL if self.mask_source.startswith(CLASSICAL) else SEGMENTER
        return outlined_mask(self.root, self.path, self.mask_path, segmenter)[0]


def outlined_mask(root: Path, path: str, mask_path: str, segmenter: str) -> tuple[np.ndarray | None, str]:
    """(mask_height, mask_width) bool and where it comes from; None where the data set has none and none is found."""
    if mask_path:
        return decode_mask(read_member(root, mask_path), name=mask_path), FROM_DATA_SET
    lesion, source = find_lesion(decode_image(read_member(root, path), name=path), segmenter)
    return (lesion if lesion.any() else None), source

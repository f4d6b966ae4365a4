"""Which lesions does a phantom hold: class, atypia, patient, and how many images of each?

Everything is keyed by (seed, lesion) or (seed, image), so image k is the same in a phantom of any length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCK: dict[str, int] = {"nv": 20, "mel": 6, "bkl": 5, "bcc": 3, "akiec": 2, "vasc": 2, "df": 2}
"""Lesions of each class in every 40 consecutive ones: HAM10000's order of frequency, less extreme."""

VIEWS = (0.75, 0.18, 0.07)
"""Share of lesions with 1, 2 and 3 images (HAM10000: 0.74, 0.19, and 0.07 with three or more)."""

_AGE = {"akiec": (67, 11), "bcc": (67, 14), "bkl": (64, 14), "df": (53, 13), "mel": (61, 15), "nv": (46, 15)}
_AGE |= {"vasc": (51, 21)}
_MALE = {"akiec": 0.68, "bcc": 0.62, "bkl": 0.57, "df": 0.55, "mel": 0.62, "nv": 0.51, "vasc": 0.49}
_DX_TYPE: dict[str, dict[str, float]] = {
    "akiec": {"histo": 1.0},
    "bcc": {"histo": 1.0},
    "bkl": {"histo": 0.70, "consensus": 0.24, "confocal": 0.06},
    "df": {"consensus": 0.52, "histo": 0.48},
    "mel": {"histo": 1.0},
    "nv": {"follow_up": 0.55, "histo": 0.37, "consensus": 0.08},
    "vasc": {"consensus": 0.53, "histo": 0.47},
}
_SITE: dict[str, dict[str, float]] = {
    "akiec": {"face": 35, "lower extremity": 20, "upper extremity": 19, "back": 9, "scalp": 5, "hand": 4, "chest": 4},
    "bcc": {"back": 36, "face": 20, "lower extremity": 11, "upper extremity": 10, "chest": 9, "scalp": 4, "abdomen": 4},
    "bkl": {"face": 29, "back": 18, "lower extremity": 16, "upper extremity": 10, "chest": 7, "trunk": 7, "neck": 3},
    "df": {"lower extremity": 71, "upper extremity": 21, "abdomen": 4, "back": 2, "foot": 2},
    "mel": {"back": 29, "upper extremity": 19, "lower extremity": 17, "face": 9, "chest": 6, "abdomen": 6, "trunk": 4},
    "nv": {"lower extremity": 22, "back": 21, "trunk": 19, "abdomen": 13, "upper extremity": 10, "foot": 4, "chest": 3},
    "vasc": {"trunk": 22, "lower extremity": 19, "abdomen": 19, "back": 15, "upper extremity": 8, "face": 6, "hand": 4},
}
_UNKNOWN = {"age": 0.01, "sex": 0.01, "localization": 0.025}
# First of the keys after the user's seed: separate streams for separate questions.
_CLASS, _PATIENT, PAINT, VIEW, RULER = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Lesion:
    """One lesion of the phantom.

    Parameters
    ----------
    number : counts from 0.
    dx : class word.
    atypia : 0 (a textbook nevus) to 1 (a textbook melanoma); of the other classes, how plainly they show themselves.
    dx_type, sex, localization : words of the release; "unknown" where unknown (localization too).
    age : years in steps of 5; None where unknown.
    n_images : 1 to 3.
    """

    number: int
    dx: str
    atypia: float
    dx_type: str
    age: int | None
    sex: str
    localization: str
    n_images: int

    @property
    def lesion_id(self) -> str:
        return f"PHL_{self.number + 1:07d}"


def keyed(seed: int, stream: int, number: int) -> np.random.Generator:
    """The random generator of one question about one lesion or image."""
    return np.random.default_rng([seed, stream, number])


def class_of(seed: int, number: int) -> str:
    """Class of lesion `number`: each block of 40 is shuffled by itself, so the mix holds in small phantoms too."""
    words = [dx for dx, count in BLOCK.items() for _ in range(count)]
    order = keyed(seed, _CLASS, number // len(words)).permutation(len(words))
    return words[order[number % len(words)]]


def lesion_of(seed: int, number: int) -> Lesion:
    """Everything but the picture of lesion `number`."""
    rng = keyed(seed, _PATIENT, number)
    dx = class_of(seed, number)
    atypia = _atypia(dx, rng)
    n_images = 1 + int(rng.choice(3, p=VIEWS))
    mean, spread = _AGE[dx]
    age = int(np.clip(5 * round(rng.normal(mean, spread) / 5), 5, 85))
    sex = "male" if rng.random() < _MALE[dx] else "female"
    known = {name: rng.random() >= share for name, share in _UNKNOWN.items()}
    site = _draw(_SITE[dx], rng)
    return Lesion(
        number=number,
        dx=dx,
        atypia=atypia,
        dx_type=_draw(_DX_TYPE[dx], rng),
        age=age if known["age"] else None,
        sex=sex if known["sex"] else "unknown",
        localization=site if known["localization"] else "unknown",
        n_images=n_images,
    )


def _atypia(dx: str, rng: np.random.Generator) -> float:
    odd = rng.random()
    if dx == "nv":  # one nevus in nine is atypical
        return float(rng.beta(4, 4) if odd < 0.11 else rng.beta(1.6, 6.5))
    if dx == "mel":  # one melanoma in seven is nearly featureless
        return float(rng.beta(2.2, 3.2) if odd < 0.14 else rng.beta(5.5, 2.0))
    return float(rng.beta(2, 2))


def _draw(weights: dict[str, float], rng: np.random.Generator) -> str:
    shares = np.array(list(weights.values()), dtype=float)
    return str(rng.choice(list(weights), p=shares / shares.sum()))


def images(seed: int, n_images: int) -> Iterator[tuple[int, Lesion]]:
    """(image number, its lesion) of the first `n_images` images; the last lesion may be cut short."""
    image, number = 0, 0
    while image < n_images:
        lesion = lesion_of(seed, number)
        for _ in range(min(lesion.n_images, n_images - image)):
            yield image, lesion
            image += 1
        number += 1


def image_id(image: int) -> str:
    """Name of image `image` (counted from 0): never to be mistaken for an ISIC id."""
    return f"PHANTOM_{image + 1:07d}"

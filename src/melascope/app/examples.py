"""Which pictures can be tried at once, without one of one's own? Synthetic ones, drawn when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from melascope.classes import CLASS_NAMES
from melascope.data.sources.phantom.lesions import images
from melascope.data.sources.phantom.render import render
from melascope.explain.overlay import encode_image

SEED = 20_181  # of no phantom that a recipe or a test is trained on
SHOWN = ("mel", "mel", "nv", "bkl", "bcc", "vasc")
_SEARCHED = 400


@dataclass(frozen=True)
class Example:
    """A phantom image: its number in the phantom of `SEED`, and what it was drawn as."""

    image: int
    dx: str

    @property
    def label(self) -> str:
        return f"phantom {CLASS_NAMES[self.dx]}"


@lru_cache(maxsize=1)
def examples() -> tuple[Example, ...]:
    """The first image of the first lesions of each class in `SHOWN`."""
    found: list[Example] = []
    wanted, seen = list(SHOWN), set()
    for image, lesion in images(SEED, _SEARCHED):
        if lesion.dx in wanted and lesion.number not in seen:
            wanted.remove(lesion.dx)
            found.append(Example(image, lesion.dx))
        seen.add(lesion.number)
    return tuple(sorted(found, key=lambda one: (SHOWN.index(one.dx), one.image)))


@lru_cache(maxsize=16)
def example_jpeg(number: int) -> bytes:
    """JPEG of example `number`; `IndexError` if there is none."""
    chosen = examples()[number]
    lesion = next(lesion for image, lesion in images(SEED, chosen.image + 1) if image == chosen.image)
    rgb, _ = render(SEED, chosen.image, lesion)
    return encode_image(rgb, "JPEG")

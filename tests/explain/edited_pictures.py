"""What do the tests of edits share: plain skin with a lesion and a red spot, and models whose answer is known."""

from __future__ import annotations

import numpy as np

from melascope.classes import CLASSES, MEL
from melascope.explain.answers import Asker

SKIN, BROWN, RED = (210, 160, 150), (70, 40, 35), (200, 40, 70)
VASC = CLASSES.index("vasc")


def disc(shape, row, column, radius):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def skin_with_lesion(height=90, width=120, spot=True, noise=2, seed=0):
    """Picture, lesion mask, spot mask."""
    lesion, small = disc((height, width), 40, 50, 16), disc((height, width), 68, 95, 5)
    image = np.empty((height, width, 3))
    image[:] = SKIN
    image[lesion] = BROWN
    if spot:
        image[small] = RED
    image += np.random.default_rng(seed).normal(0, noise, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), lesion, small


def red_share(pixels):
    """(n,): share of pixels that are strongly red: the spot."""
    red, green = pixels[..., 0].astype(int), pixels[..., 1].astype(int)
    return ((red - green) > 100).mean(axis=(1, 2))


def vasc_if_red(pixels):
    """A model that says vasc where it sees the red spot, mel otherwise."""
    logits = np.zeros((len(pixels), 7), dtype=np.float32)
    logits[:, MEL] = 2
    logits[:, VASC] = 1000 * red_share(pixels)
    return logits


def mel_if_dark_ticks(pixels):
    """A model with a shortcut: dark pixels in the outer fifth speak for melanoma."""
    dark = pixels.max(axis=3) < 185
    dark[:, 14:-14, 19:-19] = False
    logits = np.zeros((len(pixels), 7), dtype=np.float32)
    logits[:, MEL] = np.minimum(400 * dark.mean(axis=(1, 2)), 4) - 1
    return logits


def asker(scorer, **changes):
    return Asker(scorer, **{"width": 120, "height": 90, "threshold": 0.4} | changes)

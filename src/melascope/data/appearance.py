"""How does a picture look as a whole: its colours, where they lie, and how rough it is, in a few dozen numbers?"""

from __future__ import annotations

import numpy as np

from melascope.data.pixels import resize_image

RULE = "colours, their grid of 4 × 3, roughness and its grid, v1"
"""Name of these very numbers; a test that was fitted to others is fitted again."""

GRID = (4, 3)
"""Columns and rows of the coarse grid of mean colours."""

QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
FAINTEST = 1e-3  # of the scale 0 … 1; below it, roughness is none


def appearance(pixels: np.ndarray) -> np.ndarray:
    """Numbers that tell a skin picture from a page of text, a blank or a landscape, whatever a network makes of them.

    Mean and spread of each channel; the logarithm of the mean step from pixel to pixel, across, down, and of the
    Laplacian; mean and spread of red - green and of yellow - blue (Hasler & Süsstrunk 2003, eq. 1, 2); mean colours
    on a grid of 4 × 3; quantiles of brightness and of red - green; and roughness on the same grid, as the logarithm of
    the mean step across and down: a lesion is rough in the middle, an animal, a page or a street everywhere.

    Parameters
    ----------
    pixels : (n, height, width, 3) uint8, resized by the one rule, at least 5 × 4 pixels

    Returns
    -------
    numbers : (n, 71) float64
    """
    return np.stack([_of_one(picture) for picture in pixels])


def _of_one(picture: np.ndarray) -> np.ndarray:
    rgb = picture.astype(np.float32) / 255
    grey, red_green = rgb.mean(axis=2), rgb[..., 0] - rgb[..., 1]
    yellow_blue = (rgb[..., 0] + rgb[..., 1]) / 2 - rgb[..., 2]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    steps = (np.diff(grey, axis=1), np.diff(grey, axis=0), 4 * grey[1:-1, 1:-1] - around)
    return np.concatenate(
        [
            rgb.mean(axis=(0, 1), dtype=np.float64),
            rgb.std(axis=(0, 1), dtype=np.float64),
            [np.log(FAINTEST + np.abs(step).mean()) for step in steps],
            [red_green.mean(), red_green.std(), yellow_blue.mean(), yellow_blue.std()],
            resize_image(picture, *GRID).reshape(-1) / 255,
            np.quantile(grey, QUANTILES),
            np.quantile(red_green, (0.02, 0.5, 0.98)),
            _roughness_grid(steps[0], steps[1]),
        ]
    )


def _roughness_grid(across: np.ndarray, down: np.ndarray) -> list[float]:
    """`GRID` values, row by row; steps across (height, width - 1) and down (height - 1, width) of the grey picture."""
    steps = np.abs(across[:-1]) + np.abs(down[:, :-1])
    columns, rows = GRID
    cells = [cell for line in np.array_split(steps, rows, axis=0) for cell in np.array_split(line, columns, axis=1)]
    return [float(np.log(FAINTEST + cell.mean())) for cell in cells]

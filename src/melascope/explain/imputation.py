"""What could stand in place of removed pixels so that their absence does not show? ROAD's noisy linear imputation.

Rong et al. 2022, "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML, sec. 4.2: every
removed pixel is the weighted mean of its eight neighbours, 1/6 each beside and 1/12 each across the corner (those
outside the picture left out), which is a linear system; then a little noise is added. The paper solves it with a
sparse solver, picture by picture. Here multigrid solves it for many pictures at once (Briggs, Henson & McCormick 2000,
"A Multigrid Tutorial", ch. 3: nested iteration, then V-cycles). The tests hold it to the sparse solution: within 2 grey
levels on average even where nine tenths of a picture are gone in one piece, within rounding otherwise.
"""

from __future__ import annotations

import numpy as np

from melascope.explain.overlay import upsample_map

NOISE = 2.55
"""Grey levels: sd 0.01 of the scale."""

SWEEPS, CYCLES = 2, 3
"""Jacobi steps before and after each grid's correction; V-cycles."""

_SMALLEST = 6  # side in cells of the coarsest grid
_ON_COARSEST = 40  # Jacobi steps there


def imputed(image: np.ndarray, removed: np.ndarray, rng: np.random.Generator, *, noise: float = NOISE) -> np.ndarray:
    """Impute several sets of pixels of one picture.

    Parameters
    ----------
    image : (height, width, 3) uint8
    removed : (k, height, width) bool; no set holds the whole picture
    rng : of the noise

    Returns
    -------
    pictures : (k, height, width, 3) uint8
    """
    if removed.all(axis=(1, 2)).any():
        raise ValueError("a set holds the whole picture: there is nothing to impute it from")
    known = ~removed[..., None]
    filled = _begun(np.where(known, image.astype(np.float32), 0), known)
    for _ in range(CYCLES):
        residual = np.where(known, 0, _mean_of_neighbours(filled) - filled)
        filled = filled + _correction(residual, known)
    noisy = filled + noise * rng.standard_normal(filled.shape, dtype=np.float32)
    return np.where(known, image, np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


def _begun(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """A first guess of the unknown cells; values (k, h, w, 3) float32 with 0 there, known (k, h, w, 1) bool."""
    if _is_coarsest(known):
        n = known.sum(axis=(1, 2), keepdims=True)
        start, sweeps = values.sum(axis=(1, 2), keepdims=True) / np.maximum(n, 1), _ON_COARSEST
    else:
        n = _blocks(known.astype(np.float32))
        coarse = _begun(_blocks(values) / np.maximum(n, 1), n > 0)
        start, sweeps = _enlarged(coarse, known.shape), 2 * SWEEPS
    filled = np.where(known, values, start)
    for _ in range(sweeps):
        filled = np.where(known, values, _mean_of_neighbours(filled))
    return filled


def _correction(residual: np.ndarray, known: np.ndarray) -> np.ndarray:
    """One V-cycle: what to add so that each unknown cell less its neighbours' mean changes by `residual`."""
    coarsest = _is_coarsest(known)
    error = _relaxed(np.zeros_like(residual), residual, known, _ON_COARSEST if coarsest else SWEEPS)
    if coarsest:
        return error
    left = np.where(known, 0, _mean_of_neighbours(error) + residual - error)
    coarse = _correction(_blocks(left), _blocks(known.astype(np.float32)) > 0)  # sum of 4: mean × (2 cells)²
    error = np.where(known, 0, error + _enlarged(coarse, known.shape))
    return _relaxed(error, residual, known, SWEEPS)


def _relaxed(error: np.ndarray, residual: np.ndarray, known: np.ndarray, sweeps: int) -> np.ndarray:
    for _ in range(sweeps):
        error = np.where(known, 0, _mean_of_neighbours(error) + residual)
    return error


def _is_coarsest(known: np.ndarray) -> bool:
    return min(known.shape[1:3]) <= _SMALLEST


def _mean_of_neighbours(cells: np.ndarray) -> np.ndarray:
    return _neighbour_sum(cells) / _neighbour_sum(np.ones((1, *cells.shape[1:3], 1), dtype=np.float32))


def _neighbour_sum(cells: np.ndarray) -> np.ndarray:
    """Two of each neighbour beside and one of each across, nothing from outside: (1 2 1) both ways, less the middle."""
    down = 2 * cells
    down[:, 1:] += cells[:, :-1]
    down[:, :-1] += cells[:, 1:]
    both = 2 * down
    both[:, :, 1:] += down[:, :, :-1]
    both[:, :, :-1] += down[:, :, 1:]
    both -= 4 * cells
    return both


def _blocks(cells: np.ndarray) -> np.ndarray:
    """Sums over blocks of 2 × 2; an odd side is padded with nothing."""
    height, width = cells.shape[1:3]
    padded = np.pad(cells, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    rows = padded[:, 0::2] + padded[:, 1::2]
    return rows[:, :, 0::2] + rows[:, :, 1::2]


def _enlarged(coarse: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Bilinear to twice the size, cut to `shape` (k, h, w, …)."""
    height, width = coarse.shape[1:3]
    down = upsample_map(np.eye(height, dtype=np.float32), height, 2 * height)[: shape[1]]
    across = upsample_map(np.eye(width, dtype=np.float32), width, 2 * width)[: shape[2]]
    tall = np.matmul(down, coarse.reshape(len(coarse), height, -1)).reshape(len(coarse), -1, width, coarse.shape[3])
    return np.matmul(across, tall)

"""How are images counted under the weights of many bootstrap draws at once?"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array


def counts_by_lesion(cell: np.ndarray, lesion: np.ndarray, n_cells: int, n_lesions: int) -> csr_array:
    """Count rows by cell and lesion: (n_cells, n_lesions) float64, sparse.

    Times lesion weights (n_lesions, draws) it gives the weighted count of every cell in every draw.
    """
    return csr_array((np.ones(len(cell)), (cell, lesion)), shape=(n_cells, n_lesions))


def lesion_numbers(lesion_key: np.ndarray) -> np.ndarray:
    """Number each lesion by the rank of its key (n,) of `str`, so that the order of the rows does not matter: int64."""
    encoded = pa.array(lesion_key, type=pa.string()).dictionary_encode()
    names = encoded.dictionary.to_numpy(zero_copy_only=False).astype(str)
    rank = np.empty(len(names), dtype=np.int64)
    rank[np.argsort(names)] = np.arange(len(names))
    return rank[encoded.indices.to_numpy()]


def n_distinct(lesion: np.ndarray) -> int:
    """How many different lesions stand in (n,) int64; counting is quicker than sorting."""
    return int(np.count_nonzero(np.bincount(lesion)))


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN marks a draw in which the figure is undefined. It never leaves the evaluation floor."""
    undefined = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)

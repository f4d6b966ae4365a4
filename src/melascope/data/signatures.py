"""Which numbers of a picture stay the same when it is turned, mirrored, cropped or recompressed?

Two, both without a network. The *perceptual hash* (63 signs of a cosine transform) finds copies that show the whole
picture; its eight orientations follow from each other by signs and a transposition. The *disc signature* finds the
rest: brightness and colour on rings of a disc, their Fourier transform along each ring, and of that only what neither
a rotation nor a mirror changes (amplitudes, and real parts of products between rings and between channels). A crop is
a smaller disc elsewhere, so a picture has one signature for each of many discs, and a copy's own largest disc is
sought among all discs of all pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage, sparse
from scipy.fft import dctn

from melascope.data.pixels import resize_image
from melascope.data.quality import fitted_size

THUMBNAIL_SIDE = 128
"""Longest side, in pixels, at which pictures are compared."""
DISC_SCALES = (1.0, 0.93, 0.86, 0.78, 0.7, 0.62)
"""Radii of the discs, in radii of the largest: what is left of a picture after crops of up to 20 % a side."""
DISC_STEP = 0.2
"""At most this far apart, in their own radius, lie the centres of discs of one size."""
MAX_SHIFT = 0.13
"""How far from the picture's middle centres go, as a share of its width or height."""
RINGS, ANGLES, ORDERS = 6, 32, 6
RING_RADII = (np.arange(RINGS, dtype=np.float32) + 0.7) / RINGS
HASH_SIDE = 8
DIMENSIONS = 64
"""Length of a whitened signature."""
OPPONENT = np.array([[0.299, 0.587, 0.114], [0.5, -0.5, 0], [0.25, 0.25, -0.5]], dtype=np.float32)
"""Brightness, red against green, yellow against blue: rows over red, green, blue."""


def thumbnail(rgb: np.ndarray) -> np.ndarray:
    """The picture with its aspect and `THUMBNAIL_SIDE` as its longer side: (height, width, 3) uint8."""
    height, width = fitted_size(rgb, THUMBNAIL_SIDE)
    return resize_image(rgb, width, height)


def luma(rgb: np.ndarray) -> np.ndarray:
    """(height, width) float32 brightness, 0 … 255."""
    return rgb @ OPPONENT[0]


@lru_cache(maxsize=256)
def discs(height: int, width: int) -> np.ndarray:
    """The discs of a thumbnail: (n_discs, 3) of centre x, centre y and radius in pixels; the first is the largest."""
    largest, (x, y) = min(height, width) / 2, ((width - 1) / 2, (height - 1) / 2)
    found = [(x, y, largest)]
    for scale in DISC_SCALES:
        radius = scale * largest
        for dx in _offsets(width, radius):
            for dy in _offsets(height, radius):
                if (scale, dx, dy) != (1, 0, 0):
                    found.append((x + dx, y + dy, radius))
    return np.array(found, dtype=np.float32)


def _offsets(side: int, radius: float) -> np.ndarray:
    reach = max(0.0, min(side / 2 - radius, MAX_SHIFT * side))
    step = DISC_STEP * radius
    return np.linspace(-reach, reach, 2 * int(np.ceil(reach / step)) + 1) if reach > 0.4 * step else np.zeros(1)


def disc_signatures(thumb: np.ndarray) -> np.ndarray:
    """What rotation and mirror leave of every disc: (n_discs, 192) float32, for a thumbnail (height, width, 3)."""
    height, width = thumb.shape[:2]
    smooth = ndimage.uniform_filter(thumb.astype(np.float32) @ OPPONENT.T, (5, 5, 1))
    rings = (_ring_sampler(height, width) @ smooth.reshape(-1, 3)).reshape(-1, RINGS, ANGLES, 3)
    area = RING_RADII / RING_RADII.sum()
    rings -= np.einsum("drac,r->dc", rings, area)[:, None, None] / ANGLES
    contrast = np.sqrt(np.einsum("dra,r->d", rings[..., 0] ** 2, area) / ANGLES) + 4  # 4 grey levels: noise stays noise
    waves = np.fft.rfft(rings / contrast[:, None, None, None], axis=2)[:, :, : ORDERS + 1] / ANGLES
    turning = waves[:, :, 1:]
    between_rings = (turning[:, :-1, :, 0] * turning[:, 1:, :, 0].conj()).real
    between_channels = (turning[..., 0] * turning[..., 1].conj()).real
    parts = (waves[:, :, 0].real, np.abs(turning), _rooted(between_rings), _rooted(between_channels))
    return np.concatenate([part.reshape(len(rings), -1) for part in parts], axis=1).astype(np.float32)


def _rooted(values: np.ndarray) -> np.ndarray:
    """The signed square root: products in the unit of their factors."""
    return np.sign(values) * np.sqrt(np.abs(values))


@lru_cache(maxsize=64)
def _ring_sampler(height: int, width: int) -> sparse.csr_matrix:
    """Bilinear reading of all rings of all discs, as a matrix over the pixels of a thumbnail of this size."""
    x, y, radius = discs(height, width).T[:, :, None, None]
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    reach = radius * RING_RADII[:, None]
    return _bilinear_matrix((x + reach * np.cos(angle)).ravel(), (y + reach * np.sin(angle)).ravel(), height, width)


def _bilinear_matrix(x: np.ndarray, y: np.ndarray, height: int, width: int) -> sparse.csr_matrix:
    """(n_points, height · width): reads an image at these points, those outside at its border."""
    x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    left, top = x.astype(np.int64), y.astype(np.int64)
    fx, fy = x - left, y - top
    weights = np.concatenate([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy]).astype(np.float32)
    corner = top * width + left
    pixels = np.concatenate([corner, corner + 1, corner + width, corner + width + 1])
    return sparse.csr_matrix((weights, (np.tile(np.arange(len(x)), 4), pixels)), shape=(len(x), height * width))


@dataclass(frozen=True)
class Whitening:
    """Principal axes of a collection's signatures, scaled to equal spread: what all pictures share weighs nothing.

    Parameters
    ----------
    mean : (192,) float32
    axes : (192, up to `DIMENSIONS`) float32
    """

    mean: np.ndarray
    axes: np.ndarray

    @classmethod
    def fit(cls, signatures: np.ndarray) -> Whitening:
        """From one signature a picture, (n_images, 192)."""
        mean = signatures.mean(axis=0, dtype=np.float64)
        centred = signatures - mean
        spread, axes = np.linalg.eigh(centred.T @ centred / len(signatures))
        spread, axes = spread[::-1][:DIMENSIONS].clip(0), axes[:, ::-1][:, :DIMENSIONS]
        floor = 0.05 * spread.mean() + 1e-9  # axes without spread must not be blown up
        return cls(mean.astype(np.float32), (axes / np.sqrt(spread + floor)).astype(np.float32))

    def __call__(self, signatures: np.ndarray) -> np.ndarray:
        """(n, up to 64) float32 of length 1: their product is a cosine."""
        white = (signatures - self.mean) @ self.axes
        return white / np.maximum(np.linalg.norm(white, axis=1, keepdims=True), 1e-9)


def perceptual_hash(thumb: np.ndarray) -> np.ndarray:
    """Signs of the 63 lowest cosine waves of a picture squeezed to 32×32 (pHash, Zauner 2010): (8, 8) int8 of ±1.

    The place of the mean, [0, 0], is 0. `a · b` of two hashes is 63 less twice the number of bits that differ.
    """
    waves = dctn(luma(resize_image(thumb, 32, 32)), norm="ortho")[:HASH_SIDE, :HASH_SIDE]
    signs = np.where(waves >= 0, 1, -1).astype(np.int8)
    signs[0, 0] = 0
    return signs


def eight_orientations(hashes: np.ndarray) -> np.ndarray:
    """(8, n, 8, 8) of the hashes (n, 8, 8) that the turned and mirrored pictures have.

    A mirror changes the sign of every odd wave across it; a transposed picture has the transposed waves.
    """
    odd = (1 - 2 * (np.arange(HASH_SIDE) % 2)).astype(np.int8)
    flipped = [hashes * down[:, None] * across for down in (odd**2, odd) for across in (odd**2, odd)]
    return np.stack([*flipped, *(one.swapaxes(1, 2) for one in flipped)])

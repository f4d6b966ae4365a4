"""Which images of a collection show the same skin, though they are other files, lesions or splits?

Equal files and equal pixels by SHA-256. Near-duplicates in two stages: *candidates* are each image's nearest by
perceptual hash and by disc signature (`signatures.py`); *judgement* is whether one can be laid over the other so that
local detail agrees (`registration.py`). Memory grows with the number of images, time with its square, but as one
product of matrices: for 10,000 images it is a small part of the whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

import numpy as np

from melascope.data.registration import Layers, Pose, agreement, refine, ring_readings, start_poses
from melascope.data.signatures import (
    HASH_SIDE,
    Whitening,
    disc_signatures,
    discs,
    eight_orientations,
    luma,
    perceptual_hash,
    thumbnail,
)
from melascope.files import sha256_bytes

NEIGHBOURS = 4
"""Candidates an image has by disc signature."""
HASH_NEIGHBOURS, HASH_BITS = 2, 8
"""Candidates an image has by perceptual hash, and how many of its 63 bits may differ."""
WHITEN_FROM = 1000
"""Images whose spread whitens the signatures: the first that come, so let them come in random order."""
START_AGREEMENT, ROUGH_AGREEMENT = 0.45, 0.65
"""Candidates below the first along their rings, or below the second at half size, are not judged further."""
SAME_SKIN = 0.6
"""Agreement of local detail from which two pictures are called near-duplicates; measured in docs/results.md."""
QUERY_BLOCK, IMAGE_BLOCK = 1024, 64

SAME_FILE, SAME_PIXELS, NEAR = "same file", "same pixels", "near"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DuplicatePair:
    """Two images of a collection that show the same.

    Parameters
    ----------
    first, second : their rows, first < second
    kind : `SAME_FILE`, `SAME_PIXELS` or `NEAR`
    agreement : correlation of local detail, `SAME_SKIN` … 1; 1 for equal pixels
    scale : pixels of the second for a pixel of the first, both at equal longest side
    angle : degrees by which the second is turned against the first, clockwise; where mirrored, after the mirror
    mirrored : one is a mirror image of the other
    """

    first: int
    second: int
    kind: str
    agreement: float = 1.0
    scale: float = 1.0
    angle: float = 0.0
    mirrored: bool = False


class DuplicateFinder:
    """Takes all images one by one, in any order, keeps of each what comparing needs (about 35 KB), then compares.

    Parameters
    ----------
    n_images : how many will be added
    """

    def __init__(self, n_images: int) -> None:
        self._luma: list[np.ndarray | None] = [None] * n_images
        self._hashes = np.zeros((n_images, HASH_SIDE, HASH_SIDE), dtype=np.int8)
        self._signatures: list[np.ndarray | None] = [None] * n_images
        self._files: dict[str, list[int]] = defaultdict(list)
        self._pixels: dict[str, list[int]] = defaultdict(list)
        self._waiting: list[tuple[int, np.ndarray]] = []
        self._whitening: Whitening | None = None

    def add(self, row: int, rgb: np.ndarray, file_sha256: str) -> None:
        """Take one image: its row, its pixels (height, width, 3) uint8 of any size, the SHA-256 of its file."""
        thumb = thumbnail(rgb)
        self._files[file_sha256].append(row)
        self._pixels[f"{rgb.shape}{sha256_bytes(np.ascontiguousarray(rgb).tobytes())}"].append(row)
        self._luma[row] = np.round(luma(thumb)).astype(np.uint8)
        self._hashes[row] = perceptual_hash(thumb)
        raw = disc_signatures(thumb)
        if self._whitening is None:
            self._waiting.append((row, raw))
            if len(self._waiting) == WHITEN_FROM:
                self._whiten()
        else:
            self._signatures[row] = self._whitening(raw).astype(np.float16)

    def _whiten(self) -> None:
        self._whitening = Whitening.fit(np.stack([raw[0] for _, raw in self._waiting]))
        for row, raw in self._waiting:
            self._signatures[row] = self._whitening(raw).astype(np.float16)
        self._waiting = []

    def pairs(self, progress: Progress | None = None) -> tuple[DuplicatePair, ...]:
        """All pairs that show the same, by row.

        Of a group of equal images each is paired with the group's first, not with every other.

        Parameters
        ----------
        progress : called with (images compared, images in all)
        """
        if self._waiting:
            self._whiten()
        found = {(pair.first, pair.second): pair for pair in self._equal()}
        equal_to = {pair.second: pair.first for pair in found.values()}
        rough, fine = lru_cache(maxsize=2048)(self._rough), lru_cache(maxsize=256)(self._fine)
        done = 0
        for one, other, disc in self._candidates():
            pair = (min(one, other), max(one, other))
            known = pair in found or equal_to.get(one, one) == equal_to.get(other, other)
            if not known and (near := self._judged(one, other, disc, rough, fine)) is not None:
                found[pair] = near
            if progress is not None and one >= done:
                done = one + 1
                progress(done, len(self._luma))
        return tuple(found[pair] for pair in sorted(found))

    def _equal(self) -> Iterator[DuplicatePair]:
        for kind, groups in ((SAME_PIXELS, self._pixels), (SAME_FILE, self._files)):  # the stronger fact last
            for rows in groups.values():
                first, *others = sorted(rows)
                for other in others:
                    yield DuplicatePair(first, other, kind)

    def _candidates(self) -> Iterator[tuple[int, int, int]]:
        """(one, other, disc): one's largest disc may lie on this disc of the other; by rising `one`."""
        n_images = len(self._luma)
        largest = np.stack([self._white(row)[0] for row in range(n_images)]) if n_images else np.zeros((0, 1))
        for begin in range(0, n_images, QUERY_BLOCK):
            rows = range(begin, min(begin + QUERY_BLOCK, n_images))
            by_disc = self._nearest_by_disc(largest[rows.start : rows.stop], rows)
            by_hash = self._nearest_by_hash(rows)
            for one, discs_of, hashes_of in zip(rows, by_disc, by_hash, strict=True):
                for other in discs_of:
                    yield one, int(other), int((self._white(other) @ largest[one]).argmax())
                for other in hashes_of:
                    yield one, int(other), 0

    def _nearest_by_disc(self, queries: np.ndarray, rows: range) -> Iterator[np.ndarray]:
        cosine = np.empty((len(rows), len(self._luma)), dtype=np.float32)
        for begin in range(0, len(self._luma), IMAGE_BLOCK):
            block = self._signatures[begin : begin + IMAGE_BLOCK]
            starts = np.cumsum([0, *(len(one) for one in block)])[:-1]
            products = queries @ np.concatenate(block).astype(np.float32).T
            cosine[:, begin : begin + len(block)] = np.maximum.reduceat(products, starts, axis=1)
        cosine[np.arange(len(rows)), rows] = -np.inf
        for values in cosine:
            yield _largest(values, min(NEIGHBOURS, len(values) - 1))

    def _nearest_by_hash(self, rows: range) -> Iterator[np.ndarray]:
        queries = self._hashes[rows.start : rows.stop].reshape(len(rows), -1).astype(np.float32)
        product = np.full((len(rows), len(self._luma)), -np.inf, dtype=np.float32)
        for turned in eight_orientations(self._hashes):
            np.maximum(product, queries @ turned.reshape(len(self._luma), -1).astype(np.float32).T, out=product)
        product[np.arange(len(rows)), rows] = -np.inf
        enough = HASH_SIDE**2 - 1 - 2 * HASH_BITS
        for values in product:
            nearest = _largest(values, min(HASH_NEIGHBOURS, len(values) - 1))
            yield nearest[values[nearest] >= enough]

    def _judged(self, one: int, other: int, disc: int, rough: Callable, fine: Callable) -> DuplicatePair | None:
        mine, theirs = self._luma[one], self._luma[other]
        my_disc, their_disc = discs(*mine.shape)[0], discs(*theirs.shape)[disc]
        starts = start_poses(
            ring_readings(mine, my_disc),
            my_disc,
            ring_readings(theirs, their_disc),
            their_disc,
            discs(*theirs.shape)[0, :2],
        )
        placed = [refine(rough(one), rough(other), pose) for along, pose in starts if along >= START_AGREEMENT]
        value, pose = max(
            ((agreement(rough(one), rough(other), pose), pose) for pose in placed), default=(0, None), key=itemgetter(0)
        )
        if value < ROUGH_AGREEMENT:
            return None
        pose = refine(fine(one), fine(other), pose)
        value = agreement(fine(one), fine(other), pose)
        return _near(one, other, value, pose) if value >= SAME_SKIN else None

    def _white(self, row: int) -> np.ndarray:
        return self._signatures[row].astype(np.float32)

    def _rough(self, row: int) -> Layers:
        return Layers.rough(self._luma[row])

    def _fine(self, row: int) -> Layers:
        return Layers.fine(self._luma[row])


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Places of the `count` largest of values (n,), largest first."""
    places = np.argpartition(-values, max(count - 1, 0))[:count]
    return places[np.argsort(-values[places], kind="stable")]


def _near(one: int, other: int, value: float, pose: Pose) -> DuplicatePair:
    scale, angle = pose.scale, pose.angle
    if one > other:  # the pose is told from the first to the second; a mirror undoes itself
        scale, angle = 1 / scale, angle if pose.mirrored else -angle
    return DuplicatePair(min(one, other), max(one, other), NEAR, value, scale, angle, pose.mirrored)

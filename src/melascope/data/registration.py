"""Do two pictures show the same skin: can one be turned, mirrored, scaled and shifted onto the other, detail on detail?

First the angle, by correlating two discs along their rings; then turn, scale and shift together, by Gauss–Newton from
coarse to fine (Lucas & Kanade 1981, with gain and offset of brightness free); then the judgement: the correlation of
*local detail* (band-passed, each place divided by its own contrast). Two lesions may well share a dark blob in the
middle; they do not share where each hair and dot lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage

RINGS, ANGLES = 12, 64
STARTS = 3
"""Turns that are tried: a round lesion looks much the same after many."""
DETAIL = (1.0, 2.5)
"""Detail is what a blur of the first width keeps and one of the second takes away (pixels)."""
CONTRAST_SIDE = 15
"""Side in pixels of the square whose contrast detail is divided by."""
BLACK = 16
"""Grey level up to which a pixel is frame, not skin; detail is not looked at near it."""
DISC = 0.97
"""Radius of the disc that is laid over, in half short sides."""
ITERATIONS = 8
MAX_STEP = 0.15
"""Largest growth, and turn in radians, that one iteration may bring."""
MIN_GAIN = 0.05
"""Contrast of the other over the one's from which it counts as seen there at all."""
SETTLED = 0.05
"""Pixels under which a step no longer moves the disc."""
MIN_OVERLAP = 0.5
"""Share of the one's points that must lie on skin of the other picture."""
MIN_SEEN = 0.25
"""Share of the one's disc that both must show for a judgement."""
SCALES = (0.3, 3.0)
"""Pixels of the other for a pixel of the one: outside of these, a pose has run away."""


@dataclass(frozen=True)
class Pose:
    """Where a point of one picture lies in another, both from their centres: `matrix @ point + shift`, as (x, y).

    Parameters
    ----------
    matrix : (2, 2) rotation times scale, of negative determinant where mirrored
    shift : (2,) pixels
    """

    matrix: np.ndarray
    shift: np.ndarray

    @property
    def scale(self) -> float:
        """Pixels of the other for a pixel of the one."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    @property
    def mirrored(self) -> bool:
        """True where no turn lays one on the other without a mirror (left and right are exchanged, then turned)."""
        (a, b), (c, d) = self.matrix
        return bool(a * d < b * c)

    @property
    def angle(self) -> float:
        """Of the turn, -180 … 180 degrees, clockwise as a picture is seen."""
        return float(np.degrees(np.arctan2(self.matrix[1, 0], self.matrix[0, 0])))

    def in_pixels_of(self, size: float) -> Pose:
        """The same pose where both pictures are `size` times as large."""
        return Pose(self.matrix, self.shift * size)


@dataclass(frozen=True)
class Step:
    """A blurred picture, and what its centred disc needs to be laid on another.

    Parameters
    ----------
    image : (height, width) float32 brightness; NaN near black, where it is not looked at
    points : (2, n) float32 x and y of the disc's points, from the centre
    design : (6, n) float32: what growing, turning, shifting right and down by one would change there; its values; ones
    """

    image: np.ndarray
    points: np.ndarray
    design: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray, every: int) -> Step:
        """With one point in every `every` pixels."""
        points, rows = _disc_points(image.shape, every)
        slope_y, slope_x = (slope.ravel()[rows] for slope in np.gradient(image))
        x, y = points
        values = image.ravel()[rows]
        rows = (slope_x * x + slope_y * y, slope_y * x - slope_x * y, slope_x, slope_y, values, np.ones_like(values))
        design = np.stack(rows).astype(np.float32)
        seen = ~np.isnan(design).any(axis=0)
        return cls(image, points[:, seen], design[:, seen])


@dataclass(frozen=True)
class Layers:
    """A picture as registration reads it.

    Parameters
    ----------
    steps : coarse to fine
    detail : (height, width) float32 local detail, about -2 … 2; exactly 0 near black, where it is not looked at
    points, values : (2, n) and (n,) float32: the centred disc's points away from black, and the detail there
    size : pixels here for a pixel of the thumbnail
    """

    steps: tuple[Step, ...]
    detail: np.ndarray
    points: np.ndarray
    values: np.ndarray
    size: float

    @classmethod
    def rough(cls, luma: np.ndarray) -> Layers:
        """At half size: enough to find the place and to throw most false candidates out."""
        height, width = luma.shape
        half = Image.fromarray(luma).resize((max(4, width // 2), max(4, height // 2)), Image.Resampling.BOX)
        return cls._of(np.asarray(half, dtype=np.float32), {2.0: 3}, size=0.5)

    @classmethod
    def fine(cls, luma: np.ndarray) -> Layers:
        """At full size: for the judgement."""
        return cls._of(luma.astype(np.float32), {2.0: 4, DETAIL[0]: 2}, size=1.0)

    @classmethod
    def _of(cls, luma: np.ndarray, every: dict[float, int], size: float) -> Layers:
        """`every`: blur of each step, in pixels -> distance of its points."""
        band = ndimage.gaussian_filter(luma, DETAIL[0]) - ndimage.gaussian_filter(luma, DETAIL[1])
        contrast = np.sqrt(ndimage.uniform_filter(band**2, CONTRAST_SIDE).clip(0))
        seen = ndimage.minimum_filter(luma, CONTRAST_SIDE) > BLACK  # equal frames are no equal skin
        detail = np.where(seen, band / (contrast + 1), 0)  # + 1 grey level: noise of flat skin stays small
        points, rows = _disc_points(luma.shape, 1)
        known = seen.ravel()[rows]
        steps = tuple(
            Step.of(np.where(seen, ndimage.gaussian_filter(luma, blur), np.nan), distance)
            for blur, distance in every.items()
        )
        return cls(steps, detail, points[:, known], detail.ravel()[rows[known]], size)


def ring_readings(luma: np.ndarray, disc: np.ndarray) -> np.ndarray:
    """Brightness along the rings of a disc (x, y, radius): (12, 64) float32, mean 0 and length 1, by area."""
    part = (np.arange(RINGS)[:, None] + 0.5) / RINGS
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    values = read_at(luma, disc[0] + disc[2] * part * np.cos(angle), disc[1] + disc[2] * part * np.sin(angle))
    values = (values - (values * part).sum() / (part.sum() * ANGLES)) * np.sqrt(part)
    return (values / max(float(np.linalg.norm(values)), 1e-6)).astype(np.float32)


def start_poses(
    one: np.ndarray, disc_one: np.ndarray, other: np.ndarray, disc_other: np.ndarray, centre_other: np.ndarray
) -> list[tuple[float, Pose]]:
    """The turns, mirrored or not, that lay a centred disc best on a disc of another picture.

    Parameters
    ----------
    one, other : (12, 64) `ring_readings` of the discs
    disc_one, disc_other : (3,) centre x, y and radius; the one's lies in the middle of its picture
    centre_other : (2,) middle of the other picture

    Returns
    -------
    starts : up to `STARTS` of (correlation along the rings, pose with its angle to within 3°), best first
    """
    waves, waves_other = np.fft.rfft(one, axis=1), np.fft.rfft(other, axis=1)
    turned = np.fft.irfft((waves.conj() * waves_other).sum(axis=0), ANGLES)
    mirrored = np.fft.irfft((waves * waves_other).sum(axis=0), ANGLES)
    both = np.stack([turned, mirrored])
    is_peak = (both >= np.roll(both, 1, axis=1)) & (both > np.roll(both, -1, axis=1))
    starts = []
    for flat in np.argsort(np.where(is_peak, -both, np.inf), axis=None)[: min(STARTS, int(is_peak.sum()))]:
        is_mirrored, place = divmod(int(flat), ANGLES)
        cos, sin = np.cos(2 * np.pi * place / ANGLES), np.sin(2 * np.pi * place / ANGLES)
        matrix = np.array([[cos, sin], [sin, -cos]] if is_mirrored else [[cos, -sin], [sin, cos]])
        pose = Pose(matrix * (disc_other[2] / disc_one[2]), disc_other[:2] - centre_other)
        starts.append((float(both[is_mirrored, place]), pose))
    return starts


def refine(one: Layers, other: Layers, pose: Pose) -> Pose:
    """Turn, scale and shift together, until the one's centred disc lies on the other as well as it can."""
    pose = pose.in_pixels_of(one.size)
    for mine, theirs in zip(one.steps, other.steps, strict=True):
        for _ in range(ITERATIONS):
            step = _gauss_newton(mine, theirs.image, pose)
            if step is None:
                break
            pose, moved = step
            if moved < SETTLED:
                break
    return pose.in_pixels_of(1 / one.size)


def agreement(one: Layers, other: Layers, pose: Pose) -> float:
    """Correlation (-1 … 1) of local detail over the one's centred disc; 0 where too little of it lies on the other."""
    x, y, inside = _placed(one.points, pose.in_pixels_of(one.size), other.detail.shape)
    a, b = one.values, read_at(other.detail, x, y)
    both = inside & (b != 0)
    if _too_few(both) or both.sum() < MIN_SEEN * np.pi * (DISC * min(one.detail.shape) / 2) ** 2:
        return 0.0
    a, b = a[both].astype(np.float64), b[both].astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip(a @ b / max(np.sqrt((a @ a) * (b @ b)), 1e-6), -1, 1))


def read_at(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear values of an image (height, width) at points of any shape; outside, those of its border."""
    height, width = image.shape
    x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    left, top = x.astype(np.int64), y.astype(np.int64)
    fx, fy = x - left, y - top
    flat, corner = image.ravel(), top * width + left
    above = flat[corner] * (1 - fx) + flat[corner + 1] * fx
    below = flat[corner + width] * (1 - fx) + flat[corner + width + 1] * fx
    return above * (1 - fy) + below * fy


@lru_cache(maxsize=64)
def _disc_points(shape: tuple[int, int], every: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of the centred disc, (2, n) from the centre, and their places in the flat picture, (n,)."""
    height, width = shape
    y, x = np.mgrid[0:height:every, 0:width:every].reshape(2, -1)
    points = np.stack([x - (width - 1) / 2, y - (height - 1) / 2]).astype(np.float32)
    inside = (points**2).sum(axis=0) <= (DISC * min(height, width) / 2) ** 2
    return points[:, inside], (y * width + x)[inside]


def _placed(points: np.ndarray, pose: Pose, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixel x and y in a picture of this shape, and which of them lie inside: (n,) each."""
    middle = (np.array(shape[::-1]) - 1) / 2
    x, y = pose.matrix.astype(np.float32) @ points + (pose.shift + middle).astype(np.float32)[:, None]
    return x, y, (x >= 0) & (x <= shape[1] - 1) & (y >= 0) & (y <= shape[0] - 1)


def _too_few(seen: np.ndarray) -> bool:
    """Whether the points that are seen, (n,) bool, are less than `MIN_OVERLAP`, or too few for six numbers."""
    return bool(seen.sum() < max(6, MIN_OVERLAP * len(seen)))


def _gauss_newton(mine: Step, image: np.ndarray, pose: Pose) -> tuple[Pose, float] | None:
    """One inverse compositional step (Baker & Matthews 2004, IJCV 56, 221), and how far it moves the rim, in pixels.

    The other picture at the disc's points is `gain · (mine, grown, turned and shifted a little) + offset`: least
    squares for six numbers. None where the pictures slide apart or nothing of the one is seen in the other.
    """
    x, y, inside = _placed(mine.points, pose, image.shape)
    theirs = read_at(image, x, y)
    seen = inside & ~np.isnan(theirs)
    if _too_few(seen) or not SCALES[0] < pose.scale < SCALES[1]:
        return None
    design = mine.design[:, seen].astype(np.float64)
    square = design @ design.T
    square.flat[::7] = square.flat[::7] * (1 + 1e-6) + 1e-6  # a flat picture has no slope to solve with
    *change, gain, _ = np.linalg.solve(square, design @ theirs[seen])
    if gain < MIN_GAIN:
        return None
    grow, turn, dx, dy = np.array(change) / gain
    grow, turn = np.clip([grow, turn], -MAX_STEP, MAX_STEP)
    back = np.array([[1 + grow, turn], [-turn, 1 + grow]]) / ((1 + grow) ** 2 + turn**2)
    matrix = pose.matrix @ back
    moved = float(np.hypot(dx, dy) + np.hypot(grow, turn) * min(mine.image.shape) / 2)
    return Pose(matrix, pose.shift - matrix @ [dx, dy]), moved

"""Which parts of a picture can be hidden or kept: lesion, hot spots of a map, spots, hair, ruler, corners, patches?

Each finder gives (height, width) bool. Those of artefacts are classical and simple: they are tried on pictures on
which an artefact was laid and its pixels are known (tests/explain/test_regions.py says how much they find).
A region's control is a region of the same form and size elsewhere: `placed_at_random`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from melascope.errors import ExplainError
from melascope.explain.edits import check_mask, grown, margin_of
from melascope.explain.overlay import positive_part, upsample_map
from melascope.tables.cell_places import EVEN, CellPlaces
from melascope.tables.results import NotApplicable

HOT_SHARE = 0.05
"""Share of the picture that "the map's hottest region" covers."""

SPOT_LEVEL = 0.5
"""Share of a map's maximum from which on a place outside the lesion is a hot spot."""

_SMALLEST = 0.0005  # share of the picture below which a spot is a speck
_STRANGE = 3.5  # robust deviations of colour from the skin's, from which on a pixel is no plain skin


@dataclass(frozen=True)
class Region:
    """A part of a picture, and the zone within which a control of it is placed.

    Parameters
    ----------
    name : e.g. "lesion", "hot spot 1"
    mask : (height, width) bool
    zone : (height, width) bool, where a region of the same form may lie instead
    zone_name : of the zone in words
    """

    name: str
    mask: np.ndarray
    zone: np.ndarray
    zone_name: str

    @property
    def area_share(self) -> float:
        """Share of the picture."""
        return float(self.mask.mean())


def hottest(
    values: np.ndarray, width: int, height: int, area_share: float = HOT_SHARE, places: CellPlaces = EVEN
) -> np.ndarray | NotApplicable:
    """The part of the picture with most evidence in a map, exactly `area_share` of it if that much is positive.

    Parameters
    ----------
    values : (map_height, map_width) signed
    places : where its cells lie

    Returns
    -------
    region : (height, width) bool; not applicable where the map has no positive evidence
    """
    if not 0 < area_share < 1:
        raise ExplainError(f"The area share is {area_share}.", expected="a number above 0 and below 1")
    evidence = upsample_map(positive_part(values), width, height, places)
    if evidence.max() == 0:
        return NotApplicable("no positive evidence")
    wanted = max(1, round(area_share * evidence.size))
    order = np.argsort(-evidence, axis=None, kind="stable")[:wanted]
    region = np.zeros(evidence.shape, dtype=bool)
    region.ravel()[order] = True
    return region & (evidence > 0)


def hot_spots_outside(
    values: np.ndarray, lesion: np.ndarray, level: float = SPOT_LEVEL, places: CellPlaces = EVEN
) -> list[np.ndarray]:
    """Connected places outside the lesion (and its margin) where a map reaches `level` of its maximum, hottest first.

    Parameters
    ----------
    values : (map_height, map_width) signed
    lesion : (height, width) bool

    Returns
    -------
    spots : list of (height, width) bool, none where the map has no positive evidence there
    """
    height, width = lesion.shape
    evidence = upsample_map(positive_part(values), width, height, places)
    if evidence.max() == 0:
        return []
    outside = ~grown(lesion, max(1, round(0.02 * width)))
    spots = _parts((evidence >= level * evidence.max()) & outside)
    return sorted(spots, key=lambda spot: -float(evidence[spot].sum()))


def spots_outside(image: np.ndarray, lesion: np.ndarray) -> list[np.ndarray]:
    """Coloured spots beside the lesion, the largest first: what is no plain skin, and no hair, ruler or corner.

    Colour is compared with the skin nearby, so that a slope of light across the picture is no spot.
    """
    check_mask(image, lesion)
    outside = ~grown(lesion, 2 * margin_of(image))
    excluded = ~outside | dark_corners(image) | hair(image)
    if excluded.all():
        return []
    away = _deviation(image, ~excluded)
    strange = ndimage.binary_opening((away > _STRANGE) & ~excluded, iterations=1)
    spots = [spot for spot in _parts(grown(strange, max(1, margin_of(image) // 2))) if _SMALLEST <= spot.mean() <= 0.1]
    spots = [spot for spot in spots if not _thin(spot) and not _at_border(spot)]  # a vignette lies at the border
    return sorted(spots, key=lambda spot: -int(spot.sum()))


def hair(image: np.ndarray) -> np.ndarray:
    """Dark strands: what a closing with short bars in several directions makes lighter (Lee et al. 1997, DullRazor).

    Comp. Biol. Med. 27, 533. Only long parts count; a lesion's short dark structures do not.
    """
    light = image.astype(np.float32).mean(axis=2)
    length = max(5, round(image.shape[1] / 30)) | 1
    closed = np.max([ndimage.grey_closing(light, footprint=bar) for bar in _bars(length)], axis=0)
    fine = ndimage.grey_closing(light, size=(length // 2 | 1, length // 2 | 1))
    thin = np.minimum(closed, fine) - light
    return _long(thin > _threshold(thin, 18), 2 * length)


def ruler(image: np.ndarray) -> np.ndarray:
    """Dark ticks across one border: at least six parts of like size in a straight, evenly spaced row near it."""
    height, width = image.shape[:2]
    light = image.astype(np.float32).mean(axis=2)
    reach = max(3, round(width / 60)) | 1
    dark = ndimage.grey_closing(light, size=(reach, reach)) - light
    found = np.zeros((height, width), dtype=bool)
    thin = dark > _threshold(dark, 12)
    for side in ("top", "bottom", "left", "right"):
        found |= _tick_row(thin, side)
    return found


def dark_corners(image: np.ndarray) -> np.ndarray:
    """Nearly black parts that touch a corner or a border: beyond a dermatoscope's field. With their soft rim."""
    black = image.max(axis=2) < 60
    labels, n = ndimage.label(black)
    if n == 0:
        return black
    height, width = black.shape
    corners = {int(labels[row, column]) for row in (0, height - 1) for column in (0, width - 1)} - {0}
    found = np.isin(labels, list(corners))
    return grown(found, max(1, round(width / 100))) if found.mean() > 0.002 else np.zeros_like(black)


def coloured_patches(image: np.ndarray) -> np.ndarray:
    """Stickers: large parts that reach the border, of one strong colour that no skin or lesion has.

    Red and orange ones are told from inflamed skin by how little blue is left in them.
    """
    red, green, blue = (image[..., channel].astype(np.float32) for channel in range(3))
    greenish = green > red + 12
    bluish = (blue > red + 25) & (blue > green + 8)
    yellow = (np.minimum(red, green) > blue + 85) & (green > 0.62 * red)
    vivid = (red > 170) & (red > blue + 135)
    strange = ndimage.binary_opening(greenish | bluish | yellow | vivid, iterations=2)
    found = np.zeros(strange.shape, dtype=bool)
    for part in _parts(strange):
        edge = part[0].sum() + part[-1].sum() + part[:, 0].sum() + part[:, -1].sum()
        if part.mean() > 0.008 and edge > 0.03 * part.shape[1]:
            found |= grown(part, max(1, round(image.shape[1] / 150)))
    return found


FOUND_ARTEFACTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "hair": hair,
    "ruler": ruler,
    "dark_corners": dark_corners,
    "colour_patch": coloured_patches,
}
"""Artefact -> finder of its pixels, (height, width, 3) uint8 -> (height, width) bool, all False where there is none."""


def placed_at_random(
    region: np.ndarray, zone: np.ndarray, k: int, key: list[int], *, overlap: float = 0.0
) -> list[np.ndarray]:
    """The region at up to k places elsewhere: turned by a multiple of 90° or mirrored, shifted, wholly inside the zone.

    Area and form are exactly the region's. All placements that fit are equally likely, none is taken twice.

    Parameters
    ----------
    region, zone : (height, width) bool
    key : of the random generator
    overlap : share of the region that may lie on the region's own place

    Returns
    -------
    placed : of (height, width) bool; fewer than k where fewer fit, none where it fits nowhere
    """
    if not region.any():
        raise ExplainError("The region is empty: there is nothing to place.")
    rows, columns = np.nonzero(region)
    form = region[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    forms = [np.rot90(side, turn) for side in (form, form[:, ::-1]) for turn in range(4)]
    places = [_places(one, zone, region, overlap * len(rows)) for one in forms]
    ends = np.cumsum([len(one) for one in places])
    placed: list[np.ndarray] = []
    for number in np.random.default_rng(key).permutation(ends[-1])[:k]:
        which = int(np.searchsorted(ends, number, side="right"))
        top, left = places[which][number - ends[which]]
        mask = np.zeros(zone.shape, dtype=bool)
        mask[top : top + forms[which].shape[0], left : left + forms[which].shape[1]] = forms[which]
        placed.append(mask)
    return placed


def _places(form: np.ndarray, zone: np.ndarray, region: np.ndarray, most: float) -> np.ndarray:
    """(n, 2) int: upper left corners at which the form lies wholly in the zone, at most `most` pixels on the region."""
    from scipy.signal import fftconvolve  # slow to import, and few who explain a picture come by here

    if form.shape[0] > zone.shape[0] or form.shape[1] > zone.shape[1]:
        return np.empty((0, 2), dtype=int)
    turned = form[::-1, ::-1].astype(np.float32)
    outside, on_it = (fftconvolve(part.astype(np.float32), turned, mode="valid") for part in (~zone, region))
    return np.argwhere((outside < 0.5) & (on_it < most + 0.5))


def _parts(mask: np.ndarray) -> list[np.ndarray]:
    """The connected parts (diagonals too)."""
    labels, n = ndimage.label(mask, np.ones((3, 3)))
    return [labels == number for number in range(1, n + 1)]


def _deviation(image: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """(height, width): how far each pixel's colour is from the skin near it, in robust deviations of the skin."""
    sigma = image.shape[1] / 12
    weight = ndimage.gaussian_filter(skin.astype(np.float32), sigma)
    near = [ndimage.gaussian_filter(image[..., c] * skin.astype(np.float32), sigma) for c in range(3)]
    away = image.astype(np.float32) - np.stack(near, axis=-1) / np.maximum(weight, 1e-3)[..., None]
    spread = 1.4826 * np.median(np.abs(away[skin]), axis=0) + 1.5
    return np.sqrt(((ndimage.gaussian_filter(away, (1, 1, 0)) / spread) ** 2).mean(axis=2))


def _thin(spot: np.ndarray) -> bool:
    """Whether it is a line rather than a spot: never wider than a sixth of its length."""
    rows, columns = np.nonzero(spot)
    length = max(np.ptp(rows), np.ptp(columns)) + 1
    return 2 * ndimage.distance_transform_edt(np.pad(spot, 1)).max() < length / 6


def _at_border(spot: np.ndarray) -> bool:
    return bool(spot[0].any() or spot[-1].any() or spot[:, 0].any() or spot[:, -1].any())


def _bars(length: int) -> list[np.ndarray]:
    eye = np.eye(length, dtype=bool)
    flat = np.zeros((length, length), dtype=bool)
    flat[length // 2] = True
    return [flat, flat.T, eye, eye[::-1]]


def _threshold(values: np.ndarray, least: float) -> float:
    """What stands out: five robust deviations above the median, and at least `least` grey levels."""
    median = float(np.median(values))
    return max(least, median + 5 * 1.4826 * float(np.median(np.abs(values - median))))


def _long(mask: np.ndarray, length: int) -> np.ndarray:
    """The connected parts that are at least `length` pixels long, a pixel wider."""
    labels, n = ndimage.label(mask, np.ones((3, 3)))
    kept = np.zeros(n + 1, dtype=bool)
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        extent = np.hypot(rows.stop - rows.start, columns.stop - columns.start)
        kept[number] = extent >= length
    return grown(kept[labels], 1)


def _tick_row(thin: np.ndarray, side: str) -> np.ndarray:
    """Ticks that stand on a line near one side, evenly spaced; the picture is turned so that the side is its top."""
    turns = {"top": 0, "right": 1, "bottom": 2, "left": 3}[side]
    turned = np.rot90(thin, turns)
    height, width = turned.shape
    strip = turned.copy()
    strip[round(0.22 * min(height, width)) :] = False
    labels, _ = ndimage.label(strip, np.ones((3, 3)))
    ticks = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        if tall >= max(2, 1.3 * wide) and tall < 0.12 * height:
            ticks.append((number, (columns.start + columns.stop) / 2, rows.start, rows.stop))
    kept = _evenly_spaced(np.array(sorted(ticks, key=lambda tick: tick[1])), width) if ticks else []
    found = np.isin(labels, kept) if kept else np.zeros_like(strip)
    return np.rot90(grown(found, 1), -turns)


def _evenly_spaced(ticks: np.ndarray, width: int) -> list[int]:
    """Numbers of the ticks of a ruler; none where they are no ruler's.

    At least six follow each other at nearly one distance, over a quarter of the side, and begin or end on one line.

    Parameters
    ----------
    ticks : (n, 4): number, middle, first row, one past the last; from left to right
    """
    gaps = np.diff(ticks[:, 1])
    if len(gaps) < 5:
        return []
    even = np.abs(gaps - np.median(gaps)) <= max(1.0, 0.15 * float(np.median(gaps)))
    runs, _ = ndimage.label(even)
    longest = int(np.bincount(runs[even]).argmax()) if even.any() else 0
    members = np.flatnonzero(runs == longest) if longest else []
    if len(members) < 5:
        return []
    row = ticks[members[0] : members[-1] + 2]
    off_line = min(_off_line(row[:, 1], row[:, edge]) for edge in (2, 3))
    if np.ptp(row[:, 1]) < width / 4 or off_line > max(1.0, width / 200):
        return []
    return [int(number) for number in row[:, 0]]


def _off_line(x: np.ndarray, y: np.ndarray) -> float:
    """Median distance of y from a straight line through it."""
    return float(np.median(np.abs(y - np.polyval(np.polyfit(x, y, 1), x))))

"""Which structures does dermoscopy name, and how is each one painted?

Every function takes the canvas, the lesion's random generator and soft fields of the sheet (rows, columns):
`s` is the distance to the lesion's border in sheet pixels (inside positive), `inside` the share of lesion 0–1.
Names follow Kittler et al., J Am Acad Dermatol 74 (2016) 1093 (third consensus of the dermoscopy society).
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np

from melascope.data.sources.phantom.canvas import BLOOD, KERATIN, MELANIN, RED_BROWN, SLATE, Canvas, Pigment
from melascope.data.sources.phantom.noise import cells, cloud, look_up, random_offset, ridges, rough, smooth_step

TAU = 2 * np.pi
_PEPPER = (0.62, 0.66, 0.56)  # greyer than slate


def scatter(
    canvas: Canvas, rng: np.random.Generator, s: np.ndarray, count: int, reach: float, inset: float
) -> tuple[np.ndarray, np.ndarray]:
    """Up to `count` points, at least `inset` sheet pixels inside the border, within `reach` of the centre.

    Each comes with three numbers in [0, 1) for its size and shape. They are drawn here, for every candidate: were
    they drawn for the points that remain, a point lost at the picture's edge would change the rest of the lesion.

    Returns
    -------
    points : (n, 2) lesion coordinates, n ≤ count.
    luck : (n, 3).
    """
    points, luck = rng.uniform(-reach, reach, (6 * count, 2)), rng.random((6 * count, 3))
    kept = np.flatnonzero(canvas.at(s, points) > inset)[:count]
    return points[kept], luck[kept]


def outline(
    canvas: Canvas, rng: np.random.Generator, radius: float, *, blobs: int, warp: float, flat: float
) -> tuple[Canvas, np.ndarray]:
    """The border as a signed distance: a union of `blobs` ellipses, bent by `warp` (share of the radius).

    Returns
    -------
    window : the part of the canvas that holds the lesion and its surroundings.
    s : (rows, columns) of that window, in sheet pixels, positive inside.
    """
    ragged, size = random_offset(rng), 0.5 + radius / 60
    bends = [(cloud(int(rng.integers(3))), random_offset(rng)) for _ in range(2)]
    ellipses = [_ellipse(rng, radius, flat, first=index == 0) for index in range(blobs)]

    def border(part: Canvas) -> np.ndarray:
        x, y = part.coordinates()
        for axis, (tile, offset) in zip((x, y), bends, strict=True):
            axis += np.float32(warp * radius) * part.texture(tile, size, offset)
        s = reduce(np.maximum, (ellipse.depth(x, y) for ellipse in ellipses))
        return s + np.float32(0.9 + 2.0 * warp) * part.texture(rough(0), 1.6, ragged)

    room = 14 + 0.25 * radius  # for halos and streaks
    # First a glance at every fourth pixel, between which the border moves a few pixels; then only what is near it.
    near = _box(border(canvas.every(_GLANCE)) > -room - 3 * _GLANCE)
    canvas = canvas.window(*(slice(max(0, _GLANCE * (part.start - 1)), _GLANCE * part.stop) for part in near))
    s = border(canvas)
    box = _box(s > -room)
    return canvas.window(*box), np.ascontiguousarray(s[box])


_GLANCE = 4


class _Ellipse(NamedTuple):
    """An ellipse of the area of a disc of radius `size`: its centre, its turn (radians), its stretch (1: round)."""

    size: float
    x: float
    y: float
    turn: float
    stretch: float

    def depth(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """How far inside it points lie, roughly: `size` in the middle, 0 on its line."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        squared = np.float32(0)
        for a, b in ((cos / self.stretch, sin / self.stretch), (-sin * self.stretch, cos * self.stretch)):
            along = np.float32(a) * x
            along += np.float32(b) * y
            along -= np.float32(a * self.x + b * self.y)
            along *= along
            squared = squared + along
        return np.float32(self.size) - np.sqrt(squared)


def _ellipse(rng: np.random.Generator, radius: float, flat: float, *, first: bool) -> _Ellipse:
    """The lesion's main ellipse, or a smaller one beside its middle."""
    size = radius if first else radius * rng.uniform(0.40, 0.75)
    angle, distance = rng.uniform(0, TAU), 0.0 if first else radius * rng.uniform(0.45, 0.85)
    turn, stretch = rng.uniform(0, TAU), np.sqrt(1 + rng.uniform(0.2, 1.0) * flat)
    return _Ellipse(size, distance * np.cos(angle), distance * np.sin(angle), turn, stretch)


def _box(there: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the smallest box that holds all that is True."""
    rows, columns = (np.flatnonzero(there.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def network(
    canvas: Canvas,
    rng: np.random.Generator,
    region: np.ndarray,
    amount: float,
    cell: float,
    uneven: float,
) -> None:
    """Pigment network: brown lines round paler holes; `uneven` 0–1 makes them vary in width, strength and mesh."""
    index = canvas.honeycomb(cell, random_offset(rng), bend=4.0 + 7.0 * uneven)
    width = np.float32(rng.uniform(0.14, 0.20)) * (1 + np.float32(0.25 + 0.6 * uneven) * canvas.clouds(rng, 0.4))
    width = np.clip(width, 0.05, 0.40)
    line = np.exp(-((look_up(cells().wall, index) / width) ** 2))
    strength = np.clip(1 + np.float32(0.30 + 0.5 * uneven) * canvas.clouds(rng, 0.7), 0.05, 2.4)
    hole = np.float32(0.45) * (look_up(cells().chance, index) - np.float32(0.7))
    canvas.add(MELANIN, np.float32(amount) * region * strength * (line + hole))


def negative_network(canvas: Canvas, rng: np.random.Generator, region: np.ndarray, amount: float, cell: float) -> None:
    """Inverse network: pale lines round brown, elongated globules."""
    wall = look_up(cells().wall, canvas.honeycomb(cell, random_offset(rng), bend=10.0))
    canvas.add(MELANIN, -np.float32(amount) * region * np.exp(-((wall / 0.11) ** 2)))


def globules(
    canvas: Canvas,
    rng: np.random.Generator,
    region: np.ndarray,
    amount: float,
    cell: float,
    uneven: float,
    share: float,
) -> None:
    """Dots and globules: round clumps in a `share` of the honeycomb's cells; `uneven` varies their size and tone."""
    index = canvas.honeycomb(cell, random_offset(rng), bend=4.0 + 5.0 * uneven)
    core, chance = look_up(cells().core, index), look_up(cells().chance, index)
    size = np.float32(0.36) * (1 + np.float32(uneven) * (chance / np.float32(share) - np.float32(0.6)))
    present = (chance < share).astype(np.float32)
    clump = smooth_step(size - core, -0.16, 0.20) * present
    tone = 1 + np.float32(0.3 + 0.9 * uneven) * (np.float32(0.4) - np.mod(chance * 7, 1))
    canvas.add(MELANIN, np.float32(amount) * region * clump * tone)


def blotch(
    canvas: Canvas,
    rng: np.random.Generator,
    inside: np.ndarray,
    radius: float,
    amount: float,
    off_centre: float,
) -> None:
    """A structureless dark area, `off_centre` (share of the radius) away from the middle."""
    angle, far = rng.uniform(0, TAU), off_centre * radius
    size = radius * rng.uniform(0.28, 0.5)
    d = canvas.distance(far * np.cos(angle), far * np.sin(angle)) / np.float32(size)
    edge = 1 - d + np.float32(0.28) * canvas.clouds(rng, 0.5)
    canvas.add(MELANIN, np.float32(amount) * smooth_step(edge, -0.15, 0.45) * inside)


def streaks(
    canvas: Canvas, rng: np.random.Generator, s: np.ndarray, radius: float, amount: float, *, sector: float
) -> None:
    """Radial streaks and pseudopods over a `sector` (radians) of the border, bulbs at their tips."""
    start, count = rng.uniform(0, TAU), int(4 + 5 * sector)
    angles = start + rng.uniform(0, sector, count)
    rays = np.linspace(0.3, 2.2, 48) * radius
    length, width = rng.uniform(0.12, 0.30, count) * radius, rng.uniform(1.0, 2.2, count)
    bends, bulbs = rng.normal(0, 0.12, count), rng.uniform(0.4, 0.95, count) * width
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    within = canvas.at(s, rays[:, None] * ways[:, None]) > 0
    lines, tips = [], []
    for way, inside, reach, thick, bend, bulb in zip(ways, within, length, width, bends, bulbs, strict=True):
        if inside.any():
            border = rays[np.flatnonzero(inside)[-1]]
            aside = bend * reach * np.array([-way[1], way[0]])
            foot, tip = way * (border - reach * 0.8), way * (border + reach * 0.7) + aside
            lines.append((np.stack([foot, (foot + tip) / 2 + aside * 0.5, tip]), thick))
            tips.append((tip, bulb))
    if lines:
        ends = canvas.discs(np.array([tip for tip, _ in tips]), np.array([size for _, size in tips]), blur=0.7)
        canvas.add(MELANIN, np.float32(amount) * np.maximum(canvas.strokes(lines, blur=0.7), ends))


def veil(canvas: Canvas, rng: np.random.Generator, s: np.ndarray, inside: np.ndarray, radius: float, share: float):
    """Blue-white veil: a structureless blue area under a whitish ground-glass film, covering part of the lesion."""
    angle, distance = rng.uniform(0, TAU), radius * rng.uniform(0.05, 0.5)
    d = canvas.distance(distance * np.cos(angle), distance * np.sin(angle))
    d = d / np.float32(radius * rng.uniform(0.35, 0.65))
    area = smooth_step(1 - d + np.float32(0.35) * canvas.clouds(rng, 0.7), -0.1, 0.5) * smooth_step(s, 1, 7)
    canvas.add(SLATE, np.float32(0.35) * area * inside)
    colour = (rng.uniform(108, 138), rng.uniform(114, 138), rng.uniform(136, 160))
    canvas.cover(colour, np.float32(share) * area)


def regression(canvas: Canvas, rng: np.random.Generator, s: np.ndarray, radius: float, share: float) -> None:
    """Regression: scar-like white where the lesion has gone, with grey pepper in it."""
    area = smooth_step(canvas.clouds(rng, 0.6 + radius / 90), 0.35, 1.1) * smooth_step(s, 0, 6)
    canvas.cover((226, 200, 200), np.float32(share) * area)
    pepper(canvas, rng, area, 0.55)


def pepper(canvas: Canvas, rng: np.random.Generator, region: np.ndarray, amount: float) -> None:
    """Grey granules: fine blue-grey dots."""
    grains = smooth_step(canvas.texture(rough(1), 0.7, random_offset(rng)), 0.4, 1.6)
    canvas.add(_PEPPER, np.float32(amount) * region * grains)


def cerebriform(canvas: Canvas, rng: np.random.Generator, region: np.ndarray, amount: float, size: float) -> None:
    """Gyri and sulci: broad winding ridges between darker fissures (small `size`: fingerprint lines)."""
    band = canvas.texture(ridges(), size, random_offset(rng), bend=6.0)
    fissure = np.exp(-((band / 0.42) ** 2))
    canvas.add(MELANIN, np.float32(amount) * region * (fissure - np.float32(0.25)))


def milia(canvas: Canvas, rng: np.random.Generator, s: np.ndarray, radius: float, count: int) -> None:
    """Milia-like cysts: round, bright, white-yellow, some starry and small, some cloudy and large."""
    centres, luck = scatter(canvas, rng, s, count, radius, 4.0)
    if len(centres):
        kind = np.digitize(luck[:, 0], [0.5, 0.85])
        sizes = np.array([1.2, 2.0, 3.2])[kind] * (0.8 + 0.4 * luck[:, 1])
        canvas.cover((245, 226, 196), np.float32(0.30) * canvas.discs(centres, 1.6 * sizes))
        canvas.cover((250, 240, 218), np.float32(0.55) * canvas.discs(centres, sizes))


def comedo_openings(canvas: Canvas, rng: np.random.Generator, s: np.ndarray, radius: float, count: int) -> None:
    """Comedo-like openings: sharp brown-black keratin plugs, some drawn out into crypts."""
    centres, luck = scatter(canvas, rng, s, count, radius, 3.0)
    if len(centres):
        sizes = 1.3 + 2.1 * luck[:, 0]
        ends = centres + 8.0 * (luck[:, 1:] - 0.5)
        plugs = [(np.stack([a, b]), 1.3 * r) for a, b, r in zip(centres, ends, sizes, strict=True)]
        dark = np.maximum(canvas.discs(centres, sizes), canvas.strokes(plugs))
        canvas.add((0.9, 1.25, 1.5), np.float32(0.95) * dark)


def arborizing_vessels(
    canvas: Canvas, rng: np.random.Generator, s: np.ndarray, radius: float, amount: float, trees: int
) -> None:
    """Arborizing vessels: bright red stems that branch into ever finer twigs across the lesion."""
    lines: list[tuple[np.ndarray, float]] = []
    for _ in range(trees):
        angle, turn = rng.uniform(0, TAU), rng.normal(0, 0.6)
        root = radius * rng.uniform(0.5, 1.1) * np.array([np.cos(angle), np.sin(angle)])
        length, width = radius * rng.uniform(0.6, 1.1), rng.uniform(1.4, 2.3)
        _grow(rng, root, angle + np.pi + turn, length, width, lines)
    near = smooth_step(s, -0.22 * radius, 0.05 * radius)
    canvas.add((0.14, 1.0, 0.72), np.float32(amount) * canvas.strokes(lines, blur=0.6) * near)


def _grow(
    rng: np.random.Generator,
    root: np.ndarray,
    heading: float,
    length: float,
    width: float,
    lines: list[tuple[np.ndarray, float]],
) -> None:
    """Add a winding vessel and its branches to `lines`."""
    turns = heading + np.cumsum(rng.normal(0, 0.30, 9))
    path = root + np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1), axis=0) * length / 9
    path = np.concatenate([root[None], path])
    lines += [(path[:6], width), (path[5:], 0.75 * width)]
    if width < 0.65 or length < 6:
        return
    for joint in rng.choice(np.arange(2, 9), size=int(rng.integers(2, 4)), replace=False):
        side = rng.choice([-1, 1]) * rng.uniform(0.4, 1.1)
        _grow(rng, path[joint], turns[joint - 1] + side, length * rng.uniform(0.35, 0.7), width * 0.6, lines)


def short_vessels(
    canvas: Canvas, rng: np.random.Generator, s: np.ndarray, radius: float, count: int, *, coiled: bool, amount: float
) -> None:
    """Dotted (`coiled=False`: dots and commas) or glomerular vessels (coils), often in clusters."""
    seeds = rng.uniform(-0.65, 0.65, (max(1, count // 12), 2)) * radius
    centres = seeds[rng.integers(len(seeds), size=count)] + rng.normal(0, 0.22 * radius, (count, 2))
    sizes = rng.uniform(0.9, 1.7, count)
    kept = canvas.at(s, centres) > 2
    centres, sizes = centres[kept], sizes[kept]
    if len(centres) == 0:
        return
    if coiled:
        turn = np.linspace(0, 1.6 * TAU, 12)
        spiral = np.stack([np.cos(turn), np.sin(turn)], axis=1) * np.linspace(0.6, 2.6, 12)[:, None]
        drawn = canvas.strokes([(centre + spiral, 1.0) for centre in centres])
    else:
        drawn = canvas.discs(centres, sizes)
    canvas.add(BLOOD, np.float32(amount) * drawn)


def ovoid_nests(
    canvas: Canvas, rng: np.random.Generator, s: np.ndarray, radius: float, count: int, amount: float
) -> None:
    """Blue-grey ovoid nests, globules and dots: confluent, darker than the skin, deep (hence blue and soft-edged)."""
    centres, luck = scatter(canvas, rng, s, count, radius, 2.0)
    grain = canvas.texture(rough(2), 1.5, random_offset(rng))
    mottled = np.clip(1 + 0.35 * canvas.clouds(rng, 0.4), 0.3, 1.7)
    if len(centres) == 0:
        return
    sizes = radius * np.array([0.03, 0.08, 0.15])[np.digitize(luck[:, 0], [0.40, 0.78])] + 1.0
    axes = 1.6 * (luck[:, 1:] - 0.5) * sizes[:, None]
    ovals = np.concatenate([centres + share * axes for share in (-1.0, -0.5, 0.0, 0.5, 1.0)])
    drawn = canvas.discs(ovals, np.tile(sizes, 5), blur=1.6)
    nests = smooth_step(drawn + np.float32(0.10) * grain, 0.20, 0.95)
    canvas.add((0.78, 0.74, 0.56), np.float32(amount) * nests * mottled)


def ulcer(canvas: Canvas, rng: np.random.Generator, s: np.ndarray, radius: float) -> None:
    """Ulceration: a sharp, raw, orange-red patch with brown-black crust in it."""
    angle, distance = rng.uniform(0, TAU), radius * rng.uniform(0, 0.45)
    d = canvas.distance(distance * np.cos(angle), distance * np.sin(angle)) / np.float32(radius * rng.uniform(0.2, 0.4))
    area = smooth_step(1 - d + 0.3 * canvas.clouds(rng, 0.35), 0.0, 0.12)
    area = area * smooth_step(s, 0, 3)
    canvas.add((0.30, 1.05, 1.25), np.float32(0.6) * area)
    crusts = smooth_step(canvas.clouds(rng, 0.25), 0.2, 0.9) * area
    canvas.add(MELANIN, np.float32(0.9) * crusts)


def scale(canvas: Canvas, rng: np.random.Generator, region: np.ndarray, share: float) -> None:
    """Surface scale: angular white-yellow flakes."""
    index = canvas.honeycomb(rng.uniform(9, 14), random_offset(rng), bend=9.0)
    wall, chance = look_up(cells().wall, index), look_up(cells().chance, index)
    patchy = smooth_step(canvas.clouds(rng, 0.5) + 1.2 * (np.mod(chance * 13, 1) - 0.5), 0.1, 0.9)
    flake = (
        patchy
        * smooth_step(wall, 0.02, 0.16)
        * (0.7 + 0.3 * np.clip(canvas.texture(rough(0), 0.8, random_offset(rng)), -1, 1))
    )
    canvas.cover((246, 236, 214), np.clip(np.float32(share) * region * flake, 0, 0.9))


def crust(canvas: Canvas, rng: np.random.Generator, region: np.ndarray, amount: float) -> None:
    """Yellow-brown crust: dried serum and keratin in rough clods."""
    clods = smooth_step(canvas.clouds(rng, 0.35) + 0.35 * canvas.texture(rough(1), 1.2, random_offset(rng)), 0.5, 1.0)
    canvas.add(KERATIN, np.float32(1.1 * amount) * region * clods)
    canvas.add(MELANIN, np.float32(0.4 * amount) * region * clods)


def strawberry(canvas: Canvas, rng: np.random.Generator, region: np.ndarray, amount: float) -> None:
    """Strawberry pattern: a red pseudonetwork round pale, keratin-filled follicles with a white rim."""
    index = canvas.honeycomb(rng.uniform(9, 13), random_offset(rng), bend=5.0)
    core, chance = look_up(cells().core, index), look_up(cells().chance, index)
    follicle = smooth_step(np.float32(0.20) + np.float32(0.16) * chance - core, -0.06, 0.16)
    canvas.add(BLOOD, np.float32(amount) * region * (1 - follicle))
    canvas.cover((244, 226, 200), np.float32(0.34) * region * follicle)
    plug = smooth_step(np.float32(0.15) - core, 0.0, 0.10) * (chance > 0.4)
    canvas.add(KERATIN, np.float32(0.6) * region * plug)


def satellites(canvas: Canvas, rng: np.random.Generator, radius: float, count: int, pigment: Pigment) -> None:
    """Small spots beside the lesion, apart from it (and outside its mask)."""
    angles, distance = rng.uniform(0, TAU, count), radius * rng.uniform(1.5, 2.3, count)
    bend = 3.0 * canvas.clouds(rng, 0.6)
    for angle, far in zip(angles, distance, strict=True):
        size = rng.uniform(4, 11)
        d = canvas.distance(far * np.cos(angle), far * np.sin(angle)) + bend
        spot = smooth_step(np.float32(size) - d, -3, 4)
        canvas.add(pigment, np.float32(rng.uniform(0.4, 1.1)) * spot)


def red_brown_mix(rng: np.random.Generator) -> Pigment:
    """A melanin of this lesion's own hue, between brown and red-brown."""
    mix = rng.uniform(0, 1)
    return tuple(float(mix * red + (1 - mix) * brown) for red, brown in zip(RED_BROWN, MELANIN, strict=True))

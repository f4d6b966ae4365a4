"""How do the five classes look that do not come from melanocytes?

Each painter takes the canvas, the lesion's random generator, its radius (sheet pixels) and how `plain` (0–1) it
shows its class; it returns the signed distance to the border on the whole sheet. Signs of another class turn up
now and then, as in life.
"""

from __future__ import annotations

import numpy as np

from melascope.data.sources.phantom import structures as paint
from melascope.data.sources.phantom.canvas import BLOOD, KERATIN, LACUNA, MELANIN, SLATE, Canvas
from melascope.data.sources.phantom.noise import cells, look_up, random_offset, smooth_step


def benign_keratosis(canvas: Canvas, rng: np.random.Generator, radius: float, plain: float) -> np.ndarray:
    """Seborrhoeic keratosis or solar lentigo: sharp, stuck-on, dull brown; ridges, cysts, openings, eaten borders."""
    canvas, s = paint.outline(
        canvas, rng, radius, blobs=1 + int(rng.integers(0, 4)), warp=0.16, flat=rng.uniform(0, 0.8)
    )
    if rng.random() < 0.5:  # moth-eaten
        s = s - np.float32(0.14 * radius) * smooth_step(canvas.clouds(rng, 0.35), 0.4, 1.4)
    inside = smooth_step(s, -1.0, 1.0 + 3.0 * (1 - plain))
    lentigo = rng.random() < 0.35
    amount = rng.uniform(0.25, 0.5) if lentigo else rng.choice([0.4, 0.7, 1.2]) * rng.uniform(0.8, 1.2)
    canvas.add(MELANIN, np.float32(0.75 * amount) * inside * np.clip(1 + 0.25 * canvas.clouds(rng, 0.9), 0.3, 2))
    canvas.add(KERATIN, np.float32(rng.uniform(0.1, 0.5)) * inside)
    if lentigo:
        paint.cerebriform(canvas, rng, inside, 0.15 + 0.5 * plain, rng.uniform(0.28, 0.4))
    else:
        paint.cerebriform(canvas, rng, inside, (0.12 + 0.8 * plain) * amount, rng.uniform(0.5, 0.9))
        paint.comedo_openings(canvas, rng, s, radius, int(rng.poisson(11 * plain)))
        paint.milia(canvas, rng, s, radius, int(rng.poisson(15 * plain)))
    if rng.random() < 0.18:  # lichen-planus-like: grey granules
        paint.pepper(canvas, rng, inside * smooth_step(canvas.clouds(rng, 1.0), -0.3, 0.6), 0.6)
    if rng.random() < 0.15:
        paint.network(canvas, rng, inside, 0.5 * amount, rng.uniform(6, 9), uneven=0.3)
    if rng.random() < 0.10:
        paint.veil(canvas, rng, s, inside, radius, 0.4)
    return canvas.on_sheet(s, outside=-1e3)


def basal_cell_carcinoma(canvas: Canvas, rng: np.random.Generator, radius: float, plain: float) -> np.ndarray:
    """Basal cell carcinoma: translucent pink, arborizing vessels, blue-grey nests, ulceration, no network."""
    canvas, s = paint.outline(
        canvas, rng, radius, blobs=1 + int(rng.integers(0, 3)), warp=0.17, flat=rng.uniform(0, 0.7)
    )
    inside = smooth_step(s, -5.0, 6.0)
    canvas.add(BLOOD, np.float32(rng.uniform(0.12, 0.35)) * inside * np.clip(1 + 0.4 * canvas.clouds(rng, 1.0), 0, 2))
    canvas.cover(
        (238, 205, 205), np.float32(rng.uniform(0.1, 0.4)) * inside * smooth_step(canvas.clouds(rng, 0.8), -0.3, 0.8)
    )
    pigmented = rng.random() < 0.6
    if pigmented:
        count = int(rng.poisson(3 + 9 * plain)) + 1
        paint.ovoid_nests(canvas, rng, s, radius, count, rng.uniform(0.6, 1.2))
    if rng.random() < 0.35:  # leaf-like areas at the rim
        leaves = (
            smooth_step(canvas.clouds(rng, 0.5), 0.6, 1.6) * smooth_step(s, -1, 3) * smooth_step(-s, -0.5 * radius, 0)
        )
        canvas.add(MELANIN, np.float32(rng.uniform(0.4, 0.8)) * leaves)
        canvas.add(SLATE, np.float32(0.3) * leaves)
    if not pigmented or rng.random() < 0.6:
        paint.arborizing_vessels(canvas, rng, s, radius, 0.2 + 0.65 * plain, trees=int(rng.integers(3, 7)))
    if rng.random() < 0.35:
        paint.ulcer(canvas, rng, s, radius)
    if rng.random() < 0.12:
        paint.milia(canvas, rng, s, radius, 5)
    return canvas.on_sheet(s, outside=-1e3)


def actinic_keratosis(canvas: Canvas, rng: np.random.Generator, radius: float, plain: float) -> np.ndarray:
    """Actinic keratosis or Bowen's disease: pink, scaly or crusted; strawberry pattern or coiled vessels."""
    canvas, s = paint.outline(
        canvas, rng, radius, blobs=1 + int(rng.integers(0, 3)), warp=0.22, flat=rng.uniform(0, 0.8)
    )
    inside = smooth_step(s, -7.0, 5.0)
    kind = rng.choice(["strawberry", "bowen", "pigmented"], p=[0.45, 0.33, 0.22])
    red = rng.uniform(0.05, 0.2) if kind == "strawberry" else rng.uniform(0.15, 0.4)
    canvas.add(BLOOD, np.float32(red) * inside * np.clip(1 + 0.35 * canvas.clouds(rng, 0.8), 0, 2))
    if kind == "strawberry":
        paint.strawberry(canvas, rng, inside, 0.15 + 0.3 * plain)
    elif kind == "bowen":
        paint.short_vessels(canvas, rng, s, radius, int(30 + 60 * plain), coiled=True, amount=0.85)
    else:
        tones = np.clip(1 + 0.5 * canvas.clouds(rng, 0.6), 0, 2)
        canvas.add(MELANIN, np.float32(rng.uniform(0.3, 0.7)) * inside * tones)
        paint.globules(canvas, rng, inside, 0.3, 7.0, uneven=0.6, share=0.6)
    paint.scale(canvas, rng, inside, (0.05 + 0.7 * plain) * rng.uniform(0.5, 1.0))
    if rng.random() < 0.25 + 0.35 * plain:
        paint.crust(canvas, rng, inside, rng.uniform(0.5, 1.1))
    return canvas.on_sheet(s, outside=-1e3)


def dermatofibroma(canvas: Canvas, rng: np.random.Generator, radius: float, plain: float) -> np.ndarray:
    """Dermatofibroma: round, a central white scar-like patch with strands, a delicate brown network round it."""
    canvas, s = paint.outline(canvas, rng, radius, blobs=1, warp=0.08, flat=rng.uniform(0, 0.35))
    inside = smooth_step(s, -8.0, 9.0)
    ring = inside * smooth_step(-s, -0.85 * radius, -0.25 * radius)
    amount = rng.uniform(0.4, 0.9)
    canvas.add(
        paint.red_brown_mix(rng), np.float32(0.5 * amount) * inside * np.clip(1 + 0.18 * canvas.clouds(rng, 0.9), 0, 2)
    )
    canvas.add(BLOOD, np.float32(rng.uniform(0.0, 0.35)) * inside)
    paint.network(canvas, rng, ring, 0.3 * amount + 0.2 * plain, rng.uniform(4.5, 6.5), uneven=0.1)
    start = rng.uniform(0.2, 0.55)
    patch = smooth_step(s + np.float32(5) * canvas.clouds(rng, 0.6), start * radius, (start + 0.35) * radius)
    canvas.cover((240, 214, 216), np.float32(0.1 + 0.7 * plain) * patch)
    _scar_strands(canvas, rng, radius, 0.1 + 0.4 * plain)
    if rng.random() < 0.2:
        paint.short_vessels(canvas, rng, s, radius, 18, coiled=False, amount=0.5)
    return canvas.on_sheet(s, outside=-1e3)


def _scar_strands(canvas: Canvas, rng: np.random.Generator, radius: float, share: float) -> None:
    """White strands that radiate through the central patch."""
    strands = []
    for angle in rng.uniform(0, paint.TAU, 26):
        way = np.array([np.cos(angle), np.sin(angle)])
        side = rng.normal(0, 0.12, 2) * radius
        near, far = way * radius * rng.uniform(0.0, 0.2), way * radius * rng.uniform(0.35, 0.62)
        strands.append((np.stack([near + side, (near + far) / 2 + side * 0.8, far + side * 0.4]), 1.0))
    canvas.cover((250, 232, 234), np.float32(share) * canvas.strokes(strands))


def vascular(canvas: Canvas, rng: np.random.Generator, radius: float, plain: float) -> np.ndarray:
    """Haemangioma or angiokeratoma: sharp red, purple or black lacunae between pale septa; or a bleed without any."""
    radius = 0.78 * radius
    canvas, s = paint.outline(
        canvas, rng, radius, blobs=1 + int(rng.integers(0, 3)), warp=0.10, flat=rng.uniform(0, 0.5)
    )
    inside = smooth_step(s, -1.5, 2.5)
    depth = rng.uniform(0.45, 0.8)
    canvas.add(LACUNA, np.float32(0.75 * depth) * inside * np.clip(1 + 0.15 * canvas.clouds(rng, 0.9), 0, 2))
    canvas.add(BLOOD, np.float32(0.22) * smooth_step(s, -12, 0))  # a red halo
    kind = rng.choice(["haemangioma", "angiokeratoma", "bleed"], p=[0.68, 0.22, 0.10])
    if kind == "bleed":
        canvas.add(
            (0.8, 1.2, 1.0), np.float32(rng.uniform(0.7, 1.5)) * smooth_step(s + 4 * canvas.clouds(rng, 0.4), 2, 8)
        )
        return canvas.on_sheet(s, outside=-1e3)
    offset = random_offset(rng)
    index = canvas.honeycomb(rng.uniform(8, 15), offset, bend=7.0)
    wall, core, chance = (look_up(tile, index) for tile in cells())
    # Round lacunae on a paler ground: some deep and purple, some hardly there.
    lacuna = smooth_step(np.float32(0.62) - core, 0.0, 0.3) * smooth_step(wall, 0.0, 0.2) * (np.float32(0.3) + chance)
    lacuna = lacuna * smooth_step(s, 0, 4)
    canvas.add(LACUNA, np.float32((0.15 + 0.6 * plain) * depth) * lacuna)
    if kind == "angiokeratoma":
        canvas.add(
            (1.1, 0.8, 0.6),
            np.float32(rng.uniform(0.5, 1.1)) * lacuna * smooth_step(canvas.clouds(rng, 0.9), -0.4, 0.8),
        )
        canvas.cover((206, 190, 206), np.float32(0.35) * smooth_step(canvas.clouds(rng, 0.8), 0.2, 1.0) * inside)
    return canvas.on_sheet(s, outside=-1e3)

"""How do nevi and melanomas look, from a textbook nevus (atypia 0) to a textbook melanoma (atypia 1)?

One painter paints both: what the eye can tell apart is the atypia alone, so the two classes overlap exactly as
far as their atypias do (`lesions._atypia`).
"""

from __future__ import annotations

import numpy as np

from melascope.data.sources.phantom import structures as paint
from melascope.data.sources.phantom.canvas import BLOOD, MELANIN, Canvas
from melascope.data.sources.phantom.noise import smooth_step


def melanocytic(canvas: Canvas, rng: np.random.Generator, radius: float, atypia: float) -> np.ndarray:
    """Paint a melanocytic lesion; returns the signed distance to its border on the whole sheet."""
    a = atypia
    blobs = 1 + int(rng.poisson(2.4 * a))
    canvas, s = paint.outline(canvas, rng, radius, blobs=blobs, warp=0.04 + 0.21 * a, flat=rng.uniform(0, 0.7))
    soft = rng.uniform(4, 0.35 * radius) * (1 - 0.4 * a)
    # A benign border fades evenly; an atypical one is soft here and abrupt there.
    width = soft * np.clip(1 + 0.7 * a * canvas.clouds(rng, 1.2), 0.2, 2.5)
    inside = smooth_step(s / width, -0.6, 1.0)
    amelanotic = rng.random() < 0.07 * a
    amount = rng.uniform(0.55, 1.25) * (0.35 if amelanotic else 1.0)
    _ground(canvas, rng, s, inside, radius, amount, a)
    _pattern(canvas, rng, s, inside, radius, amount, a)
    _atypical_signs(canvas, rng, s, inside, radius, amount, a)
    if amelanotic:
        canvas.add(BLOOD, np.float32(0.35) * inside)
        paint.short_vessels(canvas, rng, s, radius, 40, coiled=False, amount=0.8)
    return canvas.on_sheet(s, outside=-1e3)


def _ground(
    canvas: Canvas,
    rng: np.random.Generator,
    s: np.ndarray,
    inside: np.ndarray,
    radius: float,
    amount: float,
    a: float,
) -> None:
    """Structureless base: even and symmetric when benign, many-toned when atypical."""
    hue = paint.red_brown_mix(rng)
    depth = smooth_step(s, -2, 0.9 * radius)  # 0 at the border, 1 in the middle
    profile = 1 + rng.uniform(-0.45, 0.8) * (1 - a) * (depth - 0.4)
    tones = np.clip(1 + (0.16 + 0.45 * a) * canvas.clouds(rng, 0.9 + radius / 80), 0.12, 2.6)
    canvas.add(hue, np.float32(0.72 * amount) * inside * profile * tones)
    if rng.random() < 0.25 + 0.5 * a:  # a second brown, in patches
        patch = smooth_step(canvas.clouds(rng, 0.8), 0.2, 0.9 - 0.4 * a)
        canvas.add(MELANIN, np.float32((0.25 + 0.8 * a) * amount) * patch * inside)


def _pattern(
    canvas: Canvas,
    rng: np.random.Generator,
    s: np.ndarray,
    inside: np.ndarray,
    radius: float,
    amount: float,
    a: float,
) -> None:
    """The global pattern: network, globules, both (globules in the middle), or none; regular when benign."""
    kind = rng.choice(["reticular", "globular", "homogeneous", "mixed"], p=[0.42, 0.22, 0.16, 0.20])
    cell = rng.uniform(3.8, 6.4)
    fade = inside * smooth_step(s, 0, (0.5 - 0.4 * a) * radius + 3)
    patchy = np.clip(1 + 0.9 * a * canvas.clouds(rng, 0.9), 0, 2)
    if kind in ("reticular", "mixed"):
        region = (
            fade * patchy if kind == "reticular" else fade * patchy * smooth_step(-s, -0.75 * radius, -0.3 * radius)
        )
        paint.network(canvas, rng, region, (0.75 + 0.3 * a) * amount, cell, uneven=0.12 + 0.8 * a)
    if kind in ("globular", "mixed"):
        region = inside * patchy if kind == "globular" else inside * smooth_step(s, 0.3 * radius, 0.6 * radius)
        paint.globules(canvas, rng, region, 0.8 * amount, 1.15 * cell, uneven=0.3 + 0.6 * a, share=0.9 - 0.4 * a)


def _atypical_signs(
    canvas: Canvas,
    rng: np.random.Generator,
    s: np.ndarray,
    inside: np.ndarray,
    radius: float,
    amount: float,
    a: float,
) -> None:
    """The melanoma-specific criteria, each more likely and stronger with atypia."""

    def shows(low: float, high: float) -> bool:
        return bool(rng.random() < np.clip((a - low) / (high - low), 0, 0.85))

    if shows(0.15, 0.9):
        paint.blotch(canvas, rng, inside, radius, (0.7 + a) * amount, off_centre=0.25 + 0.4 * a)
    if shows(0.25, 1.0):
        eccentric = inside * smooth_step(canvas.clouds(rng, 0.9), 0.2, 0.8)
        paint.globules(canvas, rng, eccentric, 1.1, rng.uniform(6, 9), uneven=0.9, share=0.5)
    if shows(0.35, 1.2):
        paint.negative_network(canvas, rng, inside * smooth_step(canvas.clouds(rng, 1.0), 0.0, 0.8), 0.6, 9.0)
    if shows(0.30, 1.1):
        paint.streaks(canvas, rng, s, radius, 0.9 + 0.5 * a, sector=rng.uniform(0.8, 3.0))
    if shows(0.30, 0.95):
        paint.regression(canvas, rng, s, radius, rng.uniform(0.35, 0.7))
    if shows(0.30, 0.95):
        paint.veil(canvas, rng, s, inside, radius, rng.uniform(0.35, 0.7) * (0.5 + 0.5 * a))
    if shows(0.30, 1.1):
        pink = smooth_step(canvas.clouds(rng, 1.1), 0.3, 1.0) * inside
        canvas.add(BLOOD, np.float32(0.45) * pink)

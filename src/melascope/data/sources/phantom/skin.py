"""What does the skin round the lesion look like, and through which light is it seen?"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from melascope.data.sources.phantom.canvas import BLOOD, HEIGHT, MELANIN, SHEET, WIDTH, Canvas
from melascope.data.sources.phantom.noise import cells, look_up, random_offset, skin_grain, smooth_step

TONES: tuple[tuple[tuple[int, int, int], float], ...] = (
    ((232, 152, 156), 0.22),  # pink
    ((218, 132, 134), 0.10),  # red
    ((208, 178, 192), 0.17),  # lilac
    ((190, 172, 186), 0.07),  # grey lilac
    ((234, 200, 178), 0.15),  # beige
    ((232, 172, 132), 0.09),  # orange
    ((226, 210, 208), 0.09),  # pale
    ((190, 134, 112), 0.06),  # brown
    ((150, 100, 82), 0.05),  # dark brown
)
"""RGB of bare skin as HAM10000's cameras show it, with its share (dark tones are rarer there than here)."""


def lay_skin(canvas: Canvas, rng: np.random.Generator, age: int, sun_exposed: bool) -> None:
    """Paint bare skin: its tone, uneven melanin and blood, and with age and sun freckles and fine red mesh."""
    index = rng.choice(len(TONES), p=[share for _, share in TONES])
    tone = np.clip(np.array(TONES[index][0]) * rng.normal(1.0, 0.035, 3), 20, 250)
    damage = np.clip((age - 40) / 45, 0, 1) * (1.0 if sun_exposed else 0.5) * rng.uniform(0.2, 1.0)
    smooth = canvas.every(2)
    smooth.density += -np.log(tone / 255.0).astype(np.float32)[:, None, None]
    smooth.add(MELANIN, np.float32(0.025 + 0.04 * damage) * smooth.clouds(rng, 1.6))
    smooth.add(BLOOD, np.float32(0.02 + 0.06 * damage) * smooth.clouds(rng, 0.7))
    if damage > 0.35 and rng.random() < 0.6:
        freckles = smooth_step(smooth.clouds(rng, 0.7), 0.5, 2.2)
        smooth.add(MELANIN, np.float32(0.5 * damage) * freckles)
    canvas.fill_in()
    if damage > 0.4 and rng.random() < 0.3:
        offset = random_offset(rng)
        wall = look_up(cells().wall, canvas.honeycomb(rng.uniform(16, 26), offset, bend=12.0))
        mesh = np.exp(-((wall / 0.09) ** 2)) * np.clip(0.5 + 0.7 * canvas.clouds(rng, 1.0), 0, 1.5)
        canvas.add(BLOOD, np.float32(0.25 * damage) * mesh)


def light(canvas: Canvas, rng: np.random.Generator) -> None:
    """The camera's light: its tint and strength, a slope across the picture, and often a vignette."""
    tint = rng.normal(0.0, 0.03, 3) + rng.normal(0.0, 0.05)
    across, down, squared = _lens()
    slope_x, slope_y = rng.normal(0.0, 0.07, 2)
    shade = np.float32(slope_x) * across + np.float32(slope_y) * down
    if rng.random() < 0.45:
        shade = shade + np.float32(rng.uniform(0.08, 0.45)) * squared
    canvas.density += shade
    canvas.density += tint.astype(np.float32)[:, None, None]


@lru_cache(maxsize=1)
def _lens() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position across and down in [-1, 1], and squared distance from the middle (1 in the corners), of the sheet."""
    down, across = np.meshgrid(np.linspace(-1, 1, SHEET[0]), np.linspace(-1, 1, SHEET[1]), indexing="ij")
    squared = (across**2 * 16 + down**2 * 9) / 25
    return across.astype(np.float32), down.astype(np.float32), squared.astype(np.float32)


def surface(rng: np.random.Generator) -> np.ndarray:
    """Fine furrows, pores and sensor grain of one picture, for `Canvas.picture`: (450, 600, 3) uint8."""
    tile = skin_grain(int(rng.integers(3)))
    top, left = int(rng.integers(tile.shape[0] - HEIGHT)), int(rng.integers(tile.shape[1] - WIDTH))
    return tile[top : top + HEIGHT, left : left + WIDTH][:: int(rng.choice([-1, 1]))]

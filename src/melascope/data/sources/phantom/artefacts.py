"""What lies between camera and lesion, and can be put on any picture: hair, ruler, dark corners, bubbles, stickers?

Each function takes `rgb` (height, width, 3) uint8 of any size and a random generator, and returns a new array of
the same shape; sizes follow the picture's width. None of them depends on a class.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Artefact = Callable[[np.ndarray, np.random.Generator], np.ndarray]

_TAU = 2 * np.pi


def add_hair(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hairs: a few to many curved, tapering strands of one colour, in one rough direction."""
    height, width = rgb.shape[:2]
    unit = width / 600
    count = int(np.clip(rng.lognormal(1.7, 0.8), 1, 45))
    heading, wild = rng.uniform(0, _TAU), rng.uniform(0.15, 0.9)
    thick, long = rng.uniform(1.0, 2.8) * unit, rng.uniform(0.15, 0.7) * width
    cover, draw = _sheet(rgb)
    opaque = int(rng.uniform(180, 245))
    for _ in range(count):
        start = rng.uniform(-0.1, 1.1, 2) * (width, height)
        turn = heading + rng.normal(0, wild) + np.linspace(0, rng.normal(0, 0.7), 12)
        step = long * rng.uniform(0.5, 1.3) / 12
        path = start + np.cumsum(np.stack([np.cos(turn), np.sin(turn)], axis=1), axis=0) * step
        for piece, taper in ((path[:7], 1.0), (path[6:10], 0.75), (path[9:], 0.5)):
            _line(draw, piece, thick * taper, opaque)
    colour = (_BLOND if rng.random() < 0.12 else _DARK) * rng.uniform(0.7, 1.2)
    return _painted(rgb, cover, colour)


_DARK, _BLOND = np.array([46.0, 30.0, 26.0]), np.array([206.0, 184.0, 158.0])


def add_ruler(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A millimetre scale along one side: ticks, every fifth longer."""
    height, width = rgb.shape[:2]
    unit, gap = width / 600, rng.uniform(16, 26) * width / 600
    cover, draw = _sheet(rgb)
    side, edge = int(rng.integers(4)), rng.uniform(6, 30) * unit
    tilt = rng.normal(0, 0.03)
    along, across = (width, height) if side < 2 else (height, width)
    for tick in range(int(along / gap) + 1):
        reach = (22 if tick % 5 == 0 else 12) * unit
        at = (tick + 0.5) * gap
        base = edge + tilt * at if side % 2 == 0 else across - edge + tilt * at
        ends = np.array([[at, base], [at, base + (reach if side % 2 == 0 else -reach)]])
        _line(draw, ends if side < 2 else ends[:, ::-1], 1.8 * unit, 215)
    return _painted(rgb, cover, np.array([28.0, 26.0, 30.0]))


def add_dark_corners(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The round field of a contact dermatoscope: nearly black beyond a circle, with a soft rim."""
    height, width = rgb.shape[:2]
    radius = rng.uniform(0.50, 0.60) * width
    centre = np.array([width / 2, height / 2]) + rng.normal(0, 0.02, 2) * width
    soft = rng.uniform(1.5, 9.0) * width / 600
    rows = np.arange(height, dtype=np.float32)[:, None] - np.float32(centre[1])
    columns = np.arange(width, dtype=np.float32)[None, :] - np.float32(centre[0])
    # (r² - d²) / 2r is the distance from the rim, near the rim, and needs no root.
    inwards = np.float32(radius / 2) - (columns**2 + rows**2) * np.float32(1 / (2 * radius))
    open_share = np.clip(inwards * np.float32(1 / soft) + np.float32(0.5), 0, 1)
    black = rng.uniform([4, 2, 4], [30, 16, 24])
    cover = Image.fromarray((255 - 255 * open_share).astype(np.uint8))
    return _painted(rgb, cover, black)


def add_gel_bubbles(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Air bubbles in the contact gel: a dark and a bright rim, a glint, and a slightly brighter middle."""
    height, width = rgb.shape[:2]
    unit = width / 600
    bright, draw_bright = _sheet(rgb)
    dark, draw_dark = _sheet(rgb)
    cluster = rng.uniform(0.05, 0.95, 2) * (width, height)
    for _ in range(int(rng.integers(2, 14))):
        x, y = cluster + rng.normal(0, 0.13, 2) * width
        r = float(np.clip(rng.lognormal(1.9, 0.6), 3, 34)) * unit
        _ring(draw_dark, x, y, r, 1.6 * unit, 120)
        _ring(draw_bright, x, y, 0.84 * r, 1.2 * unit, 120)
        _glint(draw_bright, x - 0.45 * r, y - 0.45 * r, max(0.16 * r, 1.0 * unit))
    rgb = _painted(rgb, dark, np.array([70.0, 48.0, 52.0]))
    return _painted(rgb, bright, np.array([255.0, 250.0, 246.0]))


def add_colour_patch(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A round coloured sticker that reaches in from the border, as beside lesions of children (Rieger et al. 2020)."""
    height, width = rgb.shape[:2]
    angle = rng.uniform(0, _TAU)
    centre = np.array([0.5 + 0.56 * np.cos(angle), 0.5 + 0.60 * np.sin(angle)]) * (width, height)
    rx, ry = rng.uniform(0.12, 0.24, 2) * width
    cover, draw = _sheet(rgb)
    x, y = 2 * centre
    draw.ellipse((x - 2 * rx, y - 2 * ry, x + 2 * rx, y + 2 * ry), fill=230)
    cover = cover.reduce(2).filter(ImageFilter.BoxBlur(1.5 * width / 600))
    colours = np.array([[40, 110, 190], [226, 190, 40], [70, 160, 90], [214, 70, 60], [240, 140, 40]], dtype=float)
    return _painted(rgb, cover, colours[rng.integers(len(colours))] * rng.uniform(0.85, 1.1))


def add_ink(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Strokes of a surgeon's marker pen round the lesion (Winkler et al. 2019): gentian violet, uneven, half opaque."""
    height, width = rgb.shape[:2]
    unit = width / 600
    cover, draw = _sheet(rgb)
    for start in rng.uniform(0, _TAU) + _TAU / 4 * np.arange(rng.integers(1, 4)):
        turn = start + np.linspace(0, rng.uniform(0.4, 1.1), 16)
        away = rng.uniform(0.36, 0.46) + np.cumsum(rng.normal(0, 0.004, 16))
        path = np.stack([0.5 + away * np.cos(turn), 0.5 + away * np.sin(turn)], axis=1) * (width, height)
        _line(draw, path, rng.uniform(6, 11) * unit, int(rng.uniform(130, 200)))
    cover = cover.reduce(2).filter(ImageFilter.BoxBlur(1.2 * unit))
    return _painted(rgb, cover, np.array([72.0, 44.0, 128.0]) * rng.uniform(0.85, 1.15))


ARTEFACTS: dict[str, tuple[Artefact, float]] = {
    "colour_patch": (add_colour_patch, 0.03),
    "gel_bubbles": (add_gel_bubbles, 0.07),
    "hair": (add_hair, 0.45),
    "ruler": (add_ruler, 0.08),
    "dark_corners": (add_dark_corners, 0.13),
}
"""Name -> function and the share of phantom images that carry it, in the order in which they are laid on.

Ink is in none: `add_ink` is there to be put on pictures (`explain/edits.py`)."""


def _sheet(rgb: np.ndarray) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    # Twice as large, averaged later: Pillow's own lines have no smooth edges.
    image = Image.new("L", (2 * rgb.shape[1], 2 * rgb.shape[0]))
    return image, ImageDraw.Draw(image)


def _line(draw: ImageDraw.ImageDraw, points: np.ndarray, width: float, level: int) -> None:
    draw.line([(2 * x, 2 * y) for x, y in points], fill=level, width=max(1, round(2 * width)), joint="curve")


def _ring(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, width: float, level: int) -> None:
    draw.ellipse((2 * (x - r), 2 * (y - r), 2 * (x + r), 2 * (y + r)), outline=level, width=max(1, round(2 * width)))


def _glint(draw: ImageDraw.ImageDraw, x: float, y: float, r: float) -> None:
    draw.ellipse((2 * (x - r), 2 * (y - r), 2 * (x + r), 2 * (y + r)), fill=230)


def _painted(rgb: np.ndarray, cover: Image.Image, colour: np.ndarray) -> np.ndarray:
    """`rgb`, painted over with `colour` where `cover` (0 clear to 255 opaque; of this or twice this size) lies."""
    if cover.size != (rgb.shape[1], rgb.shape[0]):
        cover = cover.reduce(2)
    opacity = np.asarray(cover).ravel()
    there = np.flatnonzero(opacity > 0)  # a few strands, mostly: the rest of the picture is not touched
    over, pixels = opacity[there].astype(np.int32)[:, None], np.array(rgb).reshape(-1, 3)
    paint = np.clip(colour, 0, 255).astype(np.int32)
    pixels[there] = (over * paint + (255 - over) * pixels[there] + 127) // 255
    return pixels.reshape(rgb.shape)

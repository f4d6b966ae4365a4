"""How does one phantom image come to be: picture and lesion mask of image k?"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from melascope.data.sources.phantom import other_classes, structures
from melascope.data.sources.phantom.artefacts import ARTEFACTS
from melascope.data.sources.phantom.canvas import HEIGHT, WIDTH, Canvas, View, enlarged
from melascope.data.sources.phantom.lesions import PAINT, RULER, VIEW, Lesion, keyed
from melascope.data.sources.phantom.melanocytic import melanocytic
from melascope.data.sources.phantom.skin import lay_skin, light, surface

Painter = Callable[[Canvas, np.random.Generator, float, float], np.ndarray]

PAINTERS: dict[str, Painter] = {
    "akiec": other_classes.actinic_keratosis,
    "bcc": other_classes.basal_cell_carcinoma,
    "bkl": other_classes.benign_keratosis,
    "df": other_classes.dermatofibroma,
    "mel": melanocytic,
    "nv": melanocytic,
    "vasc": other_classes.vascular,
}
"""Class -> painter (canvas, generator, radius, atypia) -> signed distance to the border."""

_SUN_EXPOSED = frozenset({"face", "scalp", "neck", "ear", "hand", "upper extremity"})


def render(seed: int, image: int, lesion: Lesion, *, ruler: bool | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Picture and mask of image number `image`, which shows `lesion`.

    Parameters
    ----------
    ruler : whether a ruler lies beside the lesion; None leaves that to chance. All else in the picture is the same
        with it and without: its ruler has a random stream of its own.

    Returns
    -------
    rgb : (450, 600, 3) uint8
    mask : (450, 600) uint8, 255 on the lesion and 0 elsewhere.
    """
    view_rng = keyed(seed, VIEW, image)
    canvas = Canvas(_view(view_rng))
    # The same stream for every image of the lesion: another view, but the same lesion in the same skin.
    lesion_rng = keyed(seed, PAINT, lesion.number)
    radius = float(np.clip(lesion_rng.lognormal(np.log(54), 0.38), 20, 115))
    lay_skin(canvas, lesion_rng, lesion.age if lesion.age is not None else 50, lesion.localization in _SUN_EXPOSED)
    if lesion_rng.random() < 0.12:
        count = int(lesion_rng.integers(1, 4))
        structures.satellites(canvas, lesion_rng, radius, count, structures.red_brown_mix(lesion_rng))
    border = PAINTERS[lesion.dx](canvas, lesion_rng, radius, lesion.atypia)
    light(canvas, view_rng)
    blur = float(view_rng.uniform(0.3, 0.9)) if view_rng.random() < 0.16 else 0.0  # one in six is out of focus
    rgb = canvas.picture(surface(view_rng), blur)
    for name, (add, share) in ARTEFACTS.items():
        by_chance = view_rng.random() < share
        if name == "ruler" and ruler is not None:
            rgb = add(rgb, keyed(seed, RULER, image)) if ruler else rgb
        elif by_chance:
            rgb = add(rgb, view_rng)
    return rgb, lesion_mask(border)


def _view(rng: np.random.Generator) -> View:
    return View(
        rotation=float(rng.uniform(0, 2 * np.pi)),
        zoom=float(np.clip(rng.lognormal(0.0, 0.14), 0.7, 1.45)),
        shift_x=float(np.clip(rng.normal(0, 14), -40, 40)),
        shift_y=float(np.clip(rng.normal(0, 10), -28, 28)),
    )


def lesion_mask(border: np.ndarray) -> np.ndarray:
    """The largest connected part of `border > 0`, without holes, at full size: (450, 600) uint8, 0 or 255."""
    there = border > 0
    top, bottom = _extent(there.any(axis=1))
    left, right = _extent(there.any(axis=0))
    # Grey levels, so that the mask's edge runs between sheet pixels, too; and only the lesion's box is enlarged.
    level = np.clip(128 + 24 * border[top:bottom, left:right], 0, 255).astype(np.uint16)
    full = enlarged(level[None])[..., 0] > 16 * 128
    parts, _ = ndimage.label(np.pad(full, 1))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    around, _ = ndimage.label(parts != sizes.argmax())
    lesion = (around != around[0, 0])[1:-1, 1:-1]  # the part and its holes: all that the outside does not reach
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    np.multiply(lesion, 255, out=mask[2 * top : 2 * bottom, 2 * left : 2 * right], casting="unsafe")
    return mask


def _extent(occupied: np.ndarray) -> tuple[int, int]:
    """First and one past the last True, with one to spare where there is room."""
    places = np.flatnonzero(occupied)
    return max(int(places[0]) - 1, 0), min(int(places[-1]) + 2, len(occupied))


def encode(rgb: np.ndarray, mask: np.ndarray) -> tuple[bytes, bytes]:
    """A picture as JPEG bytes (quality 92) and its mask as 8-bit grey PNG bytes."""
    jpeg = io.BytesIO()
    Image.fromarray(rgb).save(jpeg, "JPEG", quality=92)
    return jpeg.getvalue(), _png(mask)


def _png(grey: np.ndarray) -> bytes:
    """8-bit grey PNG, rows unfiltered: long runs need no filter, and Pillow spends half its time on trying five."""
    height, width = grey.shape
    rows = np.zeros((height, 1 + width), dtype=np.uint8)  # each begins with its filter: 0, none
    rows[:, 1:] = grey
    packer = zlib.compressobj(1, strategy=zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (b"IHDR" + header, b"IDAT" + packer.compress(rows) + packer.flush(), b"IEND")
    framed = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)

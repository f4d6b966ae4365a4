"""Where is the lesion in the picture that a reader chose, and who says so?"""

from __future__ import annotations

from typing import Any

import numpy as np

from melascope.data.pixels import resize_image
from melascope.explain.segment import CLASSICAL, SEGMENTER, find_lesion
from melascope.gallery.outlines import GRID, outline_path

_NAMES = {SEGMENTER: "melascope's segmenter", CLASSICAL: "the classical segmenter"}


def outlined(rgb: np.ndarray) -> dict[str, Any]:
    """The outline of the lesion in a decoded picture (height, width, 3) uint8, as the page draws it.

    Returns
    -------
    lesion : `source` in words, `area_share` of the picture, `outline` as an SVG path, `""` where none was found
    """
    factor = min(1.0, GRID / max(rgb.shape[:2]))  # a page shows no more; a large picture would take long
    width, height = (max(1, round(side * factor)) for side in (rgb.shape[1], rgb.shape[0]))
    lesion, source = find_lesion(resize_image(rgb, width, height))
    name, _, why = source.partition(" (")
    return {
        "source": _NAMES[name] + (f" ({why}" if why else ""),
        "area_share": float(lesion.mean()),
        "outline": outline_path(lesion),
    }

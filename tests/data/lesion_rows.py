"""How does a test get a dataset table without any file?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from melascope.tables.lesions import LesionTable


def lesion_table(
    rows: list[tuple[str, str, str]], root: Path = Path("nowhere"), source: str = "ham10000"
) -> LesionTable:
    """A table of (lesion, image, dx) rows; everything else is unknown."""
    text = {
        name: np.array([row[i] for row in rows], dtype=object) for i, name in enumerate(("lesion_id", "image_id", "dx"))
    }
    empty = {n: np.full(len(rows), "", dtype=object) for n in ("dx_type", "sex", "localization", "mask_path", "sha256")}
    zero = np.zeros(len(rows), dtype=np.int64)
    path = np.array([f"{row[1]}.png" for row in rows], dtype=object)
    age = np.full(len(rows), np.nan)
    return LesionTable(root=root, source=source, **text, **empty, age=age, path=path, width=zero, height=zero)

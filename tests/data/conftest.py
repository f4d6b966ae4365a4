"""What does a test of the data floor start from? Small images, and a small HAM10000 release in any of its forms."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from small_release import ROWS, encoded, mask, metadata, picture

SHARED = Path(__file__).parents[2] / "../shared/data"


@pytest.fixture
def shared() -> Path:
    """The real HAM10000 release for development; the test is skipped where it is absent."""
    if not (SHARED / "ham10000").is_dir():
        pytest.skip("../shared/data/ham10000 is not here")
    return SHARED


@pytest.fixture
def release(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a release of eight images into `tmp_path / "data"` and returns the folder."""

    def write(
        rows=ROWS,
        *,
        zipped: bool = False,
        one_folder: bool = False,
        inner: str = "",
        masks: bool = True,
        name: str = "HAM10000_metadata.csv",
        **form,
    ) -> Path:
        root = tmp_path / "data"
        root.mkdir(exist_ok=True)
        (root / name).write_text(metadata(rows, **form))
        image_ids = sorted({row[1] for row in rows if row[1]})
        half = len(image_ids) // 2
        parts = [("images", image_ids)] if one_folder else [
            ("HAM10000_images_part_1", image_ids[:half]),
            ("HAM10000_images_part_2", image_ids[half:]),
        ]  # fmt: skip
        files = {f"{part}/{inner}{i}.jpg": encoded(picture(int(i[-2:])), "JPEG") for part, ids in parts for i in ids}
        if masks:
            files |= {f"HAM10000_segmentations_lesion_tschandl/{inner}{i}_segmentation.png": mask() for i in image_ids}
        for path, data in files.items():
            place, member = path.split("/", 1)
            if zipped:
                with zipfile.ZipFile(root / f"{place}.zip", "a") as archive:
                    archive.writestr(member, data)
            else:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(data)
        return root

    return write

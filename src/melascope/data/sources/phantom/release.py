"""How does a phantom become a folder that looks, file by file, like a HAM10000 release?

The marker `PHANTOM.json` is there from the first moment ("complete": false) and is rewritten last ("complete": true);
the metadata, without which nobody takes a folder for a release, is written just before that. So at no moment can
an interrupted phantom be taken for a whole one, nor any phantom for real images.
"""

from __future__ import annotations

import csv
import io
import shutil
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from melascope.data.sources.phantom.lesions import Lesion, image_id, images
from melascope.data.sources.phantom.render import encode, render
from melascope.errors import DataError, OutputError
from melascope.files import atomic_path, make_folder, read_json, write_json, write_text
from melascope.workers import in_order

GENERATOR_VERSION = 3
"""Raised whenever the same seed gives another picture."""

MARKER = "PHANTOM.json"
METADATA = "HAM10000_metadata.csv"
IMAGE_PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
MASKS = "HAM10000_segmentations_lesion_tschandl"
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")

Progress = Callable[[int, int], None]
Job = tuple[int, Lesion]


def write_phantom(
    folder: Path,
    *,
    n_images: int = 1200,
    seed: int = 1,
    workers: int = 2,
    zipped: bool = False,
    rulers: Collection[str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a phantom in the layout of a HAM10000 release, and return its folder.

    Image k depends on `seed` and k alone: not on `n_images`, not on `workers`. With the same versions of NumPy,
    SciPy and Pillow the same call writes the same bytes.

    Parameters
    ----------
    folder : empty or new; a complete phantom of the same call is left as it is, an interrupted one is begun anew.
    n_images : how many images, 600×450 pixels each.
    seed : of everything that is drawn.
    workers : processes; 1 stays in this one.
    zipped : write the images and masks as the release's three zips instead of folders.
    rulers : ids of the images that show a ruler, and no other does; None leaves it to chance. Two phantoms of one
        seed that differ in this differ in nothing but rulers: so a shortcut is planted, and its twin without it
        (benchmarks/planted_shortcut.py).
    progress : called with (images done, images in all).

    Raises
    ------
    OutputError : the folder cannot be written or holds something else (another phantom, real data), or a worker died.
    DataError : `n_images`, `seed` or `workers` is impossible.
    """
    if n_images < 1 or workers < 1 or seed < 0:
        raise DataError(
            f"A phantom of {n_images} images, seed {seed}, by {workers} workers cannot be made.",
            expected="at least 1 image, a seed of 0 or more and at least 1 worker",
        )
    folder = make_folder(Path(folder))
    jobs = list(images(seed, n_images))
    facts = _facts(n_images, seed, zipped, _checked_rulers(rulers, jobs))
    if _already_complete(folder, facts):
        return folder
    write_json(folder / MARKER, {**facts, "complete": False})
    _clear(folder)
    with ExitStack() as stack:
        put = stack.enter_context(_Zips(folder)) if zipped else _Folders(folder)
        half = (n_images + 1) // 2
        for done, (image, jpeg, png) in enumerate(_rendered(seed, jobs, workers, rulers), start=1):
            name = image_id(image)
            put(IMAGE_PARTS[image >= half], f"{name}.jpg", jpeg)
            put(MASKS, f"{name}_segmentation.png", png)
            if progress is not None:
                progress(done, n_images)
    write_text(folder / METADATA, metadata_csv(jobs))
    write_json(folder / MARKER, {**facts, "complete": True})
    return folder


def metadata_csv(jobs: Iterable[Job]) -> str:
    """`HAM10000_metadata.csv` of these (image number, lesion) pairs: the release's columns, words and number format."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for image, lesion in jobs:
        age = "" if lesion.age is None else f"{lesion.age:.1f}"
        row = (lesion.lesion_id, image_id(image), lesion.dx, lesion.dx_type, age, lesion.sex, lesion.localization)
        writer.writerow(row)
    return text.getvalue()


def _checked_rulers(rulers: Collection[str] | None, jobs: list[Job]) -> list[str] | None:
    """The ids in order; one that the phantom will not have is refused."""
    unknown = sorted(set(rulers or ()) - {image_id(image) for image, _ in jobs})
    if unknown:
        raise DataError(
            f"Rulers are wanted on {len(unknown)} images that the phantom does not have, e.g. {unknown[0]}.",
            expected=f"ids from {image_id(0)} to {image_id(len(jobs) - 1)}",
        )
    return None if rulers is None else sorted(set(rulers))


def _facts(n_images: int, seed: int, zipped: bool, rulers: list[str] | None = None) -> dict[str, Any]:
    call = f"write_phantom('FOLDER', n_images={n_images}, seed={seed}{', zipped=True' if zipped else ''}"
    call += ")" if rulers is None else ", rulers=[the ids below])"
    planted = {} if rulers is None else {"rulers": rulers}
    return {
        "source": "phantom",
        "notice": "SYNTHETIC. Every image and every row here was drawn by a program; there is no patient and no real "
        "lesion behind any of it. Results on it say whether software works, never how well a classifier does.",
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "n_images": n_images,
        "zipped": zipped,
        "regenerate": f'python -c "from melascope.data.sources.phantom import write_phantom; {call}"',
        **planted,
    }


def _already_complete(folder: Path, facts: dict[str, Any]) -> bool:
    """True: this very phantom is here. False: nothing, or an unfinished phantom, is. Anything else is refused."""
    if not (folder / MARKER).is_file():
        if any(folder.iterdir()):
            raise OutputError(
                "The folder is not empty and holds no phantom.",
                where=folder,
                expected="a new or empty folder, so that synthetic and real images never mix",
                fix="choose another folder",
            )
        return False
    found = read_json(folder / MARKER)
    if not found.get("complete"):
        return False
    asked = ("generator_version", "seed", "n_images", "zipped", "rulers")
    if all(found.get(name) == facts.get(name) for name in asked):
        return True
    raise OutputError(
        "The folder holds another phantom: " + ", ".join(f"{name} {_told(found, name)}" for name in asked) + ".",
        where=folder,
        expected=", ".join(f"{name} {_told(facts, name)}" for name in asked),
        fix="choose another folder, or delete this one",
    )


def _told(facts: dict[str, Any], name: str) -> str:
    value = facts.get(name, "by chance" if name == "rulers" else None)
    return f"on {len(value)} named images" if isinstance(value, list) else str(value)


def _clear(folder: Path) -> None:
    """Remove what an interrupted run left; the marker has just shown that it is ours."""
    (folder / METADATA).unlink(missing_ok=True)
    for name in (*IMAGE_PARTS, MASKS):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / f"{name}.zip").unlink(missing_ok=True)


def _rendered(
    seed: int, jobs: list[Job], workers: int, rulers: Collection[str] | None = None
) -> Iterator[tuple[int, bytes, bytes]]:
    """(image number, JPEG, PNG) in order, drawn in this process or by `workers` of them."""
    draw = partial(_draw, seed, None if rulers is None else frozenset(rulers))
    return in_order(draw, jobs, workers=workers)


def _draw(seed: int, rulers: frozenset[str] | None, job: Job) -> tuple[int, bytes, bytes]:
    image, lesion = job
    ruler = None if rulers is None else image_id(image) in rulers
    return (image, *encode(*render(seed, image, lesion, ruler=ruler)))


class _Folders:
    """Puts files into the release's folders. Plain writes: the marker, not each file, says that all is whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for part in (*IMAGE_PARTS, MASKS):
            (folder / part).mkdir()

    def __call__(self, part: str, name: str, data: bytes) -> None:
        path = self._folder / part / name
        try:
            path.write_bytes(data)
        except OSError as error:
            raise OutputError(f"The image could not be written ({error.strerror}).", where=path) from error


class _Zips:
    """Puts files into the release's zips, all with one date, so that the same call gives the same bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._zips: dict[str, zipfile.ZipFile] = {}

    def __enter__(self) -> _Zips:
        with ExitStack() as stack:
            for part in (*IMAGE_PARTS, MASKS):
                path = stack.enter_context(atomic_path(self._folder / f"{part}.zip"))
                self._zips[part] = stack.enter_context(zipfile.ZipFile(path, "w", zipfile.ZIP_STORED))
            self._stack = stack.pop_all()
        return self

    def __call__(self, part: str, name: str, data: bytes) -> None:
        self._zips[part].writestr(zipfile.ZipInfo(name), data)

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

"""Does anything that a picture carries beside its pixels turn up in what melascope writes, says or leaves?"""

from __future__ import annotations

import base64
import gzip
import io
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from typer.testing import CliRunner

from melascope.cli import app
from melascope.evaluation.operating_point import choose_operating_point
from melascope.gallery.facts import gallery_facts
from melascope.gallery.gathering import build_cases
from melascope.gallery.render import write_gallery
from melascope.gallery.selection import select_cases
from melascope.stages.answering import Answerer
from melascope.stages.reporting import Reporter
from melascope.tables.lesions import LesionTable
from melascope.tables.maps import MapStore
from melascope.tables.runs import RunDirectory
from run_folder import SHA, drawn_predictions, objects
from served_page import serving
from torture.service_words import CANARY, with_canaries

ENDINGS = ("jpg", "png", "webp")
_PACKED = re.compile(rb"H4sI[A-Za-z0-9+/=]{20,}")
_INLINE = re.compile(rb"base64,([A-Za-z0-9+/=]{40,})")


def inside(data: bytes) -> Iterator[bytes]:
    """Everything that a file holds: its bytes, and what is packed in them."""
    yield data
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from (archive.read(info) for info in archive.infolist())
    elif data.startswith(b"PAR1"):
        table = pq.read_table(io.BytesIO(data))
        yield repr((table.schema.metadata, table.to_pydict())).encode()
    elif data.startswith((b"\x89PNG", b"\xff\xd8", b"RIFF")):
        yield repr(Image.open(io.BytesIO(data)).info).encode()
    for text in _PACKED.findall(data):
        yield gzip.decompress(base64.b64decode(text))
    for text in _INLINE.findall(data):
        yield from inside(base64.b64decode(text))
    if b"IDATx" in data[:200] and not data.startswith(b"\x89PNG"):
        yield zlib.decompress(data)


def holds_canary(data: bytes) -> bool:
    return any(CANARY.encode() in part for part in inside(data))


def commands(run: RunDirectory, folder: Path, images: Path) -> tuple[list[str], int]:
    """Predict and explain by the commands themselves; what they said with a canary in it, and how many were run."""
    found = []
    asked = [
        ["predict", str(run.root), str(images), "--out", str(folder / "table.csv")],
        ["predict", str(run.root), str(images), "--out", str(folder / "table.parquet")],
        ["predict", str(run.root), str(images), "--out", str(folder / "parts")],
        ["explain", str(run.root), str(images), "--out", str(folder / "maps")],
        ["data", "audit", str(images), "--source", "image_folder", "--out", str(folder / "audit")],
    ]
    for command in asked:
        result = CliRunner().invoke(app, command)
        said = result.output + str(result.exception or "")
        found += [f"{command[0]} failed: {said[-300:]}"] if result.exit_code else []
        found += [f"{command[0]} said a canary"] if CANARY in said else []
    return found, len(asked)


def gallery(folder: Path, images: list[Path]) -> None:
    """A gallery, and its `FIGURES.md`, of these images."""
    predictions = drawn_predictions()
    point = choose_operating_point(predictions.of_split("val"), rule="empirical", target_sensitivity=0.8)
    n = len(predictions)
    named = {name: getattr(predictions, name) for name in LesionTable.columns() if hasattr(predictions, name)}
    paths = objects(images[row % len(images)].name for row in range(n))
    zero, none = np.zeros(n, dtype=np.int64), objects([""] * n)
    table = LesionTable(
        root=images[0].parent,
        source="phantom",
        path=paths,
        mask_path=none,
        width=zero,
        height=zero,
        sha256=none,
        **named,
    )
    selections = select_cases(predictions, point)
    rows = table.index_of(objects(one.image_id for one in selections))
    maps = MapStore(
        image_id=predictions.image_id[rows], logits=predictions.logits[rows].astype(np.float32),
        maps=np.random.default_rng(1).normal(size=(len(rows), 7, 3, 4)).astype(np.float32), method="gradcam",
        layer="last", input_width=64, input_height=48, checkpoint_sha256=SHA,
    )  # fmt: skip
    cases = build_cases(selections, predictions, point, maps, table)
    write_gallery(cases, folder / "gallery", facts=gallery_facts(predictions, point, maps, table, run="drawn"))


def page(run: RunDirectory, folder: Path, images: list[Path]) -> list[str]:
    """The local page, which keeps what it is shown."""
    found = []
    with serving(Answerer.open(run, Reporter()), keep=folder / "kept") as served:
        for path in images:
            data = path.read_bytes()
            for body in (data, data[: len(data) // 2]):
                reply = served.ask("POST", "/answer", body, Content_Disposition=f'attachment; filename="{CANARY}.jpg"')
                if holds_canary(reply.body) or CANARY in str(reply.headers) or reply.status >= 500:
                    found.append(f"the page answers {reply.status} with a canary")
    return found


def canaries(folder: Path, drawn: list[np.ndarray], n: int, run: RunDirectory) -> tuple[str, list[str]]:
    """`n` pictures with canaries through every door; what was said, and where a canary turned up."""
    images, written, temporary = folder / "images", folder / "written", folder / "tmp"
    for place in (images, written, temporary):
        place.mkdir()
    paths = []
    for number in range(n):
        paths.append(images / f"picture{number:03d}.{ENDINGS[number % 3]}")
        paths[-1].write_bytes(with_canaries(drawn[number % len(drawn)], number))
    before, tempfile.tempdir = tempfile.tempdir, str(temporary)
    try:
        found, asked = commands(run, written, images)
        gallery(written, paths)
        found += page(run, written, paths)
    finally:
        tempfile.tempdir = before
    files = [path for place in (written, temporary, run.root) for path in place.rglob("*") if path.is_file()]
    found += [f"{path.relative_to(folder)} holds a canary" for path in files if holds_canary(path.read_bytes())]
    left = [path for path in temporary.rglob("*") if path.is_file()]
    said = f"{n} pictures through {asked} commands, a gallery and the page; {len(files)} files looked through"
    return f"{said}, {len(left)} left in the temporary folder", found

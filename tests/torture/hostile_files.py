"""Is a file that was made to do harm refused: nothing run, nothing written, soon and in little memory?

Checkpoints, cards, stores of maps, archives of images, exported graphs. Each is opened in a child of its own.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from melascope.data.archive import list_files, read_member
from melascope.errors import MelascopeError
from melascope.evaluation.operating_point import OperatingPoint
from melascope.evaluation.record import Evaluation
from melascope.tables.likeness import LikenessStore
from melascope.tables.maps import MapStore
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory
from torture.children import in_child

MOST_SECONDS, MOST_BYTES = 1.0, 200 * 2**20
CANARY = "run_by_a_file"
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.rmdir", "os.truncate", "os.chmod")

Open = Callable[[Path], object]
Make = Callable[[Path], bytes]
DEEP = "[" * 100_000


class Payload:
    """Unpickled, it writes a file where everybody sees it."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return (Path.write_text, (self.canary, "x"))


def payload(canary: Path) -> bytes:
    return pickle.dumps(Payload(canary))


def npz(members: dict[str, bytes], packed: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", packed) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def npy(array: np.ndarray, allow_pickle: bool = True) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def objects(canary: Path) -> bytes:
    array = np.empty(1, dtype=object)
    array[0] = Payload(canary)
    return npy(array)


def store(**other: bytes) -> bytes:
    """A store of maps of two images that is sound but for what is given."""
    sound = {
        "image_id": npy(np.array(["a", "b"])),
        "logits": npy(np.zeros((2, 7), np.float32)),
        "maps": npy(np.zeros((2, 7, 3, 4), np.float32)),
        "facts": npy(np.array(json.dumps({"schema_version": 1}))),
    }
    return npz({f"{name}.npy": data for name, data in {**sound, **other}.items()})


def claiming(shape: tuple[int, ...], content: bytes) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


def header_of(size: int) -> bytes:
    return b"\x93NUMPY\x02\0" + struct.pack("<I", size) + b" " * size


def bomb(size: int) -> bytes:
    """An archive whose `maps` unpack to `size` bytes of zeros."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("facts", "image_id", "logits"):
            archive.writestr(f"{name}.npy", npy(np.zeros(3, np.float32)))
        with archive.open("maps.npy", "w", force_zip64=True) as member:
            member.write(claiming((size // 4,), b""))
            for _ in range(size // 2**20):
                member.write(bytes(2**20))
    return stream.getvalue()


def twice(names: tuple[str, str]) -> bytes:
    """An archive with two members under one name."""
    other = names[1].replace("b", "a")
    data = npz({names[0]: npy(np.zeros(3)), names[1]: npy(np.ones(3))})
    assert len(other) == len(names[1])
    return data.replace(names[1].encode(), other.encode())


def encrypted(data: bytes) -> bytes:
    """An archive whose members all claim a password."""
    out = bytearray(data)
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = out.find(sign)
        while place >= 0:
            out[place + at] |= 1
            place = out.find(sign, place + 4)
    return bytes(out)


def maps(path: Path) -> object:
    return MapStore.read(path)


def likeness(path: Path) -> object:
    return LikenessStore.read(path)


STORES: dict[str, Make] = {
    "maps.npz: a pickle in the maps": lambda canary: store(maps=objects(canary)),
    "maps.npz: a pickle in the ids": lambda canary: store(image_id=objects(canary)),
    "maps.npz: a pickle in the facts": lambda canary: store(facts=objects(canary)),
    "maps.npz: a bare pickle": payload,
    "maps.npz: an array without archive": lambda _: npy(np.zeros(3)),
    "maps.npz: an array that claims 4 TB": lambda _: store(maps=claiming((10**12,), bytes(100))),
    "maps.npz: an array that claims less": lambda _: store(maps=claiming((2, 7, 1, 1), bytes(4000))),
    "maps.npz: 1 GB of zeros": lambda _: bomb(2**30),
    "maps.npz: a name twice": lambda _: twice(("maps_a.npy", "maps_b.npy")),
    "maps.npz: packed with LZMA": lambda _: npz({"facts.npy": npy(np.zeros(3))}, zipfile.ZIP_LZMA),
    "maps.npz: with a password": lambda _: encrypted(store()),
    "maps.npz: cut": lambda _: store()[:-40],
    "maps.npz: spoilt stream": lambda _: store().replace(b"\x63\x60", b"\xff\xff"),
    "maps.npz: facts nested deeply": lambda _: store(facts=npy(np.array(DEEP))),
    "maps.npz: facts with a key twice": lambda _: store(facts=npy(np.array('{"method": "a", "method": "b"}'))),
    "maps.npz: a header of 30 MB": lambda _: store(
        maps=b"\x93NUMPY\x02\0" + struct.pack("<I", 30 * 2**20) + b" " * 30 * 2**20
    ),
    "maps.npz: members that climb out": lambda _: npz({"../../maps.npy": b"x", "/facts.npy": b"x"}),
}
LIKENESSES: dict[str, Make] = {
    "likeness.npz: a pickle": lambda canary: npz({"facts.npy": objects(canary)}),
    "likeness.npz: 1 GB of zeros": lambda _: bomb(2**30),
    "likeness.npz: facts that are a number": lambda _: store(facts=npy(np.array(3))),
}


def card(**other: object) -> bytes:
    from tiny_graph import CHECKPOINT

    return json.dumps(CHECKPOINT.model_dump(mode="json") | other).encode()


def run_card(path: Path) -> object:
    return RunDirectory(path.parent.parent).checkpoint()


def point(path: Path) -> object:
    return OperatingPoint.read(path)


def evaluation(path: Path) -> object:
    return Evaluation.read(path.parent)


CARDS: dict[str, Make] = {
    "best.json: a pickle": payload,
    "best.json: weights in another folder": lambda _: card(weights="../../../etc/passwd"),
    "best.json: weights by an absolute path": lambda _: card(weights="/etc/passwd"),
    "best.json: weights of no name": lambda _: card(weights=""),
    "best.json: a NUL in the name": lambda _: card(weights="a\0b"),
    "best.json: a key twice": lambda _: card()[:-1] + b', "weights": "other"}',
    "best.json: nested deeply": lambda _: DEEP.encode(),
    "best.json: 80 MB": lambda _: b" " * 80 * 2**20,
    "best.json: a list": lambda _: b"[1, 2]",
    "best.json: no UTF-8": lambda _: b"\xff\xfe\0{",
    "best.json: other classes": lambda _: card(class_order=["a"] * 7),
}
POINTS: dict[str, Make] = {
    "operating_point.json: a key twice": lambda _: b'{"threshold": 0.1, "threshold": 0.9}',
    "operating_point.json: nested deeply": lambda _: b'{"a":' * 50_000,
    "operating_point.json: a pickle": payload,
}


def member(path: Path) -> object:
    """Read every member of an archive of images as pictures, as a data set does."""
    from melascope.data.decode import decode_image

    for name in list_files(path.parent, path.name) or ["x.zip/none"]:
        decode_image(read_member(path.parent, name), name=name)
    return None


def zip_link() -> bytes:
    info = zipfile.ZipInfo("a.jpg")
    info.external_attr = 0o120777 << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return stream.getvalue()


def lying(data: bytes) -> bytes:
    """An archive that says of its members that they have 10 bytes."""
    out, place = bytearray(data), data.find(b"PK\x01\x02")
    struct.pack_into("<I", out, place + 24, 10)
    return bytes(out)


def large_member(size: int) -> bytes:
    return npz({"a.jpg": bytes(size)})


ARCHIVES: dict[str, Make] = {
    "images.zip: members that climb out": lambda _: npz({"../../../tmp/evil.jpg": b"x", "/etc/evil.jpg": b"x"}),
    "images.zip: a link": lambda _: zip_link(),
    "images.zip: 300 MB of zeros": lambda _: large_member(300 * 2**20),
    "images.zip: 120 MB of zeros": lambda _: large_member(120 * 2**20),
    "images.zip: more than it says": lambda _: lying(large_member(50 * 2**20)),
    "images.zip: a name twice": lambda _: twice(("img_a.jpg", "img_b.jpg")),
    "images.zip: packed with LZMA": lambda _: npz({"a.jpg": bytes(900)}, zipfile.ZIP_LZMA),
    "images.zip: with a password": lambda _: encrypted(npz({"a.jpg": bytes(900)})),
    "images.zip: a directory that is cut": lambda _: npz({"a.jpg": bytes(900)})[:-30],
    "images.zip: a name that is no UTF-8": lambda _: npz({"ä.jpg": b"x"}).replace("ä".encode(), b"\xff\xff"),
    "images.zip: a pickle": lambda canary: npz({"a.jpg": payload(canary)}),
    "images.zip: a NUL in a name": lambda _: npz({"aXb.jpg": b"x"}).replace(b"aXb", b"a\0b"),
}


def parquet(path: Path) -> object:
    return Predictions.read(path)


def pickled_type(canary: Path) -> bytes:
    """A Parquet whose column claims a type that old readers unpickled."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": payload(canary)}
    fields = [pa.field("image_id", pa.string(), metadata=about), pa.field("dx", pa.string(), metadata=about)]
    stream = io.BytesIO()
    pq.write_table(pa.table([["a"], ["mel"]], schema=pa.schema(fields)), stream)
    return stream.getvalue()


TABLES: dict[str, Make] = {
    "predictions.parquet: a type that unpickles": pickled_type,
    "predictions.parquet: a bare pickle": payload,
}

FAMILIES: tuple[tuple[str, Open, dict[str, Make]], ...] = (
    ("maps.npz", maps, STORES),
    ("likeness.npz", likeness, LIKENESSES),
    ("checkpoints/best.json", run_card, CARDS),
    ("operating_point.json", point, POINTS),
    ("evaluation.json", evaluation, {"evaluation.json: nested deeply": lambda _: DEEP.encode()}),
    ("images.zip", member, ARCHIVES),
    ("predictions.parquet", parquet, TABLES),
)


def opened(folder: Path, families=FAMILIES, every: int = 1) -> tuple[list[str], list[str]]:
    """Open `every` so-manyeth hostile file of each family; (a line each, what does not hold)."""
    lines, failures = [], []
    for file, read, makes in families:
        for place, (name, make) in list(enumerate(makes.items()))[::every]:
            root = folder / f"{file.replace('/', '_')}{place}"
            path = root / "inside" / file
            path.parent.mkdir(parents=True)
            canary = root / CANARY
            path.write_bytes(make(canary))
            before = _all(root)
            ended = in_child(lambda read=read, path=path: _refused(read, path), limit=30)
            said = ended.fault or ended.value
            lines.append(f"{name}: {said.splitlines()[0]} ({ended.cpu_seconds:.2f} s, {ended.peak_bytes >> 20} MB)")
            failures += [f"{name}: {ended.fault}"] if ended.fault else []
            failures += [f"{name}: let in"] if ended.value == LET_IN else []
            failures += [f"{name}: it was run"] if canary.exists() else []
            failures += [f"{name}: files came or went: {_all(root) ^ before}"] if _all(root) != before else []
            failures += [f"{name}: {ended.cpu_seconds:.1f} s"] if ended.cpu_seconds > MOST_SECONDS else []
            failures += [f"{name}: {ended.peak_bytes >> 20} MB"] if ended.peak_bytes > MOST_BYTES else []
    return lines, failures


LET_IN = "it was let in"


def _refused(read: Open, path: Path) -> str:
    changed = _watch_for_changes()
    try:
        read(path)
    except MelascopeError as error:
        if not error.where:
            raise AssertionError(f"no place is named: {error}") from error
        if changed:
            raise AssertionError(f"written: {changed}") from error
        return f"{type(error).__name__}: {error.found[:100]}"
    return LET_IN


def _watch_for_changes() -> list[str]:
    """What this process, a child that soon ends, opens to write, makes, renames, links or removes from now on.

    By Python's audit hook: a file that a library opens in C is not seen.
    """
    seen: list[str] = []

    def note(event: str, arguments: tuple) -> None:
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if (writes or event in CHANGES) and "__pycache__" not in str(arguments[0]):
            seen.append(f"{event} {arguments[0]!r}")

    sys.addaudithook(note)
    return seen


def _all(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.lstat().st_size) for path in folder.rglob("*")}

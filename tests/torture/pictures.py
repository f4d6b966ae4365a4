"""Is every picture file, however it was spoilt, read or refused: with its name and a reason, soon, in little memory?"""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from melascope.data.decode import decode_image, decode_mask
from melascope.data.inputs import read_input
from melascope.errors import ImageError
from torture.children import forget_peak, in_child, in_chunks, resident

MOST_SECONDS, MOST_BYTES = 2.0, 512 * 2**20
SEED = 71

Rng = np.random.Generator


def saved(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


@cache
def originals() -> tuple[bytes, ...]:
    """Pictures of every format and mode that Pillow writes here, most of them small."""
    rng, found = np.random.default_rng(SEED), []
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a note"
    for width, height in ((16, 12), (37, 23), (64, 48), (600, 450)):
        smooth = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        rgb = Image.fromarray(smooth).resize((width, height), Image.Resampling.BICUBIC)
        rgba = Image.merge("RGBA", (*rgb.split(), Image.new("L", rgb.size, 255)))
        wide = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
        jpegs = ({}, {"progressive": True}, {"subsampling": 0, "quality": 95}, {"exif": exif, "comment": b"c" * 40})
        found += [saved(rgb, "JPEG", **options) for options in (*jpegs, {"restart_marker_blocks": 2})]
        found += [saved(rgb.convert("L"), "JPEG"), saved(rgb.convert("CMYK"), "JPEG")]
        found += [saved(rgb.convert(mode), "PNG") for mode in ("RGB", "L", "1", "P", "LA", "RGBA")]
        found += [saved(wide, "PNG"), saved(rgb, "PNG", exif=exif), saved(rgb.quantize(9), "PNG", transparency=3)]
        found += [saved(rgb, "WEBP"), saved(rgb, "WEBP", lossless=True), saved(rgba, "WEBP", exif=exif)]
        found += [saved(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(90)])]
        found += [saved(rgb.convert(mode), "BMP") for mode in ("RGB", "L", "1", "P")]
        found += [saved(rgb, form) for form in ("GIF", "TIFF", "JPEG2000", "ICO", "PPM", "TGA")]
    return (*found, b"", b"a text\n" * 30, b"<svg xmlns='http://www.w3.org/2000/svg'/>", bytes(300))


def truncated(data: bytes, rng: Rng) -> bytes:
    return data[: rng.integers(0, len(data) + 1)]


def flipped(data: bytes, rng: Rng) -> bytes:
    broken = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 17)) if data else ():
        broken[place] ^= 1 << rng.integers(8)
    return bytes(broken)


def early(data: bytes, rng: Rng) -> bytes:
    """Flipped where the header is."""
    return flipped(data[:64], rng) + data[64:]


def spliced(data: bytes, rng: Rng) -> bytes:
    other = originals()[rng.integers(len(originals()))]
    return data[: rng.integers(0, len(data) + 1)] + other[rng.integers(0, len(other) + 1) :]


def cut_out(data: bytes, rng: Rng) -> bytes:
    begin, end = sorted(rng.integers(0, len(data) + 1, 2))
    return data[:begin] + data[end:]


def stuffed(data: bytes, rng: Rng) -> bytes:
    """A piece of it, or noise, many times in its middle."""
    place, begin = rng.integers(0, len(data) + 1, 2)
    piece = data[begin : begin + int(rng.integers(1, 200))] if rng.random() < 0.5 else rng.bytes(40)
    return data[:place] + piece * int(rng.integers(1, 300)) + data[place:]


def extreme(data: bytes, rng: Rng) -> bytes:
    """A number of its header that says 0, the most there is, or a bomb's size."""
    broken = bytearray(data)
    form, values = ((">H", (0, 0xFFFF, 20_000, 1)), (">I", (0, 2**31 - 1, 2**32 - 1, 30_000)))[rng.integers(2)]
    size = struct.calcsize(form)
    for _ in range(rng.integers(1, 3)):
        if len(data) > size:
            order = ("<", ">")[rng.integers(2)]
            place = int(rng.integers(0, min(len(data) - size, 200)))
            struct.pack_into(order + form[1], broken, place, values[rng.integers(len(values))])
    return bytes(broken)


def mended(data: bytes, rng: Rng) -> bytes:
    """A PNG whose content is spoilt under checksums that are right again, and packed again; else `flipped`."""
    if not data.startswith(b"\x89PNG"):
        return flipped(data, rng)
    out, place, target = [data[:8]], 8, (b"IHDR", b"IDAT", b"PLTE", b"tRNS")[rng.integers(4)]
    while place + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        body = data[place + 8 : place + 8 + length]
        if name == target == b"IDAT":
            body = zlib.compress((flipped, truncated, stuffed)[rng.integers(3)](_unpacked(body), rng))
        elif name == target:
            body = flipped(body, rng)
        out.append(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)))
        place += 12 + length
    return b"".join(out)


def _unpacked(body: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(body, 2**21)
    except zlib.error:  # of a picture that is spoilt already
        return body


MUTATIONS: dict[str, Callable[[bytes, Rng], bytes]] = {
    one.__name__: one for one in (truncated, flipped, early, spliced, cut_out, stuffed, extreme, mended)
}
ENDINGS = (".jpg", ".png", ".webp", ".bmp", ".tif", ".txt", "", ".JPG.exe")


def mutant(number: int) -> tuple[str, str, bytes]:
    """(mutation, file name with any ending, bytes) of one spoilt picture: the same for the same number."""
    rng = np.random.default_rng([SEED, number])
    data = originals()[rng.integers(len(originals()))]
    named = list(MUTATIONS)[number % len(MUTATIONS)]
    data = MUTATIONS[named](data, rng)
    if rng.random() < 0.2:  # and again, in another way
        data = MUTATIONS[list(MUTATIONS)[rng.integers(len(MUTATIONS))]](data, rng)
    return named, f"folder/picture {number}{ENDINGS[rng.integers(len(ENDINGS))]}", data


@dataclass
class Found:
    """What came of some pictures."""

    read: int = 0
    refused: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0
    highest: int = 0

    def __str__(self) -> str:
        return (
            f"{self.read:,} read, {self.refused.total():,} refused for {len(self.refused)} reasons; slowest "
            f"{self.slowest:.2f} s, most memory {self.highest / 2**20:.0f} MB above the start; "
            f"{len(self.faults)} faults"
        )

    def failures(self) -> list[str]:
        slow = [f"a picture took {self.slowest:.1f} s"] if self.slowest > MOST_SECONDS else []
        large = [f"a picture took {self.highest >> 20} MB"] if self.highest > MOST_BYTES else []
        return [*self.faults, *slow, *large]


def judge(name: str, data: bytes, found: Found, decode: Callable = decode_image) -> None:
    """One picture: pixels, or a refusal that names it and a reason; its time by the processor's clock."""
    start = time.process_time()
    try:
        pixels = decode(data, name=name)
        good = pixels.dtype in (np.uint8, bool) and min(pixels.shape) > 0 and pixels.flags.c_contiguous
        found.faults += [] if good else [f"{name}: {pixels.dtype} {pixels.shape}"]
        found.read += 1
    except ImageError as error:
        reason = error.found.removeprefix("The image is refused: ")
        if error.where != name or len(reason) < 8 or not error.expected:
            found.faults.append(f"{name}: refused without name or reason: {error}")
        found.refused["".join(letter for letter in reason if not letter.isdecimal())[:60]] += 1
    except Exception as error:
        found.faults.append(f"{name}: {type(error).__name__}: {error}")
    found.slowest = max(found.slowest, time.process_time() - start)


def judged(numbers: range) -> Found:
    """The mutants of these numbers; every seventh also as a mask."""
    originals()
    found, before = Found(), forget_peak()
    for number in numbers:
        _, name, data = mutant(number)
        judge(name, data, found)
        if number % 7 == 0:
            judge(name, data, found, decode_mask)
    found.highest = resident("VmHWM") - before
    return found


def mutations(n: int, *, chunk: int = 500) -> Found:
    """`n` spoilt pictures, each judged in a child that may neither crash nor hang."""
    originals()  # drawn once, before children are made
    total = Found()
    for span, ended in in_chunks(judged, n, chunk=chunk):
        if ended.fault:
            total.faults.append(f"pictures {span.start} … {span.stop - 1}: {ended.fault}")
            continue
        one: Found = ended.value
        total.read, total.refused = total.read + one.read, total.refused + one.refused
        total.faults += one.faults
        total.slowest, total.highest = max(total.slowest, one.slowest), max(total.highest, one.highest)
    return total


def heavy(pictures: dict[str, Callable[[], bytes]]) -> tuple[Found, list[str]]:
    """Pictures that are made to cost much, one child each: what it took of processor and memory, a line each."""
    total, lines = Found(), []
    for name, make in pictures.items():
        data = make()
        found = Found()

        def work(name=name, data=data, found=found) -> Found:
            judge(name, data, found)
            return found

        ended = in_child(work, limit=120)
        if ended.fault:
            total.faults.append(f"{name}: {ended.fault}")
            continue
        one: Found = ended.value
        answer = "read" if one.read else f"refused ({next(iter(one.refused), '?')})"
        lines.append(f"{name}: {len(data):,} bytes, {answer}, {one.slowest:.2f} s, {ended.peak_bytes / 2**20:.0f} MB")
        total.faults += one.faults
        total.read, total.refused = total.read + one.read, total.refused + one.refused
        total.slowest, total.highest = max(total.slowest, one.slowest), max(total.highest, ended.peak_bytes)
    return total, lines


def as_files(folder: Path, n: int) -> list[Path]:
    """The first `n` mutants as files, for what reads folders; the first 20 are whole pictures."""
    paths = []
    for number in range(n):
        _, _, data = mutant(number)
        whole = originals()[number % len(originals())]
        paths.append(folder / f"{number:06d}{ENDINGS[number % 4]}")
        paths[-1].write_bytes(whole if number < 20 else data)
    return paths


def is_read(path: Path) -> bool:
    """Whether the door lets this file in: what `predict` must score."""
    try:
        decode_image(read_input(str(path)), name=str(path))
    except ImageError:
        return False
    return True

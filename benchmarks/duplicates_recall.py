"""How many of 200 planted copies of real images does the audit find, and how many pairs does it report besides?

OMP_NUM_THREADS=1 python benchmarks/duplicates_recall.py --data DATA [--copies 200] [--sheet /tmp/pairs.png]

The data set is copied into a temporary folder, copies of random images are added there under lesions of their own, and
`audit_dataset` is run. A pair of a copy with its source counts as found. A pair of a copy with another image of the
source's lesion is a true relative. All other pairs of different lesions are counted as false alarms, though in
HAM10000 many of them are one lesion under two ids: `--sheet` draws the real ones side by side, to be looked at.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from melascope.data.archive import read_member
from melascope.data.audit import Audit, NamedPair, audit_dataset
from melascope.data.decode import decode_image
from melascope.data.sources.ham10000 import find_metadata, read_ham10000
from melascope.tables.lesions import LesionTable

THRESHOLDS = (0.60, 0.65, 0.70, 0.75, 0.80)
PREFIX = "PLANTED_"
Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def crop(image: Image.Image, rng: np.random.Generator, most: float = 0.2) -> Image.Image:
    """Up to `most` off every side, each side by itself."""
    (width, height), (left, right, top, bottom) = image.size, rng.uniform(0, most, 4)
    return image.crop(
        (round(left * width), round(top * height), round(width - right * width), round(height - bottom * height))
    )


def quarter_turn_or_mirror(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """One of the seven other orientations."""
    return image.transpose(Image.Transpose(int(rng.integers(7))))


def small_angle(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """2 … 15 degrees either way, black where nothing is known."""
    return image.rotate(rng.uniform(2, 15) * rng.choice([-1, 1]), Image.Resampling.BICUBIC)


def any_angle(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """15 … 345 degrees with black corners, in the same frame or in one that holds all of it."""
    return image.rotate(rng.uniform(15, 345), Image.Resampling.BICUBIC, expand=bool(rng.integers(2)))


def any_angle_cut(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Any angle, and of that the largest 4:3 rectangle inside the inscribed disc."""
    turned, radius = image.rotate(rng.uniform(0, 360), Image.Resampling.BICUBIC), min(image.size) / 2
    x, y = image.width / 2, image.height / 2
    return turned.crop(
        (round(x - 0.8 * radius), round(y - 0.6 * radius), round(x + 0.8 * radius), round(y + 0.6 * radius))
    )


def smaller(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """40 … 100 % of the size."""
    scale = rng.uniform(0.4, 1)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)


def all_at_once(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Perhaps mirrored, any angle, up to 15 % off every side, 70 … 100 % of the size."""
    if rng.integers(2):
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = crop(image.rotate(rng.uniform(0, 360), Image.Resampling.BICUBIC), rng, 0.15)
    scale = rng.uniform(0.7, 1)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)


CHANGES: dict[str, tuple[Change, tuple[int, int]]] = {
    "cropped": (crop, (30, 90)),
    "quarter turn or mirror": (quarter_turn_or_mirror, (30, 90)),
    "turned 2 to 15°": (small_angle, (30, 90)),
    "turned by any angle, black corners": (any_angle, (30, 90)),
    "turned by any angle, cut to content": (any_angle_cut, (30, 90)),
    "made smaller, JPEG 15 to 60": (smaller, (15, 60)),
    "all at once": (all_at_once, (30, 90)),
}
"""What is done to a copy, and the JPEG quality it is then saved with, from … to."""


def plant(data: Path, folder: Path, copies: int, seed: int) -> dict[str, tuple[str, str]]:
    """Copy the data set, add `copies` images; copy's id -> (source's id, what was done)."""
    table = read_ham10000(data)
    for file in data.iterdir():
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    (folder / "images").mkdir()
    planted, rows = {}, []
    for number, source in enumerate(np.random.default_rng([seed, 0]).choice(len(table), copies, replace=False)):
        kind = list(CHANGES)[number % len(CHANGES)]
        (change, qualities), rng = CHANGES[kind], np.random.default_rng([seed, 1, number])
        rgb = decode_image(read_member(table.root, table.path[source]), name=table.path[source])
        changed = change(Image.fromarray(rgb), rng)
        name = f"{PREFIX}{number:04}"
        changed.save(folder / "images" / f"{name}.jpg", quality=int(rng.integers(*qualities)))
        planted[name] = (table.image_id[source], kind)
        rows.append([name, name, table.dx[source]])
    metadata = find_metadata(folder)
    with open(metadata, encoding="utf-8-sig", newline="") as stream:
        header = next(csv.reader(stream))
    text = io.StringIO()
    for lesion, name, dx in rows:
        cells = {"lesion_id": lesion, "image_id": name, "dx": dx}
        csv.writer(text, lineterminator="\n").writerow([cells.get(column, "") for column in header])
    whole = metadata.read_text(encoding="utf-8-sig")
    metadata.chmod(0o644)
    metadata.write_text(whole + ("" if whole.endswith("\n") else "\n") + text.getvalue(), encoding="utf-8")
    return planted


def report(audit: Audit, table: LesionTable, planted: dict[str, tuple[str, str]]) -> list[NamedPair]:
    """Print recall and false alarms; the reported pairs of two real images."""
    lesion = dict(zip(table.image_id, table.lesion_id, strict=True))
    found, related, other = {}, [], []
    for pair in audit.duplicates.across_lesions:
        one, two = pair.image_id
        sources = [planted.get(image, (image, ""))[0] for image in (one, two)]
        if sources[0] == sources[1]:
            found[one if one.startswith(PREFIX) else two] = pair.agreement
        else:
            (related if lesion[sources[0]] == lesion[sources[1]] else other).append(pair)
    print(f"{'agreement':>12} {'found':>12} {'relatives':>10} {'other pairs of different lesions':>34}")
    for threshold in THRESHOLDS:
        counts = [sum(value >= threshold for value in found.values())]
        counts += [sum(pair.agreement >= threshold for pair in pairs) for pairs in (related, other)]
        rate = counts[2] / len(table) * 10_000
        print(f"{threshold:12.2f} {counts[0]:6}/{len(planted)} {counts[1]:10} {counts[2]:10} ({rate:.0f} per 10,000)")
    in_all, hit = Counter(kind for _, kind in planted.values()), Counter(planted[name][1] for name in found)
    for kind in CHANGES:
        print(f"  {kind}: {hit[kind]}/{in_all[kind]}")
    print(
        "  missed:", ", ".join(f"{name} of {planted[name][0]}" for name in sorted(set(planted) - set(found))) or "none"
    )
    print(f"  within lesions: {audit.duplicates.within_lesions}")
    return [pair for pair in other if not any(image.startswith(PREFIX) for image in pair.image_id)]


def draw_sheet(table: LesionTable, pairs: list[NamedPair], path: Path, count: int = 40) -> None:
    """Pairs side by side, evenly from the closest to the last, into one PNG; never commit it."""
    chosen = [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(int))]
    columns, width, height = 4, 2 * 204, 180
    sheet = Image.new("RGB", (columns * width, -(-len(chosen) // columns) * height), "white")
    pen, rows = ImageDraw.Draw(sheet), {image: row for row, image in enumerate(table.image_id)}
    for number, pair in enumerate(chosen):
        left, top = number % columns * width, number // columns * height
        for side, image in enumerate(pair.image_id):
            path_of = table.path[rows[image]]
            rgb = decode_image(read_member(table.root, path_of), name=path_of)
            sheet.paste(Image.fromarray(rgb).resize((200, 150)), (left + side * 202, top + 14))
        text = f"{number} {pair.image_id[0][5:]} {pair.image_id[1][5:]} {'/'.join(pair.dx)} {pair.agreement:.2f}"
        pen.text(
            (left, top), f"{text} {pair.angle:+.0f} x{pair.scale:.2f}{' m' if pair.mirrored else ''}", fill="black"
        )
    sheet.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--copies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--sheet", type=Path, help="where to draw real pairs of different lesions (outside of the project)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        planted = plant(options.data, folder, options.copies, options.seed)
        table = read_ham10000(folder)
        start, processor = time.perf_counter(), time.process_time()
        audit = audit_dataset(table)
        print(
            f"{len(table):,} images: {time.perf_counter() - start:.0f} s by the clock, "
            f"{time.process_time() - processor:.0f} s of one core"
        )
        pairs = report(audit, table, planted)
        if options.sheet and pairs:
            draw_sheet(table, pairs, options.sheet)


if __name__ == "__main__":
    main()

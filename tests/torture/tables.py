"""Is every spoilt table or recipe read or refused in words: no traceback, and a wrong cell by its row and column?"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from small_release import encoded, metadata, picture

from melascope.classes import CLASSES
from melascope.config import read_experiment, read_recipe, read_segmenter_recipe
from melascope.data.inputs import Source
from melascope.data.sources.ham10000 import read_ham10000
from melascope.data.sources.image_folder import Labels, read_image_folder
from melascope.data.sources.isic import read_isic
from melascope.data.split import read_split
from melascope.errors import MelascopeError
from melascope.gallery.tags import read_tags
from melascope.tables.predictions import Predictions
from torture.children import in_chunks
from torture.pictures import cut_out, flipped, stuffed, truncated

SEED = 73
RECIPES = Path(__file__).parents[2] / "recipes"

Rng = np.random.Generator
Read = Callable[[Path], object]


@dataclass(frozen=True)
class Kind:
    """A kind of table.

    Parameters
    ----------
    file : its name
    sound : content that is read
    read : reads it, in a folder that holds what belongs to it
    wrong : a column, and a word that can never stand in it; ("", "") where any text may stand anywhere
    """

    file: str
    sound: bytes
    read: Read
    wrong: tuple[str, str] = ("", "")


IDS = tuple(f"ISIC_0{number}" for number in range(1, 9))


def predictions_csv() -> bytes:
    rng, lines = np.random.default_rng(SEED), ["image_id,lesion_id,split,dx,age,sex,logit_" + ",logit_".join(CLASSES)]
    for row in range(24):
        scores = ",".join(f"{value:.4f}" for value in rng.normal(size=7))
        lines.append(f"i{row},l{row // 2},test,{CLASSES[row // 2 % 7]},{20 + row},male,{scores}")
    return ("\n".join(lines) + "\n").encode()


def parquet(folder: Path) -> bytes:
    (folder / "whole.csv").write_bytes(predictions_csv())
    return Predictions.read(folder / "whole.csv").write(folder / "whole.parquet").read_bytes()


def rows_of(*columns: str, cells: Callable[[str], list[str]]) -> bytes:
    return "".join(",".join(line) + "\n" for line in (list(columns), *map(cells, IDS))).encode()


def isic_truth() -> bytes:
    return rows_of(
        *("image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"),
        cells=lambda name: [name, *("1.0" if place == len(name) % 7 else "0.0" for place in range(7))],
    )


def all_paths(path: Path) -> list[str]:
    return list(Source.of(str(path)))


@cache
def kinds(place: Path) -> dict[str, Kind]:
    """Every kind by name; `place` is a folder that is laid out for all of them."""
    for folder in ("images", "isic/ISIC2018_Task3_Test_Input"):
        (place / folder).mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(IDS):
            (place / folder / f"{name}.png").write_bytes(encoded(picture(number)))
    truth = "isic/ISIC2018_Task3_Test_GroundTruth.csv"
    (place / "HAM10000_metadata.csv").write_text(metadata())
    (place / "sound.toml").write_bytes((RECIPES / "baseline.toml").read_bytes())
    table = read_ham10000(place)
    loose = rows_of("image_id", "dx", "age", cells=lambda name: [name, "mel", "50"])
    lists = rows_of("path", "note", cells=lambda name: [f"images/{name}.png", "x"])
    tags = rows_of("image_id", "tags", "comment", cells=lambda name: [name, "look again", "x"])
    split = rows_of("image_id", "split", cells=lambda name: [name, "train"])
    baseline = (RECIPES / "baseline.toml").read_bytes()
    some = baseline + b"\n[loss]\nfocal_gamma = 2.0\n" if b"[loss]" not in baseline else baseline
    return {
        "predictions": Kind("p.csv", predictions_csv(), Predictions.read, ("logit_mel", "?")),
        "predictions, Parquet": Kind("p.parquet", parquet(place), Predictions.read),
        "metadata": Kind(
            "HAM10000_metadata.csv", metadata().encode(), lambda path: read_ham10000(path.parent), ("dx", "?")
        ),
        "ISIC truth": Kind(truth, isic_truth(), lambda path: read_isic(path.parent), ("MEL", "?")),
        "labels": Kind(
            "labels.csv", loose, lambda path: read_image_folder(place / "images", Labels(path)), ("dx", "?")
        ),
        "split": Kind("split.csv", split, lambda path: read_split(path, table), ("split", "?")),
        "tags": Kind("tags.csv", tags, lambda path: read_tags(path, set(IDS)), ("image_id", "?")),
        "manifest": Kind("list.csv", lists, all_paths, ("path", "")),
        "manifest, text": Kind("list.txt", b"images/a.png\nimages/b.png\n", all_paths),
        "recipe": Kind("recipe.toml", some, read_recipe),
        "experiment": Kind("list.toml", b'name = "x"\nrecipes = ["sound.toml"]\nseeds = [1, 2]\n', read_experiment),
        "segmenter's recipe": Kind("segmenter.toml", (RECIPES / "segmenter.toml").read_bytes(), read_segmenter_recipe),
    }


WORDS = (
    *(
        "",
        " ",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "1e-999",
        "-1",
        "0x10",
        "½",
        "１",
        "null",
        "None",
        "True",
        "'",
        '"',
        '""',
    ),
    *("\\", "=1+1", "\u202e", "\ufeff", "😀" * 50, "a" * 5000, "../../x", "a\0b", "a\nb", "a,b", "a;b", "{}", "[1]"),
    *("99999999999999999999", "mel\r", "MEL", " mel", "%s%n", "{0}", "${x}", "<b>", "\x1b[31m", "1.0.0", "--", "[[["),
)


def cells(data: bytes, rng: Rng) -> bytes:
    """A table whose cells, rows or columns are others."""
    rows = list(csv.reader(io.StringIO(data.decode())))
    for _ in range(rng.integers(1, 4)):
        row, column = int(rng.integers(len(rows))), int(rng.integers(len(rows[0])))
        way = rng.integers(7)
        if way < 3 and column < len(rows[row]):
            rows[row][column] = WORDS[rng.integers(len(WORDS))]
        elif way == 3:
            rows.insert(row, list(rows[row]))
        elif way == 4:
            rows[row] = rows[row][:column] if rng.random() < 0.5 else [*rows[row], "more"]
        elif way == 5:
            rows = [[*line[:column], *line[column + 1 :]] for line in rows]
        else:
            rows[0][min(column, len(rows[0]) - 1) :] = rows[0][:1]
        if len(rows) < 2 or not rows[0]:
            break
    stream = io.StringIO()
    csv.writer(stream, delimiter=",;\t|"[rng.integers(4)] if rng.random() < 0.2 else ",").writerows(rows)
    text = stream.getvalue()
    return text.encode(
        ("utf-8", "utf-16", "latin-1", "utf-8-sig")[rng.integers(4)] if rng.random() < 0.2 else "utf-8", "replace"
    )


def keys(data: bytes, rng: Rng) -> bytes:
    """A recipe with a value or a key that is another."""
    lines = data.decode().splitlines()
    values = (*WORDS, "[]", "{}", "'x'", '"x"', "nan", "-5", "1_000", "1979-05-27", "[" * 3000, "{a=" * 500, "[[1]]")
    for _ in range(rng.integers(1, 3)):
        place = int(rng.integers(len(lines)))
        word = values[rng.integers(len(values))]
        key, sign, value = lines[place].partition("=")
        lines[place] = (f"{key}={word}", f"{key}x {sign}{value}", lines[place] * 2, f"[{word}]")[rng.integers(4)]
    return "\n".join(lines).encode("utf-8", "replace")


def mutant(number: int, found: dict[str, Kind]) -> tuple[str, bytes, tuple[int, str]]:
    """(kind, content, (row, column) that must be named or (0, "")) of one spoilt table."""
    rng, name = np.random.default_rng([SEED, number]), list(found)[number % len(found)]
    kind = found[name]
    if kind.wrong[0] and rng.random() < 0.3:
        rows = list(csv.reader(io.StringIO(kind.sound.decode())))
        row, column = int(rng.integers(1, len(rows))), rows[0].index(kind.wrong[0])
        rows[row][column] = kind.wrong[1]
        stream = io.StringIO()
        csv.writer(stream).writerows(rows)
        return name, stream.getvalue().encode(), (row + 1, kind.wrong[0])
    by_bytes = (truncated, flipped, cut_out, stuffed)
    by_meaning = keys if kind.file.endswith(".toml") else cells if kind.file.endswith(".csv") else flipped
    way = by_meaning if rng.random() < 0.6 else by_bytes[rng.integers(len(by_bytes))]
    return name, way(kind.sound, rng), (0, "")


@dataclass
class Found:
    """What came of some spoilt tables: by kind, those that were read and those that were refused."""

    read: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)
    located: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.read.total():,} read, {self.refused.total():,} refused, {self.located:,} of them asked for row and "
            f"column; {len(self.faults)} faults"
        )


def judge(kind: Kind, path: Path, place: tuple[int, str], found: Found, name: str, number: int) -> None:
    """One spoilt table: read, or an error of ours that says where."""
    row, column = place
    try:
        kind.read(path)
        found.read[name] += 1
        found.faults += [f"{name} {number}: row {row} column {column} was let in"] if row else []
    except MelascopeError as error:
        found.refused[name] += 1
        found.located += bool(row)
        said = str(error)
        if not error.where or len(error.found if error.found else said) < 8:
            found.faults.append(f"{name} {number}: no file is named: {said[:200]}")
        if row and not (re.search(rf"row {row}\b", said) and column in said):
            found.faults.append(f"{name} {number}: row {row} column {column} is not named: {said[:300]}")
    except Exception as error:
        found.faults.append(f"{name} {number}: {type(error).__name__}: {str(error)[:200]}")


def mutations(folder: Path, n: int) -> Found:
    """`n` spoilt tables, in children."""
    place = folder / "place"
    place.mkdir()
    sound = kinds(place)
    total = Found()
    for kind in sound.values():  # each is read when nothing is spoilt
        (place / kind.file).write_bytes(kind.sound)
        kind.read(place / kind.file)

    def work(numbers: range) -> Found:
        found = Found()
        for number in numbers:
            name, data, where = mutant(number, sound)
            kind = sound[name]
            own = kind.file if kind.file.endswith(("metadata.csv", "Truth.csv")) else f"{number}{kind.file}"
            (place / own).write_bytes(data)
            judge(kind, place / own, where, found, name, number)
            if own != kind.file:
                (place / own).unlink()
        return found

    for span, ended in in_chunks(work, n, chunk=200, processes=1):
        if ended.fault:
            total.faults.append(f"tables {span.start} … {span.stop - 1}: {ended.fault}")
            continue
        one: Found = ended.value
        total.read, total.refused = total.read + one.read, total.refused + one.refused
        total.located, total.faults = total.located + one.located, total.faults + one.faults
    return total

"""Any number of images → Parquet parts: each input once, as a result or as a reason, whatever stops the machine."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count as count_up
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from melascope import __version__
from melascope.classes import CLASSES
from melascope.data.decode import decode_image
from melascope.data.inputs import Source, read_input
from melascope.data.pixels import resize_image
from melascope.errors import ImageError, OutputError
from melascope.files import atomic_path, make_folder, write_json
from melascope.stages.engines import Engine
from melascope.stages.reporting import Reporter
from melascope.tables.probabilities import probabilities_from_logits

PART_ROWS = 1024
"""Inputs in a part: what a kill loses at most."""

BATCH, AHEAD = 16, 4
"""Images in a forward pass, and batches whose images are decoded while one is computed."""

FACTS = b"melascope"

COLUMNS = pa.schema(
    [
        pa.field("input", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("refused", pa.string(), nullable=False),
        pa.field("predicted_class", pa.string()),
        pa.field("p_target", pa.float64()),
        pa.field("above_threshold", pa.bool_()),
        *(pa.field(f"logit_{name}", pa.float32()) for name in CLASSES),
    ]
)
"""`refused` is empty where the image was scored; the columns after it are null where it was not."""


@dataclass(frozen=True)
class Share:
    """Which parts this process makes: `number` of `of`, from 1; part k belongs to share k mod `of`."""

    number: int = 1
    of: int = 1

    @classmethod
    def from_text(cls, text: str) -> Share:
        """`3/16` is the third of sixteen."""
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise OutputError(f"The shard is {text!r}.", where="--shard", expected="i/n with 1 ≤ i ≤ n, e.g. 3/16")
        return cls(int(number), int(of))

    def owns(self, part: int) -> bool:
        return part % self.of == self.number - 1


@dataclass(frozen=True)
class Scored:
    """How many inputs there were in some parts.

    Parameters
    ----------
    scored, refused : inputs
    found_before : parts that an earlier start had finished
    """

    scored: int = 0
    refused: int = 0
    found_before: int = 0

    def __add__(self, other: Scored) -> Scored:
        return Scored(self.scored + other.scored, self.refused + other.refused, self.found_before + other.found_before)


@dataclass(frozen=True)
class Part:
    """Inputs that are scored into one file: the unit that is made whole or not at all, by whatever engine.

    Parameters
    ----------
    number : from 0; inputs `number * part_rows` and on, in the order of the source
    inputs : paths
    """

    number: int
    inputs: list[str]


def score_inputs(
    engine: Engine,
    source: Source,
    out: Path,
    reporter: Reporter,
    *,
    share: Share = Share(),
    part_rows: int = PART_ROWS,
    workers: int = 2,
) -> Scored:
    """Score every input of `source` into `out/part-<number>.parquet`; memory does not grow with the source.

    A part is written whole or not at all. Started again, the same command leaves finished parts as they are, so that
    every input stands in the parts exactly once. Images are decoded and resized by threads while the model computes.

    Parameters
    ----------
    share : several processes, on one machine or many, may write into one folder
    part_rows : inputs a part
    workers : threads that decode

    Raises
    ------
    OutputError : the folder holds parts of another model, source or part size, or cannot be written.
    """
    out, facts, result = make_folder(Path(out)), facts_of(engine, source, part_rows), Scored()
    with ThreadPoolExecutor(workers) as decoders, reporter.counter("predicting") as count:
        for part in parts_of(source, share, part_rows):
            result += make_part(part, engine, out, facts, decoders, count)
    write_share(out, share, facts, result)
    return result


def facts_of(engine: Engine, source: Source, part_rows: int) -> dict[str, Any]:
    """What must be the same for all parts of a folder."""
    return {
        "melascope": __version__,
        "engine": engine.name,
        "run": engine.run,
        "checkpoint_sha256": engine.card.weights_sha256,
        "temperature": engine.card.temperature,
        "operating_point_sha256": engine.point.sha256 if engine.point else "",
        "source": source.text,
        "part_rows": part_rows,
    }


def parts_of(source: Iterable[str], share: Share, part_rows: int) -> Iterator[Part]:
    """The parts of one share, each when it is asked for."""
    names = iter(source)
    for number in count_up():
        inputs = list(islice(names, part_rows))
        if not inputs:
            return
        if share.owns(number):
            yield Part(number, inputs)


def make_part(
    part: Part,
    engine: Engine,
    out: Path,
    facts: dict[str, Any],
    decoders: ThreadPoolExecutor,
    count: Callable[[int], None],
) -> Scored:
    """Write one part, unless it lies there already.

    Parameters
    ----------
    facts : see `facts_of`
    decoders : threads that decode
    count : called with how many images were scored since

    Raises
    ------
    OutputError : what lies there is a part of something else.
    """
    path = out / f"part-{part.number:06d}.parquet"
    about = facts | {"part": part.number, "inputs_sha256": _digest(part.inputs)}
    found_before = path.is_file()
    if found_before:
        reasons = _finished(path, about)
    else:
        table = _table(part.inputs, engine, decoders, count)
        _write(path, table, about)
        reasons = table["refused"]
    refused = sum(reason != "" for reason in reasons.to_pylist())
    return Scored(len(part.inputs) - refused, refused, int(found_before))


def write_share(out: Path, share: Share, facts: dict[str, Any], result: Scored) -> None:
    """Written last: this share is done."""
    counts = {"scored": result.scored, "refused": result.refused}
    write_json(out / f"shard-{share.number}-of-{share.of}.json", facts | counts)


def _digest(inputs: list[str]) -> str:
    return hashlib.sha256("\0".join(inputs).encode("utf-8", "surrogateescape")).hexdigest()


def _finished(path: Path, about: dict[str, Any]) -> pa.ChunkedArray:
    """The reasons in a part of an earlier start; one of something else is an error."""
    try:
        with pq.ParquetFile(path) as file:
            then = json.loads((file.schema_arrow.metadata or {}).get(FACTS, b"{}"))
            reasons = file.read(columns=["refused"])["refused"]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise OutputError("A part cannot be read.", where=path, fix="remove it, and start again") from error
    other = [name for name, value in about.items() if then.get(name) != value and name != "melascope"]
    if other:
        raise OutputError(
            f"The folder holds a part of something else: {', '.join(other)} differ.",
            where=path,
            expected=", ".join(f"{name} {str(about[name])[:40]}" for name in other),
            fix="choose another folder with --out, or finish with the same model, source and part size",
        )
    return reasons


def _table(inputs: list[str], engine: Engine, decoders: ThreadPoolExecutor, count: Callable[[int], None]) -> pa.Table:
    """Results and reasons of one part, in the order of its inputs."""
    logits = np.full((len(inputs), len(CLASSES)), np.nan, dtype=np.float32)
    reasons = [""] * len(inputs)
    for rows, pixels in _batches(inputs, engine, decoders, reasons):
        logits[rows] = engine.logits(pixels, batch_size=len(rows))
        count(len(rows))
    return _columns(inputs, logits, reasons, engine)


def _batches(
    inputs: list[str], engine: Engine, decoders: ThreadPoolExecutor, reasons: list[str]
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Pixels of the images that can be read, with their rows; why another cannot goes into `reasons`."""
    size = (engine.card.input_width, engine.card.input_height)
    waiting: deque[tuple[int, Future]] = deque()
    names = enumerate(inputs)
    rows: list[int] = []
    pixels: list[np.ndarray] = []

    def send() -> None:
        for row, name in islice(names, 1):
            waiting.append((row, decoders.submit(_pixels, name, size)))

    for _ in range(BATCH * AHEAD):
        send()
    while waiting:
        row, future = waiting.popleft()
        send()
        found = future.result()
        if isinstance(found, str):
            reasons[row] = found
            continue
        rows.append(row)
        pixels.append(found)
        if len(rows) == BATCH:
            yield rows, np.stack(pixels)
            rows, pixels = [], []
    if rows:
        yield rows, np.stack(pixels)


def _pixels(name: str, size: tuple[int, int]) -> np.ndarray | str:
    """Resized pixels of one input, or why there are none."""
    try:
        return resize_image(decode_image(read_input(name), name=name), *size)
    except ImageError as error:
        return error.found


def _columns(inputs: list[str], logits: np.ndarray, reasons: list[str], engine: Engine) -> pa.Table:
    refused = np.array([reason != "" for reason in reasons], dtype=bool)
    probabilities = probabilities_from_logits(
        np.where(refused[:, None], 0, logits).astype(np.float64), engine.card.temperature
    )
    top = [CLASSES[column] for column in probabilities.argmax(axis=1)]
    score = engine.point.score(probabilities) if engine.point else np.zeros(len(inputs))
    above = engine.point.is_positive(probabilities) if engine.point else np.zeros(len(inputs), bool)
    no_point = refused | (engine.point is None)
    shown = [name.encode("utf-8", "backslashreplace").decode("utf-8") for name in inputs]
    columns = [
        pa.array(shown, pa.string()),
        pa.array([Path(name).stem for name in shown], pa.string()),
        pa.array(reasons, pa.string()),
        pa.array(top, pa.string(), mask=refused),
        pa.array(score, pa.float64(), mask=no_point),
        pa.array(above, pa.bool_(), mask=no_point),
        *(pa.array(logits[:, column], pa.float32(), mask=refused) for column in range(len(CLASSES))),
    ]
    return pa.Table.from_arrays(columns, schema=COLUMNS)


def _write(path: Path, table: pa.Table, about: dict[str, Any]) -> None:
    for left in path.parent.glob(f".{path.name}.tmp-*"):  # by a process that was killed
        left.unlink(missing_ok=True)
    facts = {FACTS: json.dumps(about, sort_keys=True).encode()}
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(facts), temporary, compression="zstd")


def reasons_in(out: Path, share: Share = Share()) -> Counter[str]:
    """How often each reason was given, over the parts of one share."""
    found: Counter[str] = Counter()
    for path in sorted(Path(out).glob("part-[0-9]*.parquet")):
        if share.owns(int(path.stem.removeprefix("part-"))):
            found.update(reason for reason in pq.read_table(path, columns=["refused"])["refused"].to_pylist() if reason)
    return found

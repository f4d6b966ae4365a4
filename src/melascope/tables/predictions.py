"""What did a model say of each image: the predictions table, the one contract between models and every analysis."""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from melascope.classes import CLASSES
from melascope.errors import DataError, Problem, TableError
from melascope.files import atomic_path, parsed_json
from melascope.tables.columns import (
    MAX_BYTES,
    blank_unknown,
    class_columns,
    csv_header,
    delimiter_of,
    filled_rows,
    first_rows,
    is_text,
    known_if_optional,
    lesion_or_image,
    number_array,
    problems_at,
    read_csv_table,
    too_large,
    unknown_text,
    write_table,
)
from melascope.tables.foreign import (
    COLUMN_FLAG,
    FACT_COLUMNS,
    LEFT_OUT,
    LOGIT_COLUMNS,
    TEXT_COLUMNS,
    WORD_FLAG,
    Layout,
    Naming,
    as_logits,
    left_out,
    left_out_notes,
    our_classes,
    our_splits,
    recognise,
)
from melascope.tables.probabilities import probabilities_from_logits

SCHEMA_VERSION = 1
_METADATA_KEY = b"melascope.predictions"


@dataclass(frozen=True)
class PredictionsOrigin:
    """Where a predictions table comes from; rides in the file.

    Empty text means unknown (a table of another project).
    """

    source: str = ""
    run: str = ""
    checkpoint_sha256: str = ""
    split_sha256: str = ""
    dataset_fingerprint: str = ""
    temperature: float = 1.0


@dataclass(frozen=True)
class Predictions:
    """One row an image: truth, facts and raw logits (calibration needs logits).

    Text columns are object arrays in which unknown is `""`; `age` is NaN where unknown.

    Parameters
    ----------
    image_id, lesion_id, split, dx, sex, localization, dx_type : (n_images,) object
    age : (n_images,) float64, years
    logits : (n_images, 7) float64, columns in the order of `CLASSES`
    dataset : (n_images,) object, the part of the collection that an image comes from; unknown if left out
    origin : `PredictionsOrigin`
    notes : how the scores were read, where the file did not hold logits; a reader of the figures must know it.
    left_out : their word for the truth -> rows whose `dx` is empty because it is none of our classes, e.g.
        `{"SCC": 628}`; counted over the table as it was made, not over a part of it.
    """

    image_id: np.ndarray
    lesion_id: np.ndarray
    split: np.ndarray
    dx: np.ndarray
    age: np.ndarray
    sex: np.ndarray
    localization: np.ndarray
    dx_type: np.ndarray
    logits: np.ndarray
    origin: PredictionsOrigin = PredictionsOrigin()
    notes: tuple[str, ...] = ()
    dataset: np.ndarray = None  # type: ignore[assignment]  # `__post_init__` fills it in
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dataset is None:
            object.__setattr__(self, "dataset", unknown_text(len(self)))

    def __len__(self) -> int:
        return len(self.image_id)

    @property
    def probabilities(self) -> np.ndarray:
        """(n_images, 7) float64 at the temperature that the table carries."""
        return probabilities_from_logits(self.logits, self.origin.temperature)

    @property
    def labels(self) -> np.ndarray:
        """(n_images,) int64: column of the truth in `CLASSES`, -1 where unknown."""
        return class_columns(self.dx)

    @property
    def lesion_key(self) -> np.ndarray:
        """(n_images,) object: `lesion_id`, or the image's own id where no lesion is known."""
        return lesion_or_image(self.lesion_id, self.image_id)

    def subset(self, keep: np.ndarray) -> Predictions:
        """The rows that `keep` (boolean mask or indices) selects."""
        names = (*TEXT_COLUMNS, "age", "logits")
        return replace(self, **{name: getattr(self, name)[keep] for name in names})

    def of_split(self, *splits: str) -> Predictions:
        """The rows of the named splits."""
        return self.subset(np.isin(self.split.astype(str), splits))

    def write(self, path: Path) -> Path:
        """Write Parquet, or CSV when the name ends in `.csv` (CSV cannot carry origin and notes)."""
        columns = known_if_optional({name: getattr(self, name) for name in FACT_COLUMNS})
        columns |= {name: self.logits[:, i] for i, name in enumerate(LOGIT_COLUMNS)}
        metadata = {} if Path(path).suffix == ".csv" else {_METADATA_KEY: self._facts()}
        with atomic_path(path) as temporary:
            write_table(temporary, columns, metadata)
        return Path(path)

    def _facts(self) -> str:
        facts = {"schema_version": SCHEMA_VERSION, "class_order": list(CLASSES), **asdict(self.origin)}
        facts |= {"notes": list(self.notes)} if self.notes else {}
        facts |= {"left_out": dict(self.left_out)} if self.left_out else {}
        return json.dumps(facts, sort_keys=True)

    @classmethod
    def read(
        cls, path: Path, columns: Mapping[str, str] | None = None, words: Mapping[str, str] | None = None
    ) -> Predictions:
        """Read a predictions table, ours or another project's, of logits or of probabilities.

        Parameters
        ----------
        path : Parquet, or text with a header row and cells parted by commas, semicolons or tabs
        columns, words : what their columns and the words of `dx` mean; see `melascope.tables.foreign.Naming`.

        Raises
        ------
        TableError : every problem of the table at once, with row and column.
        DataError : it cannot be read at all, is far too large, or `columns` or `words` name what we do not have.
        """
        path, naming = Path(path), Naming(columns or {}, words or {})
        if not path.is_file():
            expected = "a predictions table, .parquet or .csv, or a run directory"
            raise DataError("There is no such file.", where=path, expected=expected)
        table, layout, facts = (_read_parquet if _is_parquet(path) else _read_csv)(path, naming)
        return _checked(_Rows.of(table), layout, naming, facts, path)


@dataclass(frozen=True)
class _Rows:
    """Rows of a table without the blank lines between them; each keeps the `number` that a spreadsheet shows."""

    table: pa.Table
    number: np.ndarray

    @classmethod
    def of(cls, table: pa.Table) -> _Rows:
        text = all(is_text(field.type) for field in table.schema)  # as a CSV is read; Parquet has no blank lines
        filled = filled_rows(table) if text else np.ones(len(table), dtype=bool)
        return cls(table if filled.all() else table.filter(pa.array(filled)), np.flatnonzero(filled) + 2)

    def place(self, problems: list[Problem]) -> list[Problem]:
        """The same problems, whose rows were counted without blank lines, in the rows where they stand."""
        return [replace(one, row=int(self.number[one.row - 2])) if one.row else one for one in problems]


def _is_parquet(path: Path) -> bool:
    """By its name's ending, or its content under any other name than `.csv`."""
    if path.suffix.lower() in (".csv", ".parquet"):
        return path.suffix.lower() == ".parquet"
    with open(path, "rb") as stream:
        return stream.read(4) == b"PAR1"


def _read_csv(path: Path, naming: Naming) -> tuple[pa.Table, Layout, dict]:
    delimiter = delimiter_of(path)
    layout = _recognised(csv_header(path, delimiter), naming, {}, path)
    table, facts = read_csv_table(path, delimiter, names=layout.wanted), {}
    if delimiter == ";":
        table, facts = _decimal_commas(table, layout)
    return table, layout, facts


def _decimal_commas(table: pa.Table, layout: Layout) -> tuple[pa.Table, dict]:
    """Numbers with a decimal comma, as Excel writes them in Europe, with a point; told in the notes."""
    changed = False
    for name in {*layout.scores, layout.facts.get("age", layout.scores[0])}:
        if (
            pc.any(pc.match_substring(table[name], ",")).as_py()
            and not pc.any(pc.match_substring(table[name], ".")).as_py()
        ):
            changed, place = True, table.schema.get_field_index(name)
            table = table.set_column(place, name, pc.replace_substring(table[name], ",", "."))
    return table, {"notes": ["Commas in numbers are read as decimal points."]} if changed else {}


def _read_parquet(path: Path, naming: Naming) -> tuple[pa.Table, Layout, dict]:
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            facts = _facts_in((schema.metadata or {}).get(_METADATA_KEY, b"{}"), path)
            layout = _recognised(schema.names, naming, facts, path)
            held = _decoded_bytes(file, layout.wanted)
        if held > MAX_BYTES:
            raise too_large(path, f"its columns take {held >> 20:,} MiB")
        texts = [name for name in layout.wanted if is_text(schema.field(name).type)]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            table = file.read(columns=layout.wanted)
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TableError(
            "The predictions table cannot be read",
            [Problem(str(error), path.name)],
            where=path,
            fix="make it with `melascope train` or `melascope predict`, or give a CSV with the same columns",
        ) from error
    return table, layout, facts


def _decoded_bytes(file: pq.ParquetFile, names: list[str]) -> int:
    """About how many bytes these columns take in memory."""
    paths = [file.schema.column(place).path for place in range(len(file.schema))]
    places = [
        i for i, path in enumerate(paths) if path in names or path.startswith(tuple(f"{name}." for name in names))
    ]
    held = 0
    for number in range(file.num_row_groups):
        # where a column is badly described this raises, and what follows would end the process
        next(file.iter_batches(1, row_groups=[number], columns=names), None)
        group = file.metadata.row_group(number)
        held += sum(max(group.column(place).total_uncompressed_size, 8 * group.num_rows) for place in places)
    return held


def _facts_in(metadata: bytes, path: Path) -> dict:
    try:
        facts = parsed_json(metadata)
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise _unusable([Problem("the facts that ride in the file are broken", path.name)], path)
    return facts


def _recognised(header: list[str], naming: Naming, facts: dict, path: Path) -> Layout:
    """The layout, found from header and metadata alone: a table of something else is not read any further."""
    problems = [
        Problem(f"a column {name} stands twice", path.name, 1, name) for name, n in Counter(header).items() if n > 1
    ]
    layout = recognise(header, naming, path.name, problems)
    missing = bool(problems)
    if facts.get("class_order", list(CLASSES)) != list(CLASSES):
        problems.append(Problem(f"class order is {facts['class_order']}, expected {list(CLASSES)}", path.name))
    if facts.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        problems.append(Problem(f"schema version is {facts['schema_version']}, expected {SCHEMA_VERSION}", path.name))
    if problems:
        raise _unusable(problems, path, fix=_how_to_name(header) if missing else None)
    return layout


def _how_to_name(header: list[str]) -> str:
    shown = ", ".join(name[:40] for name in header[:20]) + (" …" if len(header) > 20 else "")
    return f"tell which column is which: {COLUMN_FLAG} image_id=…,dx=…,probability_mel=… (or logit_mel=…) of {shown}"


def _how_to_map(dx: np.ndarray) -> str | None:
    """What to say where `dx` still holds words that are no class."""
    words = sorted(set(dx) - {"", *CLASSES})
    if not words:
        return None
    flags = ",".join(f"{word}=…" for word in words[:20]) + (",…" if len(words) > 20 else "")
    classes = f"{', '.join(CLASSES)}; or {LEFT_OUT}, for rows that no figure shall count"
    return f"tell what the words mean: {WORD_FLAG} {shlex.quote(flags)}, each with one of {classes}"


def _unusable(problems: list[Problem], path: Path, fix: str | None = None) -> TableError:
    """All problems, by row; the first of each column come first, so that no column hides another."""
    problems = sorted(problems, key=lambda problem: problem.row or 0)
    turn: Counter[str] = Counter()
    turns = []
    for problem in problems:
        turns.append(turn[problem.column])
        turn[problem.column] += 1
    order = sorted(range(len(problems)), key=turns.__getitem__)
    return TableError("The predictions table is not usable", [problems[one] for one in order], where=path, fix=fix)


def _checked(rows: _Rows, layout: Layout, naming: Naming, facts: dict, path: Path) -> Predictions:
    """Collect every problem of the rows, then build the table or raise them all at once."""
    table, file, n_rows = rows.table, path.name, len(rows.table)
    problems = [] if n_rows else [Problem("the table has no rows", file)]
    text = {name: unknown_text(n_rows) for name in TEXT_COLUMNS}
    text |= {name: blank_unknown(table[theirs]) for name, theirs in layout.facts.items() if name != "age"}
    text["split"], theirs = our_splits(text["split"]), text["dx"]
    text["dx"] = our_classes(theirs, naming.words, file, layout.facts["dx"], problems)
    age = np.full(n_rows, np.nan)
    if "age" in layout.facts:
        age = number_array(table[layout.facts["age"]], layout.facts["age"], file, problems)
    scores = [number_array(table[name], name, file, problems, needed=True) for name in layout.scores]
    logits, notes = as_logits(np.stack(scores, axis=1), layout, file, problems)
    problems += _id_problems(text["image_id"], rows.number, file, layout.facts["image_id"])
    problems += _leak_problems(text["lesion_id"], text["split"], file, layout.facts.get("split", "split"))
    origin, notes = _origin(facts, file, problems), _notes(facts, file, problems) + notes
    told = _left_out(facts, file, problems)
    if problems:
        raise _unusable(rows.place(problems), path, fix=_how_to_map(text["dx"]))
    mapped = left_out(theirs, text["dx"])
    notes += left_out_notes(mapped)
    return Predictions(**text, age=age, logits=logits, origin=origin, notes=notes, left_out={**told, **mapped})


def _id_problems(image_id: np.ndarray, number: np.ndarray, file: str, column: str) -> list[Problem]:
    first, empty = first_rows(image_id), image_id == ""
    again = np.flatnonzero((first != np.arange(len(first))) & ~empty)
    return problems_at(np.flatnonzero(empty), lambda row: "the image id is empty", file, column) + problems_at(
        again, lambda row: f"{image_id[row]} stands already in row {number[first[row]]}", file, column
    )


def _leak_problems(lesion_id: np.ndarray, split: np.ndarray, file: str, column: str) -> list[Problem]:
    known = np.flatnonzero((lesion_id != "") & (split != ""))
    first = np.zeros(len(split), dtype=np.int64)
    first[known] = known[first_rows(lesion_id[known])]
    rows = known[split[known] != split[first[known]]]
    return problems_at(
        rows, lambda row: f"lesion {lesion_id[row]} stands in {split[first[row]]} and in {split[row]}", file, column
    )


def _origin(facts: dict, file: str, problems: list[Problem]) -> PredictionsOrigin:
    known = {name: facts[name] for name in PredictionsOrigin.__dataclass_fields__ if name in facts}
    for name, value in known.items():
        if name == "temperature":
            if not isinstance(value, (int, float)) or not 0 < value < math.inf:
                problems.append(Problem(f"the temperature is {value!r}, expected a number above 0", file))
        elif not isinstance(value, str):
            problems.append(Problem(f"{name} is {value!r}, expected text", file))
    return PredictionsOrigin(**known)


def _notes(facts: dict, file: str, problems: list[Problem]) -> tuple[str, ...]:
    notes = facts.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        problems.append(Problem(f"notes is {notes!r}, expected a list of text", file))
        return ()
    return tuple(notes)


def _left_out(facts: dict, file: str, problems: list[Problem]) -> dict[str, int]:
    found = facts.get("left_out", {})
    if not isinstance(found, dict) or not all(isinstance(n, int) for n in found.values()):
        problems.append(Problem(f"left_out is {found!r}, expected a count for each word", file))
        return {}
    return found

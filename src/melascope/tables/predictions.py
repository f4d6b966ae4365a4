"""What did a model say of each image: the predictions table, the one contract between models and every analysis."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from melascope.classes import CLASSES
from melascope.errors import Problem, TableError
from melascope.files import atomic_path
from melascope.tables.columns import (
    blank_unknown,
    class_columns,
    lesion_or_image,
    number_array,
    read_csv_text,
    text_array,
    write_table,
)

SCHEMA_VERSION = 1
TEXT_COLUMNS = ("image_id", "lesion_id", "split", "dx", "sex", "localization", "dx_type")
LOGIT_COLUMNS = tuple(f"logit_{name}" for name in CLASSES)
COLUMNS = ("image_id", "lesion_id", "split", "dx", "age", "sex", "localization", "dx_type", *LOGIT_COLUMNS)
_METADATA_KEY = b"melascope.predictions"


def probabilities_from_logits(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Turn logits into probabilities: the only place where that is done.

    Parameters
    ----------
    logits : (n_images, 7) float
    temperature : > 0; softmax(logits / temperature) (Guo et al. 2017, eq. 9). 1 leaves them as trained.

    Returns
    -------
    probabilities : (n_images, 7) float64, rows sum to 1
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    exponentials = np.exp(scaled)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


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
    origin : `PredictionsOrigin`
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
        """Write Parquet, or CSV when the name ends in `.csv` (CSV cannot carry the origin)."""
        columns = {name: getattr(self, name) for name in COLUMNS[:8]}
        columns |= {name: self.logits[:, i] for i, name in enumerate(LOGIT_COLUMNS)}
        metadata = {} if Path(path).suffix == ".csv" else {_METADATA_KEY: self._facts()}
        with atomic_path(path) as temporary:
            write_table(temporary, columns, metadata)
        return Path(path)

    def _facts(self) -> str:
        facts = {"schema_version": SCHEMA_VERSION, "class_order": list(CLASSES), **asdict(self.origin)}
        return json.dumps(facts, sort_keys=True)

    @classmethod
    def read(cls, path: Path) -> Predictions:
        """Read a predictions table, ours or another project's.

        Raises
        ------
        TableError : every problem of the table at once, with row and column.
        """
        path = Path(path)
        columns, facts = _read_csv(path) if path.suffix == ".csv" else _read_parquet(path)
        return _checked(columns, facts, path)


def _read_csv(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    return read_csv_text(path), {}


def _read_parquet(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    try:
        table = pq.read_table(path)
    except (FileNotFoundError, pa.ArrowInvalid, OSError) as error:
        raise TableError(
            "The predictions table cannot be read",
            [Problem(str(error), path.name)],
            where=path,
            fix="make it with `melascope train` or `melascope predict`, or give a CSV with the same columns",
        ) from error
    facts = _facts_in((table.schema.metadata or {}).get(_METADATA_KEY, b"{}"), path)
    numeric = {"age", *LOGIT_COLUMNS}
    columns = {
        name: np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
        if name in numeric and not pa.types.is_string(column.type)
        else text_array(column)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return columns, facts


def _facts_in(metadata: bytes, path: Path) -> dict:
    try:
        facts = json.loads(metadata)
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        problem = Problem("the facts that ride in the file are broken", path.name)
        raise TableError("The predictions table is not usable", [problem], where=path)
    return facts


def _origin(facts: dict, file: str, problems: list[Problem]) -> PredictionsOrigin:
    known = {name: facts[name] for name in PredictionsOrigin.__dataclass_fields__ if name in facts}
    for name, value in known.items():
        if name == "temperature":
            if not isinstance(value, (int, float)) or not 0 < value < math.inf:
                problems.append(Problem(f"the temperature is {value!r}, expected a number above 0", file))
        elif not isinstance(value, str):
            problems.append(Problem(f"{name} is {value!r}, expected text", file))
    return PredictionsOrigin(**known)


def _checked(columns: dict[str, np.ndarray], facts: dict, path: Path) -> Predictions:
    """Collect every problem of the columns, then build the table or raise them all at once."""
    problems: list[Problem] = []
    required = ("image_id", "dx", *LOGIT_COLUMNS)
    for name in required:
        if name not in columns:
            problems.append(Problem("the column is missing", path.name, 1, name))
    if facts.get("class_order", list(CLASSES)) != list(CLASSES):
        problems.append(Problem(f"class order is {facts['class_order']}, expected {list(CLASSES)}", path.name))
    if facts.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        problems.append(Problem(f"schema version is {facts['schema_version']}, expected {SCHEMA_VERSION}", path.name))
    if problems:
        raise TableError("The predictions table is not usable", problems, where=path)

    n_rows = len(columns["image_id"])
    empty = np.full(n_rows, "", dtype=object)
    text = {name: blank_unknown(columns.get(name, empty)) for name in TEXT_COLUMNS}
    numbers = {
        name: values
        if (values := columns.get(name, empty)).dtype == np.float64
        else number_array(values, name, path.name, problems)
        for name in ("age", *LOGIT_COLUMNS)
    }
    logits = np.stack([numbers[name] for name in LOGIT_COLUMNS], axis=1) if n_rows else np.zeros((0, len(CLASSES)))
    problems += _row_problems(text, logits, path.name)
    origin = _origin(facts, path.name, problems)
    if problems:
        raise TableError("The predictions table is not usable", problems, where=path)
    return Predictions(**text, age=numbers["age"], logits=logits, origin=origin)


def _row_problems(text: dict[str, np.ndarray], logits: np.ndarray, file: str) -> list[Problem]:
    if len(logits) == 0:
        return [Problem("the table has no rows", file)]
    problems = [
        Problem("a logit is missing or not finite", file, int(row) + 2, LOGIT_COLUMNS[int(column)])
        for row, column in np.argwhere(~np.isfinite(logits))
    ]
    problems += [
        Problem(f"unknown class {dx!r}; known are {', '.join(CLASSES)}", file, row + 2, "dx")
        for row, dx in enumerate(text["dx"])
        if dx != "" and dx not in CLASSES
    ]
    first_row: dict[str, int] = {}
    for row, image_id in enumerate(text["image_id"]):
        if image_id == "":
            problems.append(Problem("the image id is empty", file, row + 2, "image_id"))
        elif image_id in first_row:
            problems.append(
                Problem(f"{image_id} stands already in row {first_row[image_id]}", file, row + 2, "image_id")
            )
        first_row.setdefault(image_id, row + 2)
    return problems + _leak_problems(text, file)


def _leak_problems(text: dict[str, np.ndarray], file: str) -> list[Problem]:
    split_of: dict[str, str] = {}
    problems = []
    for row, (lesion, split) in enumerate(zip(text["lesion_id"], text["split"], strict=True)):
        if lesion == "" or split == "":
            continue
        if split_of.setdefault(lesion, split) != split:
            problems.append(
                Problem(f"lesion {lesion} stands in {split_of[lesion]} and in {split}", file, row + 2, "split")
            )
    return problems

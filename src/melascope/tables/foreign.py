"""What does a predictions table of another project call its columns and classes, and are its scores probabilities?

Recognised without being told, in any case: our own names, and for the scores `logit_<class>`,
`probability_<class>`, `prob_<class>`, `p_<class>` and bare class names (`MEL`, as ISIC submissions have them).
Everything else is told by a map, our name -> theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from melascope.classes import CLASSES, SPLITS
from melascope.errors import DataError, Problem
from melascope.tables.columns import problems_at, word_codes

TEXT_COLUMNS = ("image_id", "lesion_id", "split", "dx", "sex", "localization", "dx_type", "dataset")
FACT_COLUMNS = ("image_id", "lesion_id", "split", "dx", "age", "sex", "localization", "dx_type", "dataset")
LOGIT_COLUMNS = tuple(f"logit_{name}" for name in CLASSES)
PROBABILITY_COLUMNS = tuple(f"probability_{name}" for name in CLASSES)

LOGITS, PROBABILITIES, UNSAID = "logits", "probabilities", "scores that do not say what they are"
COLUMN_FLAG, WORD_FLAG = "--map-columns", "--map-labels"

PREFIXES = {
    "logit_": LOGITS,
    "probability_": PROBABILITIES,
    "prob_": PROBABILITIES,
    "p_": PROBABILITIES,
    "": UNSAID,
}
"""What stands before a class's name, and what it says of the scores; a table that has several is read by the first."""

SPLIT_WORDS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
"""Other words for our splits; these and ours in any case. A word that is not named stays as it is."""
LEFT_OUT = "unknown"
"""What a word of `dx` may be mapped to in place of a class: its rows stay, but no figure counts them."""

SUM_TOLERANCE = 1e-3  # of probabilities that sum to 1
ROUNDED = {3: 3.5e-3, 2: 3.5e-2}  # decimals -> by how much seven rounded probabilities may miss 1
PER_CENT = 100
MAX_LOGIT = 1e6  # beyond, differences and squares leave what a float holds exactly
RANGE_TOLERANCE = 1e-6  # averages of float32 probabilities pass 1 by rounding
PROBABILITY_FLOOR = 1e-15  # its logarithm is -34.5


@dataclass(frozen=True)
class Naming:
    """What the columns and words of a table mean.

    Parameters
    ----------
    columns : our name -> theirs, e.g. `{"image_id": "file", "dx": "truth", "probability_mel": "p_mel"}`
    words : their word in `dx` -> our class or `LEFT_OUT`, e.g. `{"melanoma": "mel", "scc": "unknown"}`; words that are
        not named are ours

    Raises
    ------
    DataError : a name or class that we do not have, logits and probabilities mapped at once, or one column of scores
        for two classes.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = (*FACT_COLUMNS, *LOGIT_COLUMNS, *PROBABILITY_COLUMNS)
        check_column_map(self.columns, names)
        check_word_map(self.words)
        scores = [theirs for name, theirs in self.columns.items() if name not in FACT_COLUMNS]
        twice = [theirs for theirs, n in Counter(scores).items() if n > 1]
        if twice:
            raise DataError(
                f"The column {twice[0]!r} is mapped to two classes.", where=COLUMN_FLAG, expected="a column a class"
            )
        if len({name in LOGIT_COLUMNS for name in self.columns if name not in FACT_COLUMNS}) > 1:
            raise DataError(
                "Some scores are mapped as logits and others as probabilities.",
                where=COLUMN_FLAG,
                expected="one kind for all classes",
            )


def check_column_map(columns: Mapping[str, str], names: Sequence[str]) -> None:
    """Refuse a map (our name -> theirs) with a name that is none of ours, `names`."""
    for ours, theirs in columns.items():
        if ours not in names:
            raise DataError(
                f"There is no column {ours!r} in our table.",
                where=COLUMN_FLAG,
                expected=f"our name first, then theirs; ours are {', '.join(names)}",
                fix=f"{COLUMN_FLAG} {theirs}={ours}" if theirs in names else None,
            )


def check_word_map(words: Mapping[str, str]) -> None:
    """Refuse a map (their word -> our class) to something that is no class."""
    for theirs, ours in words.items():
        if ours not in CLASSES and ours != LEFT_OUT:
            raise DataError(
                f"{theirs!r} is mapped to {ours!r}, which is no class.",
                where=WORD_FLAG,
                expected=f"their word first, then one of {', '.join(CLASSES)}; or {LEFT_OUT}, for rows that no figure "
                "shall count",
                fix=f"{WORD_FLAG} {ours}={theirs}" if theirs in CLASSES else None,
            )


@dataclass(frozen=True)
class Layout:
    """Which columns of a table are read, and as what.

    Parameters
    ----------
    facts : our name -> theirs, of the facts that the table has
    scores : their seven columns, in the order of `CLASSES`
    kind : what the names say of the scores: `LOGITS`, `PROBABILITIES` or `UNSAID`
    """

    facts: dict[str, str]
    scores: tuple[str, ...]
    kind: str

    @property
    def wanted(self) -> list[str]:
        """Their columns that are read, each once."""
        return list(dict.fromkeys((*self.facts.values(), *self.scores)))


def recognise(header: Sequence[str], naming: Naming, file: str, problems: list[Problem]) -> Layout:
    """Find our columns in a table's header; what is missing is added to `problems`."""

    def column_of(name: str, needed: bool = True) -> str:
        theirs = naming.columns.get(name)
        found = _find(name, header) if theirs is None else (theirs if theirs in header else None)
        if found is None and theirs is not None:
            problems.append(Problem(f"the column is missing, to which {name} is mapped", file, 1, theirs))
        elif found is None and needed:
            problems.append(Problem("the column is missing", file, 1, name))
        return found or ""

    facts = {name: found for name in FACT_COLUMNS if (found := column_of(name, name in ("image_id", "dx")))}
    prefix, kind = _family(header, naming)
    scores = []
    for name in CLASSES:
        mapped = [one for one in (f"logit_{name}", f"probability_{name}") if one in naming.columns]
        scores.append(column_of(mapped[0] if mapped else prefix + name))
    return Layout(facts, tuple(scores), kind)


def _find(name: str, header: Sequence[str]) -> str | None:
    """The column of this name; if there is none, the only one that differs in case alone."""
    if name in header:
        return name
    alike = [column for column in header if column.casefold() == name]
    return alike[0] if len(alike) == 1 else None


def _family(header: Sequence[str], naming: Naming) -> tuple[str, str]:
    """The prefix of the score columns that are not mapped, and what all scores are called.

    It is the prefix under which most classes are found; the first of them, if several are equal.
    """
    mapped = [name for name in naming.columns if name not in FACT_COLUMNS]
    said = (LOGITS if mapped[0] in LOGIT_COLUMNS else PROBABILITIES) if mapped else None
    fitting = {prefix: kind for prefix, kind in PREFIXES.items() if said in (None, kind) or kind == UNSAID}
    prefix = max(fitting, key=lambda one: sum(_find(one + name, header) is not None for name in CLASSES))
    return prefix, said or PREFIXES[prefix]


def our_classes(
    dx: np.ndarray, words: Mapping[str, str], file: str, column: str, problems: list[Problem]
) -> np.ndarray:
    """(n_rows,) object: our class of each word, in any case; words that are none are added to `problems`."""
    theirs, codes = word_codes(dx)
    alike = Counter(word.casefold() for word in words)
    folded = {word.casefold(): one for word, one in words.items() if alike[word.casefold()] == 1}
    meant = {name: name for name in CLASSES} | folded | dict(words)
    ours = np.empty(len(theirs), dtype=object)
    ours[:] = [meant.get(word, meant.get(word.casefold(), word)) for word in theirs]
    ours[[one == LEFT_OUT for one in ours]] = ""
    unknown = np.array([one != "" and one not in CLASSES for one in ours], dtype=bool)
    known = ", ".join((*words, *CLASSES))
    rows = np.flatnonzero(unknown[codes])
    problems += problems_at(rows, lambda row: f"unknown class {dx[row]!r}; known are {known}", file, column)
    return ours[codes]


def left_out(theirs: np.ndarray, ours: np.ndarray) -> dict[str, int]:
    """Words of `dx` that were mapped to `LEFT_OUT` -> in how many rows; `theirs`, `ours`: (n_rows,) object."""
    return dict(Counter(theirs[(theirs != "") & (ours == "")].tolist()))


def left_out_notes(counts: Mapping[str, int]) -> tuple[str, ...]:
    """The same in sentences."""
    return tuple(f"{word!r} is mapped to {LEFT_OUT}; rows that no figure counts: {n:,}." for word, n in counts.items())


def our_splits(split: np.ndarray) -> np.ndarray:
    """(n_rows,) object: our word for each split, where theirs differs by case or is one of `SPLIT_WORDS`."""
    theirs, codes = word_codes(split)
    meant = {name: name for name in SPLITS} | SPLIT_WORDS
    ours = np.empty(len(theirs), dtype=object)
    ours[:] = [meant.get(word.casefold(), word) for word in theirs]
    return ours[codes]


def as_logits(
    scores: np.ndarray, layout: Layout, file: str, problems: list[Problem]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Whatever the table calls its scores, as logits, with what a reader of the figures must know of it.

    Probabilities become their logarithms, of which the softmax gives the probabilities back (divided by the row's
    sum, which is 1 up to rounding); those below `PROBABILITY_FLOOR` are set to it. Columns that are called logits are
    read as probabilities where most rows lie in [0, 1] and sum to 1, as no logits do.

    Parameters
    ----------
    scores : (n_rows, 7) float64, NaN where nothing stands
    problems : gets probabilities outside [0, 1] and rows that do not sum to 1.

    Returns
    -------
    logits : (n_rows, 7) float64
    notes : sentences about how the scores were read; empty where they are called logits and are
    """
    called = f"{layout.scores[0]} … {layout.scores[-1]}"
    shares = scores / PER_CENT if _is_even(scores / PER_CENT)[0].all() else scores
    even, tolerance = _is_even(shares)
    within = (shares >= -RANGE_TOLERANCE) & (shares <= 1 + RANGE_TOLERANCE)
    rows_within, sums = within.all(axis=1), shares.sum(axis=1)
    if layout.kind == LOGITS and 2 * even.sum() <= len(scores):
        problems += _too_large(scores, layout, file)
        return scores, _suspicion(rows_within, called)
    if layout.kind == UNSAID and 2 * rows_within.sum() <= len(scores):
        problems += _too_large(scores, layout, file)
        return scores, (f"Columns {called} do not say what they are: read as logits, for most rows leave [0, 1].",)
    for column, name in enumerate(layout.scores):
        outside = np.flatnonzero(~within[:, column] & np.isfinite(shares[:, column]))
        problems += problems_at(
            outside, _says("the probability is {:.6g}, not in [0, 1]", shares[:, column]), file, name
        )
    say = _says(f"the probabilities sum to {{:.6g}}, not to 1 (tolerance {tolerance:g})", sums)
    problems += problems_at(np.flatnonzero(rows_within & ~even), say, file, called)
    notes = _notes(shares, layout, called)
    if shares is not scores:
        notes += (f"Columns {called} are per cent: every row sums to {PER_CENT}.",)
    if (np.abs(sums[even] - 1) > SUM_TOLERANCE).any():
        notes += (f"Rounded probabilities: rows miss the sum 1 by up to {tolerance:g} and are divided by their sum.",)
    return np.log(np.maximum(shares, PROBABILITY_FLOOR)), notes


def _is_even(scores: np.ndarray) -> tuple[np.ndarray, float]:
    """Which rows (n,) bool are probabilities that sum to 1, and the tolerance: wider where all were rounded."""
    known, tolerance = scores[np.isfinite(scores)], SUM_TOLERANCE
    for decimals, wider in ROUNDED.items():
        scaled = known[np.abs(known) <= 1] * 10.0**decimals  # what lies beyond is no probability, rounded or not
        if (np.abs(scaled - np.rint(scaled)) < RANGE_TOLERANCE).all():
            tolerance = wider
    within = (scores >= -RANGE_TOLERANCE) & (scores <= 1 + RANGE_TOLERANCE)
    return within.all(axis=1) & (np.abs(scores.sum(axis=1) - 1) <= tolerance + RANGE_TOLERANCE), tolerance


def _too_large(logits: np.ndarray, layout: Layout, file: str) -> list[Problem]:
    problems = []
    for column, name in enumerate(layout.scores):
        beyond = np.flatnonzero(np.abs(logits[:, column]) > MAX_LOGIT)
        say = _says(f"{{:.6g}} is no logit (more than {MAX_LOGIT:g})", logits[:, column])
        problems += problems_at(beyond, say, file, name)
    return problems


def _suspicion(rows_within: np.ndarray, called: str) -> tuple[str, ...]:
    if len(rows_within) == 0 or not rows_within.all():
        return ()
    doubt = "seven separate yes-or-no outputs look like that, and are no logits"
    return (f"Columns {called} are read as logits, as they are called, though all lie in [0, 1]: {doubt}.",)


def _says(sentence: str, values: np.ndarray) -> Callable[[int], str]:
    return lambda row: sentence.format(values[row])


def _notes(probabilities: np.ndarray, layout: Layout, called: str) -> tuple[str, ...]:
    how = {
        PROBABILITIES: "are probabilities, not logits",
        LOGITS: "are called logits, but their rows lie in [0, 1] and sum to 1: they are read as probabilities",
        UNSAID: "do not say what they are: read as probabilities",
    }[layout.kind]
    notes = [f"Columns {called} {how}; their logarithms stand for the logits."]
    n_low = int((probabilities < PROBABILITY_FLOOR).sum())
    if ((probabilities == 0) | (probabilities == 1)).all():
        notes.append("Every probability is 0 or 1: these are decisions, which tell nothing of calibration.")
    elif n_low:
        low = (
            f"{n_low:,} of {probabilities.size:,} probabilities are 0 or below {PROBABILITY_FLOOR:g} and are set to it"
        )
        notes.append(f"{low}: the log loss and a fitted temperature depend on that.")
    return tuple(notes)

"""What do ISIC 2018 task 3 and ISIC 2019 say of each image, and which of their classes does the model not have?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from melascope.data.archive import list_files, read_member
from melascope.data.sources.ham10000 import IMAGE_ENDINGS
from melascope.errors import DataError, Problem, TableError
from melascope.tables.columns import blank_unknown, number_array, problems_at, read_csv_text
from melascope.tables.lesions import LesionTable

CLASS_OF = {
    "MEL": "mel",
    "NV": "nv",
    "BCC": "bcc",
    "AKIEC": "akiec",
    "AK": "akiec",
    "BKL": "bkl",
    "DF": "df",
    "VASC": "vasc",
    "SCC": "",
    "UNK": "",
}
"""Their class -> ours; `""` where the model has none: the image stays, its truth is left empty (decision 10)."""
DX_TYPES = {
    "histopathology": "histo",
    "serial imaging showing no change": "follow_up",
    "single image expert consensus": "consensus",
    "confocal microscopy with consensus dermoscopy": "confocal",
}
"""Their word for how the truth is known -> HAM10000's; another word is kept as it stands."""
SITES = {
    "anterior torso": "trunk",
    "lateral torso": "trunk",
    "posterior torso": "back",
    "upper extremity": "upper extremity",
    "lower extremity": "lower extremity",
    "palms/soles": "acral",
    "head/neck": "head/neck",
    "oral/genital": "oral/genital",
}
"""Their word for the place on the body -> HAM10000's: one that holds all of theirs. HAM10000 has none for the last two
(it parts face, scalp, ear and neck, and knows no mouth): they keep their own word, as does any word not named here."""
DATASETS = {"HAM": "ham10000", "BCN": "bcn20000", "MSK4": "msk"}
"""What a lesion's id begins with -> the collection that the image was taken over from."""
WEIGHTS = ("score_weight", "validation_weight")
"""Columns by which the challenge weighs its own score; allowed, and not used."""
FACTS = ("lesion_id", "dx_type", "age", "sex", "localization")
TABLE_ARCHIVE = re.compile(r"isic_?2\d{3}_.*(groundtruth|lesiongroupings|metadata).*\.zip", re.IGNORECASE)
IMAGE_PLACE = re.compile(
    r"(isic2018_task3_(training|validation|test)_(input|images)|isic_2019_(training|test)_input|images)(\.zip)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Edition:
    """How one challenge publishes: its files' names (in small letters), its classes, its columns of facts -> ours."""

    truth_name: re.Pattern[str]
    classes: tuple[str, ...]
    facts_name: str
    facts: dict[str, str]


EDITIONS = (
    _Edition(
        re.compile(r"isic2018_task3_(training|validation|test)_groundtruth\.csv"),
        ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"),
        "lesiongroupings",
        {"lesion_id": "lesion_id", "diagnosis_confirm_type": "dx_type"},
    ),
    _Edition(
        re.compile(r"isic_2019_(training|test)_groundtruth\.csv"),
        ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"),
        "metadata",
        {"age_approx": "age", "anatom_site_general": "localization", "lesion_id": "lesion_id", "sex": "sex"},
    ),
)


@dataclass(frozen=True)
class _Part:
    """One published part (training, validation or test): its tables, every column as text; no facts are `None`."""

    edition: _Edition
    truth_file: str
    truth: dict[str, np.ndarray]
    facts_file: str
    facts: dict[str, np.ndarray] | None

    @property
    def image_id(self) -> np.ndarray:
        return blank_unknown(self.truth["image"])


def read_isic(root: Path) -> LesionTable:
    """Read the dataset table of ISIC 2018 task 3 (Codella et al. 2019) or ISIC 2019 (Combalia et al. 2019).

    One row an image of the ground truth, in its order; no pixel is decoded, so images may have any size and aspect.

    Parameters
    ----------
    root : folder with `…_GroundTruth.csv` (one part or several), beside it `…_LesionGroupings.csv` (2018) or
        `…_Metadata.csv` (2019) if there is one, each also in its `.zip`; and the images: folders or `.zip` files.

    Raises
    ------
    TableError : columns or classes that are not theirs, rows that are not one-hot, duplicate ids, rows without an
        image, truth without metadata or metadata without truth …, all at once.
    DataError : no ground truth is here, or no image.
    """
    root = Path(root)
    parts = _parts(root)
    if not parts:
        raise _missing_truth(root)
    problems = [problem for part in parts for problem in _column_problems(part)]
    if problems:
        raise TableError("The ground truth or the metadata is not usable", problems, where=root)
    images = _images(root, problems)
    if not images:
        raise _missing_images(root)
    words = [_words(part, problems) for part in parts]
    facts = [_facts(part, problems) for part in parts]
    problems += _id_problems(parts, images)
    if problems:
        raise TableError("The collection is not usable", problems, where=root, fix="mend the rows, or get it anew")
    return _table(root, parts, words, facts, images)


def find_ground_truth(root: Path) -> list[str]:
    """Paths of the tables of truth in a folder, one level below or in the published archive, sorted by name."""
    return [path for name, path in sorted(_tables(root).items()) if _edition_of(name) is not None]


def image_files(root: Path) -> dict[str, str]:
    """Image id -> path below `root`, of every image of the collection; an unpacked folder goes before its zip."""
    return _images(root, [])


def row_places(root: Path) -> dict[str, tuple[str, int]]:
    """Image id -> (file, row as a spreadsheet counts) of its truth."""
    return {
        image_id: (part.truth_file, row)
        for part in _parts(Path(root))
        for row, image_id in enumerate(part.image_id, start=2)
    }


def isic_notes(table: LesionTable) -> Iterator[str]:
    """What a reader of any figure on `table` must know of how its truth was read (decision 10)."""
    counts = source_words(table)
    for word, count in left_out(counts).items():
        rows = f"{count:,} of {len(table):,} rows"
        yield f"{word} is no class of the model: dx is left empty in {rows}, and no figure counts them"
    if counts["AK"]:
        akiec = "akiec, which in HAM10000 also holds Bowen's disease"
        yield f"AK (actinic keratosis) is read as {akiec}; rows: {counts['AK']:,}"
    if any(site in SITES.values() for site in table.localization):
        kept = ", ".join(word for word, ours in SITES.items() if ours == word and "/" in word)
        yield f"the place on the body is read in HAM10000's words, of which none holds these: {kept}"
    mixed = set(table.lesion_id[table.dx == ""]) & set(table.lesion_id[table.dx != ""]) - {""}
    if mixed:
        some = ", ".join(sorted(mixed)[:5])
        yield f"lesions with images both with and without a class of the model: {len(mixed):,}, for example {some}"
    alone = int((table.lesion_id == "").sum())
    if alone:
        yield (
            f"lesion_id is unknown in {alone:,} of {len(table):,} rows: each counts as a lesion of its own, "
            "so a split may part two images of one lesion"
        )
    for part in _parts(table.root):
        weights = [name for name in WEIGHTS if name in part.truth]
        if weights:
            yield f"{part.truth_file}: {' and '.join(weights)} belong to the challenge's own score and are not used"


def isic_left_out(table: LesionTable) -> dict[str, int]:
    """Classes that the model lacks -> rows of `table`."""
    return left_out(source_words(table))


def left_out(counts: Counter[str]) -> dict[str, int]:
    """Those of `source_words` that the model lacks, e.g. `{"SCC": 628}`; no figure counts these images."""
    return {word: counts[word] for word, ours in CLASS_OF.items() if ours == "" and counts[word]}


def source_words(table: LesionTable) -> Counter[str]:
    """Images of `table` by their class as the source calls it; read again, as the table keeps our classes only."""
    kept = set(table.image_id)
    return Counter(
        word
        for part in _parts(table.root)
        for image_id, word in zip(part.image_id, _words(part, []), strict=True)
        if image_id in kept
    )


def _tables(root: Path) -> dict[str, str]:
    """Name in small letters -> path of every CSV; the folder itself goes before one level below, both before zips."""
    root = Path(root)
    zips = sorted(path.name for path in root.glob("*") if TABLE_ARCHIVE.fullmatch(path.name) and path.is_file())
    paths = [path for name in zips for path in list_files(root, name) if path.lower().endswith(".csv")]
    for pattern in ("*/*.[cC][sS][vV]", "*.[cC][sS][vV]"):
        paths += sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))
    return {PurePosixPath(path).name.lower(): path for path in paths}


def _read(root: Path, path: str) -> dict[str, np.ndarray]:
    """Every column of a table as text; `path` as `read_member` takes it."""
    file = Path(root) / path
    return read_csv_text(file, content=None if file.is_file() else read_member(root, path))


def _edition_of(name: str) -> _Edition | None:
    return next((edition for edition in EDITIONS if edition.truth_name.fullmatch(name)), None)


def _parts(root: Path) -> list[_Part]:
    tables, parts = _tables(root), []
    for path in find_ground_truth(root):
        truth = PurePosixPath(path).name
        edition = _edition_of(truth.lower())
        facts = tables.get(truth.lower().replace("groundtruth", edition.facts_name), "")
        columns = _read(root, facts) if facts else None
        parts.append(_Part(edition, truth, _read(root, path), PurePosixPath(facts).name, columns))
    return parts


def _column_problems(part: _Part) -> Iterator[Problem]:
    needed = ("image", *part.edition.classes)
    yield from _differences(part.truth_file, part.truth, needed, WEIGHTS)
    if part.facts is not None:
        optional = ("lesion_id",) if "test" in part.facts_file.lower() else ()  # 2019's test part names no lesions
        needed = ("image", *(name for name in part.edition.facts if name not in optional))
        yield from _differences(part.facts_file, part.facts, needed, optional)


def _differences(
    file: str, found: Iterable[str], needed: tuple[str, ...], allowed: tuple[str, ...]
) -> Iterator[Problem]:
    known = (*needed, *allowed)
    for name in needed:
        if name not in found:
            yield Problem("the column is missing", file, 1, name)
    for name in found:
        if name not in known:
            yield Problem(f"unknown column; known are {', '.join(known)}", file, 1, name)


def _words(part: _Part, problems: list[Problem]) -> np.ndarray:
    """(n_rows,) object: the class whose column holds the row's 1; rows that are not one-hot become `problems`."""
    classes, file = part.edition.classes, part.truth_file
    if not len(part.image_id):
        problems.append(Problem("the table has no rows", file))
    hot = np.stack([number_array(part.truth[name], name, file, problems, needed=True) for name in classes], axis=1)
    one_hot = np.isin(hot, (0, 1)).all(axis=1) & (hot.sum(axis=1) == 1)

    def say(row: int) -> str:
        set_ = [f"{name} {value:g}" for name, value in zip(classes, hot[row], strict=True) if value != 0]
        return f"the row is not one-hot ({', '.join(set_) or 'all are 0'}): one class must be 1, the others 0"

    problems += problems_at(np.flatnonzero(~one_hot & ~np.isnan(hot).any(axis=1)), say, file, "")
    return np.array(classes, dtype=object)[hot.argmax(axis=1)]


def _facts(part: _Part, problems: list[Problem]) -> dict[str, np.ndarray]:
    """`FACTS` in the order of the truth's rows, unknown where there is no file of facts."""
    n_rows = len(part.image_id)
    facts = {name: np.full(n_rows, np.nan) if name == "age" else np.full(n_rows, "", dtype=object) for name in FACTS}
    if part.facts is None:
        return facts
    row_of: dict[str, int] = {}
    for row, image_id in enumerate(blank_unknown(part.facts["image"])):
        if image_id in row_of:
            message = f"{image_id!r} stands already in row {row_of[image_id] + 2}"
            problems.append(Problem(message, part.facts_file, row + 2, "image"))
        row_of.setdefault(image_id, row)
    problems += _without_partner(part, row_of)
    rows = np.array([row_of.get(image_id, -1) for image_id in part.image_id], dtype=np.int64)
    known = rows >= 0
    for theirs, ours in part.edition.facts.items():
        if theirs in part.facts:
            facts[ours][known] = _fact(part, theirs, ours, problems)[rows[known]]
    return facts


def _without_partner(part: _Part, row_of: dict[str, int]) -> Iterator[Problem]:
    """Truth without facts, and facts without truth."""
    for row, image_id in enumerate(part.image_id, start=2):
        if image_id != "" and image_id not in row_of:
            yield Problem(f"{image_id} has no row in {part.facts_file}", part.truth_file, row, "image")
    for image_id in sorted(row_of.keys() - set(part.image_id)):
        yield Problem(f"{image_id!r} has no row in {part.truth_file}", part.facts_file, row_of[image_id] + 2, "image")


def _fact(part: _Part, theirs: str, ours: str, problems: list[Problem]) -> np.ndarray:
    """One column of facts in our words, in the order of its own file."""
    if ours == "age":
        return number_array(part.facts[theirs], theirs, part.facts_file, problems)
    values, words = blank_unknown(part.facts[theirs]), {"dx_type": DX_TYPES, "localization": SITES}.get(ours, {})
    return np.array([words.get(word, word) for word in values], dtype=object)


def _id_problems(parts: list[_Part], images: dict[str, str]) -> Iterator[Problem]:
    """Ids of the truth that are empty, stand twice (in any part), or have no image."""
    first: dict[str, str] = {}
    for part in parts:
        for row, image_id in enumerate(part.image_id, start=2):
            place = part.truth_file, row, "image"
            if image_id == "":
                yield Problem("the image id is empty", *place)
            elif image_id in first:
                yield Problem(f"{image_id} stands already in {first[image_id]}", *place)
            elif image_id not in images:
                yield Problem(f"there is no image file of {image_id}", *place)
            first.setdefault(image_id, f"{part.truth_file} row {row}")


def _images(root: Path, problems: list[Problem]) -> dict[str, str]:
    """Image id -> path; an id with two files is a problem, except in a folder and the zip that it came from."""
    names = sorted(path.name for path in Path(root).iterdir() if IMAGE_PLACE.fullmatch(path.name))
    places = {name.lower() for name in names}
    images: dict[str, str] = {}
    for name in names:
        if name.lower().endswith(".zip") and name.lower().removesuffix(".zip") in places:
            continue
        for path in list_files(root, name):
            file = PurePosixPath(path)
            if file.suffix.lower() not in IMAGE_ENDINGS:
                continue
            if file.stem in images:
                problems.append(Problem(f"the id {file.stem} is also that of {images[file.stem]}", path))
            images.setdefault(file.stem, path)
    return images


def _table(
    root: Path,
    parts: list[_Part],
    words: list[np.ndarray],
    facts: list[dict[str, np.ndarray]],
    images: dict[str, str],
) -> LesionTable:
    image_id = np.concatenate([part.image_id for part in parts])
    empty = np.full(len(image_id), "", dtype=object)
    zero = np.zeros(len(image_id), dtype=np.int64)
    columns = {name: np.concatenate([fact[name] for fact in facts]) for name in FACTS}
    dataset = [DATASETS.get(lesion.partition("_")[0], "") for lesion in columns["lesion_id"]]
    return LesionTable(
        root=root,
        source="isic",
        image_id=image_id,
        dx=np.array([CLASS_OF[word] for word in np.concatenate(words)], dtype=object),
        **columns,
        dataset=np.array(dataset, dtype=object),
        path=np.array([images[name] for name in image_id], dtype=object),
        mask_path=empty,
        width=zero,
        height=zero,
        sha256=empty,
    )


def _missing_truth(root: Path) -> DataError:
    return DataError(
        "There is no ground truth in the data folder." if Path(root).is_dir() else "The data folder does not exist.",
        where=root,
        expected="ISIC2018_Task3_…_GroundTruth.csv or ISIC_2019_…_GroundTruth.csv, or their .zip",
        fix="get the tables and images of ISIC 2018 task 3 or ISIC 2019: https://challenge.isic-archive.com/data/",
    )


def _missing_images(root: Path) -> DataError:
    return DataError(
        "There are no images beside the ground truth.",
        where=root,
        expected="ISIC2018_Task3_Training_Input, ISIC_2019_Training_Input, …_Test_Input … or images: folders or .zip",
        fix="put them there, each named by its id, e.g. images/ISIC_0000017_downsampled.jpg",
    )

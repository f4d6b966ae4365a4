"""Is an ISIC collection read as published, its other classes left out aloud, and everything wrong told at once?"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_release import encoded, metadata, picture

from melascope.classes import CLASSES
from melascope.data.pixels import PixelStore
from melascope.data.sources import read_dataset, recognised
from melascope.data.sources.isic import CLASS_OF, EDITIONS, SITES, image_files, left_out, read_isic, source_words
from melascope.data.validate import validate
from melascope.errors import DataError, TableError

CLASSES_2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
CLASSES_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
ROWS_2018 = [  # image, class, lesion, how the truth is known
    ("ISIC_0024306", "NV", "HAM_0000550", "serial imaging showing no change"),
    ("ISIC_0024307", "MEL", "HAM_0003577", "histopathology"),
    ("ISIC_0024308", "MEL", "HAM_0003577", "histopathology"),
    ("ISIC_0024309", "AKIEC", "HAM_0001477", "single image expert consensus"),
    ("ISIC_0024310", "VASC", "HAM_0000484", "confocal microscopy with consensus dermoscopy"),
]
ROWS_2019 = [  # image, class, age, site, lesion, sex
    ("ISIC_0000000", "NV", "55", "anterior torso", "", "female"),
    ("ISIC_0000017_downsampled", "MEL", "", "", "", ""),
    ("ISIC_0024329", "AK", "75", "lower extremity", "HAM_0002954", "female"),
    ("ISIC_0024372", "SCC", "70", "head/neck", "HAM_0005389", "male"),
    ("ISIC_0053535", "BCC", "60", "palms/soles", "BCN_0001728", "male"),
    ("ISIC_0053537", "BCC", "60", "palms/soles", "BCN_0001728", "male"),
]
SIZES = [(60, 45), (64, 64), (45, 60), (102, 76), (20, 100), (33, 7)]
"""(width, height): 4:3, square, upright, any."""


def one_hot(rows: list[tuple], classes: tuple[str, ...], extra: str = "", number: str = "{}.0") -> str:
    lines = [",".join(("image", *classes)) + extra]
    lines += [",".join((row[0], *(number.format(int(row[1] == name)) for name in classes))) for row in rows]
    return "\n".join(lines) + "\n"


def write_images(folder: Path, image_ids: list[str], zipped: bool = False) -> None:
    files = {
        f"{image_id}.jpg": encoded(picture(n, *SIZES[n % len(SIZES)]), "JPEG") for n, image_id in enumerate(image_ids)
    }
    if zipped:
        with zipfile.ZipFile(folder.with_name(f"{folder.name}.zip"), "a") as archive:
            for name, data in files.items():
                archive.writestr(f"{folder.name}/{name}", data)
        return
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


@pytest.fixture
def isic2018(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a small training part of ISIC 2018 task 3 and returns its folder."""

    def write(rows=ROWS_2018, zipped: bool = False, unpacked_below: bool = False) -> Path:
        root = tmp_path / "isic2018"
        for ending, text in (
            ("GroundTruth", one_hot(rows, CLASSES_2018)),
            (
                "LesionGroupings",
                "image,lesion_id,diagnosis_confirm_type\n" + "".join(f"{i},{le},{how}\n" for i, _, le, how in rows),
            ),
        ):
            name = f"ISIC2018_Task3_Training_{ending}"
            folder = root / name if unpacked_below else root
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.csv").write_text(text)
        write_images(root / "ISIC2018_Task3_Training_Input", [row[0] for row in rows], zipped)
        return root

    return write


@pytest.fixture
def isic2019(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a small training part of ISIC 2019 and returns its folder."""

    def write(rows=ROWS_2019, zipped: bool = False) -> Path:
        root = tmp_path / "isic2019"
        root.mkdir()
        (root / "ISIC_2019_Training_GroundTruth.csv").write_text(one_hot(rows, CLASSES_2019))
        header = "image,age_approx,anatom_site_general,lesion_id,sex\n"
        lines = [",".join((image_id, *facts)) + "\n" for image_id, _, *facts in rows]
        (root / "ISIC_2019_Training_Metadata.csv").write_text(header + "".join(lines))
        write_images(root / "ISIC_2019_Training_Input", [row[0] for row in rows], zipped)
        return root

    return write


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("unpacked_below", [False, True])
def test_2018_is_read_as_published(isic2018, zipped, unpacked_below):
    table = read_dataset(isic2018(zipped=zipped, unpacked_below=unpacked_below))
    assert table.source == "isic"
    assert list(table.image_id) == [row[0] for row in ROWS_2018]
    assert list(table.dx) == ["nv", "mel", "mel", "akiec", "vasc"]
    assert list(table.lesion_id) == [row[2] for row in ROWS_2018]
    assert list(table.dx_type) == ["follow_up", "histo", "histo", "consensus", "confocal"]
    assert np.isnan(table.age).all() and set(table.sex) | set(table.localization) == {""}
    place = "ISIC2018_Task3_Training_Input"
    assert set(table.dataset) == {"ham10000"}
    start = f"{place}.zip/{place}/" if zipped else f"{place}/"
    assert list(table.path) == [f"{start}{row[0]}.jpg" for row in ROWS_2018]


@pytest.mark.parametrize("zipped", [False, True])
def test_2019_is_read_as_published(isic2019, zipped):
    table = read_dataset(isic2019(zipped=zipped), "isic")
    assert list(table.image_id) == [row[0] for row in ROWS_2019]
    assert list(table.dx) == ["nv", "mel", "akiec", "", "bcc", "bcc"]
    assert list(table.localization) == ["trunk", "", "lower extremity", "head/neck", "acral", "acral"]
    assert list(table.dataset) == ["", "", "ham10000", "ham10000", "bcn20000", "bcn20000"]
    assert list(table.sex) == [row[5] for row in ROWS_2019]
    assert np.isnan(table.age[1]) and list(table.age[[0, 2, 3, 4, 5]]) == [55, 75, 70, 60, 60]
    assert list(table.lesion_key) == ["ISIC_0000000", "ISIC_0000017_downsampled", *[row[4] for row in ROWS_2019[2:]]]
    assert set(table.dx_type) == {""} and table.path[1].endswith("/ISIC_0000017_downsampled.jpg")


def test_every_class_of_theirs_has_one_of_ours_or_is_left_out():
    assert {name for edition in EDITIONS for name in edition.classes} == set(CLASS_OF)
    assert [edition.classes for edition in EDITIONS] == [CLASSES_2018, CLASSES_2019]
    assert {ours for ours in CLASS_OF.values() if ours} == set(CLASSES)
    assert [name for name, ours in CLASS_OF.items() if not ours] == ["SCC", "UNK"]


HAM10000_SITES = {  # all words of the release's column `localization`
    *("abdomen", "acral", "back", "chest", "ear", "face", "foot", "genital", "hand", "lower extremity", "neck"),
    *("scalp", "trunk", "unknown", "upper extremity"),
}


def test_every_site_of_theirs_has_one_of_ours_or_keeps_its_word():
    assert {theirs for theirs, ours in SITES.items() if ours not in HAM10000_SITES} == {"head/neck", "oral/genital"}
    assert all(theirs == ours for theirs, ours in SITES.items() if ours not in HAM10000_SITES)


@pytest.mark.parametrize("inner", ["", "ISIC_2019_Training_{}/"])
def test_tables_are_read_inside_their_zips_and_unpacked_ones_go_before(isic2019, inner):
    root = isic2019()
    plain = read_dataset(root)
    for name, theirs in (("GroundTruth", "GroundTruth"), ("Metadata", "metadata")):
        file = root / f"ISIC_2019_Training_{name}.csv"
        with zipfile.ZipFile(root / f"ISIC_2019_Training_{theirs}.zip", "w") as archive:
            archive.write(file, f"{inner.format(name)}{file.name}")
            archive.writestr(f"{inner.format(name)}LICENSE.txt", "CC BY-NC 4.0")
        text = file.read_text()
        file.unlink()
        zipped = read_dataset(root)
        assert zipped.fingerprint == plain.fingerprint
        assert zipped.localization.tolist() == plain.localization.tolist()
        file.write_text(text.replace("head/neck", "oral/genital"))
    assert read_dataset(root).localization[3] == "oral/genital"
    assert validate(zipped).problems == ()


def test_what_is_wrong_inside_a_zip_is_told_with_its_place(isic2018):
    root = isic2018()
    truth = root / "ISIC2018_Task3_Training_GroundTruth.csv"
    text = truth.read_text().replace("ISIC_0024307,1.0", "ISIC_0024307,0.0")
    truth.unlink()
    archive = truth.with_suffix(".zip")

    def pack(content: bytes) -> None:
        with zipfile.ZipFile(archive, "w") as stream:
            stream.writestr(truth.name, content)

    pack(text.encode())
    with pytest.raises(TableError, match=r"ISIC2018_Task3_Training_GroundTruth\.csv row 3: the row is not one-hot"):
        read_dataset(root)
    pack(text.replace("image", "b\xefld").encode("latin-1"))
    with pytest.raises(DataError, match="row 1 is not UTF-8") as caught:
        read_dataset(root)
    assert caught.value.where == archive / truth.name
    archive.write_bytes(archive.read_bytes()[:40])
    with pytest.raises(DataError, match="archive cannot be read"):
        read_dataset(root)


def test_images_of_any_size_and_aspect_become_one_store(isic2019, tmp_path):
    validation = validate(read_dataset(isic2019()))
    assert validation.problems == ()
    table = validation.usable()
    assert list(zip(table.width.tolist(), table.height.tolist(), strict=True)) == SIZES
    store = PixelStore.build(table, 24, 18, tmp_path / "store")
    assert store.pixels.shape == (6, 18, 24, 3) and list(store.image_id) == list(table.image_id)


def test_what_the_model_lacks_is_left_out_aloud(isic2019):
    rows = [
        *ROWS_2019,
        ("ISIC_0053539", "UNK", "60", "", "", "male"),
        ("ISIC_0053541", "SCC", "60", "", "BCN_0001728", "male"),  # of a lesion that is BCC elsewhere
    ]
    table = read_dataset(isic2019(rows))
    assert list(table.labels[[3, 6, 7]]) == [-1, -1, -1] and (table.labels[[0, 1, 2, 4, 5]] >= 0).all()
    assert left_out(source_words(table)) == {"SCC": 2, "UNK": 1}
    assert left_out(source_words(table.subset(np.arange(6)))) == {"SCC": 1}
    validation = validate(table)
    assert validation.problems == ()
    assert [str(note) for note in validation.notes] == [
        "SCC is no class of the model: dx is left empty in 2 of 8 rows, and no figure counts them",
        "UNK is no class of the model: dx is left empty in 1 of 8 rows, and no figure counts them",
        "AK (actinic keratosis) is read as akiec, which in HAM10000 also holds Bowen's disease; rows: 1",
        "the place on the body is read in HAM10000's words, of which none holds these: head/neck, oral/genital",
        "lesions with images both with and without a class of the model: 1, for example BCN_0001728",
        "lesion_id is unknown in 3 of 8 rows: each counts as a lesion of its own, "
        "so a split may part two images of one lesion",
    ]


def test_a_collection_whose_classes_are_ours_needs_no_note(isic2018):
    assert validate(read_dataset(isic2018())).notes == ()


def test_the_test_part_has_weights_and_no_lesions(isic2019):
    root = isic2019()
    rows = [("ISIC_0034321", "NV"), ("ISIC_0034322", "UNK")]
    text = one_hot(rows, CLASSES_2019, number="{}").splitlines()
    lines = [f"{text[0]},score_weight,validation_weight", *(f"{line},1.0,0.0" for line in text[1:])]
    (root / "ISIC_2019_Test_GroundTruth.csv").write_text("\n".join(lines) + "\n")
    (root / "ISIC_2019_Test_Metadata.csv").write_text(
        "image,age_approx,anatom_site_general,sex\nISIC_0034322,80,,male\nISIC_0034321,,head/neck,female\n"
    )
    write_images(root / "ISIC_2019_Test_Input", [row[0] for row in rows])
    table = read_dataset(root)
    assert list(table.image_id[:2]) == ["ISIC_0034321", "ISIC_0034322"] and len(table) == 8  # parts by name
    assert list(table.sex[:2]) == ["female", "male"] and list(table.lesion_id[:2]) == ["", ""] and table.age[1] == 80
    notes = [str(note) for note in validate(table).notes]
    assert any("ISIC_2019_Test_GroundTruth.csv: score_weight and validation_weight" in note for note in notes)


def test_truth_without_a_file_of_facts_is_read_and_its_lesions_told_as_unknown(isic2018):
    root = isic2018()
    (root / "ISIC2018_Task3_Training_LesionGroupings.csv").unlink()
    table = read_dataset(root)
    assert set(table.lesion_id) == {""} == set(table.dx_type) and list(table.lesion_key) == list(table.image_id)
    (note,) = validate(table).notes
    assert str(note).startswith("lesion_id is unknown in 5 of 5 rows")


def test_every_problem_is_told_at_once_with_file_and_row(isic2019):
    root = isic2019()
    truth, facts = root / "ISIC_2019_Training_GroundTruth.csv", root / "ISIC_2019_Training_Metadata.csv"
    more = ["ISIC_0000000,0,1,0,0,0,0,0,0,0", ",1,0,0,0,0,0,0,0,0", "ISIC_9,0,0,0,0,0,0,0,0,0"]
    more += ["ISIC_10,1,1,0,0,0,0,0,0,0", "ISIC_11,.5,.5,0,0,0,0,0,0,0", "ISIC_12,yes,,0,0,0,0,0,0,0"]
    truth.write_text(truth.read_text() + "\n".join(more) + "\n")
    lines = facts.read_text().replace(",75,", ",old,").splitlines()
    lines += [f"{image_id},50,,,male" for image_id in ("ISIC_9", "ISIC_10", "ISIC_11", "ISIC_77", "ISIC_9")]
    facts.write_text("\n".join(lines) + "\n")
    folder = root / "ISIC_2019_Training_Input"
    (folder / "ISIC_0053535.jpg").unlink()
    for number in (9, 10, 11, 12):
        (folder / f"ISIC_{number}.jpg").write_bytes(b"not looked into")
    (folder / "ISIC_9.PNG").write_bytes(b"not looked into")
    with pytest.raises(TableError) as caught:
        read_dataset(root)
    not_hot, is_one = "the row is not one-hot", "one class must be 1, the others 0"
    assert sorted(str(problem).removeprefix("ISIC_2019_Training_") for problem in caught.value.problems) == sorted(
        [
            "Input/ISIC_9.jpg: the id ISIC_9 is also that of ISIC_2019_Training_Input/ISIC_9.PNG",
            "GroundTruth.csv row 6 column image: there is no image file of ISIC_0053535",
            "GroundTruth.csv row 8 column image: "
            "ISIC_0000000 stands already in ISIC_2019_Training_GroundTruth.csv row 2",
            "GroundTruth.csv row 9 column image: the image id is empty",
            f"GroundTruth.csv row 10: {not_hot} (all are 0): {is_one}",
            f"GroundTruth.csv row 11: {not_hot} (MEL 1, NV 1): {is_one}",
            f"GroundTruth.csv row 12: {not_hot} (MEL 0.5, NV 0.5): {is_one}",
            "GroundTruth.csv row 13 column MEL: 'yes' is not a number",
            "GroundTruth.csv row 13 column NV: the number is missing, or NaN",
            "GroundTruth.csv row 13 column image: ISIC_12 has no row in ISIC_2019_Training_Metadata.csv",
            "Metadata.csv row 4 column age_approx: 'old' is not a number",
            "Metadata.csv row 11 column image: 'ISIC_77' has no row in ISIC_2019_Training_GroundTruth.csv",
            "Metadata.csv row 12 column image: 'ISIC_9' stands already in row 8",
        ]
    )


def test_columns_that_are_not_theirs_are_told_in_all_files(isic2018):
    root = isic2018()
    (root / "ISIC2018_Task3_Training_GroundTruth.csv").write_text(
        "image,MEL,NV,BCC,AKIEC,BKL,DF,SCC\nISIC_1,1,0,0,0,0,0,0\n"
    )
    (root / "ISIC2018_Task3_Training_LesionGroupings.csv").write_text("image,lesion\nISIC_1,HAM_1\n")
    with pytest.raises(TableError) as caught:
        read_dataset(root)
    told = [(problem.file[23:], problem.column, problem.message.split(";")[0]) for problem in caught.value.problems]
    assert told == [
        ("_GroundTruth.csv", "VASC", "the column is missing"),
        ("_GroundTruth.csv", "SCC", "unknown column"),
        ("_LesionGroupings.csv", "lesion_id", "the column is missing"),
        ("_LesionGroupings.csv", "diagnosis_confirm_type", "the column is missing"),
        ("_LesionGroupings.csv", "lesion", "unknown column"),
    ]


def test_what_validation_finds_is_placed_in_the_ground_truth(isic2018):
    root = isic2018()
    truth = root / "ISIC2018_Task3_Training_GroundTruth.csv"
    truth.write_text(truth.read_text().replace("ISIC_0024308,1.0,0.0", "ISIC_0024308,0.0,1.0"))
    folder = root / "ISIC2018_Task3_Training_Input"
    (folder / "ISIC_0024310.jpg").write_bytes(b"")
    (folder / "ISIC_5.jpg").write_bytes(b"not looked into")
    (folder / "ATTRIBUTION.txt").write_text("no image")
    validation = validate(read_dataset(root).subset(np.array([1, 2, 4])))
    assert [str(problem)[:46] for problem in validation.problems] == [
        "ISIC2018_Task3_Training_GroundTruth.csv row 4 ",
        "ISIC2018_Task3_Training_GroundTruth.csv row 6:",
    ]
    assert "3 image files without a row: ISIC_0024306, ISIC_0024309, ISIC_5" in map(str, validation.notes)


def test_an_unpacked_folder_goes_before_its_zip(isic2018):
    root = isic2018()
    write_images(root / "ISIC2018_Task3_Training_Input", [row[0] for row in ROWS_2018], zipped=True)
    assert len(read_dataset(root)) == 5 and not any(".zip" in path for path in image_files(root).values())


def test_one_image_in_two_editions_is_told(isic2018, isic2019):
    rows = [(*ROWS_2018[0][:2], "45", "", "HAM_0000550", "male")]
    root, other = isic2018(), isic2019(rows)
    for name in ("GroundTruth", "Metadata"):
        (other / f"ISIC_2019_Training_{name}.csv").rename(root / f"ISIC_2019_Training_{name}.csv")
    with pytest.raises(TableError, match=r"stands already in ISIC2018_Task3_Training_GroundTruth\.csv row 2"):
        read_dataset(root)


def test_an_empty_table_is_told(isic2018):
    with pytest.raises(TableError, match=r"ISIC2018_Task3_Training_GroundTruth\.csv: the table has no rows"):
        root = isic2018([])
        write_images(root / "images", ["ISIC_1"])
        read_dataset(root)


@pytest.mark.parametrize("exists", [True, False])
def test_no_truth_or_no_image_says_what_was_looked_for(tmp_path, exists):
    root = tmp_path if exists else tmp_path / "nothing"
    with pytest.raises(DataError, match="no ground truth" if exists else "does not exist") as caught:
        read_isic(root)
    assert "GroundTruth.csv" in caught.value.expected
    with pytest.raises(DataError, match=r"_GroundTruth\.csv"):
        read_dataset(root)
    if exists:
        (root / "isic_2019_training_groundtruth.csv").write_text(one_hot([], CLASSES_2019))
        with pytest.raises(DataError, match="no images beside the ground truth") as caught:
            read_dataset(root)
        assert "ISIC_2019_Training_Input" in caught.value.expected


def test_what_a_folder_is_told_by(release, isic2018, isic2019, tmp_path):
    assert recognised(isic2018()) == recognised(isic2019()) == "isic" and recognised(tmp_path / "nothing") is None
    root = release(masks=False)
    (root / "ISIC2018_Task3_Test_GroundTruth.csv").write_text(metadata())  # as the Dataverse's release brings along
    assert recognised(root) == "ham10000" and len(read_dataset(root)) == 8


@given(st.lists(st.sampled_from(CLASSES_2019), min_size=1, max_size=30), st.data())
def test_any_one_hot_table_is_read_back_and_any_broken_row_named(tmp_path_factory, words, data):
    root = tmp_path_factory.mktemp("any")
    rows = [(f"ISIC_{number}", word) for number, word in enumerate(words)]
    (root / "images").mkdir()
    for image_id, _ in rows:
        (root / "images" / f"{image_id}.jpg").touch()
    truth = root / "ISIC_2019_Test_GroundTruth.csv"
    truth.write_text(one_hot(rows, CLASSES_2019))
    table = read_isic(root)
    assert list(table.dx) == [CLASS_OF[word] for word in words]
    assert left_out(source_words(table)) == {word: words.count(word) for word in ("SCC", "UNK") if word in words}
    broken = data.draw(st.integers(0, len(words) - 1))
    column = data.draw(st.integers(1, len(CLASSES_2019)))
    lines = [line.split(",") for line in truth.read_text().splitlines()]
    lines[broken + 1][column] = "0" if lines[broken + 1][column] == "1.0" else "1"
    truth.write_text("\n".join(map(",".join, lines)) + "\n")
    with pytest.raises(TableError) as caught:
        read_isic(root)
    assert [(problem.row, "not one-hot" in problem.message) for problem in caught.value.problems] == [
        (broken + 2, True)
    ]

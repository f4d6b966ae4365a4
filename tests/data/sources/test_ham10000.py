"""Is a release read in every form in which it is passed around, and is everything wrong with it told at once?"""

from __future__ import annotations

import shutil
import zipfile

import numpy as np
import pytest
from small_release import ROWS, metadata

from melascope.data.archive import read_member
from melascope.data.decode import decode_image
from melascope.data.sources import SOURCES, read_dataset
from melascope.data.sources.ham10000 import PHANTOM_MARKER, read_ham10000, read_phantom
from melascope.errors import DataError, TableError

FORMS = {
    "folders": {},
    "zips": {"zipped": True},
    "zips with a level inside": {"zipped": True, "inner": "HAM10000_images_part_1/"},
    "folders in folders": {"inner": "deep/deeper/"},
    "one folder": {"one_folder": True},
    "one zip": {"one_folder": True, "zipped": True},
    "tab form": {"name": "HAM10000_metadata.tab", "delimiter": "\t", "quoted": True, "dataset": True},
    "tab form without an ending": {"name": "HAM10000_metadata", "delimiter": "\t", "dataset": True},
    "csv without an ending": {"name": "HAM10000_metadata"},
    "csv with dataset": {"dataset": True},
    "no masks": {"masks": False},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_table(release, form):
    table = read_ham10000(release(**FORMS[form]))
    assert table.source == "ham10000" and len(table) == 8
    assert list(zip(table.lesion_id, table.image_id, table.dx, strict=True)) == ROWS
    assert set(table.localization) == {""} and set(table.sex) == {"male"} and set(table.age) == {80.0}
    assert set(table.dataset) == {"vidir_modern" if FORMS[form].get("dataset") else ""}
    assert set(table.dx_type) == {"histo"} and not table.width.any() and set(table.sha256) == {""}
    for path in table.path:
        assert decode_image(read_member(table.root, path), name=path).shape == (15, 20, 3)
    if FORMS[form].get("masks", True):
        assert all(read_member(table.root, path).startswith(b"\x89PNG") for path in table.mask_path)
    else:
        assert set(table.mask_path) == {""}


def test_names_in_other_case_and_endings_are_found(release):
    root = release()
    (root / "HAM10000_images_part_1").rename(root / "ham10000_images_part_1")
    image = root / "ham10000_images_part_1/ISIC_01.jpg"
    image.rename(image.with_suffix(".JPG"))
    assert read_ham10000(root).path[0] == "ham10000_images_part_1/ISIC_01.JPG"


def test_an_unpacked_folder_goes_before_its_zip(release):
    root = release(zipped=True)
    release()
    assert not any(".zip" in path for path in (*read_ham10000(root).path, *read_ham10000(root).mask_path))


def test_what_macos_adds_to_archives_is_left_alone(release):
    root = release(zipped=True)
    with zipfile.ZipFile(root / "HAM10000_segmentations_lesion_tschandl.zip", "a") as archive:
        archive.writestr("__MACOSX/._ISIC_01_segmentation.png", b"?")
    assert read_ham10000(root).mask_path[0] == "HAM10000_segmentations_lesion_tschandl.zip/ISIC_01_segmentation.png"


def test_unknown_words_become_empty_and_ages_numbers(release):
    root = release()
    text = metadata().replace("ISIC_01,mel,histo,80.0,male,unknown", "ISIC_01,mel,histo,,unknown,back")
    (root / "HAM10000_metadata.csv").write_text("\ufeff" + text, encoding="utf-8")
    table = read_ham10000(root)
    assert np.isnan(table.age[0]) and table.sex[0] == "" and table.localization[0] == "back"


def test_every_problem_is_told_at_once_with_its_row(release):
    rows = [*ROWS, ("HAM_9", "ISIC_08", "nv"), ("HAM_9", "ISIC_09", "scc"), ("", "ISIC_10", "nv"), ("HAM_9", "", "")]
    root = release(rows)
    (root / "HAM10000_images_part_1/ISIC_02.jpg").unlink()
    text = (root / "HAM10000_metadata.csv").read_text().replace("ISIC_03,nv,histo,80.0", "ISIC_03,nv,histo,eighty")
    (root / "HAM10000_metadata.csv").write_text(text)
    with pytest.raises(TableError) as caught:
        read_ham10000(root)
    assert [str(problem).removeprefix("HAM10000_metadata.csv ") for problem in caught.value.problems] == [
        "row 3 column image_id: there is no image file of ISIC_02",
        "row 10 column image_id: ISIC_08 stands already in row 9",
        "row 11 column dx: unknown dx 'scc'; known are akiec, bcc, bkl, df, mel, nv, vasc",
        "row 12 column lesion_id: the lesion id is empty",
        "row 13 column image_id: the image id is empty",
        "row 13 column dx: unknown dx ''; known are akiec, bcc, bkl, df, mel, nv, vasc",
        "row 4 column age: 'eighty' is not a number",
    ]
    assert caught.value.where == root


def test_missing_columns_and_no_rows_are_told(release):
    root = release()
    (root / "HAM10000_metadata.csv").write_text("image_id,age\nISIC_01,3\n")
    with pytest.raises(TableError, match="2 problems") as caught:
        read_ham10000(root)
    assert [problem.column for problem in caught.value.problems] == ["lesion_id", "dx"]
    (root / "HAM10000_metadata.csv").write_text("lesion_id,image_id,dx\n")
    with pytest.raises(TableError, match="no rows"):
        read_ham10000(root)


@pytest.mark.parametrize("exists", [True, False])
def test_no_metadata_says_what_was_looked_for_and_what_to_do(tmp_path, exists):
    root = tmp_path if exists else tmp_path / "nothing"
    for read in (read_dataset, read_ham10000):
        with pytest.raises(DataError) as caught:
            read(root)
        text = str(caught.value)
        assert ("no metadata file" if exists else "does not exist") in text and str(root) in text
        for word in (
            "HAM10000_metadata.csv",
            f"melascope data fetch ham10000 --out {root}",
            f"melascope data phantom --out {root}",
            "--source image_folder",
        ):
            assert word in text


def test_metadata_without_any_image_says_what_to_put_beside_it(release):
    root = release()
    for part in ("HAM10000_images_part_1", "HAM10000_images_part_2"):
        shutil.rmtree(root / part)
    with pytest.raises(DataError, match="no images beside the metadata") as caught:
        read_ham10000(root)
    assert "HAM10000_images_part_1" in caught.value.expected and "data fetch" in caught.value.fix


def test_a_broken_archive_is_told(release):
    root = release(zipped=True)
    (root / "HAM10000_images_part_1.zip").write_bytes(b"PK not a zip")
    with pytest.raises(DataError, match="archive cannot be read"):
        read_ham10000(root)


def test_a_phantom_is_recognised_and_never_taken_for_real(release):
    root = release()
    with pytest.raises(DataError, match="not a phantom"):
        read_phantom(root)
    (root / PHANTOM_MARKER).write_text("{}")
    assert read_dataset(root).source == "phantom"
    with pytest.raises(DataError, match="This is a phantom"):
        read_ham10000(root)
    with pytest.raises(DataError, match="This is a phantom"):
        read_dataset(root, "ham10000")


def test_the_generators_marker_is_the_readers():
    from melascope.data.sources.phantom import MARKER

    assert MARKER == PHANTOM_MARKER


def test_an_unknown_source_is_refused_with_the_known_ones(release):
    with pytest.raises(DataError, match="no source 'isic9'") as caught:
        read_dataset(release(), "isic9")
    assert all(name in caught.value.expected for name in SOURCES)


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_reads_a_folder_by_name(release, source):
    root = release(masks=False, one_folder=True)
    if source == "phantom":
        (root / PHANTOM_MARKER).write_text("{}")
    if source == "isic":
        rows = "".join(f"{image_id},0,1,0,0,0,0,0\n" for _, image_id, _ in ROWS)
        truth = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n" + rows
        (root / "ISIC2018_Task3_Training_GroundTruth.csv").write_text(truth)
    table = read_dataset(root, source)
    assert table.source == source and len(table) == 8 and table.root == root


def test_the_real_release(shared, tmp_path):
    table = read_dataset(shared / "ham10000")
    assert len(table) == 10_015 and len(set(table.lesion_id)) == 7_470
    assert np.isnan(table.age).sum() == 57
    assert (table.sex == "").sum() == 57 and (table.localization == "").sum() == 234
    assert (table.dx == "mel").sum() == 1113 and not (table.mask_path == "").any()
    shutil.copy(shared / "ham10000/HAM10000_metadata.csv", tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/ISIC_0027419.jpg").write_bytes(b"not looked into")
    with pytest.raises(TableError, match="10,014 problems") as caught:
        read_dataset(tmp_path)
    assert len(str(caught.value).splitlines()) < 30

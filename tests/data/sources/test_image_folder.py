"""Do loose images become a table, with and without labels, and whatever the columns are called?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_release import encoded, picture

from melascope.data.archive import read_member
from melascope.data.sources import read_dataset
from melascope.data.sources.image_folder import Labels, read_image_folder
from melascope.errors import DataError, TableError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for index, path in enumerate(["b.jpg", "a.png", "deep/er/c.WEBP", "notes.txt", ".hidden.jpg"]):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(encoded(picture(index)))
    return root


def labels(folder: Path, text: str) -> Path:
    path = folder.parent / "labels.csv"
    path.write_text(text)
    return path


def test_without_labels_everything_but_the_images_is_unknown(folder):
    table = read_image_folder(folder)
    assert table.image_id.tolist() == ["a", "b", "c"] and table.source == "image_folder"
    assert table.path.tolist() == ["a.png", "b.jpg", "deep/er/c.WEBP"]
    assert set(table.dx) == {""} and table.labels.tolist() == [-1, -1, -1] and np.isnan(table.age).all()
    assert table.lesion_key.tolist() == ["a", "b", "c"]
    for path in table.path:
        read_member(table.root, path)


def test_columns_and_words_are_mapped(folder):
    csv = labels(
        folder, "file,truth,case,years,sex,camera\ndeep/er/c.WEBP,melanoma,7,61,female,new\na,naevus,8,unknown,,\n"
    )
    table = read_image_folder(
        folder,
        Labels(
            csv,
            columns={"image_id": "file", "dx": "truth", "lesion_id": "case", "age": "years", "dataset": "camera"},
            words={"melanoma": "mel", "naevus": "nv"},
        ),
    )
    assert table.dx.tolist() == ["nv", "", "mel"] and table.lesion_id.tolist() == ["8", "", "7"]
    assert table.age[2] == 61 and np.isnan(table.age[:2]).all() and table.sex.tolist() == ["", "", "female"]
    assert table.dataset.tolist() == ["", "", "new"]


def test_our_own_words_need_no_map(folder):
    table = read_image_folder(folder, Labels(labels(folder, "image_id,dx\na,mel\nb.jpg,unknown\n")))
    assert table.dx.tolist() == ["mel", "", ""]


def test_every_problem_of_the_labels_is_told_at_once(folder):
    csv = labels(folder, "image_id,dx,age\na,melanoma,4\nzz,nv,5\na.png,nv,old\n")
    with pytest.raises(TableError) as caught:
        read_image_folder(folder, Labels(csv, words={"nevus": "nv"}))
    assert sorted(map(str, caught.value.problems)) == [
        "labels.csv row 2 column dx: unknown class 'melanoma'; known are nevus, akiec, bcc, bkl, df, mel, nv, vasc",
        "labels.csv row 3 column image_id: there is no image file of 'zz'",
        "labels.csv row 4 column age: 'old' is not a number",
        "labels.csv row 4 column image_id: a stands already in row 2",
    ]


def test_two_files_of_one_id_are_refused_with_both_paths(folder):
    (folder / "deep/a.jpg").write_bytes(b"?")
    with pytest.raises(TableError, match=r"deep/a\.jpg: the id a is also that of a\.png"):
        read_image_folder(folder)


def test_a_missing_column_folder_or_image_is_told(folder, tmp_path):
    with pytest.raises(DataError, match="no column 'file'") as caught:
        read_image_folder(folder, Labels(labels(folder, "image_id,dx\na,mel\n"), columns={"image_id": "file"}))
    assert "image_id, dx" in caught.value.expected
    with pytest.raises(DataError, match="does not exist"):
        read_image_folder(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image"):
        read_image_folder(tmp_path / "empty")


@pytest.mark.parametrize("name", ["dx", "lesion_id", "age"])
def test_a_column_that_was_asked_for_by_name_must_be_there(folder, name):
    with pytest.raises(DataError, match="no column 'truht'"):
        read_image_folder(folder, Labels(labels(folder, "image_id,dx\na,mel\n"), columns={name: "truht"}))


def test_a_map_to_a_column_or_class_that_we_do_not_know_is_refused(folder):
    with pytest.raises(DataError, match="'colour'"):
        Labels(folder, columns={"colour": "image_id"})
    with pytest.raises(DataError, match="'scc'"):
        Labels(folder, words={"carcinoma": "scc"})


def test_labels_come_back_from_what_a_run_keeps(folder, monkeypatch):
    csv = labels(folder, "file,dx\na,mel\n")
    monkeypatch.chdir(csv.parent)
    kept = Labels(Path(csv.name), columns={"image_id": "file"}, words={"melanoma": "mel"})
    assert Labels.from_json(kept.as_json()) == Labels(csv, kept.columns, kept.words)


def test_labels_make_a_folder_a_data_set_and_belong_to_no_other_source(folder):
    csv = Labels(labels(folder, "image_id,dx\na,mel\n"))
    for source in (None, "image_folder"):
        assert read_dataset(folder, source, csv).dx.tolist() == ["mel", "", ""]
    with pytest.raises(DataError, match="brings its own truth"):
        read_dataset(folder, "ham10000", csv)

"""Is everything that is wrong with a data set told at once, with file and row, and nothing that is right?"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from small_release import ROWS, encoded, mask, picture, png

from melascope.data.sources import read_dataset
from melascope.data.sources.image_folder import read_image_folder
from melascope.data.validate import same_shape, validate
from melascope.errors import TableError


@pytest.mark.parametrize("zipped", [False, True])
def test_a_sound_release_has_no_problem_and_is_filled_in(release, zipped):
    table = read_dataset(release(zipped=zipped))
    seen = []
    validation = validate(table, progress=lambda *n: seen.append(n))
    assert validation.problems == () and validation.notes == ()
    filled = validation.usable()
    assert set(filled.width) == {20} and set(filled.height) == {15} and seen[-1] == (8, 8)
    data = encoded(picture(1), "JPEG")
    assert filled.sha256[0] == hashlib.sha256(data).hexdigest()
    assert not table.width.any() and table.sha256[0] == ""  # what came in is left alone
    assert validation.fingerprint == filled.fingerprint != table.fingerprint


def bad_release(release):
    """One of everything that the issue names, beside sound rows."""
    rows = [*ROWS[:7], ("HAM_5", "ISIC_08", "mel")]
    root = release(rows)
    images = root / "HAM10000_images_part_1", root / "HAM10000_images_part_2"
    whole = (images[0] / "ISIC_01.jpg").read_bytes()
    (images[0] / "ISIC_01.jpg").write_bytes(whole[:-40])
    (images[0] / "ISIC_02.jpg").write_text("This is a text file.\n")
    (images[0] / "ISIC_03.jpg").write_bytes(b"")
    (images[0] / "ISIC_04.jpg").write_bytes(png(20_000, 20_000, 8, 2, b""))
    masks = root / "HAM10000_segmentations_lesion_tschandl"
    (masks / "ISIC_05_segmentation.png").write_bytes(mask(15, 20))
    (masks / "ISIC_06_segmentation.png").write_bytes(encoded(picture(1)))
    text = (root / "HAM10000_metadata.csv").read_text().replace("ISIC_07,bcc,histo,80.0", "ISIC_07,bcc,histo,800")
    (root / "HAM10000_metadata.csv").write_text(text)
    return root


def test_every_problem_is_told_at_once_with_file_and_row(release):
    validation = validate(read_dataset(bad_release(release)))
    told = [str(problem) for problem in validation.problems]
    part, masks = "HAM10000_images_part_1", "HAM10000_segmentations_lesion_tschandl"
    expected = [
        f"row 2: {part}/ISIC_01.jpg: The image is refused: it is truncated or damaged",
        f"row 3: {part}/ISIC_02.jpg: The image is refused: its content is text",
        f"row 4: {part}/ISIC_03.jpg: The image is refused: it is empty (0 bytes)",
        f"row 5: {part}/ISIC_04.jpg: The image is refused: it is 20000×20000 pixels",
        f"row 6: {masks}/ISIC_05_segmentation.png: the mask is 15×20, its image 20×15: another shape",
        f"row 7: {masks}/ISIC_06_segmentation.png: The mask has colours",
        "row 8 column age: ISIC_07: an age of 800 years",
        "row 9 column dx: lesion HAM_5 is mel in ISIC_08, but bcc in ISIC_07",
    ]
    assert len(told) == len(expected)
    for line, begin in zip(told, expected, strict=True):
        assert line.startswith("HAM10000_metadata.csv " + begin)
    with pytest.raises(TableError, match="8 problems") as caught:
        validation.usable()
    assert caught.value.problems == validation.problems and "melascope data validate" in caught.value.fix


def test_the_answer_does_not_depend_on_the_number_of_workers(release):
    table = read_dataset(bad_release(release))
    one, four = validate(table, workers=1), validate(table, workers=4)
    assert one.problems == four.problems and one.notes == four.notes and one.fingerprint == four.fingerprint


def test_a_file_that_vanished_after_reading_is_a_problem(release):
    table = read_dataset(release())
    (table.root / table.path[0]).unlink()
    (problem,) = validate(table).problems
    assert problem.row == 2 and "ISIC_01.jpg" in problem.message and "missing" in problem.message


def test_what_a_reader_should_know_is_a_note_and_no_problem(release):
    root = release()
    masks = root / "HAM10000_segmentations_lesion_tschandl"
    for number in (1, 2):
        (masks / f"ISIC_0{number}_segmentation.png").write_bytes(mask(60, 45))
    (masks / "ISIC_03_segmentation.png").write_bytes(encoded(np.zeros((15, 20), np.uint8)))
    (masks / "ISIC_04_segmentation.png").unlink()
    images = root / "HAM10000_images_part_2"
    (images / "ISIC_08.jpg").write_bytes((images / "ISIC_07.jpg").read_bytes())
    for number in range(7):
        (images / f"EXTRA_{number}.jpg").write_bytes(b"not looked into")
    validation = validate(read_dataset(root))
    assert validation.problems == ()
    assert [str(note) for note in validation.notes] == [
        "2 masks are 60×45 where their images are 20×15",
        "1 mask without any lesion: ISIC_03",
        "1 image without a mask: ISIC_04",
        "the same file under 2 ids: ISIC_07, ISIC_08",
        "7 image files without a row: EXTRA_0, EXTRA_1, EXTRA_2, EXTRA_3, EXTRA_4 …",
    ]


def test_sizes_are_those_of_the_upright_image(release):
    root = release(masks=False)
    exif = Image.Exif()
    exif[0x0112] = 6
    (root / "HAM10000_images_part_1/ISIC_01.jpg").write_bytes(encoded(picture(1), "JPEG", exif=exif))
    filled = validate(read_dataset(root)).usable()
    assert (filled.width[0], filled.height[0]) == (15, 20)


def test_loose_images_are_named_by_their_own_path(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.jpg").write_bytes(b"GIF89a")
    (tmp_path / "b.png").write_bytes(encoded(picture(1)))
    (problem,) = validate(read_image_folder(tmp_path)).problems
    assert problem.file == "deep/a.jpg" and problem.row is None and "GIF" in problem.message


def test_lesions_and_truths_that_are_unknown_do_not_conflict(release):
    table = read_dataset(release())
    table = replace(table, lesion_id=np.full(8, "", dtype=object))
    assert validate(table).problems == ()


@pytest.mark.parametrize(
    ("size", "other", "same"),
    [
        ((200, 150), (600, 450), True),
        ((600, 450), (224, 168), True),
        ((600, 450), (224, 224), False),
        ((450, 600), (600, 450), False),
        ((1022, 767), (511, 384), True),
        ((1024, 1024), (600, 450), False),
    ],
)
def test_same_shape_allows_a_pixel_of_rounding(size, other, same):
    assert same_shape(size, other) == same_shape(other, size) == same


def test_the_real_release_is_sound(shared):
    table = read_dataset(shared / "ham10000")
    validation = validate(table.subset(np.arange(0, 10_015, 40)))
    assert validation.problems == ()
    assert any("masks are 600×450 where their images are 200×150" in str(note) for note in validation.notes)

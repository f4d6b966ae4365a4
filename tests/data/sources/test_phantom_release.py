"""Does a phantom have a release's exact layout, the same bytes on every way there, and no way to pass for real data?"""

import csv
import json
import re
import shutil
import zipfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from melascope.classes import CLASSES
from melascope.data.sources.ham10000 import read_phantom
from melascope.data.sources.phantom import MARKER, write_phantom
from melascope.data.sources.phantom.lesions import BLOCK, class_of, images, lesion_of
from melascope.data.sources.phantom.release import IMAGE_PARTS, MASKS, METADATA, metadata_csv
from melascope.errors import DataError, OutputError

N = 9


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("data") / "phantom", n_images=N, seed=3, workers=1)


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pictures(files):
    return {name.rsplit("/", 1)[1]: data for name, data in files.items() if "/" in name}


def test_layout_is_the_releases(phantom):
    ids = [f"PHANTOM_{number:07d}" for number in range(1, N + 1)]
    expected = {METADATA, MARKER}
    expected |= {f"HAM10000_images_part_1/{name}.jpg" for name in ids[:5]}
    expected |= {f"HAM10000_images_part_2/{name}.jpg" for name in ids[5:]}
    expected |= {f"HAM10000_segmentations_lesion_tschandl/{name}_segmentation.png" for name in ids}
    assert set(content(phantom)) == expected
    rows = list(csv.DictReader((phantom / METADATA).read_text().splitlines()))
    assert list(rows[0]) == ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    assert [row["image_id"] for row in rows] == ids
    assert all(re.fullmatch(r"PHL_\d{7}", row["lesion_id"]) for row in rows)


def test_pictures_and_masks_have_the_releases_form(phantom):
    for path in (phantom / IMAGE_PARTS[0]).iterdir():
        with Image.open(path) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (600, 450))
    for path in (phantom / MASKS).iterdir():
        with Image.open(path) as mask:
            assert (mask.format, mask.mode, mask.size) == ("PNG", "L", (600, 450))
            assert set(np.unique(np.asarray(mask))) == {0, 255}


def test_marker_says_that_it_is_synthetic_and_how_to_make_it_again(phantom, tmp_path):
    facts = json.loads((phantom / MARKER).read_text())
    assert facts["source"] == "phantom" and facts["complete"] and "SYNTHETIC" in facts["notice"]
    assert (facts["seed"], facts["n_images"]) == (3, N)
    call = facts["regenerate"].split(";")[1].strip().rstrip('"')
    again = eval(call.replace("'FOLDER'", "folder").replace(")", ", workers=1)"), {}, names(tmp_path / "again"))
    assert content(again) == content(phantom)


def names(folder):
    return {"write_phantom": write_phantom, "folder": folder}


def test_the_data_layer_reads_it_as_a_phantom(phantom):
    table = read_phantom(phantom)
    assert len(table.image_id) == N


def test_an_image_depends_on_neither_length_nor_workers(phantom, tmp_path):
    longer = write_phantom(tmp_path / "longer", n_images=N + 8, seed=3, workers=2)
    short, long = pictures(content(phantom)), pictures(content(longer))
    assert len(long) == 2 * (N + 8)
    assert {name: long[name] for name in short} == short
    lines = (longer / METADATA).read_text().splitlines()
    assert lines[: N + 1] == (phantom / METADATA).read_text().splitlines()


def test_another_seed_gives_other_pictures(phantom, tmp_path):
    other = pictures(content(write_phantom(tmp_path / "other", n_images=3, seed=4, workers=1)))
    ours = pictures(content(phantom))
    assert all(ours[name] != data for name, data in other.items())


def test_zips_hold_the_same_files(phantom, tmp_path):
    zipped = write_phantom(tmp_path / "zipped", n_images=N, seed=3, workers=1, zipped=True)
    assert {path.name for path in zipped.iterdir()} == {METADATA, MARKER, *(f"{p}.zip" for p in (*IMAGE_PARTS, MASKS))}
    found = {}
    for part in (*IMAGE_PARTS, MASKS):
        with zipfile.ZipFile(zipped / f"{part}.zip") as archive:
            found |= {f"{part}/{name}": archive.read(name) for name in archive.namelist()}
            assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert found == {name: data for name, data in content(phantom).items() if "/" in name}


@pytest.mark.parametrize("zipped", [False, True])
def test_an_interrupted_phantom_is_no_release_and_is_made_anew(tmp_path, zipped):
    def interrupt(done, _total):
        if done == 3:
            raise KeyboardInterrupt

    folder = tmp_path / "phantom"
    with pytest.raises(KeyboardInterrupt):
        write_phantom(folder, n_images=5, workers=1, zipped=zipped, progress=interrupt)
    assert not (folder / METADATA).exists()
    assert json.loads((folder / MARKER).read_text())["complete"] is False
    assert not list(folder.glob("*.zip"))
    seen = []
    write_phantom(folder, n_images=4, workers=1, zipped=zipped, progress=lambda *place: seen.append(place))
    fresh = write_phantom(tmp_path / "fresh", n_images=4, workers=1, zipped=zipped)
    assert content(folder) == content(fresh)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_complete_phantom_is_left_as_it_is(phantom, tmp_path):
    folder = shutil.copytree(phantom, tmp_path / "copy")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert write_phantom(folder, n_images=N, seed=3, workers=1) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    with pytest.raises(OutputError, match="another phantom"):
        write_phantom(folder, n_images=N, seed=2, workers=1)


def test_real_data_is_never_touched(tmp_path):
    (tmp_path / METADATA).write_text("lesion_id,image_id\n")
    with pytest.raises(OutputError, match="holds no phantom"):
        write_phantom(tmp_path, n_images=2, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == [METADATA]


@pytest.mark.parametrize("wrong", [{"n_images": 0}, {"workers": 0}, {"seed": -1}])
def test_impossible_calls_are_refused(tmp_path, wrong):
    with pytest.raises(DataError, match="cannot be made"):
        write_phantom(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


def test_class_mix_holds_in_every_block():
    assert set(BLOCK) == set(CLASSES)
    size = sum(BLOCK.values())
    for start in (0, size, 5 * size):
        assert Counter(class_of(7, number) for number in range(start, start + size)) == BLOCK
    assert [class_of(7, n) for n in range(size)] != [class_of(8, n) for n in range(size)]


def test_metadata_follows_the_classes():
    lesions = [lesion_of(1, number) for number in range(2000)]
    by_class = {dx: [lesion for lesion in lesions if lesion.dx == dx] for dx in CLASSES}
    assert 0.20 < np.mean([lesion.n_images > 1 for lesion in lesions]) < 0.30
    assert {lesion.n_images for lesion in lesions} == {1, 2, 3}
    assert {lesion.dx_type for lesion in by_class["mel"]} == {"histo"}
    assert {lesion.dx_type for lesion in by_class["nv"]} == {"histo", "follow_up", "consensus"}
    mean_age = {dx: np.mean([lesion.age for lesion in group if lesion.age]) for dx, group in by_class.items()}
    assert mean_age["nv"] + 10 < mean_age["mel"] < mean_age["bcc"]


def test_unknown_values_are_written_in_the_releases_words():
    jobs = list(images(1, 1500))
    rows = list(csv.DictReader(metadata_csv(jobs).splitlines()))
    assert any(row["age"] == "" for row in rows) and any(row["sex"] == "unknown" for row in rows)
    assert any(row["localization"] == "unknown" for row in rows)
    assert all(re.fullmatch(r"(\d?[05]\.0)?", row["age"]) for row in rows)
    lesions = {row["lesion_id"]: tuple(row.values())[2:] for row in rows}
    assert all(tuple(row.values())[2:] == lesions[row["lesion_id"]] for row in rows)


def test_rulers_lie_where_they_are_wanted_and_nothing_else_changes(tmp_path):
    wanted = {"PHANTOM_0000002", "PHANTOM_0000005"}
    bare = content(write_phantom(tmp_path / "bare", n_images=6, seed=3, workers=1, rulers=()))
    planted = content(write_phantom(tmp_path / "planted", n_images=6, seed=3, workers=1, rulers=wanted))
    changed = {name.rsplit("/")[1][:15] for name in bare if name != MARKER and bare[name] != planted[name]}
    assert changed == wanted
    assert json.loads(planted[MARKER])["rulers"] == sorted(wanted)


def test_a_phantom_of_other_rulers_is_another_phantom(tmp_path):
    write_phantom(tmp_path / "p", n_images=2, seed=3, workers=1, rulers=["PHANTOM_0000001"])
    with pytest.raises(OutputError, match="rulers on 1 named images"):
        write_phantom(tmp_path / "p", n_images=2, seed=3, workers=1)


def test_a_ruler_on_an_image_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="PHANTOM_0000009"):
        write_phantom(tmp_path / "p", n_images=2, seed=3, rulers=["PHANTOM_0000009"])

"""Is a copy found however it was turned, mirrored, cropped or recompressed, and is nothing else called one?"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from small_release import picture

from melascope.data import duplicates
from melascope.data.duplicates import NEAR, SAME_FILE, SAME_PIXELS, SAME_SKIN, DuplicateFinder
from melascope.data.registration import Layers, Pose, agreement, read_at, refine, ring_readings, start_poses
from melascope.data.signatures import (
    THUMBNAIL_SIDE,
    Whitening,
    disc_signatures,
    discs,
    eight_orientations,
    luma,
    perceptual_hash,
    thumbnail,
)
from melascope.data.sources import read_dataset
from melascope.data.sources.phantom import write_phantom

N_PHANTOMS = 24


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> list[Image.Image]:
    """One 200×150 image of each of some phantom lesions."""
    table = read_dataset(write_phantom(tmp_path_factory.mktemp("phantom"), n_images=N_PHANTOMS, seed=3, workers=1))
    rows = [int(np.flatnonzero(table.lesion_id == lesion)[0]) for lesion in sorted(set(table.lesion_id))]
    return [Image.open(Path(table.root) / table.path[row]).convert("RGB").resize((200, 150)) for row in rows]


def texture(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """(height, width, 3) uint8 with structure at every scale, like no other seed's."""
    rng = np.random.default_rng([seed, 7])
    layers = [ndimage.gaussian_filter(rng.normal(0, 1, (height, width, 3)), (s, s, 0)) for s in (1, 3, 8, 20)]
    mixed = sum(layer / layer.std() for layer in layers)
    return (128 + 30 * mixed).clip(0, 255).astype(np.uint8)


def recompressed(image: Image.Image, quality: int = 40) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def cut(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = image.size
    return image.crop(
        (round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height))
    )


CHANGES = {
    "recompressed": lambda image: recompressed(image, 25),
    "smaller": lambda image: image.resize((120, 90)),
    "quarter turn": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "mirror": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "transverse": lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    "turned by 7°": lambda image: image.rotate(7, Image.Resampling.BICUBIC),
    "turned by 123°": lambda image: image.rotate(123, Image.Resampling.BICUBIC, expand=True),
    "cropped evenly": lambda image: cut(image, 0.18, 0.18, 0.18, 0.18),
    "cropped unevenly": lambda image: cut(image, 0.2, 0.0, 0.05, 0.15),
    "all at once": lambda image: recompressed(
        cut(image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).rotate(200, Image.Resampling.BICUBIC), 0.1, 0.12, 0.05, 0)
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(phantoms, change):
    copied = range(0, len(phantoms), 3)
    images = [*phantoms, *(CHANGES[change](phantoms[row]) for row in copied)]
    finder = DuplicateFinder(len(images))
    for row, image in enumerate(images):
        finder.add(row, np.asarray(image), f"file {row}")
    pairs = {(pair.first, pair.second): pair for pair in finder.pairs()}
    assert set(pairs) == {(row, len(phantoms) + number) for number, row in enumerate(copied)}
    assert all(pair.kind == NEAR and SAME_SKIN <= pair.agreement <= 1 for pair in pairs.values())
    assert {pair.mirrored for pair in pairs.values()} == {change in ("mirror", "transverse", "all at once")}


def finder_of(*images: np.ndarray, files: list[str] | None = None, order: list[int] | None = None) -> DuplicateFinder:
    finder = DuplicateFinder(len(images))
    for row in order or range(len(images)):
        finder.add(row, images[row], files[row] if files else f"file {row}")
    return finder


def test_equal_files_and_equal_pixels_are_told_apart():
    one, two, three = texture(1), texture(2), texture(3)
    pairs = finder_of(one, two, one, three, two, one, files=["a", "b", "a", "c", "other", "a"]).pairs()
    assert [(pair.first, pair.second, pair.kind) for pair in pairs] == [
        (0, 2, SAME_FILE),
        (0, 5, SAME_FILE),
        (1, 4, SAME_PIXELS),
    ]
    assert all(pair.agreement == 1 and not pair.mirrored for pair in pairs)


def test_turn_and_scale_are_told_from_the_first_to_the_second(phantoms):
    turned = np.asarray(phantoms[0].rotate(30, Image.Resampling.BICUBIC))  # counter-clockwise
    whole, *others = (np.asarray(phantom) for phantom in phantoms)
    part = whole[15:-15, 20:-20]
    for images, angle, scale in (([whole, turned], -30, 1), ([turned, whole], 30, 1), ([whole, part], 0, 1.25)):
        for order in (1, -1):
            (pair,) = finder_of(*images[::order], *others).pairs()
            assert (pair.first, pair.second, pair.mirrored) == (0, 1, False)
            assert pair.angle == pytest.approx(order * angle, abs=1)
            assert pair.scale == pytest.approx(scale**order, abs=0.03)


def test_the_same_bytes_in_another_shape_are_not_the_same_pixels():
    noise = picture(1, 60, 40)
    assert finder_of(noise, noise.reshape(60, 40, 3)).pairs() == ()


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_have_no_pair(count):
    assert finder_of(*[texture(1)] * count).pairs() == ()


def test_flat_and_tiny_images_are_no_near_duplicates():
    flat = [np.full((90, 120, 3), level, dtype=np.uint8) for level in (0, 90, 255)]
    tiny = [picture(seed, 1, 1) for seed in range(3)] + [picture(seed, 300, 2) for seed in range(3)]
    assert finder_of(*flat, *tiny, texture(1)).pairs() == ()


def test_the_order_of_coming_does_not_matter_and_progress_ends_at_all():
    images = [texture(seed) for seed in range(12)]
    images += [np.rot90(images[3], axes=(0, 1)), images[5][8:-8, 12:-4]]
    seen = []
    pairs = finder_of(*images).pairs(lambda done, total: seen.append((done, total)))
    others = finder_of(*images, order=list(range(13, -1, -1))).pairs()
    assert [(p.first, p.second) for p in pairs] == [(p.first, p.second) for p in others] == [(3, 12), (5, 13)]
    assert seen == sorted(seen) and seen[-1] == (14, 14)


def test_signatures_may_be_whitened_before_all_images_have_come(monkeypatch):
    images = [texture(seed) for seed in range(12)]
    images.append(images[2][:, ::-1])
    monkeypatch.setattr(duplicates, "WHITEN_FROM", 6)
    monkeypatch.setattr(duplicates, "QUERY_BLOCK", 5)
    monkeypatch.setattr(duplicates, "IMAGE_BLOCK", 4)
    assert [(p.first, p.second) for p in finder_of(*images).pairs()] == [(2, 12)]


def orientations(rgb: np.ndarray) -> list[np.ndarray]:
    """In the order of `eight_orientations`: as it is, mirrored across, down, both; then the same transposed."""
    four = [rgb, rgb[:, ::-1], rgb[::-1], rgb[::-1, ::-1]]
    return four + [one.swapaxes(0, 1) for one in four]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_hashes_of_the_eight_orientations_follow_from_one(seed):
    rgb = texture(seed, 32, 32)
    turned = eight_orientations(perceptual_hash(rgb)[None])[:, 0]
    expected = np.array([perceptual_hash(np.ascontiguousarray(one)) for one in orientations(rgb)])
    assert (turned != expected).sum() <= 2  # a wave of nothing has no sign
    assert set(np.abs(turned).sum(axis=(1, 2))) == {63}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_quarter_turns_and_mirrors_leave_the_largest_disc_as_it_is(seed):
    rgb = texture(seed, THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    first, *others = [disc_signatures(np.ascontiguousarray(one))[0] for one in orientations(rgb)]
    for other in others:
        assert np.abs(other - first).max() < 2e-3
    assert np.abs(disc_signatures(texture(seed + 1, THUMBNAIL_SIDE, THUMBNAIL_SIDE))[0] - first).max() > 0.05


@pytest.mark.parametrize("size", [(96, 128), (128, 96), (128, 128), (128, 8), (8, 8)])
def test_discs_lie_inside_and_the_first_is_the_largest(size):
    height, width = size
    x, y, radius = discs(height, width).T
    assert (radius <= radius[0]).all() and radius[0] == min(size) / 2
    assert (x - radius >= -0.51).all() and (x + radius <= width - 0.49).all()
    assert (y - radius >= -0.51).all() and (y + radius <= height - 0.49).all()
    assert disc_signatures(np.zeros((*size, 3), np.uint8)).shape == (len(radius), 192)


def test_whitened_signatures_spread_alike_in_all_directions():
    raw = np.random.default_rng(1).normal(0, 1, (4000, 192)) * np.geomspace(5, 0.5, 192)
    white = Whitening.fit(raw)
    spread = ((raw - white.mean) @ white.axes).std(axis=0)
    assert white.axes.shape == (192, 64) and 0.9 < spread.min() <= spread.max() < 1.01
    assert np.allclose(np.linalg.norm(white(raw), axis=1), 1, atol=1e-5)


def warped(luma: np.ndarray, pose: Pose) -> np.ndarray:
    """The picture that `pose` lays on `luma`: its value at a point is luma's where the pose puts it."""
    height, width = luma.shape
    y, x = np.mgrid[0:height, 0:width]
    points = np.stack([x.ravel() - (width - 1) / 2, y.ravel() - (height - 1) / 2])
    there = pose.matrix @ points + pose.shift[:, None] + np.array([[(width - 1) / 2], [(height - 1) / 2]])
    return read_at(luma, *there).reshape(height, width).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    degrees=st.floats(-179, 179),
    scale=st.floats(0.65, 0.95),
    shift=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    mirrored=st.booleans(),
)
def test_a_known_pose_is_recovered(seed, degrees, scale, shift, mirrored):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, sin], [sin, -cos]] if mirrored else [[cos, -sin], [sin, cos]])
    truth = Pose(turn * scale, np.array(shift))
    whole = np.round(luma(thumbnail(texture(seed)))).astype(np.uint8)
    part = warped(whole, truth)
    middle = discs(*whole.shape)[0]
    disc = middle * [1, 1, scale]
    starts = start_poses(ring_readings(part, middle), middle, ring_readings(whole, disc), disc, middle[:2])
    assert [along for along, _ in starts] == sorted((along for along, _ in starts), reverse=True)
    assert starts[0][1].mirrored == mirrored
    pose = refine(Layers.rough(part), Layers.rough(whole), starts[0][1])
    pose = refine(Layers.fine(part), Layers.fine(whole), pose)
    assert np.abs(pose.matrix - truth.matrix).max() < 0.02 and np.abs(pose.shift - truth.shift).max() < 0.5
    assert pose.mirrored == mirrored and pose.scale == pytest.approx(scale, abs=0.02)
    assert agreement(Layers.fine(part), Layers.fine(whole), pose) > 0.8


def test_equal_black_frames_are_no_equal_skin():
    y, x = np.mgrid[0:96, 0:128]
    frame = np.hypot(x - 63.5, y - 47.5) > 40
    pictures = [np.round(luma(np.where(frame[..., None], 0, texture(seed)))).astype(np.uint8) for seed in (1, 2)]
    one, other = (Layers.fine(picture) for picture in pictures)
    assert (one.detail[frame] == 0).all() and not np.isnan(one.steps[0].design).any()
    assert abs(agreement(one, other, Pose(np.eye(2), np.zeros(2)))) < 0.2
    assert agreement(one, one, Pose(np.eye(2), np.zeros(2))) == pytest.approx(1)


def test_other_skin_does_not_agree_and_no_overlap_is_no_agreement():
    one, other = (Layers.fine(np.round(luma(texture(seed))).astype(np.uint8)) for seed in (1, 2))
    as_it_is = Pose(np.eye(2), np.zeros(2))
    assert agreement(one, one, as_it_is) == pytest.approx(1)
    assert abs(agreement(one, other, as_it_is)) < 0.2
    assert agreement(one, other, refine(one, other, as_it_is)) < 0.4
    assert agreement(one, one, Pose(np.eye(2), np.array([70.0, 0]))) == 0

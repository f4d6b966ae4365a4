"""Drawn images, predictions with set probabilities, and maps with set cells, for every test of the gallery."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from melascope.classes import CLASSES, MEL
from melascope.evaluation.operating_point import OperatingPoint
from melascope.explain.mask_scores import score_map
from melascope.explain.segment import FROM_DATA_SET
from melascope.gallery.case import Case, Price, SameLesion
from melascope.gallery.gathering import MASK_ORIGINS, NO_MASK
from melascope.gallery.outlines import outline_path
from melascope.tables.lesions import LesionTable
from melascope.tables.maps import MapStore
from melascope.tables.predictions import Predictions, PredictionsOrigin

THRESHOLD = 0.2
SHA = "ab" * 32


def vector(**named: float) -> np.ndarray:
    """(7,) probabilities: the named ones, the rest shared by the others."""
    rest = (1 - sum(named.values())) / (len(CLASSES) - len(named))
    return np.array([named.get(name, rest) for name in CLASSES])


def cells(where: str) -> np.ndarray:
    """(8, 8) float32: a map whose place is known; the centre cells are the lesion of `square_mask`."""
    values = np.full((8, 8), -0.1, dtype=np.float32)
    if where in ("centre", "faint", "edge"):
        values[3:5, 3:5] = 1
    if where == "faint":
        values[values > 0] = 0.05
    if where == "hot":
        values[3, 3] = 2
    if where == "corner":
        values[0, 0] = 1
    if where == "spread":
        values[:] = 0.9
        values[3:5, 3:5] = 1
        values[:, :2] = 0.99
    if where == "lean":
        values[2:6, 2:6] = 0.9
        values[0, 7] = 1
    return values


def square_mask(half: int = 16) -> np.ndarray:
    """(64, 64) bool: a square of side 2 half in the middle."""
    mask = np.zeros((64, 64), dtype=bool)
    mask[32 - half : 32 + half, 32 - half : 32 + half] = True
    return mask


def build_case(
    *,
    dx: str = "mel",
    mel: str = "centre",
    first: str = "corner",
    mask: np.ndarray | None = None,
    masked: bool = True,
    threshold: float = THRESHOLD,
    others: tuple[bool, ...] = (),
    probabilities: np.ndarray | None = None,
    **changes,
) -> Case:
    """A case without files: the maps of mel and of the predicted class are where they are said to be."""
    probabilities = vector(vasc=0.55, mel=0.07) if probabilities is None else probabilities
    order = [CLASSES[column] for column in np.argsort(-probabilities, kind="stable")]
    shown = (order[0], "mel" if order[0] != "mel" else order[1])
    maps = np.full((7, 8, 8), -0.2, dtype=np.float32)
    maps[CLASSES.index(order[0])] = cells(first)
    maps[MEL] = cells(mel)
    unseen = next(column for column, name in enumerate(CLASSES) if name not in shown)
    maps[unseen, 7, 7] = 1  # somebody reaches 1, so that faint is faint
    mask = square_mask() if mask is None else mask
    scores = tuple(score_map(maps[CLASSES.index(name)], mask) if masked else NO_MASK for name in shown)
    p_mel = float(probabilities[MEL])
    case = Case(
        image_id="ISIC_1",
        lesion_id="HAM_1",
        split="test",
        reasons=("missed_melanoma",),
        dx=dx,
        probabilities=probabilities,
        p_mel=p_mel,
        threshold=threshold,
        above=p_mel >= threshold,
        age=60.0,
        sex="male",
        localization="back",
        dx_type="histo",
        same_lesion=tuple(
            SameLesion(f"ISIC_{n + 2}", "test", "nv", 0.3 if above else 0.1, above) for n, above in enumerate(others)
        ),
        price=Price(called_now=30, called_then=70, n_others=100) if p_mel < threshold and dx == "mel" else None,
        maps=maps,
        scale=float(maps.max()),
        shown=shown,
        map_scores=scores,
        mask_origin=MASK_ORIGINS[FROM_DATA_SET] if masked else "",
        mask_source=FROM_DATA_SET if masked else "",
        outline=outline_path(mask) if masked else "",
        root=Path("nowhere"),
        path="nothing.jpg",
        mask_path="",
    )
    return replace(case, **changes)


def operating_point(**changes) -> OperatingPoint:
    """A threshold of 0.2 for melanoma, as if chosen on 40 melanoma images."""
    facts = {
        "target": ("mel",),
        "threshold": THRESHOLD,
        "rule": "empirical",
        "target_sensitivity": 0.9,
        "sensitivity": 0.9,
        "specificity": 0.7,
        "lesion_sensitivity": 0.92,
        "lesion_sensitivity_lower_bound": 0.768,
        "n_images": 200,
        "n_lesions": 150,
        "n_target_images": 40,
        "n_target_lesions": 25,
    }
    return OperatingPoint(**{**facts, **changes})


HOSTILE_ID = '../../evil"><script>alert(1)</script>`**'

# image id, lesion id, split, dx, age, sex, probabilities
ROWS = [
    ("MEL_MISSED_A", "PAIR", "test", "mel", 60.0, "male", vector(vasc=0.55, mel=0.07)),
    ("MEL_MISSED_B", "PAIR", "test", "mel", 60.0, "male", vector(vasc=0.92, mel=0.02)),
    ("MEL_BY_THRESHOLD", "RESCUED", "test", "mel", np.nan, "", vector(nv=0.6, mel=0.3)),
    ("MEL_FOUND", "FOUND", "held_out", "mel", 50.0, "female", vector(mel=0.97)),
    ("NV_CORRECT", "NEVUS", "test", "nv", 35.0, "female", vector(nv=0.99)),
    ("NV_CORRECT_2", "NEVUS", "test", "nv", 35.0, "female", vector(nv=0.98, mel=0.015)),
    ("NV_ALARM", "ALARM", "test", "nv", 41.0, "male", vector(nv=0.5, mel=0.45)),
    ("BCC_SURE_WRONG", "BCC", "test", "bcc", 70.0, "male", vector(nv=0.95)),
    ("MEL_TRAINING", "SEEN", "train", "mel", 60.0, "male", vector(nv=0.9, mel=0.01)),
    ("NV_VALIDATION", "CHOSE", "val", "nv", 60.0, "male", vector(nv=0.9)),
    (HOSTILE_ID, "<img src=x onerror=alert(2)>", "held_out", "df", 60.0, "<b>&male", vector(df=0.8)),
]


@dataclass(frozen=True)
class World:
    """A small data set on disk, and what a model said and showed of it."""

    predictions: Predictions
    point: OperatingPoint
    maps: MapStore
    table: LesionTable


def text(values) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


def image_bytes(array: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format=kind)
    return stream.getvalue()


def build_world(root: Path) -> World:
    """Write an image and a mask for each of `ROWS`; BCC_SURE_WRONG is bare skin, where no rule by colour finds any."""
    ids, lesions, splits, dx, ages, sexes, probabilities = (list(column) for column in zip(*ROWS, strict=True))
    names = [f"{n}.jpg" for n in range(len(ids))]
    masks = ["" if image_id == "BCC_SURE_WRONG" else f"{n}.png" for n, image_id in enumerate(ids)]
    mask = np.zeros((45, 60), dtype=np.uint8)
    mask[12:32, 20:40] = 255
    for n, (name, mask_name) in enumerate(zip(names, masks, strict=True)):
        picture = np.full((45, 60, 3), (220, 180, 160), dtype=np.uint8)
        if mask_name:
            picture[12:32, 20:40] = (90 + n, 50, 30)
        (root / name).write_bytes(image_bytes(picture, "JPEG"))
        if mask_name:
            (root / mask_name).write_bytes(image_bytes(mask, "PNG"))
    logits = np.log(np.array(probabilities))
    maps = np.stack([np.stack([cells("corner"), *[cells("centre") * (k + 1) / 7 for k in range(6)]]) for _ in ids])
    maps[ids.index("MEL_MISSED_B"), MEL] = -1
    empty, zeros = text([""] * len(ids)), np.zeros(len(ids), dtype=np.int64)
    table = LesionTable(
        root=root,
        source="ham10000",
        image_id=text(ids),
        lesion_id=text(lesions),
        dx=text(dx),
        dx_type=text(["histo"] * len(ids)),
        age=np.array(ages),
        sex=text(sexes),
        localization=text(["back"] * len(ids)),
        path=text(names),
        mask_path=text(masks),
        width=zeros,
        height=zeros,
        sha256=empty,
    )
    predictions = Predictions(
        image_id=table.image_id,
        lesion_id=table.lesion_id,
        split=text(splits),
        dx=table.dx,
        age=table.age,
        sex=table.sex,
        localization=table.localization,
        dx_type=table.dx_type,
        logits=logits,
        origin=PredictionsOrigin(source="ham10000", checkpoint_sha256=SHA),
    )
    store = MapStore(
        image_id=table.image_id,
        logits=logits.astype(np.float32),
        maps=maps.astype(np.float32),
        method="gradcam",
        layer="bn2",
        input_width=64,
        input_height=48,
        checkpoint_sha256=SHA,
    )
    return World(predictions, operating_point(), store, table)


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    return build_world(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def make_case():
    return build_case


@pytest.fixture(scope="session")
def make_vector():
    return vector


@pytest.fixture(scope="session")
def make_point():
    return operating_point


@pytest.fixture(scope="session")
def hostile_id() -> str:
    return HOSTILE_ID

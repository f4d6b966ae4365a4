"""A local page on a model whose answers are set: 24 phantom images, no training, no torch; and what asks it."""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hostile_words import HOSTILE as WORDS
from melascope.app.running import listening, server_of
from melascope.app.server import create_app
from melascope.classes import CLASSES
from melascope.data.appearance import appearance
from melascope.data.pixels import resize_image
from melascope.data.sources.phantom.lesions import images
from melascope.data.sources.phantom.render import render
from melascope.evaluation.likeness import Likeness
from melascope.evaluation.operating_point import OperatingPoint
from melascope.stages.answering import Answerer
from melascope.stages.looking import Looker
from melascope.tables.cell_places import EVEN
from melascope.tables.likeness import LikenessStore
from melascope.tables.map_scores import Sanity
from melascope.tables.runs import CheckpointCard, RunDirectory

WIDTH, HEIGHT = 48, 36
THRESHOLD = 0.2
HOSTILE = "<img src=x onerror=alert(1)>"
HOSTILE_WORDS = tuple(f"{word}{number}" for number in range(4) for word in (*WORDS, "a\r\nSet-Cookie: x=1"))
"""A hundred tries to run something, and four to set a header."""

CARD = CheckpointCard(
    weights="w", weights_sha256="a" * 64, backbone="set", dropout=0, drop_path=0, class_order=CLASSES,
    input_width=WIDTH, input_height=HEIGHT, mean=(0.5,) * 3, std=(0.2,) * 3, epoch=1, step=1, figures={}, recipe={},
    source="phantom", dataset_fingerprint="", split_sha256="",
)  # fmt: skip
SANITY = Sanity(False, "SANITY GATE FAILED: these maps were drawn.")
POINT = OperatingPoint(
    target=("mel",), threshold=THRESHOLD, rule="empirical", target_sensitivity=0.9, sensitivity=0.9, specificity=0.7,
    lesion_sensitivity=0.9, lesion_sensitivity_lower_bound=0.6, n_images=40, n_lesions=30, n_target_images=12,
    n_target_lesions=10,
)  # fmt: skip
PAGE_POLICY = "default-src 'none'; style-src 'sha256-abc'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Seen:
    logits: np.ndarray
    features: np.ndarray
    maps: np.ndarray


def look(pixels: np.ndarray) -> Seen:
    """The redder a picture, the more of a melanoma; its map is set: all evidence in the upper left cell."""
    means = pixels.reshape(len(pixels), -1, 3).mean(axis=1) / 255
    logits = np.zeros((len(pixels), len(CLASSES)), np.float32)
    logits[:, CLASSES.index("mel")] = 40 * (means[:, 0] - means[:, 1] - 0.2)
    logits[:, CLASSES.index("nv")] = 0.5
    maps = np.full((len(pixels), len(CLASSES), 3, 4), -0.1, np.float32)
    maps[:, CLASSES.index("mel"), 0, 0] = 1
    maps[:, CLASSES.index("nv"), 2, 3] = 0.5
    return Seen(logits, np.concatenate([means, 1 - means], axis=1).astype(np.float32), maps)


@dataclass(frozen=True)
class World:
    """Pictures (450, 600, 3) of training and of validation, and the answerer that was fitted to them."""

    train: list[np.ndarray]
    validation: list[np.ndarray]
    answerer: Answerer


def as_bytes(rgb: np.ndarray, form: str = "JPEG", **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, form, **options)
    return stream.getvalue()


def build_world(root: Path) -> World:
    """Draw, fit, and lay down what a run has of a gallery."""
    (root / "gallery").mkdir(parents=True)
    (root / "gallery/index.html").write_text(
        f'<!doctype html><html lang="en"><meta http-equiv="Content-Security-Policy" content="{PAGE_POLICY}">'
        "<title>g</title><h1>The gallery</h1>"
    )
    (root / "gallery/foreign.html").write_text("<script>alert(1)</script>")
    (root / "run.json").write_text("{}")
    pictures = [render(5, image, lesion)[0] for image, lesion in images(5, 24)]
    train, validation = pictures[:16], pictures[16:]
    small = np.stack([resize_image(one, WIDTH, HEIGHT) for one in pictures])
    fitted = Likeness.fit(appearance(small[:16]), appearance(small[16:]))
    seen = look(small[16:])
    jpegs = [as_bytes(one) for one in small[16:]]
    words = np.array([f"{HOSTILE}{row}" for row in range(8)], dtype=object)
    store = LikenessStore(
        appearance_mean=fitted.mean, appearance_scale=fitted.scale, points=fitted.points, group=fitted.group,
        unit=fitted.unit, limit=fitted.limit, kept=fitted.kept, n_train=16, n_train_lesions=12, n_target=2,
        n_target_refused=0, rule="r", checkpoint_sha256=CARD.weights_sha256, image_id=words, lesion_id=words,
        dx=np.array(["mel", *["nv"] * 7], dtype=object), dx_type=np.array(["histo"] * 8, dtype=object),
        strangeness=fitted.ascending, probabilities=np.full((8, 7), 1 / 7),
        embedding=(seen.features / np.linalg.norm(seen.features, axis=1, keepdims=True)).astype(np.float16),
        thumbnail_end=np.cumsum([len(one) for one in jpegs]), thumbnails=np.frombuffer(b"".join(jpegs), np.uint8),
    )  # fmt: skip
    looker = Looker("set", CARD, "gradcam", "last", "logit per cell", EVEN, look)
    answerer = Answerer(RunDirectory(root), "phantom", looker, SANITY, POINT, store, fitted, threading.Lock())
    return World(train, validation, answerer)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict:
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    """A running server."""

    port: int

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body=None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=named)
        response = connection.getresponse()
        reply = Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        return reply


@contextmanager
def serving(answerer: Answerer, **options) -> Iterator[Served]:
    """A server in a thread, on a port that is free."""
    listener = listening("127.0.0.1", 0)
    server = server_of(create_app(answerer, **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < end, "the server does not start"
        time.sleep(0.01)
    try:
        yield Served(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()

"""What does a run look like that `melascope serve` opens, with a graph so small that the network takes no time?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from melascope.data.appearance import RULE, appearance
from melascope.data.pixels import resize_image
from melascope.data.sources.phantom.lesions import images
from melascope.data.sources.phantom.render import render
from melascope.evaluation.likeness import Likeness
from melascope.evaluation.operating_point import OperatingPoint
from melascope.files import make_folder, sha256_bytes, write_json
from melascope.models.export import write_onnx
from melascope.tables.likeness import LikenessStore
from melascope.tables.runs import RunDirectory
from served_page import as_bytes
from tiny_graph import CARD, CHECKPOINT, graph

SEED, N_TRAIN, N_ALL = 5, 16, 24


def pictures() -> list[np.ndarray]:
    """24 phantom images (450, 600, 3): the first 16 are those of training, the others of validation."""
    return [render(SEED, image, lesion)[0] for image, lesion in images(SEED, N_ALL)]


def write_tiny_run(root: Path, drawn: list[np.ndarray] | None = None) -> RunDirectory:
    """A run of the two convolutions of `tiny_graph`: card, graph, operating point and test of likeness."""
    run, weights = RunDirectory(make_folder(root)), b"in the graph alone"
    for folder in (run.checkpoints, run.export):
        make_folder(folder)
    (run.checkpoints / "tiny.safetensors").write_bytes(weights)
    card = CHECKPOINT.model_copy(update={"weights": "tiny.safetensors", "weights_sha256": sha256_bytes(weights)})
    point = OperatingPoint(
        target=("mel",), threshold=0.14, rule="empirical", target_sensitivity=0.9, sensitivity=0.9, specificity=0.7,
        lesion_sensitivity=0.9, lesion_sensitivity_lower_bound=0.6, n_images=40, n_lesions=30, n_target_images=12,
        n_target_lesions=10, temperature=card.temperature, checkpoint_sha256=card.weights_sha256,
    )  # fmt: skip
    write_json(run.facts, {"status": "complete", "source": "phantom", "data": "drawn"})
    write_json(run.checkpoints / "best.json", card.model_dump(mode="json"))
    write_json(run.operating_point, point.as_json())
    exported = CARD.model_copy(update={"checkpoint": card, "operating_point": point.as_json(), "run": run.name})
    write_onnx(graph(), exported, run.export / "model.onnx")
    _store(drawn or pictures(), card).write(run.likeness)
    return run


def _store(drawn: list[np.ndarray], card) -> LikenessStore:
    small = np.stack([resize_image(one, card.input_width, card.input_height) for one in drawn])
    fitted = Likeness.fit(appearance(small[:N_TRAIN]), appearance(small[N_TRAIN:]))
    jpegs, n = [as_bytes(one) for one in small[N_TRAIN:]], N_ALL - N_TRAIN
    names = np.array([f"phantom_{row}" for row in range(n)], dtype=object)
    return LikenessStore(
        appearance_mean=fitted.mean, appearance_scale=fitted.scale, points=fitted.points, group=fitted.group,
        unit=fitted.unit, limit=fitted.limit, kept=fitted.kept, n_train=N_TRAIN, n_train_lesions=12, n_target=2,
        n_target_refused=0, rule=RULE, checkpoint_sha256=card.weights_sha256, image_id=names, lesion_id=names,
        dx=np.array(["nv"] * n, dtype=object), dx_type=np.array(["histo"] * n, dtype=object),
        strangeness=fitted.ascending, probabilities=np.full((n, 7), 1 / 7),
        embedding=np.full((n, 6), 6**-0.5, np.float16), thumbnail_end=np.cumsum([len(one) for one in jpegs]),
        thumbnails=np.frombuffer(b"".join(jpegs), np.uint8),
    )  # fmt: skip

"""Which libraries run an exported graph, and how is each told its threads and its precision?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from melascope.errors import ExportError
from melascope.tables.exports import KEY

PIXELS = "pixels"

Run = Callable[[np.ndarray, Sequence[str]], list[np.ndarray]]
"""Takes pixels (n, height, width, 3) uint8 and the names of the outputs that are wanted."""


@dataclass(frozen=True)
class Loaded:
    """A graph in memory: how it is run, and the text of its card (None where it carries none)."""

    run: Run
    card_text: str | None


@dataclass(frozen=True)
class Backend:
    """A library that runs graphs.

    Parameters
    ----------
    endings : of the files that it reads
    precisions : that it can compute in, the first by default
    load : (file, threads or 0 for all cores, precision; key of the card in its metadata) -> graph
    """

    endings: tuple[str, ...]
    precisions: tuple[str, ...]
    load: Callable[..., Loaded]


def _onnxruntime(path: Path, threads: int, _precision: str, *, key: str = KEY) -> Loaded:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other work on the machine goes on
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])

    def run(pixels: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        return session.run(list(outputs), {PIXELS: pixels})

    return Loaded(run, session.get_modelmeta().custom_metadata_map.get(key))


def silent_openvino(path: Path) -> ModuleType:
    """The module `openvino`, which then counts nothing in the home folder and sends nothing to its makers.

    Left to itself it does both when it is imported (package openvino_telemetry); without that package it does neither,
    so it is kept from finding it.

    Raises
    ------
    ExportError : it is not installed; `path` is the file that needs it.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # importing it is an ImportError now
    try:
        import openvino
    except ImportError as error:
        raise ExportError(
            "OpenVINO is not installed.", where=path, fix="pip install 'melascope[openvino]', or use the .onnx file"
        ) from error
    return openvino


def _openvino(path: Path, threads: int, precision: str, *, key: str = KEY) -> Loaded:
    core = silent_openvino(path).Core()
    model = core.read_model(path)
    hints = {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(model, "CPU", hints | ({"INFERENCE_NUM_THREADS": threads} if threads else {}))
    request = compiled.create_infer_request()

    def run(pixels: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        request.infer({PIXELS: pixels})
        return [np.array(request.get_tensor(name).data) for name in outputs]

    return Loaded(run, model.get_rt_info([key]).astype(str) if model.has_rt_info([key]) else None)


BACKENDS: dict[str, Backend] = {
    "onnxruntime": Backend((".onnx",), ("float32",), _onnxruntime),
    "openvino": Backend((".xml",), ("float32", "bfloat16"), _openvino),
}
"""By name; one row adds a library. The first that reads a file's ending is taken."""

"""How does an exported graph become OpenVINO's, or one of 8-bit numbers, with its card still inside?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from melascope.errors import ExportError
from melascope.files import atomic_path, write_bytes
from melascope.inference.backends import PIXELS, silent_openvino
from melascope.inference.session import MAPS, Session
from melascope.tables.exports import KEY, ExportCard


def write_openvino(onnx: Path, card: ExportCard, path: Path, *, half: bool = False) -> tuple[Path, Path]:
    """Write OpenVINO's two files from an ONNX graph: `<name>.bin` with the weights, and last `<name>.xml`.

    Parameters
    ----------
    half : keep the weights as float16; they are widened again when the graph is loaded

    Raises
    ------
    ExportError : OpenVINO is not installed, or cannot translate the graph.
    """
    openvino = silent_openvino(path)
    try:
        model = openvino.convert_model(onnx)
    except Exception as error:  # of its own family, whatever it cannot follow
        raise ExportError(f"OpenVINO cannot translate the graph ({str(error)[:200]}).", where=onnx) from error
    model.set_rt_info(card.as_text(), [KEY])
    weights = path.with_suffix(".bin")
    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(model, Path(folder) / path.name, compress_to_fp16=half)
        for target in (weights, path):
            write_bytes(target, (Path(folder) / target.name).read_bytes())
    return path, weights


def write_int8(onnx: Path, card: ExportCard, path: Path, pixels: Iterable[np.ndarray]) -> Path:
    """Write a graph whose convolutions compute in 8 bits, scaled by what `pixels` make of each activation.

    Weights are scaled a channel at a time, activations a tensor at a time; the first convolution, which reads pixels,
    the last linear layer and the maps stay as they are.
    Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", CVPR
    2018, eq. 1.

    Parameters
    ----------
    pixels : batches (n, input_height, input_width, 3) uint8 of training images
    """
    try:
        import onnx as onnx_format
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise ExportError("The package onnx is not installed.", fix="pip install 'melascope[train]'") from error

    class Batches(CalibrationDataReader):
        def __init__(self) -> None:
            self._batches: Iterator[np.ndarray] = iter(pixels)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._batches, None)
            return None if batch is None else {PIXELS: batch}

    with tempfile.TemporaryDirectory() as folder, atomic_path(path) as temporary:
        prepared, quantised = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(onnx, prepared, skip_symbolic_shape=True)
        convolutions = [node.name for node in onnx_format.load(prepared).graph.node if node.op_type == "Conv"]
        quantize_static(
            prepared,
            quantised,
            Batches(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=convolutions[1:],
        )
        graph = onnx_format.load(quantised)
        del graph.metadata_props[:]
        entry = graph.metadata_props.add()
        entry.key, entry.value = KEY, card.as_text()
        onnx_format.save(graph, temporary)
    return path


def largest_difference(one: Session, other: Session, pixels: np.ndarray) -> dict[str, float]:
    """Largest absolute difference of two graphs' logits and maps on the same pixels."""
    first, second = one(pixels), other(pixels)
    found = {"logits": float(np.abs(first.logits - second.logits).max())}
    if first.maps is not None and second.maps is not None:
        found[MAPS] = float(np.abs(first.maps - second.maps).max())
    return found

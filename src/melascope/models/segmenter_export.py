"""How does a trained segmenter become one ONNX file that holds its preprocessing, half-precision weights and facts?"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from melascope.errors import ExportError
from melascope.files import atomic_path
from melascope.models.export import INPUT, OPSET
from melascope.models.segmenter import PixelsToLesion
from melascope.tables.segmenters import KEY, SegmenterCard

LESION = "lesion"
_SMALL = 256
"""Tensors with fewer numbers stay as they are: they hold scales and biases, and weigh nothing."""


def write_segmenter(graph: PixelsToLesion, card: SegmenterCard, path: Path) -> Path:
    """Write the graph for any number of pictures, its card among the metadata; whole, or not at all.

    Weights are kept as float16 where the card's precision says so, and widened when the graph is loaded: it computes
    in float32.

    Raises
    ------
    ExportError : torch cannot trace or translate the network.
    """
    example = torch.zeros((2, card.input_height, card.input_width, 3), dtype=torch.uint8)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter, about itself
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[LESION],
                dynamic_shapes={"pixels": {0: torch.export.Dim("batch", min=1)}},
            )
    except Exception as error:  # the exporter wraps whatever a network does that it cannot follow
        raise ExportError(f"The segmenter cannot be exported ({str(error).splitlines()[0][:200]}).") from error
    program.model.metadata_props[KEY] = card.as_text()
    with atomic_path(path) as temporary:
        program.save(str(temporary), external_data=False)
        if card.precision == "float16":
            halve_weights(temporary)
    return path


def restamp(path: Path, card: SegmenterCard) -> Path:
    """Put another card into a graph, whose weights stay."""
    import onnx

    model = onnx.load(path)
    for entry in model.metadata_props:
        if entry.key == KEY:
            entry.value = card.as_text()
    with atomic_path(path) as temporary:
        onnx.save(model, str(temporary))
    return path


def halve_weights(path: Path) -> None:
    """Keep weights as float16 with a cast behind each, which ONNX Runtime folds away at loading."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < _SMALL:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    for place, node in enumerate(casts):
        model.graph.node.insert(place, node)
    del model.graph.value_info[:]
    onnx.save(model, str(path))

"""How does a trained segmenter become one ONNX file that holds its preprocessing, half-precision weights and facts?"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from melascope.errors import ExportError
from melascope.files import atomic_path
from melascope.models.export import INPUT, OPSET, forget_origin, halve_weights, write_card
from melascope.models.segmenter import PixelsToLesion
from melascope.tables.segmenters import KEY, SegmenterCard

LESION = "lesion"


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
    forget_origin(program.model)
    program.model.metadata_props[KEY] = card.as_text()
    with atomic_path(path) as temporary:
        program.save(str(temporary), external_data=False)
        if card.precision == "float16":
            halve_weights(temporary)
    return path


def restamp(path: Path, card: SegmenterCard) -> Path:
    """Put another card into a graph, whose weights stay."""
    return write_card(path, path, KEY, card.as_text())

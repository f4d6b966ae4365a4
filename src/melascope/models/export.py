"""How does a network become one graph that takes pixels and gives logits, features and the maps of all classes?"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from melascope.errors import ExportError
from melascope.files import atomic_path
from melascope.models.augment import normalise
from melascope.models.views import mean_logits
from melascope.tables.exports import KEY, ExportCard

OPSET = 20
_SMALL = 256
"""Tensors with fewer numbers stay as they are when others are halved, as do scales and biases: they weigh nothing."""
INPUT, OUTPUTS = "pixels", ("logits", "features", "maps")

MapsFromHead = Callable[[Tensor, Tensor], Tensor]
"""Activations (B, C, h, w) and the linear layer's weight (K, C) -> maps (B, K, h, w)."""


class PixelsToMaps(nn.Module):
    """A network with its preprocessing before it and the closed form of its maps behind it.

    Parameters
    ----------
    network : (B, 3, H, W) -> (B, 7)
    mean, std : of each channel, for pixels in [0, 1]
    views : row of `models.views.VIEWS`
    head : name of the last linear layer
    layer : name of the layer that the maps look at; empty makes none
    maps : the closed form
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        views: str,
        head: str,
        layer: str = "",
        maps: MapsFromHead | None = None,
    ) -> None:
        super().__init__()
        self.network = network.eval()
        self.mean, self.std, self.views, self.head, self.layer, self.maps = mean, std, views, head, layer, maps
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(B, H, W, 3) uint8 -> logits (B, 7), features (B, C), and maps (B, 7, h, w) where a layer is named."""
        batch = normalise(pixels, self.mean, self.std)
        kept: dict[str, Tensor] = {}
        linear = self.network.get_submodule(self.head)
        with ExitStack() as hooks:
            hook = linear.register_forward_hook(lambda _module, inputs, _output: kept.update(features=inputs[0]))
            hooks.callback(hook.remove)
            if self.layer:
                module = self.network.get_submodule(self.layer)
                hook = module.register_forward_hook(lambda _module, _inputs, output: kept.update(layer=output))
                hooks.callback(hook.remove)
            logits = self.network(batch)
        if self.views != "one":
            logits = mean_logits(self.network, batch, self.views)
        maps = (self.maps(kept["layer"], linear.weight),) if self.layer else ()
        return logits, kept["features"], *maps


def write_onnx(graph: PixelsToMaps, card: ExportCard, path: Path) -> Path:
    """Write a graph for any number of images, with its card among the metadata; whole, or not at all.

    Raises
    ------
    ExportError : torch cannot trace or translate the network.
    """
    size = (card.checkpoint.input_height, card.checkpoint.input_width, 3)
    example = torch.zeros((2, *size), dtype=torch.uint8)
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
                output_names=list(OUTPUTS if graph.layer else OUTPUTS[:2]),
                dynamic_shapes={"pixels": {0: torch.export.Dim("batch", min=1)}},
            )
    except Exception as error:  # the exporter wraps whatever a network does that it cannot follow
        raise ExportError(
            f"The network {card.checkpoint.backbone} cannot be exported ({str(error).splitlines()[0][:200]}).",
            where=card.run,
            fix="use it through torch, or choose another backbone",
        ) from error
    forget_origin(program.model)
    program.model.metadata_props[KEY] = card.as_text()
    with atomic_path(path) as temporary:
        program.save(str(temporary), external_data=False)
    return path


def forget_origin(model) -> None:
    """Take out what the exporter wrote at each node: stack traces, with the paths of the machine that exported."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()


def write_card(source: Path, path: Path, key: str, text: str) -> Path:
    """Write a graph again with another card among its metadata; whole, or not at all."""
    import onnx

    model = onnx.load(source)
    for entry in model.metadata_props:
        if entry.key == key:
            entry.value = text
    with atomic_path(path) as temporary:
        onnx.save(model, str(temporary))
    return path


def write_halved(source: Path, card: ExportCard, path: Path) -> Path:
    """Write a graph again with float16 weights; it computes in float32."""
    with atomic_path(path) as temporary:
        write_card(source, temporary, KEY, card.model_copy(update={"weights_kept": "float16"}).as_text())
        halve_weights(temporary)
    return path


def halve_weights(path: Path) -> None:
    """Keep weights as float16 with a cast behind each, which ONNX Runtime folds away at loading."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2 or np.prod(tensor.dims) < _SMALL:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    for place, node in enumerate(casts):
        model.graph.node.insert(place, node)
    del model.graph.value_info[:]
    onnx.save(model, str(path))

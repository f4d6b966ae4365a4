"""How does a network become one graph that takes pixels and gives logits, features and the maps of all classes?"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor, nn

from melascope.errors import ExportError
from melascope.files import atomic_path
from melascope.models.augment import normalise
from melascope.models.views import mean_logits
from melascope.tables.exports import KEY, ExportCard

OPSET = 20
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
    program.model.metadata_props[KEY] = card.as_text()
    with atomic_path(path) as temporary:
        program.save(str(temporary), external_data=False)
    return path

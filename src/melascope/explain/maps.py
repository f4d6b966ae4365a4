"""Which cells of a layer spoke for or against each class, for any torch classifier, from one forward pass?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from melascope.classes import CLASSES
from melascope.errors import ExplainError
from melascope.explain.layers import (
    checked_layer,
    evaluation_mode,
    forward_hook,
    last_before_pooling,
    logit_layer,
    trace,
)
from melascope.explain.methods import METHODS
from melascope.models.augment import normalise
from melascope.tables.maps import MapStore

CLOSED_FORM, AUTOGRAD = "closed form", "autograd"
_PROBE_SIZE = (96, 128)  # not square, so that rows and columns cannot be confused unnoticed


class MapEngine:
    """Logits and signed maps of every class, for any torch classifier.

    The engine runs the model as for prediction (every module in evaluation mode, put back afterwards) and leaves no
    hook, gradient or graph behind. It reads the weights anew in every call; where their *structure* changes, build
    another engine. Not for several threads at once on one model.

    Parameters
    ----------
    model : (B, 3, H, W) -> logits (B, K)
    method : row of `METHODS`
    layer : name among `model.named_modules()`; "auto" takes the last layer before pooling
    probe_size : (height, width) of the small random batch with which the engine is tested when built

    Attributes
    ----------
    layer : name of the layer in use
    path : "closed form" where only average pooling and one linear layer follow the layer (verified numerically when
        the engine is built), else "autograd": what follows the layer is differentiated once a class
    path_reason : why that path

    Raises
    ------
    ExplainError : unknown method or layer, or a model that is not supported (yet).

    Examples
    --------
    >>> engine = MapEngine(timm.create_model("resnet10t", num_classes=7))
    >>> logits, maps = engine(batch)  # (B, 3, H, W) -> (B, 7), (B, 7, h, w)
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        method: str = "gradcam",
        layer: str = "auto",
        probe_size: tuple[int, int] = _PROBE_SIZE,
    ) -> None:
        if method not in METHODS:
            raise ExplainError(f"There is no map method {method!r}.", expected=f"one of {', '.join(METHODS)}")
        self.model, self.method = model, method
        self._rule = METHODS[method]
        probe = self._probe(probe_size)
        steps = trace(model, probe)
        self.layer = (
            last_before_pooling(steps, probe_size) if layer == "auto" else checked_layer(steps, layer, probe_size)
        )
        self._module = model.get_submodule(self.layer)
        self._head = logit_layer(steps)
        shape = next(step.shape for step in steps if step.name == self.layer)
        doubt = self._doubt_of_closed_form(probe, shape)
        self.path = AUTOGRAD if doubt else CLOSED_FORM
        self.path_reason = doubt or "average pooling and one linear layer follow: verified against autograd"

    def __repr__(self) -> str:
        return f"MapEngine(method={self.method!r}, layer={self.layer!r}, path={self.path!r}: {self.path_reason})"

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Explain a batch.

        Parameters
        ----------
        batch : (B, 3, H, W), normalised as the model expects, of the model's dtype and on its device

        Returns
        -------
        logits : (B, K)
        maps : (B, K, h, w), signed, in logit units: positive cells raise the class's logit. Where the path is the
            closed form, the cells of a map add up to the logit minus its bias. Both on the model's device, no graph.
        """
        self._check(batch)
        logits, maps = self._closed_form(batch) if self.path == CLOSED_FORM else self._autograd(batch)
        if not (torch.isfinite(logits).all() and torch.isfinite(maps).all()):
            raise ExplainError("The model's logits or maps are not finite.", fix="check its weights and its input")
        return logits, maps

    def _check(self, batch: Tensor) -> None:
        place = self.place()
        found = ""
        if not isinstance(batch, Tensor):
            found = f"The batch is a {type(batch).__name__}."
        elif batch.ndim != 4 or batch.shape[1] != 3 or 0 in batch.shape:
            found = f"The batch has shape {tuple(batch.shape)}."
        elif (batch.dtype, batch.device) != (place.dtype, place.device):
            found = f"The batch is {batch.dtype} on {batch.device}, the model {place.dtype} on {place.device}."
        elif not torch.isfinite(batch).all():
            found = "The batch holds values that are not finite."
        if found:
            raise ExplainError(
                found, expected="a finite tensor (B, 3, H, W), of the dtype and on the device of the model"
            )

    def place(self) -> Tensor:
        """A tensor of the dtype and on the device that the model computes with."""
        return next((weight for weight in self.model.parameters() if weight.is_floating_point()), torch.empty(0))

    def _probe(self, size: tuple[int, int]) -> Tensor:
        place = self.place()
        noise = torch.randn((2, 3, *size), generator=torch.Generator().manual_seed(0))
        return noise.to(device=place.device, dtype=place.dtype)

    def _closed_form(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the layer's output of a plain forward pass, and weight it by the linear layer's rows."""
        kept: list[Tensor] = []

        def keep(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
            kept.append(output)

        with torch.no_grad(), evaluation_mode(self.model), forward_hook(self._module, keep):
            logits = self.model(batch)
            return logits, self._rule.from_linear_head(kept[0], self._head.weight)

    def _autograd(self, batch: Tensor, activations: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run once, begin the graph at the layer, and differentiate what follows it once a class.

        `activations` (B, C, h, w) take the place of the layer's output if given.
        """
        with torch.inference_mode(False), torch.enable_grad():  # whatever the caller is in
            logits, leaf = self._forward_from_leaf(batch, activations)
            weighted = leaf.detach()
            n_classes = logits.shape[1]
            maps = []
            for k in range(n_classes):
                (gradients,) = torch.autograd.grad(
                    logits[:, k].sum(), leaf, retain_graph=k + 1 < n_classes, allow_unused=True
                )
                if gradients is None:
                    raise ExplainError(f"Logit {k} does not depend on the layer {self.layer!r}.")
                maps.append(self._rule.from_gradients(weighted, gradients))
            return logits.detach(), torch.stack(maps, dim=1)

    def _forward_from_leaf(self, batch: Tensor, activations: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits (B, K) with a graph that begins at the returned leaf (B, C, h, w): no memory is spent before it."""
        leaves: list[Tensor] = []

        def cut(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
            leaf = (output if activations is None else activations).detach().requires_grad_()
            leaves.append(leaf)
            torch.set_grad_enabled(True)  # `no_grad` below restores the caller's mode
            return leaf.clone()  # the network may go on in place

        with torch.no_grad(), evaluation_mode(self.model), forward_hook(self._module, cut):
            logits = self.model(batch)
        if not logits.requires_grad:
            raise ExplainError(f"The logits do not depend on the layer {self.layer!r}.")
        return logits, leaves[0]

    def _doubt_of_closed_form(self, probe: Tensor, shape: tuple[int, ...]) -> str:
        """Why the closed form does not hold for this model and layer; empty where it does.

        Compared on the probe as it is, and with noise of both signs in place of the layer's output: what is not
        linear after the layer (a ReLU, a norm, max pooling) cannot hide there.
        """
        if self._rule.from_linear_head is None:
            return f"{self.method} has no closed form"
        if self._head is None:
            return "the logits do not come straight from a linear layer"
        if shape[1] != self._head.in_features:
            return f"the layer has {shape[1]} channels, the last linear layer reads {self._head.in_features}"
        noise = 10 * torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(probe)
        with torch.no_grad():
            pairs = [
                (self._autograd(probe)[1], self._closed_form(probe)[1]),
                (self._autograd(probe, noise)[1], self._rule.from_linear_head(noise, self._head.weight)),
            ]
        tolerance = max(1e-5, 8 * torch.finfo(probe.dtype).eps)
        for expected, found in pairs:
            largest = expected.abs().max()
            if largest == 0:
                return "the maps of the probe are all zero, so that nothing could be verified"
            error = ((expected - found).abs().max() / largest).item()
            if not error <= tolerance:
                return f"it would differ from autograd by {error:.1g} of the largest value"
        return ""


def make_maps(
    engine: MapEngine,
    pixels: np.ndarray,
    image_ids: Sequence[str],
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    checkpoint_sha256: str,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> MapStore:
    """Maps of all seven classes for many images, in batches.

    Parameters
    ----------
    engine : of a model with the seven classes, in the order of `CLASSES`
    pixels : (n_images, height, width, 3) uint8, already of the size that the model sees; may be memory-mapped
    image_ids : n_images names
    mean, std : of each channel; the model sees (pixels / 255 - mean) / std, as in training and prediction
    checkpoint_sha256 : weights that the maps are of
    progress : called after each batch with the number of images done and of all

    Raises
    ------
    ExplainError : pixels of another shape or dtype, another number of ids, or a model of other classes.
    """
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8 or len(pixels) != len(image_ids):
        raise ExplainError(
            f"The pixels are {pixels.dtype} {pixels.shape}, for {len(image_ids)} image ids.",
            expected="uint8 (n_images, height, width, 3), and an id for each image",
        )
    if len(pixels) == 0:
        raise ExplainError("There is no image to explain.", expected="at least one")
    place, logits, maps = engine.place(), [], []
    for start in range(0, len(pixels), batch_size):
        batch = torch.from_numpy(np.array(pixels[start : start + batch_size])).to(place.device)
        found = engine(normalise(batch, mean, std).to(place.dtype))
        if found[0].shape[1] != len(CLASSES):
            raise ExplainError(
                f"The model has {found[0].shape[1]} classes.", expected=f"{len(CLASSES)}: {', '.join(CLASSES)}"
            )
        for kept, tensor in zip((logits, maps), found, strict=True):
            kept.append(tensor.float().cpu().numpy())
        if progress is not None:
            progress(start + len(batch), len(pixels))
    return MapStore(
        image_id=np.array(image_ids, dtype=object),
        logits=np.concatenate(logits),
        maps=np.concatenate(maps),
        method=engine.method,
        layer=engine.layer,
        input_width=pixels.shape[2],
        input_height=pixels.shape[1],
        checkpoint_sha256=checkpoint_sha256,
    )

"""Which cells of a layer spoke for or against each class, for any torch classifier, from one forward pass?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from melascope.classes import CLASSES
from melascope.errors import ExplainError
from melascope.explain.contrast import contrast_maps, highest_other
from melascope.explain.layers import Trace, checked_layer, last_grid, trace
from melascope.explain.methods import METHODS
from melascope.explain.methods.rows import ActivationMethod, ForwardMethod, InputMethod, Seen
from melascope.explain.receptive_fields import places_of_layer
from melascope.explain.running import (
    differentiable,
    each_gradient,
    fast_copy,
    input_gradients,
    run_and_keep,
    run_from_leaf,
    run_plainly,
)
from melascope.models.augment import normalise
from melascope.tables.cell_places import PIXELS, CellPlaces
from melascope.tables.maps import MapStore

CLOSED_FORM, AUTOGRAD, PASSES, INPUT_GRADIENTS = "closed form", "autograd", "forward passes", "input gradients"

INPUT = "input"
"""Stands for the layer where a method reads none."""


class MapEngine:
    """Logits and signed maps of every class, for any torch classifier.

    The engine runs the model as for prediction (every module in evaluation mode, put back afterwards) and leaves no
    hook, gradient or graph behind. It reads the weights anew in every call; where their *structure* changes, build
    another engine. Not for several threads at once on one model.

    Parameters
    ----------
    model : (B, 3, H, W) -> logits (B, K)
    method : row of `METHODS`
    layer : name among `model.named_modules()`, also as `blocks[4]`; "auto" takes the last layer that is laid over the
        image and still speaks to the logits, see `layers.last_grid`
    probe_size : (height, width) of the random batch with which the engine is tested when built; None tries a small one
        and then the size that the model names itself
    fast : work on a copy of the weights in bfloat16, channels last in memory, made now. For galleries, never for
        numbers that are reported: `precision` says so, and so does a `MapStore` made with it

    Attributes
    ----------
    layer : name of the layer in use, "input" where the method reads none
    path : "closed form" where only average pooling and one linear layer follow the layer (verified numerically when
        the engine is built); "autograd": what follows the layer is differentiated once a class; "forward passes" or
        "input gradients" for methods that need them
    path_reason : why that path
    precision : e.g. "float32", or "bfloat16, channels last"
    n_classes : K

    Raises
    ------
    ExplainError : unknown method or layer, or a model that the method has no meaning for.

    Examples
    --------
    >>> engine = MapEngine(timm.create_model("resnet10t", num_classes=7))
    >>> logits, maps = engine(batch)  # (B, 3, H, W) -> (B, 7), (B, 7, h, w)
    >>> logits, maps = engine(batch, classes=[4])  # (B, 7), (B, 1, h, w)
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        method: str = "gradcam",
        layer: str = "auto",
        probe_size: tuple[int, int] | None = None,
        fast: bool = False,
    ) -> None:
        if method not in METHODS:
            raise ExplainError(f"There is no map method {method!r}.", expected=f"one of {', '.join(METHODS)}")
        self.model, self.method, self.rule = model, method, METHODS[method]
        self._runner, self.precision, self._fast = model, str(self.place().dtype).removeprefix("torch."), False
        traced = trace(model, probe_size, self.place())
        self.n_classes = traced.n_classes
        self._choose_layer(traced, layer)
        self._places: dict[tuple[int, int], CellPlaces] = {}
        self._head = traced.logit_layer
        self.path, self.path_reason = self._chosen_path(traced)
        if fast:
            self._runner, self.precision, self._fast = fast_copy(model), "bfloat16, channels last", True

    def __repr__(self) -> str:
        return f"MapEngine(method={self.method!r}, layer={self.layer!r}, path={self.path!r}: {self.path_reason})"

    def __call__(self, batch: Tensor, *, classes: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Explain a batch.

        Parameters
        ----------
        batch : (B, 3, H, W), normalised as the model expects, of the model's dtype and on its device
        classes : columns whose maps are wanted, in this order; None takes all K

        Returns
        -------
        logits : (B, K)
        maps : (B, len(classes), h, w), in the method's unit; where the method is signed, positive cells raise the
            class's logit. Where the path is Grad-CAM's closed form, the cells of a map add up to the logit minus its
            bias. Both on the model's device, no graph.
        """
        self._check(batch)
        columns = self._columns(classes)
        if self._fast:
            batch = batch.to(dtype=torch.bfloat16, memory_format=torch.channels_last)
        way = {CLOSED_FORM: self._closed_form, AUTOGRAD: self._autograd, PASSES: self._passes}
        logits, maps = way.get(self.path, self._input_gradients)(batch, columns)
        if not (torch.isfinite(logits).all() and torch.isfinite(maps).all()):
            raise ExplainError("The model's logits or maps are not finite.", fix="check its weights and its input")
        return self._lifted(logits), maps

    def contrast(self, batch: Tensor, of: int, against: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Why `of` and not its rival, or the other way round: the map of the difference of two logits.

        Parameters
        ----------
        batch : (B, 3, H, W), as for a call
        of : column, e.g. that of melanoma
        against : column; None takes each image's highest other class, which is the predicted one unless `of` is

        Returns
        -------
        logits : (B, K)
        maps : (B, h, w), map of `of` minus map of its rival: positive cells speak for `of`, negative for the rival
        rivals : (B,) columns
        """
        if not self.rule.signed:
            signed = ", ".join(name for name, rule in METHODS.items() if rule.signed)
            raise ExplainError(
                f"{self.method} is not signed: the difference of two of its maps has no meaning.",
                expected=f"one of {signed}",
            )
        if against is not None:
            logits, maps = self(batch, classes=[of, against])
            return logits, maps[:, 0] - maps[:, 1], torch.full((len(batch),), against, device=logits.device)
        self._columns([of])
        logits, maps = self(batch)
        rivals = highest_other(logits, of)
        return logits, contrast_maps(maps, of, rivals), rivals

    def places(self, height: int, width: int) -> CellPlaces:
        """Where the cells of a map lie on pictures of this input size; worked out once for each size.

        What draws a map over a picture needs it: cells do not always lie side by side from edge to edge, see
        `receptive_fields`.
        """
        size = height, width
        if size not in self._places:
            self._places[size] = self._found_places(size)
        return self._places[size]

    def _found_places(self, size: tuple[int, int]) -> CellPlaces:
        if self.layer != INPUT:
            noise = torch.randn((1, 3, *size), generator=torch.Generator().manual_seed(0)).to(self.place())
            return places_of_layer(self.model, self.layer, self._grid, noise)
        side = self.rule.cell_side(*size)
        grid = tuple(-(-one // side) for one in size)
        return CellPlaces.of_pixels((side / 2, side / 2), (side, side), grid, size, PIXELS)

    def place(self) -> Tensor:
        """A tensor of the dtype and on the device that the model computes with."""
        return next((weight for weight in self.model.parameters() if weight.is_floating_point()), torch.empty(0))

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

    def _columns(self, classes: Sequence[int] | None) -> list[int]:
        columns = list(range(self.n_classes)) if classes is None else [int(column) for column in classes]
        if not columns or any(not 0 <= column < self.n_classes for column in columns):
            raise ExplainError(
                f"The classes are {columns}.", expected=f"columns of the logits, 0 … {self.n_classes - 1}"
            )
        return columns

    def _choose_layer(self, traced: Trace, layer: str) -> None:
        reads_layer = isinstance(self.rule, ActivationMethod) or getattr(self.rule, "reads_layer", False)
        if not reads_layer:
            if layer not in ("auto", INPUT):
                raise ExplainError(f"{self.method} looks at the input and at no layer.", where=f"layer={layer!r}")
            self.layer, self._grid = INPUT, None
            return
        self.layer = last_grid(self.model, traced) if layer == "auto" else checked_layer(self.model, traced, layer)
        self._grid = traced.step(self.layer).grid

    def _chosen_path(self, traced: Trace) -> tuple[str, str]:
        if isinstance(self.rule, InputMethod):
            return INPUT_GRADIENTS, "the method differentiates the whole network"
        if isinstance(self.rule, ForwardMethod):
            return PASSES, "the method asks for logits and activations only"
        self._refuse_unrectified(traced)
        doubt = self._doubt_of_closed_form(traced)
        if doubt:
            return AUTOGRAD, doubt
        return CLOSED_FORM, "average pooling and one linear layer follow: verified against autograd"

    def _refuse_unrectified(self, traced: Trace) -> None:
        """Raise where the equation assumes activations of 0 or more and the layer's are of both signs alike."""
        if not self.rule.needs_rectified:
            return
        activations = self._kept(traced.batch)[1]
        low, high = activations.min().item(), activations.max().item()
        if low < -high / 2:
            raise ExplainError(
                f"{self.method} has no meaning at {self.layer!r}: its activations go from {low:.2g} to {high:.2g}.",
                where=f"layer={self.layer!r}",
                expected="activations of 0 or more, as after a ReLU, which the equation assumes",
                fix="name a layer after an activation function, or use gradcam, hirescam or layercam",
            )

    def _module(self) -> nn.Module:
        return self._runner.get_submodule(self.layer)

    def _lifted(self, values: Tensor) -> Tensor:
        """Methods compute in float32 where the network did not."""
        return values.float() if self._fast else values

    def _kept(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K) and the layer's activations (B, C, h, w) of a plain forward pass."""
        logits, output = run_and_keep(self._runner, self._module(), batch)
        return logits, self._lifted(self._grid.cells(output, batch.shape[2:]))

    def _closed_form(self, batch: Tensor, columns: list[int]) -> tuple[Tensor, Tensor]:
        """Weight the layer's output of a plain forward pass by the linear layer's rows."""
        logits, activations = self._kept(batch)
        with torch.no_grad():
            return logits, self.rule.from_linear_head(activations, self._head.weight[columns])

    def _autograd(self, batch: Tensor, columns: list[int], replacement: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run once, begin the graph at the layer, and differentiate what follows it once a class.

        `replacement` takes the place of the layer's output if given.
        """
        with differentiable():
            logits, leaf = run_from_leaf(self._runner, self._module(), batch, replacement)
            if not logits.requires_grad:
                raise ExplainError(f"The logits do not depend on the layer {self.layer!r}.")
            activations = self._lifted(self._grid.cells(leaf.detach(), batch.shape[2:]))
            maps = []
            for column, gradients in zip(columns, each_gradient(logits, leaf, columns), strict=True):
                if gradients is None:
                    raise ExplainError(f"Logit {column} does not depend on the layer {self.layer!r}.")
                of_cells = self._lifted(self._grid.cells(gradients, batch.shape[2:]))
                maps.append(self.rule.from_gradients(activations, of_cells))
            return logits.detach(), torch.stack(maps, dim=1)

    def _passes(self, batch: Tensor, columns: list[int]) -> tuple[Tensor, Tensor]:
        """Let the method ask the model again, for logits alone."""
        if self.layer == INPUT:
            logits, activations = run_plainly(self._runner, batch), None
        else:
            logits, activations = self._kept(batch)

        def ask(inputs: Tensor) -> Tensor:
            return self._lifted(run_plainly(self._runner, inputs.to(batch))[:, columns])

        with torch.no_grad():
            maps = self.rule.from_forward(Seen(batch, self._lifted(logits[:, columns]), activations, ask))
        return logits, maps.expand(-1, len(columns), -1, -1)

    def _input_gradients(self, batch: Tensor, columns: list[int]) -> tuple[Tensor, Tensor]:
        """Let the method differentiate the whole network at inputs of its choice."""

        def gradients(inputs: Tensor) -> Tensor:
            return self._lifted(input_gradients(self._runner, inputs.to(batch), columns))

        with torch.no_grad():
            maps = self.rule.from_input_gradients(gradients, self._lifted(batch))
        return run_plainly(self._runner, batch), maps

    def _doubt_of_closed_form(self, traced: Trace) -> str:
        """Why the closed form does not hold for this model and layer; empty where it does.

        Compared on the probe as it is, and with noise of both signs in place of the layer's output: what is not
        linear after the layer (a ReLU, a norm, max pooling) cannot hide there.
        """
        step, probe, columns = traced.step(self.layer), traced.batch, list(range(self.n_classes))
        if self.rule.from_linear_head is None:
            return f"{self.method} has no closed form"
        if self._head is None:
            return "the logits do not come straight from a linear layer"
        if (found := self._grid.channels(step.shape)) != self._head.in_features:
            return f"the layer has {found} channels, the last linear layer reads {self._head.in_features}"
        noise = 10 * torch.randn(step.shape, generator=torch.Generator().manual_seed(1)).to(probe)
        with torch.no_grad():
            in_cells = self._grid.cells(noise, traced.input_size)
            pairs = [
                (self._autograd(probe, columns)[1], self._closed_form(probe, columns)[1]),
                (
                    self._autograd(probe, columns, noise)[1],
                    self.rule.from_linear_head(in_cells, self._head.weight),
                ),
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
    classes: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MapStore:
    """Maps of all seven classes, or of some, for many images, in batches.

    Parameters
    ----------
    engine : of a model with the seven classes, in the order of `CLASSES`
    pixels : (n_images, height, width, 3) uint8, already of the size that the model sees; may be memory-mapped
    image_ids : n_images names
    mean, std : of each channel; the model sees (pixels / 255 - mean) / std, as in training and prediction
    checkpoint_sha256 : weights that the maps are of
    classes : columns whose maps are wanted; None takes all seven
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
    if engine.n_classes != len(CLASSES):
        raise ExplainError(
            f"The model has {engine.n_classes} classes.", expected=f"{len(CLASSES)}: {', '.join(CLASSES)}"
        )
    place, logits, maps = engine.place(), [], []
    for start in range(0, len(pixels), batch_size):
        batch = torch.from_numpy(np.array(pixels[start : start + batch_size])).to(place.device)
        found = engine(normalise(batch, mean, std).to(place.dtype), classes=classes)
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
        classes=CLASSES if classes is None else tuple(CLASSES[column] for column in classes),
        unit=engine.rule.unit,
        resolution=engine.rule.resolution,
        signed=engine.rule.signed,
        per_class=engine.rule.per_class,
        precision=engine.precision,
        places=engine.places(*pixels.shape[1:3]),
    )

"""What may a map method ask of a network, and what does its map mean? The types of the rows of `METHODS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

LAYER_CELLS, INPUT_PIXELS = "the layer's cells", "the input's pixels"


@dataclass(frozen=True, kw_only=True)
class Method:
    """What every row says.

    Parameters
    ----------
    paper : source, with the equation
    unit : of one cell, as the colour bar names it
    resolution : what one cell of the map stands for
    signed : the map is linear in the logit, so that a negative cell speaks against the class, and the difference of two
        classes' maps is the map of the difference of their logits; where False, evidence against is left out by the
        method itself
    per_class : False where the method knows no class: the same map is given for each
    cell_side : (height, width) of the input -> pixels of a cell's side, of methods that read no layer
    """

    paper: str
    unit: str
    resolution: str = LAYER_CELLS
    signed: bool = True
    per_class: bool = True
    cell_side: Callable[[int, int], int] = lambda _height, _width: 1


@dataclass(frozen=True, kw_only=True)
class ActivationMethod(Method):
    """Needs the activations A of one layer and d logit / d A: one forward pass, the head differentiated once a class.

    Parameters
    ----------
    from_gradients : (activations (B, C, h, w), gradients of one class's logits (B, C, h, w)) -> map (B, h, w)
    from_linear_head : (activations (B, C, h, w), weight (K, C)) -> maps of all K classes (B, K, h, w), the same as
        `from_gradients` where only average pooling and one linear layer follow the activations;
        None where the method has no such closed form
    needs_rectified : the equation assumes activations of 0 or more, as after a ReLU
    """

    from_gradients: Callable[[Tensor, Tensor], Tensor]
    from_linear_head: Callable[[Tensor, Tensor], Tensor] | None = None
    needs_rectified: bool = False


@dataclass(frozen=True)
class Seen:
    """What one forward pass leaves to a method that asks the model again instead of differentiating it.

    Parameters
    ----------
    batch : (B, 3, H, W)
    logits : (B, k) of the classes asked for
    activations : (B, C, h, w) of the layer; None where the method reads none
    ask : (N, 3, H, W) -> logits (N, k) of those classes, without a graph
    """

    batch: Tensor
    logits: Tensor
    activations: Tensor | None
    ask: Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class ForwardMethod(Method):
    """Needs forward passes only; all classes come from the same passes.

    Parameters
    ----------
    from_forward : Seen -> maps (B, k, h, w), or (B, 1, h, w) where the method knows no class
    reads_layer : False where the method alters the input and reads logits alone, so that any classifier will do
    """

    from_forward: Callable[[Seen], Tensor]
    reads_layer: bool = True


@dataclass(frozen=True, kw_only=True)
class InputMethod(Method):
    """Needs d logit / d input, of several inputs: the whole network is differentiated once a class and input.

    Parameters
    ----------
    from_input_gradients : (gradients: (N, 3, H, W) -> (N, k, 3, H, W), batch (B, 3, H, W)) -> maps (B, k, H, W)
    """

    from_input_gradients: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]
    resolution: str = INPUT_PIXELS

"""Which methods turn activations and gradients into signed class maps?

A method is a small file beside this one and a row of `METHODS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from melascope.explain.methods import gradcam


@dataclass(frozen=True)
class ActivationMethod:
    """A method that weights the activations A of one layer: all it needs are A and d logit / d A.

    Parameters
    ----------
    paper : source, with the equation
    from_gradients : (activations (B, C, h, w), gradients of one class's logits (B, C, h, w)) -> signed map (B, h, w)
    from_linear_head : (activations (B, C, h, w), weight (K, C)) -> signed maps of all classes (B, K, h, w), the same
        as `from_gradients` where only average pooling and one linear layer follow the activations;
        None where the method has no such closed form
    """

    paper: str
    from_gradients: Callable[[Tensor, Tensor], Tensor]
    from_linear_head: Callable[[Tensor, Tensor], Tensor] | None = None


METHODS: dict[str, ActivationMethod] = {
    "gradcam": ActivationMethod(
        "Selvaraju et al. 2017, eq. 1 and the sum of eq. 2", gradcam.from_gradients, gradcam.from_linear_head
    ),
}

"""Which methods turn a network's activations, gradients or answers into maps?

A method is a small file beside this one and a row of `METHODS`; what it may ask of a network is in `rows`.
"""

from __future__ import annotations

from melascope.explain.methods import (
    eigencam,
    gradcam,
    gradcam_plus_plus,
    hirescam,
    integrated_gradients,
    layercam,
    occlusion,
    scorecam,
    smoothgrad,
)
from melascope.explain.methods.rows import ActivationMethod, ForwardMethod, InputMethod, Method

METHODS: dict[str, Method] = {
    "gradcam": ActivationMethod(
        paper="Selvaraju et al. 2017, eq. 1 and the sum of eq. 2",
        unit="logit per cell",
        from_gradients=gradcam.from_gradients,
        from_linear_head=gradcam.from_linear_head,
    ),
    "hirescam": ActivationMethod(
        paper="Draelos and Carin 2020, eq. 5",
        unit="logit per cell",
        from_gradients=hirescam.from_gradients,
        from_linear_head=gradcam.from_linear_head,  # the same there: one gradient for all cells of a channel
    ),
    "layercam": ActivationMethod(
        paper="Jiang et al. 2021, eq. 5 and the sum of eq. 6",
        unit="logit per cell",
        signed=False,
        from_gradients=layercam.from_gradients,
        from_linear_head=layercam.from_linear_head,
    ),
    "gradcam++": ActivationMethod(
        paper="Chattopadhay et al. 2018, eq. 19 and 5, without the factor exp(logit)",
        unit="weighted activation",
        signed=False,
        from_gradients=gradcam_plus_plus.from_gradients,
        from_linear_head=gradcam_plus_plus.from_linear_head,
        needs_rectified=True,
    ),
    "scorecam": ForwardMethod(
        paper="Wang et al. 2020, algorithm 1",
        unit="weighted activation",
        signed=False,
        from_forward=scorecam.from_forward,
    ),
    "eigencam": ForwardMethod(
        paper="Muhammad and Yeasin 2020, eq. 4-5",
        unit="activation",
        signed=False,
        per_class=False,
        from_forward=eigencam.from_forward,
    ),
    "integrated_gradients": InputMethod(
        paper="Sundararajan, Taly and Yan 2017, eq. 1 and 3",
        unit="logit per pixel",
        from_input_gradients=integrated_gradients.from_input_gradients,
    ),
    "smoothgrad": InputMethod(
        paper="Smilkov et al. 2017, section 3, with the sign kept",
        unit="logit per unit of input",
        from_input_gradients=smoothgrad.from_input_gradients,
    ),
    "occlusion": ForwardMethod(
        paper="Zeiler and Fergus 2014, section 4.2",
        unit="logit",
        resolution=f"the mean of windows of {occlusion.WINDOW}×{occlusion.WINDOW} cells",
        from_forward=occlusion.from_forward,
        reads_layer=False,
        cell_side=occlusion.cell_side,
    ),
}

"""Writes `reference.npz`: what pytorch-grad-cam and Captum say of the reference network.

    pip install grad-cam captum        # into a venv of its own, beside torch
    python tests/explain/methods/make_reference.py

Made with grad-cam 1.5.7 and captum 0.9.0.
"""

from pathlib import Path

import numpy as np
import torch
from captum.attr import IntegratedGradients, Occlusion
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from reference_network import CLASSES, reference_batch, reference_network

CAMS = {"gradcam": GradCAM, "hirescam": HiResCAM, "layercam": LayerCAM, "gradcam++": GradCAMPlusPlus}
LAYERS = {"last": 3, "earlier": 1}


def main() -> None:
    network, wide, square = reference_network(), reference_batch(20, 28), reference_batch(42, 42)
    found = {}
    for name, cam in CAMS.items():
        for place, index in LAYERS.items():
            with cam(model=network, target_layers=[network[index]]) as explain:
                maps = [explain(wide, [ClassifierOutputTarget(k)] * 2) for k in range(CLASSES)]
            found[f"{name} {place}"] = np.stack(maps, axis=1).astype(np.float32)
    integrated, occluded = IntegratedGradients(network), Occlusion(network)
    with torch.no_grad():
        found["integrated_gradients"] = np.stack(
            [integrated.attribute(wide, target=k, n_steps=32, method="riemann_middle").sum(1) for k in range(CLASSES)],
            1,
        ).astype(np.float32)
        found["occlusion"] = np.stack(
            [
                occluded.attribute(square, (3, 9, 9), strides=(3, 3, 3), target=k)[:, 0, ::3, ::3]
                for k in range(CLASSES)
            ],
            axis=1,
        ).astype(np.float32)
    np.savez_compressed(Path(__file__).with_name("reference.npz"), **found)


if __name__ == "__main__":
    main()

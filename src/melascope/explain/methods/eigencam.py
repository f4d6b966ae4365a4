"""What does Eigen-CAM say: where is the layer's strongest pattern, whatever class it may serve?

Muhammad and Yeasin, "Eigen-CAM", IJCNN 2020: A (h w, C) = U Sigma V^T, map = A V_1, the projection of each cell on the
first right singular vector. It knows no class and no sign: V_1 is turned so that the map's sum is not negative. As in
the paper the activations are not centred (pytorch-grad-cam subtracts their mean first).
"""

from __future__ import annotations

import torch
from torch import Tensor

from melascope.explain.methods.rows import Seen


def from_forward(seen: Seen) -> Tensor:
    """Eigen-CAM: activations (B, C, h, w) -> (B, 1, h, w), one map for all classes."""
    cells = seen.activations.flatten(2).transpose(1, 2).float()
    directions = torch.linalg.svd(cells, full_matrices=False).Vh[:, 0]
    maps = torch.einsum("bnc,bc->bn", cells, directions)
    maps = maps * torch.where(maps.sum(1, keepdim=True) < 0, -1.0, 1.0)
    return maps.unflatten(1, seen.activations.shape[2:])[:, None].to(seen.activations.dtype)

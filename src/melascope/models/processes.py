"""On which device, and in how many processes, does a training run; and what do the processes share?

One process without any flag; several under `torchrun` or `srun`, which tell each one its rank (docs/training.md).
"""

from __future__ import annotations

import os

import numpy as np
import torch
from lightning.fabric import Fabric
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.distributed.nn.functional import all_reduce

from melascope.errors import RecipeError


def n_processes() -> tuple[int, int]:
    """Processes on this node, and nodes: as torchrun or SLURM told, else one of each."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        here, everywhere = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        return here, everywhere // here
    if int(os.environ.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in os.environ:
        nodes = int(os.environ.get("SLURM_NNODES", 1))
        return int(os.environ["SLURM_NTASKS"]) // nodes, nodes
    return 1, 1


def open_fabric(accelerator: str, precision: str) -> Fabric:
    """The device that was asked for, or a refusal; never another one, nor another precision."""
    here, nodes = n_processes()
    several = {"devices": here, "num_nodes": nodes, "strategy": "ddp"} if here * nodes > 1 else {"devices": 1}
    try:
        fabric = Fabric(accelerator=accelerator, precision=precision, **several)
        fabric.launch()
    except (RuntimeError, ValueError, ImportError) as error:  # Fabric's answers to an absent or unknown device
        raise RecipeError(
            f"The device {accelerator!r} cannot be used ({error})", where="--device", expected="auto, cpu, cuda or mps"
        ) from error
    if precision == "16-mixed" and fabric.device.type == "cpu":  # Fabric would take bf16-mixed instead
        raise RecipeError("A CPU does not train in 16-mixed.", where="train.precision", expected="32-true, bf16-mixed")
    return fabric


def share_of(n: int, fabric: Fabric) -> np.ndarray:
    """Which of `n` images of a batch lie in this process: every world_size-th."""
    return np.arange(fabric.global_rank, n, fabric.world_size)


def summed(value: torch.Tensor, fabric: Fabric) -> torch.Tensor:
    """The sum over all processes; the value itself where there is one."""
    return fabric.all_reduce(value, reduce_op="sum") if fabric.world_size > 1 else value


def gathered(values: np.ndarray, n: int, fabric: Fabric) -> np.ndarray:
    """Rows (n, k) in order, of which each process brings its `share_of(n)`."""
    if fabric.world_size == 1:
        return values
    size = -(-n // fabric.world_size)
    padded = torch.zeros(size, values.shape[1], device=fabric.device)
    padded[: len(values)] = torch.from_numpy(values).to(fabric.device)
    everywhere = fabric.all_gather(padded).transpose(0, 1)  # (size, world_size, k): back in turn
    return everywhere.reshape(-1, values.shape[1])[:n].cpu().numpy()


def share_statistics(network: nn.Module, fabric: Fabric) -> nn.Module:
    """Let BatchNorm see the whole batch, not this process's part; torch's own way on a GPU, ours on a CPU."""
    if fabric.world_size == 1:
        return network
    if fabric.device.type == "cuda":
        return convert_sync_batchnorm(network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = type("Shared", (_SharedStatistics, type(module)), {})
    return network


class _SharedStatistics:
    """Mixed into a BatchNorm2d (or timm's one with an activation): mean and variance over all processes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        sums = torch.cat([x.sum((0, 2, 3)), x.square().sum((0, 2, 3)), x.new_tensor([x[:, 0].numel()])])
        sums = all_reduce(sums)  # carries gradients
        n, channels = sums[-1], x.shape[1]
        mean = sums[:channels] / n
        variance = sums[channels : 2 * channels] / n - mean.square()
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * n / (n - 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        x = x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]
        return self.act(self.drop(x)) if hasattr(self, "act") else x

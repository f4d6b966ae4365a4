"""How are weights saved so that a reader finds the old ones or the new ones, whole, and never runs foreign code?"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save
from torch import nn

from melascope.errors import CheckpointError
from melascope.files import sha256_bytes, write_bytes, write_json
from melascope.tables.runs import CheckpointCard, verified

_SCALER, _UNAVERAGED = "scaler", "unaveraged"


class Scaler(Protocol):
    """What keeps 16-bit gradients in range: Fabric's precision, or torch's `GradScaler`; empty where none is needed."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


def save_checkpoint(
    folder: Path,
    which: str,
    network: nn.Module,
    card: dict[str, Any],
    *,
    optimizer: torch.optim.Optimizer | None = None,
    scaler: Scaler | None = None,
    unaveraged: nn.Module | None = None,
) -> CheckpointCard:
    """Write `<which>.json` and the safetensors files it names; with an optimizer, training can go on from them.

    Where `network` is an average of weights over steps, `unaveraged` is the network that is trained.

    Tensors are written first, under names that hold their digest; then the card is replaced in one step; then
    the files that no card names any more are removed. A kill at any moment leaves a checkpoint that loads.
    """
    files = {"weights": _tensors_of(network.state_dict())}
    if optimizer is not None:
        files["training_state"] = _tensors_of(_flat(optimizer, scaler, unaveraged))
    names: dict[str, str] = {}
    for role, tensors in files.items():
        data = save(tensors)
        digest = sha256_bytes(data)
        names |= {role: f"{which}-{role.replace('_', '-')}-{digest[:12]}.safetensors", f"{role}_sha256": digest}
        write_bytes(folder / names[role], data)
    complete = CheckpointCard(**names, **card)
    write_json(folder / f"{which}.json", complete.model_dump(mode="json"))
    keep = {complete.weights, complete.training_state}
    for path in folder.glob(f"{which}-*.safetensors"):
        if path.name not in keep:
            path.unlink()
    for path in folder.glob(f".{which}*.tmp-*"):  # half a file that a kill left behind
        path.unlink()
    return complete


def digest_of(network: nn.Module) -> str:
    """SHA-256 of a network's tensors, as they would be saved."""
    return sha256_bytes(save(_tensors_of(network.state_dict())))


def load_weights(network: nn.Module, path: Path) -> None:
    """Put verified weights into `network`; what does not fit is a `CheckpointError` that names the tensors."""
    try:
        network.load_state_dict(load_file(path))
    except Exception as error:  # safetensors and torch each raise their own for a foreign file
        raise CheckpointError(f"The weights do not fit the network: {str(error)[:300]}", where=path) from error


def load_training_state(
    folder: Path,
    card: CheckpointCard,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    scaler: Scaler | None = None,
    average: nn.Module | None = None,
) -> None:
    """Bring network, optimizer, scaler and the weights' average to where the card's checkpoint left them."""
    load_weights(average or network, verified(folder / card.weights, card.weights_sha256))
    path = verified(folder / card.training_state, card.training_state_sha256)
    try:
        fields: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in load_file(path).items():
            owner, field = name.split(".", 1)
            fields.setdefault(owner, {})[field] = tensor
        scale, unaveraged = fields.pop(_SCALER, {}), fields.pop(_UNAVERAGED, {})
        if average is not None:
            network.load_state_dict(unaveraged)
        if scaler is not None and scale:
            scaler.load_state_dict({field: tensor.item() for field, tensor in scale.items()})
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        state = {int(index): _laid_out_as(parameters[int(index)], of) for index, of in fields.items()}
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    except Exception as error:  # safetensors and torch each raise their own for a foreign file
        raise CheckpointError(f"The training state does not fit: {str(error)[:300]}", where=path) from error


def _tensors_of(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _laid_out_as(parameter: torch.Tensor, fields: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Moments in their parameter's memory order (channels last): fused AdamW reads both side by side, unchecked.

    Raises
    ------
    ValueError : a foreign file's moments are of another shape or number format, which would be read all the same.
    """
    step, moments = fields.get("step"), {name: value for name, value in fields.items() if name != "step"}
    alike = all(value.shape == parameter.shape and value.dtype == parameter.dtype for value in moments.values())
    if set(moments) != {"exp_avg", "exp_avg_sq"} or step is None or step.numel() != 1 or not alike:
        described = {name: (str(value.dtype), tuple(value.shape)) for name, value in fields.items()}
        raise ValueError(f"AdamW's moments of a {parameter.dtype} {tuple(parameter.shape)} are {described}")
    return {"step": step, **{name: torch.empty_like(parameter).copy_(value) for name, value in moments.items()}}


def _flat(
    optimizer: torch.optim.Optimizer, scaler: Scaler | None, unaveraged: nn.Module | None
) -> dict[str, torch.Tensor]:
    """AdamW's moments and step counts as `<parameter index>.<field>`, also `scaler.<field>`, `unaveraged.<name>`.

    The optimizer's settings follow from the recipe.
    """
    owners = optimizer.state_dict()["state"] | ({_SCALER: scaler.state_dict()} if scaler else {})
    owners |= {_UNAVERAGED: unaveraged.state_dict()} if unaveraged is not None else {}
    return {
        f"{owner}.{field}": torch.as_tensor(value)
        for owner, fields in owners.items()
        for field, value in fields.items()
    }

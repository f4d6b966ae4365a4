"""Do the examples of docs/explain.md run as they stand there, and give what their comments say?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from melascope.explain.methods import METHODS

PAGE = (Path(__file__).parents[2] / "docs" / "explain.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(block: int) -> dict:
        names: dict = {}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            exec(compile(BLOCKS[block], "docs/explain.md", "exec"), names)  # our own page
        return names

    return run


def test_a_plain_timm_model(run, capsys):
    names = run(0)
    assert names["logits"].shape == (2, 7) and names["maps"].shape == (2, 7, 7, 7)
    assert "bn2" in capsys.readouterr().out and names["engine"].path == "closed form"


def test_a_plain_torchvision_model(run):
    names = run(1)
    assert names["maps"].shape == (2, 2, 14, 14) and names["why"].shape == (2, 7, 7)
    assert names["rivals"].shape == (2,) and 4 not in names["rivals"]


def test_an_overlay(run, tmp_path):
    names = run(2)
    assert names["overlay"].shape == (450, 600, 3) and (tmp_path / "overlay.jpg").stat().st_size > 0
    assert names["engine"].places(224, 224).offset == (-0.484375, -0.484375)


def test_every_method_has_its_row_and_no_other_has():
    assert re.findall(r"^\| `([a-z_+]+)` \|", PAGE, flags=re.MULTILINE) == list(METHODS)
    signed = re.search(r"\*\*Signed\*\* methods \((.*?)\)", PAGE, flags=re.DOTALL)[1]
    assert set(re.findall(r"`(\w+)`", signed)) == {name for name, rule in METHODS.items() if rule.signed}
    assert len(BLOCKS) == 3

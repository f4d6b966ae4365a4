"""Is a graph that has our card, but not our outputs, told in words?"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the card of the tiny graph comes with it: pip install 'melascope[train]'")

from melascope.errors import ExportError
from melascope.inference.session import Session
from tiny_graph import CHECKPOINT
from torture.hostile_graphs import GRAPHS


@pytest.mark.parametrize(
    "name, word",
    [
        ("ONNX: outputs are missing", "cannot be asked"),
        ("ONNX: outputs of other shape", "gives logits of shape"),
        ("ONNX: outputs of other numbers", "float64"),
        ("ONNX: a card with a key twice", "'run' stands twice"),
        ("ONNX: a card nested deeply", "nested too deeply"),
        ("ONNX: weights in /etc/passwd", "cannot read the graph"),
    ],
)
def test_it_is_refused(tmp_path, name, word):
    (tmp_path / "m.onnx").write_bytes(GRAPHS[name](tmp_path))
    pixels = np.zeros((2, CHECKPOINT.input_height, CHECKPOINT.input_width, 3), np.uint8)
    with pytest.raises(ExportError, match=word):
        Session.open(tmp_path / "m.onnx")(pixels)


def test_a_graph_far_too_large_is_not_read(tmp_path):
    with open(tmp_path / "m.onnx", "wb") as stream:
        stream.truncate(3 * 2**30)
    with pytest.raises(ExportError, match="larger than 1 GiB"):
        Session.open(tmp_path / "m.onnx")

"""Is a graph or a file of weights that was made to do harm refused: ONNX with our card, OpenVINO, safetensors?"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from safetensors.torch import save

from melascope.files import sha256_file
from melascope.inference.segmenter import Segmenter
from melascope.inference.session import Session
from melascope.models.checkpoint import load_training_state, load_weights
from melascope.tables.exports import KEY
from tiny_graph import CARD, CHECKPOINT
from torture.hostile_files import DEEP, Make, Payload, payload

GOOD = "good.safetensors"
OUTPUTS = ("logits", "features", "maps")
HEIGHT, WIDTH = CHECKPOINT.input_height, CHECKPOINT.input_width


def asked(path: Path) -> object:
    """Open a graph and ask it, as `predict` does."""
    session = Session.open(path, threads=1)
    return session(np.zeros((2, HEIGHT, WIDTH, 3), np.uint8))


def segmenter(path: Path) -> object:
    return Segmenter.open(path)


def model(*nodes, text: str | None = None, outputs=OUTPUTS, kind=TensorProto.FLOAT, more=()) -> bytes:
    """A graph with our card whose outputs are what `nodes` make of the pixels."""
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", HEIGHT, WIDTH, 3])
    values = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    graph = helper.make_graph(list(nodes), "g", [pixels], values, initializer=list(more))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    made.metadata_props.add(key=KEY, value=CARD.as_text() if text is None else text)
    return made.SerializeToString()


def cast(to: int = TensorProto.FLOAT, names=OUTPUTS):
    return [helper.make_node("Cast", ["pixels"], [name], to=to) for name in names]


def outside(place: str) -> bytes:
    """Weights that lie in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.UINT8, dims=[100])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": place, "offset": "0", "length": "100"}.items():
        tensor.external_data.add(key=key, value=value)
    nodes = [helper.make_node("Cast", ["w"], [name], to=TensorProto.FLOAT) for name in OUTPUTS]
    return model(*nodes, more=[tensor])


def constant(size: int) -> bytes:
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [size])
    return model(*(helper.make_node("ConstantOfShape", ["shape"], [n]) for n in OUTPUTS), more=[shape])


def without_card() -> bytes:
    made = onnx.load_from_string(model(*cast()))
    del made.metadata_props[:]
    return made.SerializeToString()


def sparse(path: Path) -> None:
    with open(path, "wb") as stream:
        stream.truncate(3 * 2**30)


GRAPHS: dict[str, Make] = {
    "ONNX: a pickle": payload,
    "ONNX: no card": lambda _: without_card(),
    "ONNX: a card with a key twice": lambda _: model(*cast(), text=CARD.as_text()[:-1] + ', "run": "x"}'),
    "ONNX: a card nested deeply": lambda _: model(*cast(), text=DEEP),
    "ONNX: a card of 20 MB": lambda _: model(*cast(), text='{"a": "' + "b" * 20 * 2**20 + '"}'),
    "ONNX: a card of other classes": lambda _: model(*cast(), text=CARD.as_text().replace("akiec", "other")),
    "ONNX: cut": lambda _: model(*cast())[:-200],
    "ONNX: weights in /etc/passwd": lambda _: outside("/etc/passwd"),
    "ONNX: weights in ../../run.json": lambda _: outside("../../run.json"),
    "ONNX: an operator of somebody's": lambda _: model(helper.make_node("Evil", ["pixels"], ["logits"], domain="evil")),
    "ONNX: outputs are missing": lambda _: model(*cast(names=("logits",)), outputs=("logits",)),
    "ONNX: outputs of other shape": lambda _: model(*cast()),
    "ONNX: outputs of other numbers": lambda _: model(*cast(TensorProto.DOUBLE), kind=TensorProto.DOUBLE),
    "ONNX: an output of 40 TB": lambda _: constant(10**13),
}
XMLS: dict[str, Make] = {
    "OpenVINO: a pickle": payload,
    "OpenVINO: a billion laughs": lambda _: (
        b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "lol">'
        + b"".join(b'<!ENTITY %c "%s">' % (98 + k, (b"&%c;" % (97 + k)) * 10) for k in range(10))
        + b"]><net>&k;</net>"
    ),
    "OpenVINO: an entity that is a file": lambda _: (
        b'<?xml version="1.0"?><!DOCTYPE n [<!ENTITY f SYSTEM "file:///etc/passwd">]><net name="&f;">&f;</net>'
    ),
}


def tensors(header: dict | bytes, content: bytes = bytes(16), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def entry(begin: int = 0, end: int = 16, kind: str = "F32", shape=(4,)) -> dict:
    return {"dtype": kind, "shape": list(shape), "data_offsets": [begin, end]}


def weights(path: Path) -> object:
    return load_weights(torch.nn.Linear(4, 1, bias=False), path)


def state(path: Path) -> object:
    """The same file as what a training goes on from."""
    network = torch.nn.Linear(4, 1, bias=False)
    files = {"weights": GOOD, "weights_sha256": sha256_file(path.with_name(GOOD))}
    files |= {"training_state": path.name, "training_state_sha256": sha256_file(path)}
    card = CHECKPOINT.model_copy(update=files)
    load_training_state(path.parent, card, network, torch.optim.AdamW(network.parameters()))


def beside_good(make: Make) -> Make:
    """The same hostile file, beside weights that are sound."""

    def made(canary: Path) -> bytes:
        torch.optim.AdamW(torch.nn.Linear(1, 1).parameters())  # what is loaded once is loaded now
        good = save({"weight": torch.zeros(1, 4)})
        canary.parent.joinpath("inside", GOOD).write_bytes(good)
        return make(canary)

    return made


def saved_by_torch(canary: Path) -> bytes:
    path = canary.with_name("torch.pt")
    torch.save(Payload(canary), path)
    data = path.read_bytes()
    path.unlink()
    return data


WEIGHTS: dict[str, Make] = {
    "safetensors: a pickle": payload,
    "safetensors: saved by torch.save": saved_by_torch,
    "safetensors: a header of 2^63 bytes": lambda _: tensors({}, length=2**63),
    "safetensors: a header of 120 MB": lambda _: tensors(b" " * 120 * 2**20),
    "safetensors: a header of 30 MB": lambda _: tensors(b" " * 30 * 2**20),
    "safetensors: a name twice": lambda _: tensors(
        b'{"weight":%s,"weight":%s}' % ((json.dumps(entry()).encode(),) * 2)
    ),
    "safetensors: beyond the end": lambda _: tensors({"weight": entry(0, 10**12, shape=(25 * 10**10,))}),
    "safetensors: one over the other": lambda _: tensors({"weight": entry(), "b": entry()}),
    "safetensors: a shape that overflows": lambda _: tensors({"weight": entry(shape=(2**62, 2**62))}),
    "safetensors: unknown numbers": lambda _: tensors({"weight": entry(kind="PICKLE")}),
    "safetensors: nested deeply": lambda _: tensors(DEEP.encode()),
    "safetensors: other tensors": lambda _: tensors({"other": entry()}),
    "safetensors: a zip": lambda _: _zip(),
}


def _zip() -> bytes:
    import io

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../../evil", "x")
    return stream.getvalue()


FAMILIES: tuple[tuple[str, Callable[[Path], object], dict[str, Make]], ...] = (
    ("model.onnx", asked, GRAPHS),
    ("segmenter.onnx", segmenter, {"ONNX: a segmenter's card of another": lambda _: model(*cast())}),
    ("weights.safetensors", weights, WEIGHTS),
    ("state.safetensors", state, {f"{name} (state)": beside_good(make) for name, make in list(WEIGHTS.items())[:8]}),
    ("model.xml", asked, XMLS),
)

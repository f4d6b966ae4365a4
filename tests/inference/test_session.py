"""Does an exported graph say without torch what its network says with it, and is every other file refused?"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from melascope.errors import ExportError
from melascope.inference.formats import write_int8, write_openvino
from melascope.inference.session import Session
from melascope.models.export import write_onnx
from melascope.tables.exports import KEY
from melascope.tables.maps import MapStore
from tiny_graph import CARD, MEAN, STD, closed_form, graph, tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    write_onnx(graph(), CARD, folder / "one.onnx")
    write_onnx(graph(maps=False), CARD.model_copy(update={"maps": None}), folder / "logits.onnx")
    write_onnx(graph(views="mirrored"), CARD, folder / "mirrored.onnx")
    write_openvino(folder / "one.onnx", CARD, folder / "one.xml")
    return folder


def pixels(n, seed=1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 10, 14, 3), dtype=np.uint8)


@pytest.mark.parametrize("file", ["one.onnx", "one.xml"])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_graph_says_what_its_network_says(folder, file, n):
    answer, network = Session.open(folder / file)(pixels(n)), tiny()
    batch = (torch.from_numpy(pixels(n)).permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(
        STD
    )[:, None, None]
    with torch.no_grad():
        layer = network[:4](batch)
        logits = network[4:](layer)
    np.testing.assert_allclose(answer.logits, logits, atol=1e-5)
    np.testing.assert_allclose(answer.features, layer.mean(dim=(2, 3)), atol=1e-5)
    np.testing.assert_allclose(answer.maps, closed_form(layer, network[6].weight.detach()), atol=1e-5)
    bias = network[6].bias.detach().numpy()
    np.testing.assert_allclose(answer.maps.sum(axis=(2, 3)) + bias, answer.logits, atol=1e-5)


def test_views_are_part_of_the_graph(folder):
    one, mirrored = Session.open(folder / "one.onnx"), Session.open(folder / "mirrored.onnx")
    seen = pixels(3)
    sides = [seen, seen[:, :, ::-1], seen[:, ::-1], seen[:, ::-1, ::-1]]
    expected = np.mean([one(np.ascontiguousarray(side)).logits for side in sides], axis=0)
    np.testing.assert_allclose(mirrored(seen).logits, expected, atol=1e-5)
    np.testing.assert_allclose(mirrored(seen).maps, one(seen).maps, atol=1e-6)


def test_logits_alone_in_batches(folder):
    session = Session.open(folder / "one.onnx")
    told = []
    logits = session.logits(pixels(7), batch_size=3, progress=lambda done, of: told.append((done, of)))
    np.testing.assert_allclose(logits, session(pixels(7)).logits, atol=1e-6)
    assert told == [(3, 7), (6, 7), (7, 7)]
    assert session.logits(pixels(0)).shape == (0, 7)


def test_a_graph_without_maps_says_so(folder):
    session = Session.open(folder / "logits.onnx")
    answer = session(pixels(2))
    assert session.card.maps is None and answer.maps is None
    np.testing.assert_allclose(answer.logits, Session.open(folder / "one.onnx")(pixels(2)).logits, atol=1e-6)


def test_maps_for_a_map_file(folder, tmp_path):
    session = Session.open(folder / "one.onnx")
    store = session.maps(pixels(5), list("abcde"), batch_size=2)
    np.testing.assert_array_equal(store.maps, np.concatenate([session(pixels(5)[i : i + 2]).maps for i in (0, 2, 4)]))
    assert (store.method, store.layer, store.precision) == ("gradcam", "1", "float32")
    assert store.places.offset == (-0.5, -0.5) and store.places.is_known
    assert list(MapStore.read(store.write(tmp_path / "maps.npz")).image_id) == list("abcde")
    with pytest.raises(ExportError, match="makes no maps"):
        Session.open(folder / "logits.onnx").maps(pixels(1), ["a"])


@pytest.mark.parametrize("file", ["one.onnx", "one.xml"])
def test_the_card_travels_inside(folder, file):
    assert Session.open(folder / file).card == CARD


def test_bfloat16_is_asked_for_by_name(folder):
    rough = Session.open(folder / "one.xml", precision="bfloat16")
    assert rough.precision == "bfloat16"
    assert np.abs(rough(pixels(2)).logits - Session.open(folder / "one.xml")(pixels(2)).logits).max() < 0.1
    with pytest.raises(ExportError, match="onnxruntime does not compute in bfloat16"):
        Session.open(folder / "one.onnx", precision="bfloat16")


def test_eight_bits_are_near_and_smaller_numbers(folder):
    card = CARD.model_copy(update={"precision": "int8"})
    write_int8(folder / "one.onnx", card, folder / "int8.onnx", [pixels(8, seed) for seed in range(4)])
    rough, exact = Session.open(folder / "int8.onnx"), Session.open(folder / "one.onnx")
    assert rough.card == card
    difference = np.abs(rough(pixels(8)).logits - exact(pixels(8)).logits).max()
    assert 0 < difference < 0.2 * np.abs(exact(pixels(8)).logits).max()


def test_files_that_are_no_graphs_are_refused(folder, tmp_path):
    text, cut = tmp_path / "text.onnx", tmp_path / "cut.onnx"
    text.write_text("not a graph")
    cut.write_bytes((folder / "one.onnx").read_bytes()[:-200])
    for path in (text, cut):
        with pytest.raises(ExportError, match=r"cannot read the graph|carries no card"):
            Session.open(path)
    for path in (tmp_path / "gone.onnx", folder, tmp_path / "weights.pt"):
        with pytest.raises(ExportError, match="no exported graph"):
            Session.open(path)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"schema_version": 9}, "schema 9"),
        ({"run": None}, "cannot be used"),
        ({"foreign": 1}, "cannot be used"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(folder, tmp_path, change, word):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(folder / "one.onnx")
    (entry,) = (one for one in model.metadata_props if one.key == KEY)
    entry.value = json.dumps(json.loads(entry.value) | change)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ExportError, match=word):
        Session.open(tmp_path / "other.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(ExportError, match="carries no card"):
        Session.open(tmp_path / "bare.onnx")


@pytest.mark.parametrize("wrong", [np.zeros((2, 14, 10, 3), np.uint8), np.zeros((2, 10, 14, 3), np.float32)])
def test_pixels_of_another_shape_are_refused(folder, wrong):
    with pytest.raises(ExportError, match=r"expected: uint8 of shape \(n, 10, 14, 3\)"):
        Session.open(folder / "one.onnx")(wrong)


def test_no_torch_is_loaded(folder):
    program = (
        "import sys, numpy as np; from melascope.inference.session import Session; "
        f"Session.open({str(folder / 'one.onnx')!r})(np.zeros((1, 10, 14, 3), np.uint8)); "
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'timm', 'lightning', 'onnx')])"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_openvino_counts_nothing_at_home_and_calls_nobody(folder, tmp_path):
    """By itself it keeps a number of the user in ~/intel and sends how it is used, unless CI is set."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, facts: seen.append(event) if event.startswith('socket.') else None)\n"
        "from melascope.inference.session import Session\n"
        "from melascope.inference.formats import write_openvino\n"
        "from tiny_graph import CARD\n"
        "Session.open(Path(sys.argv[1]) / 'one.xml')\n"
        "write_openvino(Path(sys.argv[1]) / 'one.onnx', CARD, Path(sys.argv[2]) / 'again.xml')\n"
        "print(sys.modules['openvino_telemetry'], seen)"
    )
    home = tmp_path / "home"
    home.mkdir()
    facts = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")}
    facts |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, folder, tmp_path], capture_output=True, text=True, env=facts)
    assert (done.stdout.strip(), done.returncode) == ("None []", 0), done.stderr
    assert list(home.rglob("*")) == []

"""Are maps the same by graph and network, is torch left alone where a graph will do, and is what it cannot do told?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from melascope.classes import CLASSES
from melascope.data.sources import read_dataset
from melascope.errors import ExplainError, ExportError
from melascope.explain.methods import METHODS
from melascope.files import read_json, write_json
from melascope.stages.asking import asker_of
from melascope.stages.exporting import export_run
from melascope.stages.map_makers import PAPERS, map_maker
from melascope.stages.reporting import Reporter
from melascope.tables.maps import MapStore
from melascope.tables.runs import RunDirectory


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory) -> RunDirectory:
    run = RunDirectory(shutil.copytree(finished.root, tmp_path_factory.mktemp("exported") / "run"))
    shutil.rmtree(run.evaluation)  # the fixture's is empty
    export_run(run, Reporter.silent(), formats=("onnx",))
    return run


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)


def test_the_graph_makes_the_maps_of_the_network(exported, pixels):
    graph, network = map_maker(exported), map_maker(exported, engine="torch")
    assert (graph.engine, network.engine) == ("model.onnx", "torch")
    ids = [f"I{n}" for n in range(5)]
    mine, theirs = graph.make(pixels, ids), network.make(pixels, ids)
    for name in ("logits", "maps"):
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), atol=1e-4)
    told = {**network.about, "path": graph.about["path"]}
    assert graph.about == told and "model.onnx" in graph.about["path"] and graph.places == network.places
    assert (mine.classes, mine.layer, mine.unit, mine.signed) == (
        theirs.classes,
        theirs.layer,
        theirs.unit,
        theirs.signed,
    )
    asked = [asker_of(exported, one).answers(one.logits(pixels)).p_target for one in (graph, network)]
    np.testing.assert_allclose(*asked, atol=1e-5)


def test_a_graph_gives_some_classes_too(exported, pixels):
    some = map_maker(exported, columns=[4, 1]).make(pixels, list("abcde"))
    whole = map_maker(exported).make(pixels, list("abcde"))
    assert some.classes == (CLASSES[4], CLASSES[1])
    np.testing.assert_array_equal(some.maps, whole.maps[:, [4, 1]])
    np.testing.assert_array_equal(some.logits, whole.logits)


@pytest.mark.parametrize("other", [{"method": "hirescam"}, {"layer": "conv_stem"}, {"fast": True}])
def test_what_the_graph_does_not_hold_is_made_by_torch_or_refused(exported, other):
    assert map_maker(exported, **other).engine == "torch"
    with pytest.raises(ExportError, match="The graph holds gradcam at bn2"):
        map_maker(exported, engine="graph", **other)


def test_without_a_graph_torch_makes_them(finished):
    assert map_maker(finished).engine == "torch"
    with pytest.raises(ExportError, match="no exported graph"):
        map_maker(finished, engine="graph")
    with pytest.raises(ExportError, match="no engine 'gpu'"):
        map_maker(finished, engine="gpu")
    with pytest.raises(ExplainError):
        map_maker(finished, method="tarot")


def test_papers_are_those_of_the_methods():
    assert all(METHODS[name].paper == paper for name, paper in PAPERS.items())


def test_maps_pictures_and_a_gallery_with_tested_notes_need_no_torch(exported, place, tmp_path):
    """On a machine without it: its import is made to fail."""
    blocked = tmp_path / "blocked"
    for name in ("torch", "timm", "torchvision", "lightning"):
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text(f"raise ModuleNotFoundError('none here', name={name!r})")
    table = read_dataset(place / "phantom")
    image = place / "phantom" / table.path[0]

    def melascope(*arguments):
        command = [sys.executable, "-c", "from melascope.cli import main; main()", *map(str, arguments)]
        path = os.pathsep.join([str(blocked), *(one for one in sys.path if one)])
        return subprocess.run(
            command, capture_output=True, text=True, timeout=200, env={**os.environ, "PYTHONPATH": path}
        )

    for arguments in (
        ("explain", exported.root, image, "--out", tmp_path / "maps"),
        ("gallery", exported.root, "--tests", "1", "--out", tmp_path / "gallery"),
        ("predict", exported.root, image, "--out", tmp_path / "one.csv"),
    ):
        done = melascope(*arguments)
        assert done.returncode == 0, (arguments, done.stderr[-2000:])
    assert read_json(tmp_path / "maps" / "manifest.json")["engine"] == "model.onnx"
    assert MapStore.read(tmp_path / "maps" / "maps.npz").maps.shape[1] == len(CLASSES)
    assert "Tested" in (tmp_path / "gallery" / "FIGURES.md").read_text()
    refused = melascope("explain", exported.root, image, "--method", "layercam", "--out", tmp_path / "other")
    assert refused.returncode != 0 and "torch is not installed" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_maps_of_the_network_stand_beside_the_logits_of_all_its_views(finished, pixels, tmp_path):
    """Else a table under mirrored views and its maps would seem to be of two models."""
    run = RunDirectory(shutil.copytree(finished.root, tmp_path / "run"))
    card = run.card()
    mirrored = card.model_copy(update={"recipe": {**card.recipe, "predict": {"views": "mirrored"}}})
    write_json(run.checkpoints / "best.json", mirrored.model_dump(mode="json"))
    one, several = (map_maker(each, engine="torch") for each in (finished, run))
    ids = list("abcde")
    np.testing.assert_array_equal(several.make(pixels, ids).logits, several.logits(pixels))
    np.testing.assert_array_equal(several.make(pixels, ids).maps, one.make(pixels, ids).maps)
    assert np.abs(several.logits(pixels) - one.logits(pixels)).max() > 1e-3

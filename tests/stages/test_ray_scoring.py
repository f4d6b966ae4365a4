"""Do the cores of a Ray cluster make the parts that one core makes, and does a worker refuse what would lose some?"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import socket
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image
from typer.testing import CliRunner

from melascope.cli import app
from melascope.data.inputs import Source
from melascope.errors import ExportError, MelascopeError, OutputError
from melascope.models.export import write_onnx
from melascope.stages import ray_scoring
from melascope.stages.batch_scoring import Part, Scored, Share, facts_of, score_inputs
from melascope.stages.engines import open_engine
from melascope.stages.ray_scoring import AHEAD, RETRIES, Job, ray_cluster, score_inputs_on_ray
from melascope.stages.reporting import Reporter
from tiny_graph import CARD, graph

N, BAD, ROWS = 23, (3, 22), 4
SILENT = Reporter.silent()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """23 files in `photos`, two of which are no images, and a graph."""
    drawn = tmp_path_factory.mktemp("ray")
    (drawn / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(N):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(buffer, "PNG")
        (drawn / f"photos/{number:02d}.png").write_bytes(buffer.getvalue()[: 60 if number in BAD else None])
    write_onnx(graph(), CARD, drawn / "model.onnx")
    return drawn


@pytest.fixture
def folder(drawn, tmp_path):
    """Of one test alone."""
    return Path(shutil.copytree(drawn, tmp_path / "of one"))


@pytest.fixture
def job(folder):
    """What the workers are told, all of it true."""
    source, out = Source.of(str(folder / "photos")), folder / "out"
    out.mkdir()
    facts = facts_of(open_engine(folder / "model.onnx"), source, ROWS)
    return Job(os.getcwd(), folder / "model.onnx", source, out, *ray_scoring._token(out, Share()), facts)


def parts_in(out) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("part-*.parquet")}


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (pip install 'melascope[ray]')")
def test_a_cluster_of_two_workers_makes_the_parts_of_one_process_byte_by_byte(folder, monkeypatch):
    """One cluster for all that needs one: its start takes most of the time."""
    monkeypatch.setattr(ray_scoring, "cores", lambda: 2)
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray writes one into the home folder
    monkeypatch.chdir(folder)
    source, model = Source.of("photos"), folder / "model.onnx"  # a relative source: workers stand elsewhere
    plain = score_inputs(open_engine(model, threads=1), source, folder / "plain", SILENT, part_rows=ROWS)
    with ray_cluster() as ray:
        assert ray.cluster_resources()["CPU"] == 2
        done = score_inputs_on_ray(model, source, folder / "ray", SILENT, part_rows=ROWS)
        assert done == plain == Scored(N - len(BAD), len(BAD), 0)
        assert parts_in(folder / "ray") == parts_in(folder / "plain") and len(parts_in(folder / "ray")) == 6
        shards = [json.loads((folder / name / "shard-1-of-1.json").read_text()) for name in ("ray", "plain")]
        assert shards[0] == shards[1]

        (folder / "ray/part-000002.parquet").unlink()  # begun again: what is missing is made, and nothing else
        again = score_inputs_on_ray(model, source, folder / "ray", SILENT, part_rows=ROWS)
        assert again == replace(done, found_before=5) and parts_in(folder / "ray") == parts_in(folder / "plain")

        with pytest.raises(OutputError, match=r"part of something else: .*part_rows"):
            score_inputs_on_ray(model, source, folder / "ray", SILENT, part_rows=ROWS + 1)

        command = ["predict", "model.onnx", "photos", "--out", "scores", "--engine", "ray", "--shard", "1/1"]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0 and "21 images scored, 2 inputs refused" in result.output, result.output
        rows = ds.dataset(sorted((folder / "scores").glob("part-*"))).to_table().to_pylist()
        assert [row["input"] for row in rows] == [f"photos/{number:02d}.png" for number in range(N)]
        assert not list(folder.rglob(".shared-*"))
    assert not ray.is_initialized()


def test_without_ray_the_command_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    command = ["predict", str(folder / "model.onnx"), str(folder / "photos"), "--out", str(folder / "out")]
    result = CliRunner().invoke(app, [*command, "--engine", "ray"])
    assert isinstance(result.exception, MelascopeError) and "pip install 'melascope[ray]'" in str(result.exception)
    assert not parts_in(folder / "out") and not list(folder.rglob(".shared-*"))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--out", "x.csv", "--engine", "ray"], "made whole"),
        (["--out", "x", "--address", "auto"], "Only a Ray cluster"),
        (["--out", "x", "--engine", "dask"], "no engine 'dask'"),
    ],
)
def test_flags_that_do_not_fit(folder, monkeypatch, arguments, word):
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, ["predict", "model.onnx", "photos", *arguments])
    assert isinstance(result.exception, MelascopeError) and word in str(result.exception)


def test_a_model_that_is_none_is_refused_before_a_cluster_is_asked(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    (folder / "model.onnx").write_bytes(b"none")
    with pytest.raises(ExportError):
        score_inputs_on_ray(folder / "model.onnx", Source.of(str(folder / "photos")), folder / "out", SILENT)


def test_a_worker_makes_a_part_once(job, monkeypatch):
    monkeypatch.chdir(job.folder)
    part = Part(0, list(job.source)[:ROWS])
    assert [ray_scoring._made(job, part)[0] for _ in range(2)] == [Scored(3, 1, 0), Scored(3, 1, 1)]


@pytest.mark.parametrize("gone", ["token", "word", "model", "source", "folder"])
def test_a_worker_that_sees_another_disk_makes_nothing(job, tmp_path, gone):
    other = {
        "token": tmp_path / "other/.shared-1-of-1",
        "word": "another start's",
        "model": tmp_path / "elsewhere.onnx",
        "source": replace(job.source, text=str(tmp_path / "elsewhere")),
        "folder": str(tmp_path / "elsewhere"),
    }
    with pytest.raises(OutputError, match="does not see the disk"):
        ray_scoring._made(replace(job, **{gone: other[gone]}), Part(0, list(job.source)[:ROWS]))
    assert not parts_in(job.out)


def test_a_pattern_is_no_path_that_a_worker_must_see(job):
    ray_scoring._check_disk(replace(job, source=Source.of(str(job.model.parent / "photos/*.png"))))


def test_a_worker_with_another_model_makes_nothing(job, monkeypatch):
    monkeypatch.chdir(job.folder)
    told = replace(job, facts=job.facts | {"checkpoint_sha256": "b" * 64})
    with pytest.raises(OutputError, match=r"Another model answers on .*: checkpoint_sha256 aaaa"):
        ray_scoring._made(told, Part(0, list(job.source)[:ROWS]))
    assert not parts_in(job.out)


class NoRay:
    """What the stage asks of Ray, in this process: a task is done when somebody waits for it, the newest first."""

    class exceptions:
        RayError = type("RayError", (Exception,), {})
        RayTaskError = type("RayTaskError", (RayError,), {"cause": None})

    def __init__(self, cores: int, answer) -> None:
        self.cores, self.answer, self.most_ahead = cores, answer, 0

    def remote(self, *, num_cpus, max_retries):
        assert (num_cpus, max_retries) == (1, RETRIES)
        return lambda _: SimpleNamespace(remote=lambda job, part: (part.number, part))

    def put(self, job):
        return job

    def cluster_resources(self):
        return {"CPU": float(self.cores)} if self.cores else {}

    def wait(self, tasks, *, num_returns):
        self.most_ahead = max(self.most_ahead, len(tasks))
        return tasks[-1:], tasks[:-1]

    def get(self, task):
        return self.answer(task[0])


class Number(int):
    """A part that can be a key."""

    number = property(int)


def test_an_address_where_nobody_answers_is_told_at_once(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listening
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ray = SimpleNamespace(is_initialized=lambda: False, exceptions=NoRay.exceptions)
        monkeypatch.setitem(sys.modules, "ray", ray)
        with pytest.raises(MelascopeError, match="No Ray cluster can be used") as told, ray_cluster(address):
            pass
    assert told.value.where == address


def results(ray: NoRay, job, n: int = 50):
    return list(ray_scoring._results(ray, job, iter(map(Number, range(n)))))


def test_the_source_is_read_no_further_than_the_cluster_follows(job):
    ray = NoRay(3, lambda number: number)
    assert sorted(results(ray, job)) == list(range(50))
    assert ray.most_ahead == AHEAD * 3


def test_a_worker_that_dies_again_and_again_is_told_with_its_part(job):
    def died(number):
        raise NoRay.exceptions.RayError

    with pytest.raises(OutputError, match=r"Part \d was given up: its worker died 4 times"):
        results(NoRay(1, died), job)


def test_a_bug_in_a_worker_keeps_its_traceback(job):
    def broke(number):
        raise NoRay.exceptions.RayTaskError

    with pytest.raises(NoRay.exceptions.RayTaskError):
        results(NoRay(1, broke), job)


def test_a_cluster_without_cores_is_not_waited_for(job):
    with pytest.raises(MelascopeError, match="no core"):
        results(NoRay(0, None), job)

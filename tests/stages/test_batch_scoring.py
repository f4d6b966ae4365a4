"""Does every input stand in the parts exactly once, as a result or as a reason, whatever happens in between?"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image
from typer.testing import CliRunner

from melascope.classes import MEL
from melascope.cli import app
from melascope.data.decode import decode_image
from melascope.data.inputs import Source
from melascope.data.pixels import resize_image
from melascope.errors import OutputError
from melascope.evaluation.operating_point import OperatingPoint
from melascope.inference.session import Session
from melascope.models.export import write_onnx
from melascope.stages import batch_scoring
from melascope.stages.batch_scoring import Share, reasons_in, score_inputs
from melascope.stages.engines import open_engine
from melascope.stages.reporting import Reporter
from melascope.tables.probabilities import probabilities_from_logits
from tiny_graph import CARD, graph

N, BAD = 47, (3, 10, 11, 30, 46)
POINT = OperatingPoint(
    target=("mel",), threshold=0.14, rule="empirical", target_sensitivity=0.9, sensitivity=0.9, specificity=0.5,
    lesion_sensitivity=0.9, lesion_sensitivity_lower_bound=0.8, n_images=10, n_lesions=9, n_target_images=5,
    n_target_lesions=4, temperature=1.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """47 files, five of which are no images, and a graph."""
    place = tmp_path_factory.mktemp("batch")
    (place / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(N):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)).save(buffer, "PNG")
        content = buffer.getvalue()[: 60 if number in BAD else None]
        (place / "photos" / f"image_{number:03d}.png").write_bytes(content)
    write_onnx(graph(), CARD.model_copy(update={"operating_point": POINT.as_json()}), place / "model.onnx")
    return place


@pytest.fixture
def engine(place):
    return open_engine(place / "model.onnx", threads=1)


def rows_of(out) -> dict[str, dict]:
    rows = ds.dataset(sorted(out.glob("part-*.parquet"))).to_table().to_pylist()
    assert len({row["input"] for row in rows}) == len(rows)
    return {row["image_id"]: row for row in rows}


def score(engine, place, out, **options):
    return score_inputs(engine, Source.of(str(place / "photos")), out, Reporter.silent(), **options)


@pytest.mark.parametrize("part_rows", [10, 16, 1000])
def test_each_input_once_as_a_result_or_as_a_reason(engine, place, tmp_path, part_rows):
    result = score(engine, place, tmp_path / "out", part_rows=part_rows)
    assert (result.scored, result.refused, result.found_before) == (N - len(BAD), len(BAD), 0)
    rows = rows_of(tmp_path / "out")
    assert list(rows) == [f"image_{number:03d}" for number in range(N)]
    session = Session.open(place / "model.onnx")
    for number, row in enumerate(rows.values()):
        if number in BAD:
            assert "truncated" in row["refused"] and row["logit_mel"] is None and row["p_target"] is None
            continue
        image = decode_image((place / "photos" / f"image_{number:03d}.png").read_bytes(), name="")
        logits = session.logits(resize_image(image, 14, 10)[None])
        assert row["refused"] == "" and row["logit_mel"] == pytest.approx(logits[0, MEL], abs=1e-5)
        p_mel = probabilities_from_logits(logits.astype(float), 1.5)[0, MEL]
        assert row["p_target"] == pytest.approx(p_mel, abs=1e-6)
        assert row["above_threshold"] is bool(row["p_target"] >= POINT.threshold)


def test_images_are_decoded_while_the_model_computes(engine, place, tmp_path, monkeypatch):
    computing, decoded, pixels_of = Event(), Event(), batch_scoring._pixels

    def pixels(name, size):
        later = int(Path(name).stem[-3:]) >= 20  # not in the first batch
        assert not later or computing.wait(60)
        found = pixels_of(name, size)
        if later:
            decoded.set()
        return found

    def logits(batch, *, batch_size):
        computing.set()
        assert decoded.wait(60)
        return engine.logits(batch, batch_size=batch_size)

    monkeypatch.setattr(batch_scoring, "_pixels", pixels)
    assert score(replace(engine, logits=logits), place, tmp_path / "out").scored == N - len(BAD)


def test_shares_make_each_part_once(engine, place, tmp_path):
    for number in (2, 1, 3):
        score(engine, place, tmp_path / "shared", share=Share(number, 3), part_rows=10)
    score(engine, place, tmp_path / "alone", part_rows=10)
    assert rows_of(tmp_path / "shared") == rows_of(tmp_path / "alone")
    done = [json.loads((tmp_path / "shared" / f"shard-{number}-of-3.json").read_text()) for number in (1, 2, 3)]
    assert sum(one["scored"] for one in done) == N - len(BAD)
    reasons = [reasons_in(tmp_path / "shared", Share(number, 3)).total() for number in (1, 2, 3)]
    assert reasons == [one["refused"] for one in done] and sum(reasons) == len(BAD)


def test_finished_parts_are_left_as_they_are(engine, place, tmp_path):
    out = tmp_path / "out"
    score(engine, place, out, part_rows=10)
    times = {path: path.stat().st_mtime_ns for path in out.glob("part-*.parquet")}
    gone = out / "part-000002.parquet"
    gone.unlink()
    (out / ".part-000002.parquet.tmp-1-1").write_text("half")
    result = score(engine, place, out, part_rows=10)
    assert (result.scored, result.refused, result.found_before) == (N - len(BAD), len(BAD), 4)
    assert all(path.stat().st_mtime_ns == then for path, then in times.items() if path != gone)
    assert not list(out.glob(".*tmp*"))


@pytest.mark.parametrize("what", ["model", "part_rows", "source", "broken"])
def test_parts_of_something_else_are_not_mixed(engine, place, tmp_path, what):
    out, options = tmp_path / "out", {"part_rows": 10}
    score(engine, place, out, **options)
    source = Source.of(str(place / "photos"))
    if what == "model":
        engine = replace(engine, card=engine.card.model_copy(update={"weights_sha256": "b" * 64}))
    elif what == "part_rows":
        options = {"part_rows": 11}
    elif what == "source":
        (tmp_path / "list.txt").write_text(str(place / "photos/image_000.png"))
        source = Source.of(str(tmp_path / "list.txt"))
    else:
        (out / "part-000001.parquet").write_bytes(b"PAR1")
    with pytest.raises(OutputError, match="part"):
        score_inputs(engine, source, out, Reporter.silent(), **options)


def test_a_source_that_changed_is_noticed(engine, place, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        (photos / f"{number}.png").write_bytes((place / "photos/image_000.png").read_bytes())
    source = Source.of(str(photos))
    score_inputs(engine, source, tmp_path / "out", Reporter.silent(), part_rows=2)
    (photos / "00.png").write_bytes(b"new")
    with pytest.raises(OutputError, match="inputs_sha256 differ"):
        score_inputs(engine, source, tmp_path / "out", Reporter.silent(), part_rows=2)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_a_share_that_is_none(text):
    with pytest.raises(OutputError, match="--shard"):
        Share.from_text(text)


def test_killed_and_started_again_nothing_is_lost_or_twice(place, tmp_path, engine):
    out = tmp_path / "out"
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom melascope.data.inputs import Source\n"
        "from melascope.stages import batch_scoring as b\nfrom melascope.stages.engines import open_engine\n"
        "from melascope.stages.reporting import Reporter\n"
        "write = b._write\nb._write = lambda *a: (write(*a), print('part', flush=True), time.sleep(0.2))\n"
        f"b.score_inputs(open_engine(Path({str(place / 'model.onnx')!r}), threads=1), "
        f"Source.of({str(place / 'photos')!r}), Path({str(out)!r}), Reporter.silent(), part_rows=6)\n"
    )
    for parts in (1, 2):
        started = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(parts):
            assert started.stdout.readline() == "part\n"
        time.sleep(0.05)
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
    assert 3 <= len(list(out.glob("part-*.parquet"))) < 8
    result = score(engine, place, out, part_rows=6)
    assert result.found_before >= 3 and (result.scored, result.refused) == (N - len(BAD), len(BAD))
    score(engine, place, tmp_path / "undisturbed", part_rows=6)
    assert rows_of(out) == rows_of(tmp_path / "undisturbed")


def test_the_command(place, tmp_path):
    out = tmp_path / "scores"
    result = CliRunner().invoke(app, ["predict", str(place / "model.onnx"), f"{place}/photos/*.png", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "42 images scored, 5 inputs refused" in result.output and "5 × The image is refused" in result.output
    assert len(rows_of(out)) == N


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["photos/*.png"], "scored into a folder"),
        (["photos", "--shard", "1/2"], "made whole"),
        (["photos", "--out", "x", "--labels", "l.csv"], "Parts hold no truth"),
    ],
)
def test_flags_that_do_not_fit(place, arguments, word, monkeypatch):
    monkeypatch.chdir(place)
    result = CliRunner().invoke(app, ["predict", "model.onnx", *arguments])
    assert result.exit_code != 0 and word in str(result.exception)


def test_a_graph_scores_a_table_too(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good").mkdir()
    for number in (0, 1, 2):
        name = f"image_{number:03d}.png"
        (tmp_path / "good" / name).write_bytes((place / "photos" / name).read_bytes())
    result = CliRunner().invoke(app, ["predict", str(place / "model.onnx"), "good", "--out", "p.csv"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "p.csv").read_text().count("image_00") == 3
    assert "a CSV carries no notes, temperature or hashes" in result.output and "next:" not in result.output

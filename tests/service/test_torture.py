"""Do the service's rows of the hardening table hold, small? At full size: `tests/torture/service.py all --full`."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="the tiny graph is exported with torch: pip install 'melascope[train]'")

from melascope.cli import app
from melascope.errors import MelascopeError
from melascope.service.gate import Entry
from melascope.service.keys import Keys
from running_service import service_process, serving_service
from served_page import Served, as_bytes
from tiny_run import pictures, write_tiny_run
from torture import service_load, service_words

KEY = "a key that is long enough".replace(" ", "-")


@pytest.fixture(scope="module")
def drawn():
    return pictures()


@pytest.fixture(scope="module")
def run(tmp_path_factory, drawn):
    return write_tiny_run(tmp_path_factory.mktemp("tiny") / "run", drawn).root


@pytest.fixture(scope="module")
def process(tmp_path_factory, run):
    """The command itself, impatient, so that slow senders are cut soon."""
    with service_process(run, tmp_path_factory.mktemp("process"), "--patience", "1.5", "--queue", "4") as found:
        yield found


def test_more_clients_than_places_get_an_answer_or_a_time_to_come_again(process, drawn):
    asked = [("/v1/predict", as_bytes(rgb)) for rgb in drawn[:4]]
    found = service_load.overload(process.port, asked, clients=16, seconds=2, deadline=10, pause=0.02)
    assert found.failures(health_p99=1.5) == [] and found.statuses.get(503, 0) > 0  # on a machine that runs other tests


def test_slow_senders_are_cut_while_a_normal_client_is_served(process, drawn):
    found = service_load.slow_senders(process.port, as_bytes(drawn[0]), sockets=16)
    assert found.failures() == [] and len(found.normal) >= 3


def test_memory_and_descriptors_stay(process, drawn):
    asked = [("POST", "/v1/predict", as_bytes(drawn[0])), ("POST", "/v1/explain?format=jpeg", as_bytes(drawn[1]))]
    asked += [("POST", "/v1/predict", b"no picture"), ("GET", "/metrics", b"")]
    found = service_load.soak(process.port, process.pid, asked, n=300, clients=3, samples=10)
    assert found.failures(most_drift=0.2) == [] and found.statuses[200] > 200


def test_the_service_answers_as_it_is_described(world):
    with serving_service(world.answerer, entry=Entry(Keys.of([KEY], where="test"))) as keyed:
        code, said = service_words.against_openapi(keyed.port, examples=2, key=KEY)
    assert code == 0, said
    assert re.search(r"Tested: 6\b", said)


def test_what_hides_in_pictures_turns_up_nowhere(process, drawn):
    places = [process.said, process.said.parent]
    assert service_words.privacy(Served(process.port), drawn[:4], places, n=6) == []
    log = [json.loads(line) for line in process.said.read_text().splitlines()]
    assert log and all(set(line) == {"route", "status", "ms"} for line in log)
    process.said.parent.joinpath("tmp/left").write_text(service_words.canary(0))  # and the test can fail
    assert len(service_words.privacy(Served(process.port), drawn[:1], places, n=1)) == 1


def test_hostile_names_open_no_file(world, good, tmp_path):
    with serving_service(world.answerer) as served:
        assert service_words.hostile_paths(served, good, n=35) == []
    with service_words.opened_files() as seen:
        (tmp_path / "x").write_text("x")
    assert len(seen) == 1


def test_the_command_wants_a_run_and_sound_options(run, tmp_path):
    def said(*options: str) -> str:
        result = CliRunner().invoke(app, ["serve", *map(str, options)], env={"MELASCOPE_API_KEY": None})
        assert isinstance(result.exception, MelascopeError)
        return str(result.exception)

    assert "not a run directory" in said(tmp_path, "--port", "0") and "--queue" in said(run, "--queue", "0")
    short = tmp_path / "keys"
    short.write_text("short")
    assert "too short" in said(run, "--api-key-file", short)

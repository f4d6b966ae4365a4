"""What holds when too much comes: places, bytes, deadlines, batches, and a network that fails or stands still?"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from melascope.errors import MelascopeError
from melascope.service.batching import Batcher
from melascope.service.limits import Limits
from melascope.service.metrics import Metrics
from melascope.service.refusals import Refusal
from melascope.service.uploads import Places
from running_service import serving_service
from served_page import look


class Gate:
    """A network that answers when it is let, and notes the size of each batch."""

    def __init__(self) -> None:
        self.open, self.sizes = threading.Event(), []

    def __call__(self, pixels):
        self.sizes.append(len(pixels))
        assert self.open.wait(20)
        return look(pixels)


def slowed(world, gate):
    return replace(world.answerer, looker=replace(world.answerer.looker, look=gate))


def until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.01)


def places_taken(served) -> float:
    line = next(
        one for one in served.ask("GET", "/metrics").body.decode().splitlines() if one.startswith("melascope_p")
    )
    return float(line.split()[1])


def test_a_full_queue_refuses_with_a_time_to_come_again_while_health_answers(world, good):
    gate = Gate()
    with serving_service(slowed(world, gate), Limits(queue=3, batch=2)) as served, ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(served.ask, "POST", "/v1/predict", good) for _ in range(3)]
        until(lambda: places_taken(served) == 3)
        start = time.monotonic()
        refused = served.ask("POST", "/v1/predict", good)
        assert refused.status == 503 and refused.json()["code"] == "queue_full"
        assert int(refused.headers["retry-after"]) >= 1 and time.monotonic() - start < 5
        assert served.ask("GET", "/health").status == served.ask("GET", "/ready").status == 200
        gate.open.set()
        assert [one.result().status for one in waiting] == [200] * 3
        assert served.ask("POST", "/v1/predict", good).status == 200 and places_taken(served) == 0


def test_a_picture_that_waits_too_long_is_told_so_and_not_computed(world, good):
    gate = Gate()
    limits = Limits(deadline_s=1.5, batch=1)
    with serving_service(slowed(world, gate), limits) as served, ThreadPoolExecutor(3) as pool:
        late = [one.result() for one in [pool.submit(served.ask, "POST", "/v1/predict", good) for _ in range(3)]]
        assert [(one.status, one.json()["code"]) for one in late] == [(503, "deadline_passed")] * 3
        assert all("retry-after" in one.headers for one in late)
        until(lambda: served.ask("GET", "/ready").status == 503)  # its pass takes longer than the deadline
        assert served.ask("GET", "/ready").json()["code"] == "stopping"
        gate.open.set()
        until(lambda: served.ask("GET", "/ready").status == 200)
        assert served.ask("POST", "/v1/predict", good).status == 200
    assert gate.sizes == [1, 1]  # two of the three that were late were never computed


def test_pictures_of_several_clients_share_a_pass(world, good):
    gate = Gate()
    with serving_service(slowed(world, gate), Limits(batch=4)) as served, ThreadPoolExecutor(9) as pool:
        first = pool.submit(served.ask, "POST", "/v1/predict", good)
        until(lambda: gate.sizes)
        others = [pool.submit(served.ask, "POST", "/v1/predict", good) for _ in range(8)]
        until(lambda: places_taken(served) == 9)
        time.sleep(0.3)  # until the last is decoded
        gate.open.set()
        assert {one.result().status for one in (first, *others)} == {200}
    assert gate.sizes == [1, 4, 4]


def test_a_network_that_fails_is_a_bug_and_the_next_picture_may_fare_better(world, good):
    fails = [True]

    def looking(pixels):
        if fails.pop() if fails else False:
            raise RuntimeError("of the network")
        return look(pixels)

    with serving_service(slowed(world, looking)) as served:
        failed = served.ask("POST", "/v1/predict", good)
        assert failed.status == 500 and failed.json()["code"] == "bug" and b"of the network" not in failed.body
        assert served.ask("POST", "/v1/predict", good).status == 200 and places_taken(served) == 0


@pytest.fixture(scope="module")
def small(world):
    with serving_service(world.answerer, Limits(max_body=2**20, max_bodies=3 * 2**20)) as found:
        yield found


def test_too_many_bytes_are_refused_by_what_is_announced_and_by_what_comes(small, good):
    announced = small.ask("POST", "/v1/predict", b"x", Content_Length=str(2**20 + 1))
    assert announced.status == 413 and "1 MiB" in announced.json()["error"]
    pieces = (b"x" * 2**16 for _ in range(40))  # chunked: 2.5 MiB, announced by nobody
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may hang up before all was sent
        assert small.ask("POST", "/v1/predict", pieces).json()["code"] == "too_large"
    assert small.ask("POST", "/v1/predict", b"x" * 2**20).status == 415  # the largest that is looked at
    assert small.ask("POST", "/v1/predict", good).status == 200


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "²", "9" * 30])
def test_a_length_that_is_no_number_is_refused(small, length):
    with contextlib.suppress(OSError):
        sent = length.encode("latin-1")
        assert small.ask("POST", "/v1/predict", b"x", Content_Length=sent).status in (400, 413)
    assert small.ask("GET", "/health").status == 200


def test_bytes_of_all_pictures_together_are_bounded():
    places = Places(Limits(max_body=100, max_bodies=250), Metrics.new())
    with places.account() as one, places.account() as other:
        one.add(100)
        other.add(150)
        with pytest.raises(Refusal) as refusal:
            one.add(1)
        assert refusal.value.code == "too_many_bytes" and refusal.value.headers["retry-after"] == "1"
        assert places.held == 250
    assert places.held == 0


def test_places_are_given_back_whatever_happens():
    places = Places(Limits(queue=1), Metrics.new())
    with pytest.raises(ZeroDivisionError), places.place(0.1):
        1 / 0  # noqa: B018
    with places.place(0.1), pytest.raises(Refusal) as refusal, places.place(7.2):
        pass
    assert places.taken == 0 and refusal.value.headers["retry-after"] == "8"


def test_a_cancelled_picture_is_left_out_of_its_batch():
    gate, pixels = Gate(), np.zeros((36, 48, 3), np.uint8)
    batcher = Batcher(gate, Limits(batch=4), Metrics.new())

    async def three() -> list:
        first = asyncio.create_task(batcher.ask(pixels))
        await asyncio.sleep(0.1)
        second, third = asyncio.create_task(batcher.ask(pixels)), asyncio.create_task(batcher.ask(pixels))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.sleep(0.05)
        gate.open.set()
        return await asyncio.gather(first, second, third, return_exceptions=True)

    first, second, third = asyncio.run(three())
    assert isinstance(second, asyncio.CancelledError) and first[1] == third[1] == 0 and gate.sizes == [1, 1]
    assert batcher.works
    batcher.stop()
    assert not batcher.works


@pytest.mark.parametrize("change", [{"queue": 0}, {"deadline_s": -1}, {"batch": 0}, {"max_body": 0}])
def test_limits_of_nothing_are_refused(change):
    with pytest.raises(MelascopeError, match=next(iter(change)).split("_")[0]):
        Limits(**change)
    with pytest.raises(MelascopeError, match="max-bodies"):
        Limits(max_body=2 * 2**20, max_bodies=2**20)


def test_a_client_that_leaves_gives_its_place_back(world, good):
    import socket

    with serving_service(world.answerer) as served:
        for _ in range(3):
            line = socket.create_connection(("127.0.0.1", served.port))
            line.sendall(b"POST /v1/predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9000\r\n\r\n" + bytes(4000))
            time.sleep(0.05)
            line.close()
        until(lambda: "melascope_bytes_held 0.0" in served.ask("GET", "/metrics").body.decode())
        assert 'refused_total{code="client_left"} 3.0' in served.ask("GET", "/metrics").body.decode()
        assert served.ask("POST", "/v1/predict", good).status == 200


def test_one_line_too_many_is_told_so_and_let_go_while_health_answers(world, good):
    with serving_service(world.answerer, Limits(connections=2)) as served, contextlib.ExitStack() as held:
        for _ in range(2):
            held.enter_context(socket.create_connection(("127.0.0.1", served.port)))
        refused = served.ask("POST", "/v1/predict", good)
        assert refused.status == 503 and refused.json()["code"] == "too_many_lines"
        assert refused.headers["retry-after"] == "1" and refused.headers["connection"] == "close"
        assert served.ask("GET", "/health").status == served.ask("GET", "/ready").status == 200
        held.close()
        until(lambda: served.ask("POST", "/v1/predict", good).status == 200)

"""Is a client cut off that sends, or takes, too slowly, and is one that is merely slow let through?"""

from __future__ import annotations

import http.client
import json
import socket
import time

import pytest

from melascope.service import wire
from melascope.service.limits import Limits
from running_service import serving_service

PATIENCE = 0.6
HEAD = b"POST /v1/predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n"


@pytest.fixture(scope="module")
def hasty(world):
    with serving_service(world.answerer, Limits(patience_s=PATIENCE, slowest=20_000)) as found:
        yield found


def everything(line: socket.socket) -> bytes:
    """What comes until the service closes."""
    got = b""
    try:
        while piece := line.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", None),
        (b"POST /v1/pre", 408),
        (b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n", 408),
        (HEAD % 5000, 408),
        (HEAD % 5000 + b"\xff\xd8\xff", 408),
        (HEAD.replace(b"content-length: %d", b"transfer-encoding: chunked") + b"5\r\nab", 408),
    ],
)
def test_what_stands_still_is_closed(hasty, sent, status):
    line = socket.create_connection(("127.0.0.1", hasty.port), timeout=10)
    start = time.monotonic()
    line.sendall(sent)
    got = everything(line)
    assert PATIENCE * 0.9 < time.monotonic() - start < PATIENCE + 4
    if status is None:
        assert got == b""
    else:
        head, _, body = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ") and json.loads(body)["code"] == "too_slow"
    assert hasty.ask("GET", "/health").status == 200


def test_a_byte_now_and_then_does_not_help(hasty):
    line = socket.create_connection(("127.0.0.1", hasty.port), timeout=10)
    start = time.monotonic()
    try:
        line.sendall(HEAD % 5000)
        while time.monotonic() - start < 8:
            line.sendall(b"x")
            time.sleep(0.05)
    except OSError:
        pass
    assert time.monotonic() - start < PATIENCE + 4


def test_a_slow_line_that_gets_on_is_let_through(hasty, good):
    line = socket.create_connection(("127.0.0.1", hasty.port), timeout=20)
    start, part = time.monotonic(), -(-len(good) // 12)
    line.sendall(HEAD % len(good))
    for at in range(0, len(good), part):
        line.sendall(good[at : at + part])
        time.sleep(0.1)
    assert time.monotonic() - start > PATIENCE * 1.5
    assert line.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_after_an_early_answer_the_rest_is_thrown_away_for_a_moment_only(hasty):
    line = socket.create_connection(("127.0.0.1", hasty.port), timeout=20)
    line.sendall(HEAD % (10**9))
    assert line.recv(65536).startswith(b"HTTP/1.1 413 ")  # while more is sent, not after it
    start = time.monotonic()
    try:
        while time.monotonic() - start < 12:
            line.sendall(b"x" * 1000)
            time.sleep(0.02)
    except OSError:
        pass
    assert time.monotonic() - start < wire.LINGER_S + 5


def test_a_line_stays_open_for_the_next_picture(hasty, good):
    connection = http.client.HTTPConnection("127.0.0.1", hasty.port, timeout=20)
    connection.connect()
    line = connection.sock
    for _ in range(3):
        connection.request("POST", "/v1/predict", good)
        response = connection.getresponse()
        assert response.status == 200 and response.read() and connection.sock is line
        time.sleep(PATIENCE / 3)
    connection.close()


def test_who_takes_nothing_of_the_answers_is_cut(hasty):
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(("127.0.0.1", hasty.port))
    line.sendall(b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" * 2000)
    end = time.monotonic() + 20
    while 'melascope_cut_total{waited_for="answer"}' not in hasty.ask("GET", "/metrics").body.decode():
        assert time.monotonic() < end, "it is not cut"
        time.sleep(0.2)
    line.close()


def test_cuts_are_counted(hasty):
    line = socket.create_connection(("127.0.0.1", hasty.port), timeout=10)
    line.sendall(b"GET /he")
    everything(line)
    assert 'melascope_cut_total{waited_for="head"}' in hasty.ask("GET", "/metrics").body.decode()

"""One local page for all its tests, and pictures to send it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the local page is an extra: pip install 'melascope[app]'")

from served_page import Served, World, as_bytes, build_world, serving


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    return build_world(tmp_path_factory.mktemp("app") / "20260101_000000__set-s1")


@pytest.fixture(scope="session")
def served(world) -> Iterator[Served]:
    with serving(world.answerer, max_bytes=2 * 2**20) as found:
        yield found


@pytest.fixture(scope="session")
def good(world) -> bytes:
    """A picture that is surely like the training images: one of them."""
    return as_bytes(world.train[0], quality=95)


@pytest.fixture(scope="session")
def cat() -> bytes:
    """Chelsea, photographed by Stéfan van der Walt (CC0), from scikit-image's data, reduced to 300×200."""
    return (Path(__file__).parent / "chelsea.jpg").read_bytes()

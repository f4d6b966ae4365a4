"""One service for most of its tests, on a model whose answers are set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi", reason="the service is an extra: pip install 'melascope[serve]'")
pytest.importorskip("prometheus_client", reason="the service is an extra: pip install 'melascope[serve]'")

from running_service import serving_service
from served_page import Served, World, as_bytes, build_world


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    return build_world(tmp_path_factory.mktemp("service") / "20260101_000000__set-s1")


@pytest.fixture(scope="session")
def served(world) -> Iterator[Served]:
    with serving_service(world.answerer) as found:
        yield found


@pytest.fixture(scope="session")
def good(world) -> bytes:
    """A picture that is surely like the training images: one of them."""
    return as_bytes(world.train[0], quality=95)


@pytest.fixture(scope="session")
def unlike() -> bytes:
    """Noise, which no model learned from."""
    import numpy as np

    return as_bytes(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8), "PNG")

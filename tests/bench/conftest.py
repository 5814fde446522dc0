from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.site import Site, served


@pytest.fixture(scope="module")
def server() -> Iterator[Site]:
    with served() as site:
        yield site


@pytest.fixture
def site(server: Site) -> Site:
    server.behave()
    server.clear()
    return server

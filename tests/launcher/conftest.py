"""One launcher at its site, or with an estate to sweep, for each test its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.estate import Estate, estate_in
from support.launcher_site import Site, site_in


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_in(tmp_path) as there:
        yield there


@pytest.fixture
def estate(tmp_path: Path) -> Iterator[Estate]:
    with estate_in(tmp_path) as there:
        yield there

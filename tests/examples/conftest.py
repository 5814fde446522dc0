"""What the examples are run with."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import examples


@pytest.fixture(scope="session")
def stop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return examples.stop_in_write(tmp_path_factory.mktemp("stop"))


@pytest.fixture(scope="session")
def frameworks() -> Path:
    return examples.frameworks()

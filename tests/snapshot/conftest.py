"""A store, a run's snapshots, and two places on one file system that keeps holes and attributes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spotrelay.ports import Store
from spotrelay.snapshot import Snapshots
from support import stores


@pytest.fixture
def store() -> Store:
    return stores.memory()


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


@pytest.fixture
def snapshots(store: Store) -> Callable[..., Snapshots]:
    def make(directory: Path, **how: Any) -> Snapshots:
        return Snapshots(how.pop("store", store), stores.RUN, directory, **how)

    return make

"""A store, a run's snapshots, and two places on one file system that keeps holes and attributes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spotrelay.ports import Store
from spotrelay.snapshot import Snapshots
from spotrelay.snapshot.pack import Buffer
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


@pytest.fixture
def while_read(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Calls `change` in the middle of each of the next `times` reads, between the bytes and the second look. A small
    file that was settled when the walk saw it is read once more than others."""
    original = Buffer.read

    def inject(change: Callable[[], Any], times: int = 1_000_000) -> None:
        left = iter(range(times))

        def read(self: Buffer, *arguments: int) -> int:
            got = original(self, *arguments)
            if next(left, None) is not None:
                change()
            return got

        monkeypatch.setattr(Buffer, "read", read)

    return inject

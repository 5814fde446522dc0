"""The wire to the store, and what it was seen to carry.

A store like the one behind it; what is put through it is timed. A *window* lasts from the first put that begins to the
last one that ends: its bytes over its seconds are what the wire carried, however many puts shared it. So a background
save, which pauses, measures by its bursts what the last save will have.

The rate is the best that was seen, and forgets slowly: a window may be slow because the command used the wire as well,
and none is faster than the wire.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from spotrelay.ports import Store

# Half a slice. What is smaller says how long a request takes, not what the wire carries.
LEAST_BYTES = 8 << 20
FORGETS = 0.1


class Line:
    """A ports.Store in front of another. `rate`: bytes a second; None before anything large was put."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate: float | None = None
        self._store, self._clock = store, clock
        self._under_way, self._began, self._bytes = 0, 0.0, 0

    async def put(self, key: str, data: bytes) -> None:
        with self._timed(len(data)):
            await self._store.put(key, data)

    @contextmanager
    def _timed(self, size: int) -> Iterator[None]:
        if not self._under_way:
            self._began, self._bytes = self._clock(), 0
        self._under_way += 1
        try:
            yield
            self._bytes += size
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._measure(self._clock() - self._began)

    def _measure(self, seconds: float) -> None:
        if self._bytes >= LEAST_BYTES and seconds > 0:
            seen = self._bytes / seconds
            self.rate = seen if self.rate is None else max(seen, self.rate + FORGETS * (seen - self.rate))

    def __getattr__(self, method: str) -> Any:
        """Everything but `put` passes untimed."""
        return getattr(self._store, method)

    def as_store(self) -> Store:
        return cast(Store, self)

"""Who goes through the lane: one thread, until one has been kept waiting."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from spotrelay.snapshot import lane
from spotrelay.snapshot.lane import Lane
from spotrelay.snapshot.threads import Threads

MOST = 3


class Crowd:
    """How many are inside at once, at most."""

    def __init__(self) -> None:
        self.most = self._inside = 0
        self._lock = threading.Lock()

    def pass_through(self) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        until = time.thread_time() + 0.003  # work, not waiting
        while time.thread_time() < until:
            pass
        with self._lock:
            self._inside -= 1


async def test_who_only_works_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that are not kept waiting go one at a time. Otherwise threads hand the interpreter's lock to each other at
    each call of the kernel: a fifth of what it costs to save many small files."""
    monkeypatch.setattr(lane, "SOME_S", 60.0)  # a machine that is busy is no disk
    crowd = Crowd()
    async with asyncio.timeout(5), Threads(MOST) as threads:
        alone = Lane(threads, MOST)
        await asyncio.gather(*(alone.run(crowd.pass_through) for _ in range(4 * MOST)))

    assert 1 == crowd.most


async def test_who_has_been_kept_waiting_makes_room_for_all() -> None:
    """One call that waits opens the lane for as many as there are threads. Otherwise a disk that could answer four
    questions at a time is asked one."""
    together = threading.Barrier(MOST)
    async with asyncio.timeout(5), Threads(MOST) as threads:
        opened = Lane(threads, MOST)
        await opened.run(time.sleep, 0.1)  # what a disk does
        await asyncio.gather(*(opened.run(together.wait, 3) for _ in range(MOST)))

    assert not together.broken

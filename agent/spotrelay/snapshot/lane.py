"""Where threads go one at a time that do little else than ask the kernel, as long as it answers at once.

Each call to the kernel lets go of the interpreter's lock. Two threads that make one after the other, 2 µs each, hand
that lock to and fro, and wait for it longer than for the kernel: to save 20,000 small files took 7,000 switches between
threads and 1.5 s of CPU; one at a time, it takes 2,200 and 1.3 s. Where the kernel has to wait for a disk it is the
other way round: the disk wants many questions at a time. So the lane has room for one thread, and for all as soon as
one of them has been kept waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from spotrelay.snapshot.threads import Threads

P = ParamSpec("P")
R = TypeVar("R")

# Kept waiting: the clock went on so many times as fast as the thread's own work. A busy machine with two cores makes
# that 1 to 3; a file that is not in memory takes 0.1 ms of the fastest disk, beside 0.02 ms of work.
WAITED = 4
# Less is the first touch of memory, or somebody else's turn on the core.
SOME_S = 0.02


class Lane:
    """`most`: so many go side by side where there is waiting to be done."""

    def __init__(self, threads: Threads, most: int) -> None:
        self._threads, self._more = threads, most - 1
        self._room = asyncio.Semaphore(1)

    async def run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        def timed() -> tuple[R, bool]:
            began, worked = time.monotonic(), time.thread_time()
            result = call(*args, **kwargs)
            return result, time.monotonic() - began > WAITED * (time.thread_time() - worked) + SOME_S

        async with self._room:
            result, waited = await self._threads.run(timed)
        if waited:
            self._widen()
        return result

    def _widen(self) -> None:
        for _ in range(self._more):
            self._room.release()
        self._more = 0

"""Time that can be handed in.

Everything in the local cloud that waits (visibility timeouts, long polls, boots, token buckets, event latency) asks a
`Clock`, so that a test moves twelve hours in no time and none of it sleeps. One primitive is enough for all of them:
call me at this moment. What waits asynchronously waits for a future which such a call resolves.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since 1970 (UTC), never running backwards."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back on the running loop once `now()` has reached `when`; soon, if that is past."""
        ...


class SystemClock:
    """The computer's, monotonic from the start on: a wall clock that is set must not end a visibility timeout."""

    def __init__(self) -> None:
        self._epoch = time.time() - time.monotonic()

    def now(self) -> float:
        return self._epoch + time.monotonic()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(max(0.0, when - self.now()), callback)


class _Alarm:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """Stands still until somebody calls `advance`."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._order = itertools.count()
        self._alarms: list[tuple[float, int, _Alarm]] = []

    def now(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        if when <= self._now:
            return asyncio.get_running_loop().call_soon(callback)
        alarm = _Alarm(callback)
        heapq.heappush(self._alarms, (when, next(self._order), alarm))
        return alarm

    def advance(self, seconds: float) -> None:
        """Move on, and let every alarm on the way ring at its own moment, those set by others included.

        Coroutines that an alarm wakes run when the caller next awaits: with the time already moved to the end.
        """
        end = self._now + seconds
        while self._alarms and self._alarms[0][0] <= end:
            self._now, _, alarm = heapq.heappop(self._alarms)
            if alarm.callback is not None:
                alarm.callback()
        self._now = end


def wake(waiting: asyncio.Future[None]) -> None:
    """Resolve a future that may have been resolved, or cancelled, by another."""
    if not waiting.done():
        waiting.set_result(None)


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait `seconds` of `clock`'s time."""
    awake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_at(clock.now() + seconds, lambda: wake(awake))
    try:
        await awake
    finally:
        timer.cancel()

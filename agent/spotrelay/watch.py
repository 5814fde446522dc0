"""A stream of notices, each once.

1. Three documents are looked at, each by a task of its own and in its own rhythm: a look that hangs delays the next
   look at that document, by its short timeout, and no other.
2. What a document means is `core.announcements`: here is only when to look, and what to do when looking fails.
3. 404 is news of peace, and silent. Everything else that is no document — 401, 403, 5xx, no answer, garbled — says
   nothing about the machine: no notice comes of it, none is withdrawn by it, and the next look is as punctual.
4. Nothing ends the watch but its reader. Where the service fails, the first failure is logged, then one line at
   growing intervals, and one when it answers again: a service that is ill for a day must not fill the disk.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from spotrelay.core import announcements
from spotrelay.core.announcements import MARGIN_S, NEAR_S, Docket, Garbled
from spotrelay.core.errors import MetadataUnavailable
from spotrelay.core.events import Notice, Rebalance, Source, Withdrawn
from spotrelay.ports import Metadata

SPOT_PATH = "meta-data/spot/instance-action"
REBALANCE_PATH = "meta-data/events/recommendations/rebalance"
SCHEDULED_PATH = "meta-data/events/maintenance/scheduled"

# 1 s: AWS advises 5 s. All looks together cost 0.15 % of a core (20 watches measured over loopback), and the rhythm
# wins two seconds of the 120 on average, four at worst. A notice was told 0.5 s (median) to 1.001 s after it was shown.
PERIOD_S = 1.0
# The other two speak of minutes and hours, so for them it is what AWS advises.
OTHERS_EVERY = 5
# Longer than the adapter's own second, so that its error, which knows more, is the one that is logged.
LOOK_TIMEOUT_S = 1.5
FIRST_REMINDER_S = 60.0
LAST_REMINDER_S = 3600.0

News = Notice | Rebalance | Withdrawn
Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[object]]
Reader = Callable[[str | None], Sequence[News]]

# Failures of the service. Any other is a fault of ours, and logged with its traceback.
EXPECTED = (MetadataUnavailable, Garbled, TimeoutError)

log = structlog.get_logger()


async def watch(
    metadata: Metadata,
    *,
    period: float = PERIOD_S,
    clock: Clock = time.monotonic,
    sleep: Sleep = asyncio.sleep,
    near: float = NEAR_S,
    margin: float = MARGIN_S,
    look_timeout: float = LOOK_TIMEOUT_S,
) -> AsyncIterator[News]:
    """News of the instance's end, without end; raises nothing. Deadlines are on `clock`.

    `near`: seconds before scheduled maintenance at which it becomes a notice. `margin`: seconds that a notice may be
    overdue before it counts as withdrawn. Read it inside of `contextlib.aclosing`, so that leaving ends its tasks.
    """
    news: asyncio.Queue[News] = asyncio.Queue()
    readers = _Readers(metadata, clock, near, margin)
    looks = {
        SPOT_PATH: (readers.spot, period),
        REBALANCE_PATH: (readers.rebalance, period * OTHERS_EVERY),
        SCHEDULED_PATH: (readers.scheduled, period * OTHERS_EVERY),
    }
    tasks = [
        asyncio.create_task(_keep_looking(_Look(metadata, path, read, look_timeout), news, every, clock, sleep))
        for path, (read, every) in looks.items()
    ]
    try:
        while True:
            yield await news.get()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Readers:
    """What each document says that it did not say before. Each may raise Garbled."""

    def __init__(self, metadata: Metadata, clock: Clock, near: float, margin: float) -> None:
        self._metadata = metadata
        self._clock = clock
        self._spot = Docket(Source.SPOT, near=near, margin=margin)
        self._scheduled = Docket(Source.SCHEDULED, near=near, margin=margin)
        self._recommended: set[float] = set()

    def spot(self, text: str | None) -> Sequence[News]:
        return self._spot.update(announcements.spot_action(text), self._clock(), self._metadata.server_now())

    def scheduled(self, text: str | None) -> Sequence[News]:
        return self._scheduled.update(announcements.scheduled(text), self._clock(), self._metadata.server_now())

    def rebalance(self, text: str | None) -> Sequence[News]:
        at = announcements.rebalance(text)
        if at is None or at in self._recommended:
            return []
        self._recommended.add(at)
        return [Rebalance()]


@dataclass(frozen=True, slots=True)
class _Look:
    metadata: Metadata
    path: str
    read: Reader
    timeout: float

    async def __call__(self) -> Sequence[News]:
        async with asyncio.timeout(self.timeout):
            text = await self.metadata.text(self.path)
        return self.read(text)


async def _keep_looking(look: _Look, news: asyncio.Queue[News], every: float, clock: Clock, sleep: Sleep) -> None:
    outage = _Outage(look.path)
    while True:
        began = clock()
        try:
            for event in await look():
                news.put_nowait(event)
        except Exception as error:  # a fault of the service, or of ours: neither may blind us for good
            outage.failed(error, clock())
        else:
            outage.ended(clock())
        await sleep(max(0.0, began + every - clock()))


@dataclass(slots=True)
class _Outage:
    """What is logged of looks that fail. A service that fails every other time is one that fails: after a line there
    is silence for the interval, whatever happens in it."""

    path: str
    failures: int = 0
    since: float = 0.0
    quiet_until: float = -math.inf
    interval: float = FIRST_REMINDER_S
    told: bool = False

    def failed(self, error: Exception, now: float) -> None:
        if self.failures == 0:
            self.since = now
        self.failures += 1
        if now < self.quiet_until:
            return
        self.told = True
        self.quiet_until = now + self.interval
        self.interval = min(2 * self.interval, LAST_REMINDER_S)
        log.warning(
            "metadata.failed",
            path=self.path,
            problem=f"{type(error).__name__}: {error}",
            failures=self.failures,
            seconds=round(now - self.since, 1),
            exc_info=not isinstance(error, EXPECTED),
        )

    def ended(self, now: float) -> None:
        if self.told:
            seconds = round(now - self.since, 1)
            log.info("metadata.recovered", path=self.path, failures=self.failures, seconds=seconds)
        self.failures, self.told = 0, False
        if now >= self.quiet_until:
            self.interval = FIRST_REMINDER_S

"""The attempt's status object, and what others have to say to it.

Every beat writes status.json (who, in which phase, until when) and looks for three things: a later attempt that goes
on without this one, the cancel object, and the run's hours. A beat that fails is logged and the next one comes: a store
that is down neither stops the command nor fences it. A cancel that is there comes before the hours: who wrote it knows
why, and the outcome will say that.

What fences (P1) is a later attempt that has fixed its base: it goes on without us. One that has merely claimed waits
for what is still being saved. Where this attempt did not ask for it, that is a notice: EC2 told the launcher, by an
event or by the state of the spot request, what the metadata service failed to tell here.

`undisputed_at` is when the last whole beat began that found nobody: as long as that is recent, the run is this
attempt's alone, and what it does not need may be deleted (snapshot/housekeeping.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import structlog

from spotrelay.core import keys, records
from spotrelay.core.errors import SpotrelayError
from spotrelay.core.events import Action, Event, Fenced, Halted, Notice, Source, Stopped
from spotrelay.history import History

# One put, one get and one get of nothing each: 15 s are 720 requests an hour, under 0.2 cents on S3. Faster would tell
# a person sooner, but the moments that count (a notice, the end) are told at once.
BEAT_S = 15.0
# EC2 warns two minutes before the end. A launch, a boot and one beat of ours have gone by when a successor is seen.
UNTOLD_S = 60.0


class Heartbeat:
    """`asked`: whether this attempt has asked for its successor. `over`: which limit of the run is reached, if any.
    `clock`: monotonic seconds, as in events."""

    def __init__(
        self,
        history: History,
        attempt: int,
        status: Callable[[], records.Status],
        *,
        asked: Callable[[], bool],
        over: Callable[[], str | None],
        clock: Callable[[], float],
    ) -> None:
        self._history, self._attempt = history, attempt
        self._status, self._asked, self._over, self._clock = status, asked, over, clock
        self._at_once = asyncio.Event()
        self.undisputed_at: float | None = None

    def beat(self) -> None:
        self._at_once.set()

    async def events(self) -> AsyncIterator[Event]:
        """Fenced, Stopped, Halted and Notice, each at most once. Never ends, never raises for the store's sake."""
        log, told = structlog.get_logger(), set[type[Event]]()
        while True:
            self._at_once.clear()
            began = self._clock()
            try:
                await self._write()
                found = await self._look()
                if not found and not self._asked():
                    self.undisputed_at = began
                for event in found:
                    if type(event) not in told:
                        told.add(type(event))
                        yield event
            except Exception as error:  # a fault of ours, too: it is not worth the command's life
                foreseen = isinstance(error, SpotrelayError | OSError)
                log.warning("heartbeat.failed", error=str(error), exc_info=not foreseen)
            # Not wait_for: until Python 3.12 it swallows a cancellation that meets the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._at_once.wait()

    async def _write(self) -> None:
        key = keys.status(self._history.run, self._attempt)
        await self._history.store.put(key, records.encode(self._status()))

    async def _look(self) -> list[Event]:
        found: list[Event] = []
        if (later := await self._later()) is not None:
            found.append(later)
        if (cancel := await self._history.cancelled()) is not None:
            told = Halted if cancel.now else Stopped
            found.append(told(cancel.result, cancel.message))
        elif (limit := self._over()) is not None:
            found.append(Stopped("limit", limit))
        return found

    async def _later(self) -> Event | None:
        """What a later attempt means for this one."""
        later = self._attempt + 1
        while await self._history.claim(later) is not None:
            if await self._history.base(later) is not None:
                return Fenced()
            later += 1  # it may have gone before it began, and left the run to the next
        if later == self._attempt + 1 or self._asked():
            return None
        return Notice(Source.SUCCESSOR, Action.TERMINATE, self._clock() + UNTOLD_S)

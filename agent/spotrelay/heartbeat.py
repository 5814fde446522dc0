"""The attempt's status object, and what others have to say to it.

Every beat writes status.json (who, in which phase, until when) and looks for three things: a later attempt that goes
on without this one, the cancel object, and the run's hours. A beat that fails is logged and the next one comes: a store
that is down neither stops the command nor fences it. A cancel that is there comes before the hours: who wrote it knows
why, and the outcome will say that.

What fences (P1) depends on who asked. A later claim that this attempt did not ask for says that somebody took it for
dead: its command ends at once. The claim of the successor that it did ask for is welcome, and waits for what is still
being saved; that one goes on without it only when it has fixed its base.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import structlog

from spotrelay.core import keys, records
from spotrelay.core.errors import SpotrelayError
from spotrelay.core.events import Event, Fenced, Stopped
from spotrelay.history import History

# One put, one get and one get of nothing each: 15 s are 720 requests an hour, under 0.2 cents on S3. Faster would tell
# a person sooner, but the moments that count (a notice, the end) are told at once.
BEAT_S = 15.0


class Heartbeat:
    """`asked`: whether this attempt has asked for its successor. `over`: which limit of the run is reached, if any."""

    def __init__(
        self,
        history: History,
        attempt: int,
        status: Callable[[], records.Status],
        *,
        asked: Callable[[], bool],
        over: Callable[[], str | None],
    ) -> None:
        self._history, self._attempt = history, attempt
        self._status, self._asked, self._over = status, asked, over
        self._at_once = asyncio.Event()

    def beat(self) -> None:
        self._at_once.set()

    async def events(self) -> AsyncIterator[Event]:
        """Fenced and Stopped, each at most once. Never ends, never raises for the store's sake."""
        log, told = structlog.get_logger(), set[type[Event]]()
        while True:
            self._at_once.clear()
            try:
                await self._write()
                for event in await self._look():
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
        if await self._fenced():
            found.append(Fenced())
        if (cancel := await self._history.cancelled()) is not None:
            found.append(Stopped(cancel.result, cancel.message))
        elif (limit := self._over()) is not None:
            found.append(Stopped("limit", limit))
        return found

    async def _fenced(self) -> bool:
        asked, later = self._asked(), self._attempt + 1
        while await self._history.claim(later) is not None:
            if not asked or await self._history.base(later) is not None:
                return True
            later += 1  # it may have gone before it began, and left the run to the next
        return False

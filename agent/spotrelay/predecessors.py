"""Wait for those who came before: what they still save is worth the wait, and until they are done it may be saved.

Attempt n is done when one of these is so:

1. it handed over
2. EC2 said that its instance is dead: the launcher writes that down
3. its deadline is past, by a margin
4. it never told of a deadline, and its heartbeat has stopped long ago
5. it never claimed

One that went before it fixed its base has not waited itself: then those before it count as well.
"""

from __future__ import annotations

from collections.abc import Callable

from spotrelay.history import History

# The margin on a deadline: clocks of instances agree to milliseconds, but a notice's `time` is "approximate".
MARGIN_S = 10.0
# Twelve heartbeats. Sooner, and a store that was away for a minute looks like a machine that died.
SILENT_S = 180.0


class Predecessors:
    """Of attempt `number`. `wall`: unix seconds."""

    def __init__(self, history: History, number: int, *, wall: Callable[[], float]) -> None:
        self.errors = 0
        self._history, self._number, self._wall = history, number, wall

    async def done(self) -> bool:
        """Also learns `errors`, the failures in a row so far. Raises StoreError."""
        for number in range(self._number - 1, 0, -1):
            if not await self._done(number):
                return False
            if await self._history.base(number) is not None:
                break
        return True

    async def _done(self, number: int) -> bool:
        claim = await self._history.claim(number)
        handover = await self._history.handover(number)
        status = await self._history.status(number)
        if handover is not None:
            self.errors = handover.errors if number == self._number - 1 else self.errors
            return True
        if claim is None or await self._history.death(number) is not None:
            return True
        heard = status.at if status is not None else claim.at
        told = status.gone_at if status is not None else None
        return self._wall() > (heard + SILENT_S if told is None else told + MARGIN_S)

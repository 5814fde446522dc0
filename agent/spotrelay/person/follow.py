"""Follow a run: what becomes of it and what its command says, as they come, until it is over.

A look is a `glance` and the newest segments of the newest attempt's log: seven requests a second, and each segment
once. Looking changes nothing, so leaving changes nothing either.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from spotrelay.core import records
from spotrelay.core.errors import StoreUnavailable
from spotrelay.person.glance import Glance, State, glance
from spotrelay.person.log import SETTLE_S, Log, Position
from spotrelay.ports import BrowsableStore

LOOK_S = 1.0
# A store that is away for so long is told of; a moment is nobody's business.
AWAY_S = 10.0


@dataclass(frozen=True, slots=True)
class Became:
    """Something else is so. `seen`: all of it."""

    state: State
    seen: Glance


@dataclass(frozen=True, slots=True)
class Said:
    """The command's output, in order and whole."""

    attempt: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Away:
    """The store does not answer. It is asked again, for ever."""

    why: str


News = Became | Said | Away


async def follow(
    store: BrowsableStore, run: str, *, every_s: float = LOOK_S, now: Callable[[], float] = time.time
) -> AsyncGenerator[News, None]:
    """Ends after the `Became` that has the outcome. Raises StoreDenied.

    A machine writes the outcome first and ships its last words after that: so the end is told once a look that began
    SETTLE_S after it was seen, and after the last words that came, has found no more.
    """
    known: tuple[object, ...] = ()
    log, at = Log(store, run), Position(1)
    answered, quiet_since = now(), math.inf
    while True:
        asked = now()
        try:
            seen = await glance(store, run)
            # First what was said, then what became of it: a reader sees the last words before the end.
            for attempt in range(at.attempt, seen.attempt + 1):
                at = max(at, Position(attempt))
                async for piece in log.since(at):
                    at, quiet_since = piece.after, math.inf
                    yield Said(attempt, piece.data)
            answered = now()
        except StoreUnavailable as error:
            if now() - answered > AWAY_S:
                answered = now()
                yield Away(str(error))
        else:
            state = seen.state(now())
            quiet_since = min(quiet_since, answered) if state.over else math.inf
            if state.over and asked - quiet_since < SETTLE_S:
                await asyncio.sleep(min(every_s, SETTLE_S))
                continue
            if (this := _what(state, seen)) != known:
                known = this
                yield Became(state, seen)
            if state.over:
                return
        await asyncio.sleep(every_s)


def _what(state: State, seen: Glance) -> tuple[object, ...]:
    wait = seen.wait
    phase = seen.status.phase if seen.status is not None and state is not State.WAITING else ""
    return state, seen.attempt, phase, wait.why if wait is not None else "", seen.trouble


def said_of(outcome: records.Outcome) -> str:
    """In a line."""
    code = f" (exit code {outcome.exit_code})" if outcome.exit_code else ""
    return f"{outcome.result}{code}{': ' + outcome.message if outcome.message else ''}"

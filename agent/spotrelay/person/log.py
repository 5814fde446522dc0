"""What the command wrote, all attempts in their order, as it is or as it comes. Whoever reads a log reads it here:
`logs`, who follows a run (follow.py), the page (ui/logbook.py).

1. An attempt's segments (command/output.py) are immutable and numbered without gaps: joined they are its output, and
   the attempts' outputs joined are the run's. A number that is missing is said, never passed over in silence.
2. Memory is bounded whatever the log: of segments that are listed, AHEAD_BYTES are under way at a time.
3. The last N lines are found from the end, a segment at a time.
4. To follow is to ask for the next segment until it is there: one small request each LOOK_S, which is what S3 takes
   best. When there is none, it is asked whether a later attempt writes, or the run is over. A machine ships the rest of
   its words right after its hand-over, and after the outcome; so an attempt is left when its successor has written
   something, and the run SETTLE_S after its outcome was seen and nothing more has come.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

from spotrelay.core import keys
from spotrelay.core.errors import NotFound, StoreError
from spotrelay.person.glance import attempts_among
from spotrelay.ports import BrowsableStore

# Four full segments: what a line of 1 Gbit/s brings in a quarter of a second. And no more than so many small ones.
AHEAD_BYTES = 32 << 20
AHEAD = 32
# No writer of ours makes one so large (command/output.py); it would be held in memory.
LARGEST = 64 << 20
# The agent ships every 5 s; a person who follows waits 6 at the longest.
LOOK_S = 1.0
# Whether somebody else writes, or the run is over: two requests, every so many looks that found nothing.
LOOKS = 3
SETTLE_S = 5.0
# Below a run's attempts.
_SEGMENT = re.compile(r"(\d{5})/log/(\d{6,9})", re.ASCII)


class Position(NamedTuple):
    """A byte of the log. A segment that does not exist yet is the place where the log will go on."""

    attempt: int
    segment: int = 0
    offset: int = 0


class Piece(NamedTuple):
    """Bytes of the log, and where they begin. `gap`: what should stand before them and does not, in words."""

    at: Position
    data: bytes
    gap: str = ""

    @property
    def after(self) -> Position:
        """Where the log goes on."""
        return Position(self.at.attempt, self.at.segment + 1)


@dataclass(slots=True)
class Log:
    """Of run `run`; of `only` that attempt, if it is given. Raises StoreUnavailable, StoreDenied throughout."""

    store: BrowsableStore
    run: str
    only: int | None = None
    clock: Callable[[], float] = field(default=time.monotonic)

    async def attempts(self) -> list[int]:
        """Those there are, in order. Raises NotFound if there is none as `only`."""
        found = attempts_among(await self.store.folders(keys.attempts(self.run)))
        if self.only is None:
            return found
        if self.only not in found:
            have = f"it has {found[0]} to {found[-1]}" if found else "it has none yet"
            raise NotFound(f"the run {self.run} has no attempt {self.only}", next_step=have)
        return [self.only]

    async def read(self, start: Position | None = None) -> AsyncGenerator[Piece, None]:
        """From `start`, or the beginning, to what is its end now."""
        for attempt in await self.attempts():
            if start is not None and attempt < start.attempt:
                continue
            begin = start if start is not None and attempt == start.attempt else Position(attempt)
            async with aclosing(self._read(begin)) as pieces:
                async for piece in pieces:
                    yield piece

    async def follow(self, start: Position | None = None) -> AsyncGenerator[Piece, None]:
        """As `read`, and on from there until the run (the attempt) is over."""
        at: Position | None = start
        async with aclosing(self.read(start)) as pieces:
            async for piece in pieces:
                yield piece
                at = piece.after
        looks, over_since = 0, None
        while True:
            looked, came = self.clock(), False
            async for piece in self.since(at):
                yield piece
                at, came = piece.after, True
            if came:
                over_since = None if over_since is None else self.clock()
                continue
            if looks % LOOKS == 0 or over_since is not None:
                later = await self._later(at)
                if later is not None:
                    async for piece in self.since(at):  # what came between the two looks
                        yield piece
                    at = later
                    continue
                if over_since is None and await self._is_over(at):
                    over_since = self.clock()
            if over_since is not None and looked - over_since >= SETTLE_S:
                return
            looks += 1
            await asyncio.sleep(LOOK_S)

    async def since(self, at: Position | None) -> AsyncIterator[Piece]:
        """What has come of the attempt from there on; nothing, most of the time."""
        while at is not None:
            try:
                piece = Piece(at, (await self.store.get(self._key(at)))[at.offset :])
            except NotFound:
                return
            yield piece
            at = piece.after

    async def part(self, at: Position, length: int) -> bytes:
        """So many bytes of a segment, or what there is. Raises NotFound."""
        return await self.store.get_range(self._key(at), at.offset, length)

    async def size(self, at: Position) -> int:
        """Of a segment. Raises NotFound."""
        try:
            return (await self.store.sizes(self._key(at)))[self._key(at)]
        except KeyError as error:
            raise NotFound(f"{self._key(at)} is not there") from error

    async def segments(self) -> dict[int, dict[int, int]]:
        """Of each attempt that has any: numbers and sizes, in order. A request for a thousand objects of the run."""
        return await self._listed(keys.attempts(self.run))

    async def end(self) -> Position | None:
        """Where it will go on; None: nobody has begun it."""
        attempts = await self.attempts()
        for attempt in reversed(attempts):
            if numbers := list(await self._segments(attempt)):
                return Position(attempt, numbers[-1] + 1)
        return Position(attempts[0]) if attempts else None

    async def tail(self, lines: int) -> Position | None:
        """Where its last `lines` lines begin. None: at its beginning."""
        wanted, last = lines, True
        for attempt in reversed(await self.attempts()):
            segments = await self._segments(attempt)
            for number in reversed(segments):
                data = await self._get(Position(attempt, number), segments[number])
                if last and data:
                    wanted, last = wanted + data.endswith(b"\n"), False
                if not last and not lines:
                    return Position(attempt, number + 1)
                found, cut = _cut(data, wanted)
                if cut is not None:
                    return Position(attempt, number, cut)
                wanted -= found
        return None

    # --- one attempt

    async def _read(self, start: Position) -> AsyncGenerator[Piece, None]:
        segments = await self._segments(start.attempt)
        positions = [Position(start.attempt, number) for number in segments if number >= start.segment]
        expected = start.segment
        async with aclosing(self._ahead(positions, segments)) as coming:
            async for at, data in coming:
                gap = f"attempt {at.attempt}: segments {expected} to {at.segment - 1} are missing"
                skip = start.offset if at.segment == start.segment else 0
                yield Piece(at._replace(offset=skip), data[skip:], gap if at.segment > expected else "")
                expected = at.segment + 1

    async def _ahead(
        self, positions: Sequence[Position], sizes: dict[int, int]
    ) -> AsyncGenerator[tuple[Position, bytes], None]:
        coming: deque[tuple[Position, asyncio.Task[bytes]]] = deque()
        waiting, held = deque(positions), 0
        try:
            while coming or waiting:
                while waiting and len(coming) < AHEAD and (held < AHEAD_BYTES or not coming):
                    at = waiting.popleft()
                    coming.append((at, asyncio.ensure_future(self._get(at, sizes[at.segment]))))
                    held += sizes[at.segment]
                at, task = coming.popleft()
                data = await task
                held -= sizes[at.segment]
                yield at, data
        finally:
            for _, task in coming:
                task.cancel()
            await asyncio.gather(*(task for _, task in coming), return_exceptions=True)

    async def _segments(self, attempt: int) -> dict[int, int]:
        return (await self._listed(keys.log(self.run, attempt))).get(attempt, {})

    async def _listed(self, prefix: str) -> dict[int, dict[int, int]]:
        top, found = keys.attempts(self.run), dict[int, dict[int, int]]()
        for key, size in (await self.store.sizes(prefix)).items():
            match = _SEGMENT.fullmatch(key.removeprefix(top))
            if match is not None and int(match[1]):
                found.setdefault(int(match[1]), {})[int(match[2])] = size
        return {attempt: dict(sorted(numbers.items())) for attempt, numbers in sorted(found.items())}

    def _key(self, at: Position) -> str:
        return keys.log_segment(self.run, at.attempt, at.segment)

    async def _get(self, at: Position, size: int) -> bytes:
        if size > LARGEST:
            raise StoreError(
                f"{self._key(at)} has {size} bytes: none of ours has", next_step="see who wrote it, and remove it"
            )
        return await self.store.get(self._key(at))

    # --- what comes

    async def _later(self, at: Position | None) -> Position | None:
        """The beginning of the next attempt that has written something."""
        for attempt in await self.attempts():
            if at is None or attempt > at.attempt:
                begin = Position(attempt)
                async for _ in self.since(begin):
                    return begin
        return None

    async def _is_over(self, at: Position | None) -> bool:
        signs = [keys.outcome(self.run)]
        if self.only is not None and at is not None:
            signs += [keys.handover(self.run, at.attempt), keys.death(self.run, at.attempt)]
        return any([bool(await self.store.list(sign)) for sign in signs])


def _cut(data: bytes, wanted: int) -> tuple[int, int | None]:
    """How many line ends there are, at most `wanted`; and the place behind the last of these, counted from the end."""
    at, found = len(data), 0
    while found < wanted:
        at = data.rfind(b"\n", 0, at)
        if at < 0:
            return found, None
        found += 1
    return found, at + 1

"""The command's output as one long text that nobody holds: windows into the segments of each attempt.

1. What there is: one listing when a run is first looked at (a request for a thousand segments), and from then on a look
   for the next segment of the newest two attempts. Segments are numbered without gaps and never change, so one that is
   not there yet is the end, and costs one request to know.
2. What is shown: a window of at most WINDOW bytes, cut at ends of lines, out of the blocks of BLOCK bytes that it
   touches. Of a log of a gigabyte, a megabyte is in memory; blocks that were read lately are kept, CACHE bytes of them.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from spotrelay.core.errors import NotFound
from spotrelay.person.log import Log, Position
from spotrelay.ports import BrowsableStore

BLOCK = 256 << 10
WINDOW = 128 << 10
CACHE = 16 << 20
# A command that prints a line now and then has a segment each: a window of many is shortened, not waited for.
MOST_SEGMENTS = 128
# New segments that one look takes in. A flood's are 8 MiB each; the next look goes on.
AT_A_LOOK = 16


@dataclass(slots=True)
class _Text:
    """Of one attempt. `ends[k]`: where segment k ends."""

    ends: list[int] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.ends[-1] if self.ends else 0

    def add(self, size: int) -> None:
        self.ends.append(self.size + size)


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes `start` to `end` of an attempt's log, whole lines but where one is longer than a window."""

    start: int
    end: int
    size: int
    data: bytes


class Logbook:
    """Of run `run`."""

    def __init__(self, store: BrowsableStore, run: str) -> None:
        self._log = Log(store, run)
        self._texts: dict[int, _Text] = {}
        self._listed = False
        self._blocks: OrderedDict[tuple[int, int, int], bytes] = OrderedDict()
        self._kept = 0
        self._looking = asyncio.Lock()

    def sizes(self) -> list[tuple[int, int]]:
        """Attempts that have said something, and how many bytes."""
        return [(attempt, text.size) for attempt, text in sorted(self._texts.items()) if text.size]

    async def look(self, attempts: Iterable[int]) -> None:
        """Find what is new in these attempts. Raises StoreUnavailable, StoreDenied."""
        async with self._looking:
            if not self._listed:
                await self._list()
            await asyncio.gather(*map(self._look_at, attempts))

    async def window(self, attempt: int, *, start: int | None = None, end: int | None = None) -> Window:
        """The window that begins at `start` or ends at `end`. Raises NotFound, StoreError."""
        async with self._looking:
            if not self._listed:
                await self._list()
        text = self._texts.get(attempt)
        if text is None:
            raise NotFound(f"attempt {attempt} of {self._log.run} has no log")
        size = text.size
        if start is not None:
            first = max(0, min(start, size))
            data = await self._read(attempt, text, first, min(size, first + WINDOW))
            return _cut_behind(first, size, data)
        last = size if end is None else max(0, min(end, size))
        first = max(0, last - WINDOW, _start_of(text, last))
        return _cut_before(first, size, await self._read(attempt, text, first, last))

    async def _list(self) -> None:
        """Gaps end a log: what lies behind one was not written by an agent."""
        for attempt, segments in (await self._log.segments()).items():
            text = self._texts.setdefault(attempt, _Text())
            while (number := len(text.ends)) in segments:
                text.add(segments[number])
        self._listed = True

    async def _look_at(self, attempt: int) -> None:
        text = self._texts.setdefault(attempt, _Text())
        for _ in range(AT_A_LOOK):
            at = Position(attempt, len(text.ends))
            try:
                block = await self._log.part(at, BLOCK)
            except NotFound:
                return
            # One that fills a block may go on behind it.
            size = await self._log.size(at) if len(block) == BLOCK else len(block)
            self._keep((attempt, at.segment, 0), block)
            text.add(size)

    async def _read(self, attempt: int, text: _Text, first: int, last: int) -> bytes:
        """What lies between, as far as MOST_SEGMENTS go."""
        wanted = []
        at, segment = first, bisect_right(text.ends, first)
        until = min(segment + MOST_SEGMENTS, len(text.ends))
        while at < last and segment < until:
            begins = text.ends[segment - 1] if segment else 0
            inside = at - begins
            stop = min(last, text.ends[segment], begins + (inside // BLOCK + 1) * BLOCK)
            wanted.append((segment, inside // BLOCK, inside % BLOCK, stop - at))
            at = stop
            segment += at == text.ends[segment]
        parts = await asyncio.gather(*(self._block(attempt, number, block) for number, block, _, _ in wanted))
        cut = (part[skip : skip + length] for part, (_, _, skip, length) in zip(parts, wanted, strict=True))
        return b"".join(cut)

    async def _block(self, attempt: int, segment: int, block: int) -> bytes:
        name = (attempt, segment, block)
        kept = self._blocks.get(name)
        if kept is None:
            kept = await self._log.part(Position(attempt, segment, block * BLOCK), BLOCK)
        self._keep(name, kept)
        return kept

    def _keep(self, name: tuple[int, int, int], block: bytes) -> None:
        self._kept += len(block) - len(self._blocks.pop(name, b""))
        self._blocks[name] = block
        while self._kept > CACHE:
            self._kept -= len(self._blocks.popitem(last=False)[1])


def _start_of(text: _Text, last: int) -> int:
    """Where the first of the MOST_SEGMENTS that end at `last` begins."""
    segment = bisect_right(text.ends, max(0, last - 1)) - MOST_SEGMENTS
    return text.ends[segment] if segment >= 0 else 0


def _cut_behind(start: int, size: int, data: bytes) -> Window:
    """Without its last line, if that goes on and is not all there is."""
    end = start + len(data)
    if end < size:
        whole = data.rfind(b"\n") + 1
        data = data[:whole] if whole else _whole_signs(data)
        end = start + len(data)
    return Window(start, end, size, data)


def _cut_before(start: int, size: int, data: bytes) -> Window:
    """Without the rest of a line that began before it, if there is another."""
    end = start + len(data)
    if start:
        whole = data.find(b"\n") + 1
        if 0 < whole < len(data):
            data = data[whole:]
    return Window(end - len(data), end, size, data)


def _whole_signs(data: bytes) -> bytes:
    """Without the beginning of a UTF-8 sequence at its end."""
    for back in range(1, min(4, len(data))):
        sign = data[-back]
        if sign >= 0xC0:
            return data[:-back]
        if sign < 0x80:
            break
    return data

"""Large files, cut into slices that are a pack each and are read side by side.

When all have been sent, the file's stamp says whether they belong together, and if not it is read again: slices that
did not change are known by then. A save that is cut off leaves what it had sent of a file to the next one (index.py).
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import NamedTuple

from spotrelay.core import manifest
from spotrelay.snapshot import read, scan
from spotrelay.snapshot.descent import Descent
from spotrelay.snapshot.index import Begun, Index, Place, Stamp
from spotrelay.snapshot.outcome import Outcome, as_it_was, kept, outcome_of, places_of, unreadable
from spotrelay.snapshot.pack import SLICE, Buffer, Packed
from spotrelay.snapshot.scan import Attributes
from spotrelay.snapshot.send import Sending
from spotrelay.snapshot.source import Source
from spotrelay.snapshot.survey import Wanted
from spotrelay.snapshot.threads import Threads
from spotrelay.snapshot.turns import Turns


class Replaced(NamedTuple):
    """Its path leads to another file now, or to none."""


class LargeFiles:
    """`again`: this is not the save's first look, and a file that has only grown since stays as it was. Raises
    StoreError and OSError."""

    def __init__(
        self, root: int, sending: Sending, index: Index, turns: Turns, threads: Threads, *, again: bool
    ) -> None:
        self._root, self._sending, self._index = root, sending, index
        self._turns, self._threads, self._again = turns, threads, again

    async def save(self, wanted: Wanted) -> Outcome:
        try:
            if self._again and not manifest.has_state(wanted.last) and await self._begins_with_last(wanted):
                return as_it_was(wanted)
            got = await self._read_again_and_again(wanted)
            if got is None:
                return Outcome(b"")
            if isinstance(got, Replaced):
                return kept(wanted)
            if not got.of_one_moment and await self._only_grows(wanted, got):
                got = got._replace(after=got.before)
        except OSError as error:
            return unreadable(wanted, error)
        return outcome_of(wanted, got.before, got.after, got.attributes, got.places)

    async def _read_again_and_again(self, wanted: Wanted) -> _Large | Replaced | None:
        """Until it did not change meanwhile, and READS times at most; None if it is gone."""
        got: _Large | Replaced | None = None
        for left in reversed(range(read.READS)):
            got = await self._read(wanted, hold=not left and not wanted.last)
            if got is None or (isinstance(got, _Large) and got.of_one_moment):
                break
        return got

    async def _read(self, wanted: Wanted, *, hold: bool) -> _Large | Replaced | None:
        """None if it is gone. Given up when it is replaced, unless `hold`: then it is read to its end."""
        opened = await self._threads.run(_open, self._root, wanted.path)
        if opened is None:
            return None
        file, before, segments = opened
        source = Source(self._root, wanted.path, before.st_ino, file if hold else -1)
        if not hold:
            os.close(file)
        try:
            windows, begun = read.windows(segments, SLICE), self._begun(wanted.path, scan.stamp(before))
            async with asyncio.TaskGroup() as tasks:
                for window in windows:
                    if tuple(window) not in begun.places and not source.replaced:
                        await self._sending.spend(sum(length for _, length in window))
                        await self._turns.take()
                        tasks.create_task(self._slice(source, window, begun))
            seen = await self._threads.run(source.look)
        finally:
            if hold:
                os.close(file)
        del self._index.begun[wanted.path]
        if seen is None:
            return Replaced()
        places = [place for window in windows for place in begun.places[tuple(window)]]
        return _Large(before, *seen, places)

    async def _only_grows(self, wanted: Wanted, got: _Large) -> bool:
        """As read.whole: what was read is still there, and so is the last consistent version."""
        still = await self._begins_with(wanted.path, got.places, got.before.st_size)
        return still and (not wanted.last or await self._begins_with_last(wanted))

    async def _begins_with_last(self, wanted: Wanted) -> bool:
        places = [tuple(extent) for extent in json.loads(wanted.last)["extents"]] if wanted.last else []
        return bool(places) and await self._begins_with(wanted.path, places, manifest.size_of(wanted.last))

    async def _begins_with(self, path: bytes, places: list[Place], size: int) -> bool:
        """Whether the file still begins with what was read of it. Known only of slices that have packs of their own,
        and where no hole is between them."""
        ends = [offset + length for offset, _, _, length in places]
        if [0, *ends] != [*(offset for offset, *_ in places), size] or any(at for _, _, at, _ in places):
            return False
        same = True
        await self._turns.take()
        try:
            buffer = self._sending.buffer()
            for place in places:
                await self._sending.spend(place[3])
                if not (same := await self._threads.run(self._has, path, place, buffer)):
                    break
            self._sending.take_back(buffer)
        finally:
            self._turns.end()
        return same

    def _begun(self, path: bytes, stamp: Stamp) -> Begun:
        """Where a save that was cut off had come to, if the file is as it was then."""
        begun = self._index.begun.get(path)
        if begun is None or begun.stamp != stamp:
            begun = self._index.begun[path] = Begun(stamp)
        return begun

    async def _slice(self, source: Source, window: list[tuple[int, int]], begun: Begun) -> None:
        """Within a turn, which this gives back."""
        try:
            buffer = self._sending.buffer()
            got = await self._threads.run(self._read_slice, source, window, buffer)
            if got is not None:
                packed, places = got
                if packed is not None:
                    await self._sending.send(packed)
                begun.places[tuple(window)] = places
            self._sending.take_back(buffer)
        finally:
            self._turns.end()

    # --- in a worker thread ------------------------------------------------------------------------------------------

    def _read_slice(
        self, source: Source, window: list[tuple[int, int]], buffer: Buffer
    ) -> tuple[Packed | None, list[Place]] | None:
        with source.opened() as file:
            if file is None:
                return None
            pieces = read.pieces(file, window, buffer)
        packed, number = self._sending.seal(buffer)
        return packed, places_of(pieces, number)

    def _has(self, path: bytes, place: Place, buffer: Buffer) -> bool:
        offset, number, _, length = place
        with Descent(self._root) as down:
            file = read.open_file(down, path)
        if file is None:
            return False
        try:
            buffer.rewind(0)
            got = buffer.read(file, offset, length)
        finally:
            os.close(file)
        return got == length and self._index.numbers.get(buffer.digest(0, length)) == number


class _Large(NamedTuple):
    before: os.stat_result
    after: os.stat_result
    attributes: Attributes
    places: list[Place]

    @property
    def of_one_moment(self) -> bool:
        return scan.stamp(self.before) == scan.stamp(self.after)


def _open(root: int, path: bytes) -> tuple[int, os.stat_result, list[tuple[int, int]]] | None:
    with Descent(root) as down:
        file = read.open_file(down, path)
    if file is None:
        return None
    try:
        status = read.settled(file)
        return file, status, read.segments(file, status)
    except OSError:
        os.close(file)
        raise

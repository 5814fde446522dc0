"""The bytes of files: read, hash, compress in worker threads; send what the store does not have.

Small files arrive as a list and share one pack. A large file is cut into slices, a pack each, read side by side; when
all have been sent, its stamp says whether they belong together, and if not it is read again (slices that did not
change are known by then). Memory: a buffer for each turn, whatever the tree.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from spotrelay.core import keys, manifest
from spotrelay.core.manifest import Skipped
from spotrelay.ports import Store
from spotrelay.snapshot import glance, read, scan
from spotrelay.snapshot.descent import Descent
from spotrelay.snapshot.glance import Glance
from spotrelay.snapshot.index import Begun, Index, Place, Stamp
from spotrelay.snapshot.lane import Lane
from spotrelay.snapshot.pace import Pace
from spotrelay.snapshot.pack import SLICE, SMALL, Buffer, Packed
from spotrelay.snapshot.read import Piece, Prefix
from spotrelay.snapshot.scan import Attributes
from spotrelay.snapshot.source import Source
from spotrelay.snapshot.survey import Wanted
from spotrelay.snapshot.threads import Threads
from spotrelay.snapshot.turns import Turns

# A file that was written so short a time before a save may be a log. Of so many, the first that are met, it is
# remembered what they held: 100 bytes each, and a second hash.
YOUNG_S = 60.0
MOST_HELD = 1_000


@dataclass(slots=True)
class Tally:
    """What was sent since the last commit, by however many saves; `new_bytes` as stored."""

    packs: int = 0
    new_bytes: int = 0


class Outcome(NamedTuple):
    """A row, or none when the file is gone. `stamp`: None unless the row is of one moment. `size`: -1 if the row is not
    a file's.
    """

    row: bytes
    stamp: Stamp | None = None
    size: int = -1


# What came of a file: its row, its stamp, its size, as in Outcome. From any thread.
Settle = Callable[[Wanted, bytes, Stamp | None, int], None]


class Outgrown(NamedTuple):
    """It was small when it was found, or there is no room left for it in the pack."""


class Replaced(NamedTuple):
    """Its path leads to another file now, or to none."""


class Contents:
    """`index` says which packs the store has; what is sent joins them. `held`: what small files that are written now
    held when they were read last; by path, of this save and earlier ones. `again`: this is not the save's first look,
    and a file that has only grown since stays as it was. Raises StoreError and OSError."""

    def __init__(
        self,
        store: Store,
        run: str,
        root: int,
        index: Index,
        turns: Turns,
        threads: Threads,
        lane: Lane,
        *,
        pace: Pace | None = None,
        tally: Tally,
        tell: Callable[[], None],
        held: dict[bytes, Prefix],
        again: bool = False,
    ) -> None:
        self._store, self._run, self._root, self._index, self._turns = store, run, root, index, turns
        self._threads, self._lane, self._tally, self._tell, self._pace = threads, lane, tally, tell, pace
        self._held, self._again = held, again
        self._began, self._remembered = time.time(), 0
        self._claimed: set[str] = set()
        self._buffers: list[Buffer] = []

    async def small(self, files: list[Wanted], settle: Settle) -> list[Wanted]:
        """Within a turn, which the caller has taken and this gives back. What has outgrown being small comes back."""
        try:
            await self._spend(sum(wanted.size for wanted in files))
            buffer, readings = await self._lane.run(self._read_small, files)
            packed = await self._threads.run(self._settle_small, files, readings, buffer, settle)
            if packed is not None:
                await self._send(packed)
            self._buffers.append(buffer)
        finally:
            self._turns.end()
        return [wanted for wanted, reading in zip(files, readings, strict=True) if isinstance(reading, Outgrown)]

    async def large(self, wanted: Wanted) -> Outcome:
        try:
            if self._again and not manifest.has_state(wanted.last) and await self._begins_with_last(wanted):
                return _as_it_was(wanted)
            got = await self._read_again_and_again(wanted)
            if got is None:
                return Outcome(b"")
            if isinstance(got, Replaced):
                return _kept(wanted)
            if not got.of_one_moment and await self._only_grows(wanted, got):
                got = got._replace(after=got.before)
        except OSError as error:
            return _unreadable(wanted, error)
        return _outcome(wanted, got.before, got.after, got.attributes, got.places)

    async def _read_again_and_again(self, wanted: Wanted) -> _Large | Replaced | None:
        """Until it did not change meanwhile, and READS times at most; None if it is gone."""
        got: _Large | Replaced | None = None
        for left in reversed(range(read.READS)):
            got = await self._read_large(wanted, hold=not left and not wanted.last)
            if got is None or (isinstance(got, _Large) and got.of_one_moment):
                break
        return got

    async def _read_large(self, wanted: Wanted, *, hold: bool) -> _Large | Replaced | None:
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
                        await self._spend(sum(length for _, length in window))
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
        await self._turns.take()
        try:
            buffer = self._buffer()
            for place in places:
                await self._spend(place[3])
                if not await self._threads.run(self._has, path, place, buffer):
                    return False
        finally:
            self._turns.end()
        return True

    def _begun(self, path: bytes, stamp: Stamp) -> Begun:
        """Where a save that was cut off had come to, if the file is as it was then."""
        begun = self._index.begun.get(path)
        if begun is None or begun.stamp != stamp:
            begun = self._index.begun[path] = Begun(stamp)
        return begun

    async def _slice(self, source: Source, window: list[tuple[int, int]], begun: Begun) -> None:
        """Within a turn, which this gives back."""
        try:
            buffer = self._buffer()
            got = await self._threads.run(self._read_slice, source, window, buffer)
            if got is not None:
                packed, places = got
                if packed is not None:
                    await self._send(packed)
                begun.places[tuple(window)] = places
            self._buffers.append(buffer)
        finally:
            self._turns.end()

    def _buffer(self) -> Buffer:
        """Whoever fails does not give it back: the store may still be reading from it."""
        try:  # of several threads, one gets the last
            buffer = self._buffers.pop()
        except IndexError:
            return Buffer()
        buffer.rewind(0)
        return buffer

    async def _spend(self, nbytes: int) -> None:
        if self._pace is not None:
            await self._pace.spend(nbytes)

    async def _send(self, packed: Packed) -> None:
        """Once, though two files hold the same bytes: whoever comes second relies on the first, whose failure fails
        all.
        """
        digest = packed.pack.hash
        if digest in self._index.packs or digest in self._claimed:
            return
        self._claimed.add(digest)
        began = time.monotonic()
        await self._store.put(keys.pack(self._run, digest), packed.stored)
        self._turns.moved(packed.pack.stored, time.monotonic() - began)
        self._index.packs[digest] = packed.pack
        self._tally.packs += 1
        self._tally.new_bytes += packed.pack.stored
        self._tell()

    # --- in a worker thread ------------------------------------------------------------------------------------------

    def _read_small(self, files: list[Wanted]) -> tuple[Buffer, list[_Came]]:
        """One pack of many files."""
        buffer = self._buffer()
        with Descent(self._root) as down:
            return buffer, [self._glance(down, each, buffer) or self._one_small(down, each, buffer) for each in files]

    def _settle_small(self, files: list[Wanted], came: list[_Came], buffer: Buffer, settle: Settle) -> Packed | None:
        """Rows are made when all are read, for the pack's name is the hash of all."""
        packed, number = self._sealed(buffer)
        for wanted, reading in zip(files, came, strict=True):
            match reading:
                case Glance():
                    settle(wanted, *_seen(wanted, reading, number))
                case _Small(before, after, pieces, attributes):
                    settle(wanted, *_outcome(wanted, before, after, attributes, _places(pieces, number)))
                case Outcome():
                    settle(wanted, *reading)
        return packed

    def _glance(self, down: Descent, wanted: Wanted, buffer: Buffer) -> Glance | None:
        if wanted.seen is None or self._again:
            return None
        try:
            directory = down.directory(os.fsencode(wanted.draft.path))
        except OSError:
            return None
        got = glance.at(directory, wanted.name, wanted.seen, buffer)
        if got is not None and (self._held or self._is_young(got.status)):
            self._remember(wanted, got.status, [Piece(0, got.at, got.status.st_size)], buffer, got.at)
        return got

    def _one_small(self, down: Descent, wanted: Wanted, buffer: Buffer) -> Outcome | Outgrown | _Small:
        at, known = buffer.filled, self._held.get(wanted.path)
        try:
            file = read.open_file(down, wanted.path)
            if file is None:
                return Outcome(b"")
            try:
                reading = read.whole(file, SMALL, buffer, known if wanted.last else read.NOTHING)
                attributes = scan.xattrs(file)
            finally:
                os.close(file)
        except OSError as error:
            return _unreadable(wanted, error)
        if reading is None:
            return Outgrown()
        was_whole = wanted.last and not manifest.has_state(wanted.last)
        if self._again and was_whole and read.begins(known, reading.pieces, buffer, at):
            buffer.rewind(at)
            return _as_it_was(wanted)
        consistent = scan.stamp(reading.before) == scan.stamp(reading.after)
        if consistent or not wanted.last:  # or it is kept, and holds what it held
            self._remember(wanted, reading.after if consistent else None, reading.pieces, buffer, at)
        return _Small(*reading, attributes)

    def _remember(
        self, wanted: Wanted, status: os.stat_result | None, pieces: list[Piece], buffer: Buffer, at: int
    ) -> None:
        """What the row says that the file holds, if it will probably grow. `status`: if that was consistent."""
        self._held.pop(path := wanted.path, None)
        if status is None or not self._is_young(status) or self._remembered >= MOST_HELD:
            return
        if (prefix := read.prefix_of(pieces, buffer, at)) is not None:
            self._held[path] = prefix
            self._remembered += 1
            if len(self._held) > MOST_HELD:
                self._held.pop(next(iter(self._held)), None)

    def _is_young(self, status: os.stat_result) -> bool:
        return self._began - status.st_mtime < YOUNG_S

    def _read_slice(
        self, source: Source, window: list[tuple[int, int]], buffer: Buffer
    ) -> tuple[Packed | None, list[Place]] | None:
        with source.opened() as file:
            if file is None:
                return None
            pieces = read.pieces(file, window, buffer)
        packed, number = self._sealed(buffer)
        return packed, _places(pieces, number)

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

    def _sealed(self, buffer: Buffer) -> tuple[Packed | None, int]:
        if not buffer.filled:
            return None, 0
        packed = buffer.seal(self._turns.pays)
        return packed, self._index.number(packed.pack.hash)


class _Small(NamedTuple):
    before: os.stat_result
    after: os.stat_result
    pieces: list[Piece]
    attributes: Attributes


_Came = Outcome | Outgrown | Glance | _Small


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


# --- what came of it ------------------------------------------------------------------------------------------------


def _places(pieces: list[Piece], number: int) -> list[Place]:
    return [(offset, number, at, length) for offset, at, length in pieces]


def _seen(wanted: Wanted, got: Glance, number: int) -> Outcome:
    """What a glance has shown, of one moment."""
    path, size = scan.join(wanted.draft.path, wanted.name), got.status.st_size
    places = [(0, number, got.at, size)] if size else []
    row = manifest.file_row(path, scan.meta(got.status, got.attributes), size, places, linked=wanted.linked)
    return Outcome(row, scan.stamp(got.status), size)


def _outcome(
    wanted: Wanted,
    before: os.stat_result,
    after: os.stat_result,
    attributes: Attributes,
    places: list[Place],
) -> Outcome:
    """Of one moment if nothing happened between the two looks; otherwise what was before, and if there is nothing,
    torn, as long as the bytes that were got.
    """
    stamp, size, state = scan.stamp(after), after.st_size, ""
    if scan.stamp(before) != stamp:
        if wanted.last:
            return _kept(wanted)
        size = max(size, places[-1][0] + places[-1][3] if places else 0)
        state = "torn"
    path, meta = os.fsdecode(wanted.path), scan.meta(after, attributes)
    row = manifest.file_row(path, meta, size, places, state, linked=wanted.linked)
    return Outcome(row, None if state else stamp, size)


def _kept(wanted: Wanted) -> Outcome:
    """Its last consistent version."""
    return Outcome(manifest.kept(wanted.last, linked=wanted.linked), None, manifest.size_of(wanted.last))


def _as_it_was(wanted: Wanted) -> Outcome:
    """What it had is still there: at this moment, too."""
    return Outcome(wanted.last, None, manifest.size_of(wanted.last))


def _unreadable(wanted: Wanted, error: OSError) -> Outcome:
    """One file that may not or cannot be read is said, not fatal. Anything else (no descriptors left) is."""
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EIO):
        raise error
    return Outcome(manifest.row(Skipped(wanted.path, f"unreadable: {error.strerror}"), {}))

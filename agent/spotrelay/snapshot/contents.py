"""The bytes of files: read, hash, compress in worker threads; send what the store does not have.

Small files arrive as a list and share one pack. A large file is cut into slices, a pack each, read side by side; when
all have been sent, its stamp says whether they belong together, and if not it is read again (slices that did not
change are known by then). Memory: IN_FLIGHT packs, whatever the tree.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from spotrelay.core import keys
from spotrelay.core.manifest import Extent, File, Pack, Skipped
from spotrelay.ports import Store
from spotrelay.snapshot import pack, read, scan
from spotrelay.snapshot.descent import Descent
from spotrelay.snapshot.pace import Pace
from spotrelay.snapshot.pack import Packed
from spotrelay.snapshot.read import Piece, Stamp
from spotrelay.snapshot.scan import Found
from spotrelay.snapshot.threads import Threads

# Packs in memory, each up to 16 MiB raw and as much compressed. On loopback 4 took 1.14 s where 8 took 1.26 s and 16
# took 1.2 s; at S3's 100 ms a request, 8 are what fills a line of 10 Gbit/s.
IN_FLIGHT = 8


@dataclass(slots=True)
class Tally:
    """What was sent so far; `new_bytes` as stored."""

    packs: int = 0
    new_bytes: int = 0


class Outcome(NamedTuple):
    """`entry`: None when the file is gone. `stamp`: None unless the entry is consistent."""

    found: Found
    entry: File | Skipped | None
    stamp: Stamp | None = None


class Outgrown(NamedTuple):
    """It was small when it was found."""

    found: Found


class Contents:
    """`known`: packs that the store has; what is sent joins them. Raises StoreError and OSError."""

    def __init__(
        self,
        store: Store,
        run: str,
        root: int,
        known: dict[str, Pack],
        threads: Threads,
        *,
        pace: Pace | None = None,
        tally: Tally,
        tell: Callable[[], None],
    ) -> None:
        self._store, self._run, self._root, self._known = store, run, root, known
        self._threads, self._tally, self._tell, self._pace = threads, tally, tell, pace
        self._claimed: set[str] = set()
        self._room = asyncio.Semaphore(IN_FLIGHT)

    async def room(self) -> None:
        """Wait until one more pack may be in memory. `small` gives the room back."""
        await self._room.acquire()

    async def small(self, files: list[Found]) -> list[Outcome | Outgrown]:
        try:
            await self._spend(sum(found.status.st_size for found in files))
            outcomes, packed = await self._threads.run(_read_small, self._root, files)
            if packed is not None:
                await self._send(packed)
        finally:
            self._room.release()
        return outcomes

    async def large(self, found: Found) -> Outcome:
        for _ in range(read.READS):
            try:
                outcome = await self._read_large(found)
            except OSError as error:
                return _unreadable(found, error)
            if outcome.stamp is not None or outcome.entry is None:
                break
        return outcome

    async def _read_large(self, found: Found) -> Outcome:
        opened = await self._threads.run(_open, self._root, found.path)
        if opened is None:
            return Outcome(found, None)
        file, before, segments = opened
        try:
            async with asyncio.TaskGroup() as tasks:
                slices = [tasks.create_task(self._slice(file, wanted)) for wanted in read.windows(segments, pack.SLICE)]
            after, attributes = os.fstat(file), scan.xattrs(file)
        finally:
            os.close(file)
        extents = tuple(extent for task in slices for extent in task.result())
        return _outcome(found, before, after, attributes, extents)

    async def _slice(self, file: int, wanted: list[tuple[int, int]]) -> list[Extent]:
        async with self._room:
            await self._spend(sum(length for _, length in wanted))
            packed, extents = await self._threads.run(_read_slice, file, wanted)
            if packed is not None:
                await self._send(packed)
        return extents

    async def _spend(self, nbytes: int) -> None:
        if self._pace is not None:
            await self._pace.spend(nbytes)

    async def _send(self, packed: Packed) -> None:
        """Once, though two files hold the same bytes: whoever comes second relies on the first, whose failure fails
        all.
        """
        digest = packed.pack.hash
        if digest in self._known or digest in self._claimed:
            return
        self._claimed.add(digest)
        await self._store.put(keys.pack(self._run, digest), packed.stored)
        self._known[digest] = packed.pack
        self._tally.packs += 1
        self._tally.new_bytes += packed.pack.stored
        self._tell()


# --- in a worker thread ---------------------------------------------------------------------------------------------


def _read_small(root: int, files: list[Found]) -> tuple[list[Outcome | Outgrown], Packed | None]:
    """One pack of many files. Extents name the pack by "" until all are read, for its name is the hash of all."""
    read_so_far: list[Outcome | Outgrown] = []
    chunks: list[bytes] = []
    filled = 0
    with Descent(root) as down:
        for found in files:
            outcome, pieces = _one_small(down, found, filled)
            read_so_far.append(outcome)
            chunks += [piece.data for piece in pieces]
            filled += sum(len(piece.data) for piece in pieces)
    if not filled:
        return read_so_far, None
    packed = pack.seal(b"".join(chunks))
    return [_named(outcome, packed.pack.hash) for outcome in read_so_far], packed


def _one_small(down: Descent, found: Found, at: int) -> tuple[Outcome | Outgrown, list[Piece]]:
    try:
        file = read.open_file(down, found.path)
        if file is None:
            return Outcome(found, None), []
        try:
            reading = read.whole(file, pack.SMALL)
            attributes = scan.xattrs(file)
        finally:
            os.close(file)
    except OSError as error:
        return _unreadable(found, error), []
    if reading is None:
        return Outgrown(found), []
    extents = _extents(reading.pieces, "", at)
    return _outcome(found, reading.before, reading.after, attributes, extents), reading.pieces


def _named(outcome: Outcome | Outgrown, digest: str) -> Outcome | Outgrown:
    if isinstance(outcome, Outgrown) or not isinstance(outcome.entry, File):
        return outcome
    extents = tuple(extent._replace(pack=digest) for extent in outcome.entry.extents)
    return outcome._replace(entry=dataclasses.replace(outcome.entry, extents=extents))


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


def _read_slice(file: int, wanted: list[tuple[int, int]]) -> tuple[Packed | None, list[Extent]]:
    pieces = read.pieces(file, wanted)
    if not pieces:
        return None, []
    packed = pack.seal(pieces[0].data if len(pieces) == 1 else b"".join(piece.data for piece in pieces))
    return packed, list(_extents(pieces, packed.pack.hash, 0))


# --- what came of it ------------------------------------------------------------------------------------------------


def _extents(pieces: list[Piece], digest: str, at: int) -> tuple[Extent, ...]:
    extents = []
    for offset, data in pieces:
        extents.append(Extent(offset, digest, at, len(data)))
        at += len(data)
    return tuple(extents)


def _outcome(
    found: Found,
    before: os.stat_result,
    after: os.stat_result,
    attributes: tuple[tuple[bytes, bytes], ...],
    extents: tuple[Extent, ...],
) -> Outcome:
    """Consistent if nothing happened between the two looks; otherwise torn, as long as the bytes that were got."""
    meta = scan.meta(after, attributes)
    if read.stamp(before) == read.stamp(after):
        return Outcome(found, File(found.path, meta, after.st_size, extents), read.stamp(after))
    size = max(after.st_size, extents[-1].offset + extents[-1].length if extents else 0)
    return Outcome(found, File(found.path, meta, size, extents, "torn"))


def _unreadable(found: Found, error: OSError) -> Outcome:
    """One file that may not or cannot be read is said, not fatal. Anything else (no descriptors left) is."""
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EIO):
        raise error
    return Outcome(found, Skipped(found.path, f"unreadable: {error.strerror}"))

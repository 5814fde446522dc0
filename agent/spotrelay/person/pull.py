"""Get a run's files: a snapshot, or some paths of it, into a folder.

    manifest ──► what is wanted ──► what is missing here ──► its packs, each once ──► files, as they become whole

The manifest is checked as for a restore, before a byte is written; each pack is checked against its name. Unlike a
restore this is for a folder that a person has: nothing is cleared, what is there stays, and what was stopped goes on
where it was (landing.py). It speaks to the store as a restore does, so that a slow line is a matter of time only.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spotrelay.core import keys, manifest_reader
from spotrelay.core.errors import ManifestInvalid, NotFound, PackCorrupt, RestoreFailed, SnapshotError, StoreError
from spotrelay.core.keys import SnapshotId
from spotrelay.core.manifest import Directory, Entry, Extent, Fifo, File, HardLink, Header, Pack, Symlink, text
from spotrelay.person.landing import NOTE, Landing
from spotrelay.ports import BrowsableStore
from spotrelay.snapshot import pack, stored_manifest
from spotrelay.snapshot.threads import Threads
from spotrelay.snapshot.turns import Turns

# In flight, each of them raw and compressed in memory: 200 MB.
MOST = 6
# Beside the loop: each hashes a pack, or writes it.
WORKERS = 4


@dataclass(slots=True)
class Wanted:
    """What of a manifest is wanted. `skipped`: what cannot be had on a laptop, and why."""

    packs: dict[str, Pack]
    files: list[File] = field(default_factory=list)
    links: list[Symlink] = field(default_factory=list)
    directories: list[Directory] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Pulled:
    """`files` and `bytes`: that are there now. `fetched`: files that were not, or not as they are in the snapshot;
    `received`: bytes that came for them."""

    snapshot: SnapshotId
    files: int
    bytes: int
    fetched: int
    received: int
    seconds: float
    skipped: tuple[tuple[str, str], ...] = ()


async def wanted(store: BrowsableStore, run: str, snapshot: SnapshotId, paths: Sequence[str] = ()) -> Wanted:
    """`paths`: files, directories with what is in them, or patterns of fnmatch's; none: everything. Raises NotFound
    for one that nothing matches, ManifestInvalid, ManifestUnknown."""
    try:
        data = await store.get(keys.snapshot(run, snapshot))
    except NotFound as error:
        raise NotFound(f"the run {run} has no snapshot {snapshot}", next_step=f"spotrelay snapshots {run}") from error
    return await asyncio.to_thread(_wanted, data, Header(run, snapshot), paths)


async def pull(
    store: BrowsableStore,
    run: str,
    snapshot: SnapshotId,
    what: Wanted,
    to: Path,
    *,
    place: str = "",
    force: bool = False,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Pulled:
    """`place`: where the run is, for the note in the folder. `tell`: bytes that have come, and in all. Raises
    UsageError (a folder of somebody else's), PackCorrupt, RestoreFailed, StoreError."""
    began = time.monotonic()
    try:
        landing = Landing(to, {"run": run, "store": place}, force=force)
        try:
            async with Threads(WORKERS) as threads:  # none of them is left when the folder is closed
                pulling = _Pulling(store, run, what, landing, threads, tell)
                await pulling.all()
        finally:
            landing.close()
    except (OSError, StoreError, SnapshotError, BaseExceptionGroup) as caught:
        raise _first(caught, to, run, snapshot) from caught
    size = sum(file.size for file in what.files)
    seconds = time.monotonic() - began
    return Pulled(snapshot, len(what.files), size, pulling.fetched, pulling.received, seconds, tuple(what.skipped))


class _Pulling:
    def __init__(
        self,
        store: BrowsableStore,
        run: str,
        what: Wanted,
        landing: Landing,
        threads: Threads,
        tell: Callable[[int, int], None],
    ) -> None:
        self._store, self._run, self._what, self._landing, self._tell = store, run, what, landing, tell
        self._threads = threads
        self._turns = Turns(MOST)
        self._missing: dict[bytes, tuple[File, int]] = {}  # and how many of its extents
        self._places: dict[str, list[tuple[bytes, Extent]]] = {}
        self.fetched = self.received = self._total = 0

    async def all(self) -> None:
        await self._threads.run(self._prepare)
        self._total = sum(self._what.packs[digest].stored for digest in self._places)
        async with asyncio.TaskGroup() as tasks:
            for digest in self._places:
                await self._turns.take()
                tasks.create_task(self._place(self._what.packs[digest]))
        await self._threads.run(self._conclude)

    def _prepare(self) -> None:
        """Directories, parts, and what is there already."""
        landing, folders = self._landing, {entry.path for entry in self._what.directories}
        folders |= {file.path.rpartition(b"/")[0] for file in self._what.files}
        folders |= {link.path.rpartition(b"/")[0] for link in self._what.links}
        for path in sorted(folders):
            landing.make_directory(path)
        for file in self._what.files:
            if landing.has(file):
                continue
            self.fetched += 1
            have = landing.begin(file)
            lacking = [extent for extent, there in zip(file.extents, have, strict=True) if not there]
            for extent in lacking:
                self._places.setdefault(extent.pack, []).append((file.path, extent))
            if lacking:
                self._missing[file.path] = (file, len(lacking))
            else:
                landing.finish(file.path, file.meta)

    async def _place(self, what: Pack) -> None:
        try:
            began = time.monotonic()
            raw = await self._fetch(what)
            self._turns.moved(what.stored, time.monotonic() - began)
            await self._threads.run(self._write, what, raw)
            await self._threads.run(self._finish, self._done_with(what))
        finally:
            self._turns.end()
        self.received += what.stored
        self._tell(self.received, self._total)

    async def _fetch(self, what: Pack) -> memoryview:
        for last in (False, True):  # damaged on its way, or damaged where it lies: the second time tells
            arriving = _Arriving(what)
            await self._store.get_stream(keys.pack(self._run, what.hash), arriving.begin)
            try:
                return memoryview(await self._threads.run(pack.unseal, what, memoryview(arriving.room)))
            except PackCorrupt:
                if last:
                    raise
        raise AssertionError("unreachable: the second time returns or raises")

    def _write(self, what: Pack, raw: memoryview) -> None:
        for path, extent in self._places[what.hash]:
            self._landing.write(path, extent.offset, raw[extent.at : extent.at + extent.length])

    def _done_with(self, what: Pack) -> list[File]:
        """The files that lacked nothing else. On the loop: packs of one file may come at once."""
        done = []
        for path, _ in self._places[what.hash]:
            file, lacking = self._missing[path]
            self._missing[path] = (file, lacking - 1)
            if lacking == 1:
                done.append(file)
        return done

    def _finish(self, files: Sequence[File]) -> None:
        for file in files:
            self._landing.finish(file.path, file.meta)

    def _conclude(self) -> None:
        for link in self._what.links:
            self._landing.link(link)
        for directory in reversed(self._what.directories):  # deepest first: times are set after the last change in it
            if directory.path:  # the folder itself is the person's
                self._landing.dress(directory)


class _Arriving:
    """A pack as it comes, never more than was stored."""

    def __init__(self, what: Pack) -> None:
        self._what, self.room = what, bytearray()

    def begin(self) -> Callable[[memoryview], None]:
        self.room = bytearray()
        return self._take

    def _take(self, chunk: memoryview) -> None:
        if len(self.room) + len(chunk) > self._what.stored:
            raise pack.corrupt(self._what, "it is longer than what was stored")
        self.room += chunk


def _wanted(data: bytes, header: Header, paths: Sequence[str]) -> Wanted:
    reader, chosen = manifest_reader.Reader(), _Chosen(paths)
    found, linked = Wanted(reader.packs), dict[bytes, File]()
    for _, entry in reader.entries(stored_manifest.lines(data)):
        if isinstance(entry, File) and entry.path in reader.linked:
            linked[entry.path] = entry
        if chosen(entry.path):
            _take(entry, found, linked)
    if reader.header != header:
        raise ManifestInvalid(f"the manifest of snapshot {header.snapshot} is another one's")
    if chosen.unmatched:
        missing = ", ".join(sorted(chosen.unmatched))
        raise NotFound(f"snapshot {header.snapshot} has no {missing}", next_step="patterns want quotes: '*.pt'")
    return found


def _take(entry: Entry, found: Wanted, linked: dict[bytes, File]) -> None:
    if entry.path == NOTE.encode():
        found.skipped.append((NOTE, "the name of our own note"))
        return
    match entry:
        case Directory():
            found.directories.append(entry)
        case File():
            found.files.append(entry)
        case HardLink():  # a file of its own: its first name may not be wanted
            first = linked[entry.target]
            found.files.append(File(entry.path, first.meta, first.size, first.extents))
        case Symlink():
            found.links.append(entry)
        case Fifo():
            found.skipped.append((text(entry.path), "a pipe"))
        case _:
            found.skipped.append((text(entry.path), entry.reason))


class _Chosen:
    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = [os.fsencode(os.path.normpath(path)).lstrip(b"/") for path in paths]
        self.unmatched = {text(path) for path in self._paths}

    def __call__(self, path: bytes) -> bool:
        if not self._paths:
            return True
        matching = [each for each in self._paths if _matches(path, each)]
        self.unmatched -= {text(each) for each in matching}
        return bool(matching)


def _matches(path: bytes, chosen: bytes) -> bool:
    if chosen == b".":
        return True
    return path == chosen or path.startswith(chosen + b"/") or (bool(path) and fnmatch.fnmatchcase(path, chosen))


def _first(caught: BaseException, to: Path, run: str, snapshot: SnapshotId) -> BaseException:
    """Of a group, the first error is the cause; the others are its consequences."""
    error = caught
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, NotFound):
        return RestoreFailed(
            f"a pack of snapshot {snapshot} is missing: {error.what}",
            next_step=f"it may have been tidied away by now: pull again, or see spotrelay snapshots {run}",
        )
    if isinstance(error, OSError):
        return RestoreFailed(f"{to}: {error}", next_step="what has come so far stays: the next pull goes on from it")
    return error
